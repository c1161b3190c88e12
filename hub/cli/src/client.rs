//! The admin API for other programs of the workspace: the same connection and contexts as the commands use.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use starling_proto::v1::admin_service_client::AdminServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::arguments::Global;
use crate::contexts::target;
use crate::failure::Failure;
use crate::hub::Hub;

/// A connection to a hub; clones share it.
#[derive(Clone)]
pub struct Client {
    hub: Hub,
}

/// A hub that could not be reached or that refused, in the words that the command line prints.
#[derive(Debug)]
pub struct CallError {
    message: String,
    passing: bool,
}

/// Connects to the hub of a context file's current context; `deadline` bounds this and every later call.
///
/// # Errors
/// A context file that cannot be used, or a hub that cannot be reached.
pub async fn connect(context_file: &Path, deadline: Duration) -> Result<Client, CallError> {
    let global = Global::of_file(context_file, deadline);
    let target = target::resolve(&global).await?;
    Ok(Client { hub: Hub::connect(&target, deadline).await? })
}

impl Client {
    /// Asks one question, such as `client.call(request, |mut hub, request| async move { hub.get_status(request).await })`.
    ///
    /// # Errors
    /// The hub's refusal, or that it did not answer in time.
    pub async fn call<M, R, F, A>(&self, message: M, method: F) -> Result<R, CallError>
    where
        F: FnOnce(AdminServiceClient<Channel>, Request<M>) -> A,
        A: Future<Output = Result<Response<R>, Status>>,
    {
        Ok(self.hub.call(message, method).await?)
    }
}

impl CallError {
    /// Tells whether the same call can succeed later without anybody changing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.passing
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self { message: failure.to_string(), passing: failure.is_passing() }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CallError {}
