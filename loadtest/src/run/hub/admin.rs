//! The way to the hub's admin API: through one of its processes, and through another one when that does not answer.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Result, anyhow};
use starling_cli::client::{CallError, Client, connect};
use starling_proto::v1::GetStatusRequest;
use starling_proto::v1::admin_service_client::AdminServiceClient;
use tokio::sync::RwLock;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// The deadline of one admin call.
const CALL: Duration = Duration::from_secs(60);

/// How long another process may take to be connected to before the next one is tried.
const CONNECTS_WITHIN: Duration = Duration::from_secs(2);

/// A connection that finds another process when its own is gone.
pub(super) struct Admin {
    /// A context of the command line for each process.
    contexts: std::sync::RwLock<Vec<PathBuf>>,
    present: RwLock<Present>,
}

struct Present {
    client: Client,
    /// Which context it is of.
    index: usize,
    /// How often it was replaced.
    turn: u64,
}

impl Admin {
    /// Takes a connection to the first of the processes.
    pub(super) fn new(contexts: Vec<PathBuf>, client: Client) -> Self {
        Self { contexts: contexts.into(), present: Present { client, index: 0, turn: 0 }.into() }
    }

    /// Returns the contexts of all processes.
    pub(super) fn contexts(&self) -> Vec<PathBuf> {
        self.contexts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a process that joined.
    pub(super) fn add(&self, context: PathBuf) {
        self.contexts.write().unwrap_or_else(PoisonError::into_inner).push(context);
    }

    /// Asks through this connection from now on, which is to the first process.
    pub(super) async fn replace(&self, client: Client) {
        let mut present = self.present.write().await;
        *present = Present { client, index: 0, turn: present.turn + 1 };
    }

    /// Asks one question. One that fails because the process is gone fails; the next one is asked elsewhere.
    pub(super) async fn call<M, R, F, A>(&self, message: M, method: F) -> Result<R, CallError>
    where
        F: FnOnce(AdminServiceClient<Channel>, Request<M>) -> A,
        A: Future<Output = Result<Response<R>, Status>>,
    {
        let (client, turn) = {
            let present = self.present.read().await;
            (present.client.clone(), present.turn)
        };
        let answer = client.call(message, method).await;
        if answer.as_ref().is_err_and(CallError::is_passing) {
            self.go_elsewhere(turn).await;
        }
        answer
    }

    /// Connects to the next process that can be reached, unless somebody did so since.
    async fn go_elsewhere(&self, turn: u64) {
        let contexts = self.contexts();
        let mut present = self.present.write().await;
        // The only process is connected to again by whoever starts it.
        if present.turn != turn || contexts.len() < 2 {
            return;
        }
        for step in 1..=contexts.len() {
            let index = (present.index + step) % contexts.len();
            if let Ok(Ok(client)) = timeout(CONNECTS_WITHIN, connect(&contexts[index], CALL)).await {
                *present = Present { client, index, turn: turn + 1 };
                return;
            }
        }
    }
}

/// Connects to the process of a context, which has to answer a question.
pub(super) async fn answering(context: &Path) -> Result<Client> {
    let client = connect(context, CALL).await.map_err(|error| anyhow!("{error}"))?;
    let status = client.call(GetStatusRequest {}, |mut hub, request| async move { hub.get_status(request).await });
    status.await.map_err(|error| anyhow!("{error}"))?;
    Ok(client)
}
