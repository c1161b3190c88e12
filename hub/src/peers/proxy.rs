//! Calls that change something, passed on whole to the process that decides: there the caller is known and judged as here.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use starling_model::ErrorCode;
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::{Service, ServiceExt as _};

use super::Peers;
use crate::api::error::status;
use crate::steward::Elsewhere as _;

/// The methods that only the process that decides can carry out.
const DECIDED: [&str; 8] =
    ["Adopt", "Detach", "Apply", "Delete", "Approve", "RecoverStore", "CreateJoinToken", "RevokeJoinToken"];

/// Set on a call that was passed on, so that it is not passed on again.
const PASSED_ON: &str = "starling-passed-on";

/// How long a call waits until somebody decides.
const PATIENCE: Duration = Duration::from_secs(25);

/// How long to wait before it is looked again who decides.
const AGAIN: Duration = Duration::from_millis(100);

/// A service whose calls that change something reach the process that decides.
#[derive(Clone)]
pub struct ToSteward<S> {
    inner: S,
    /// `None` in a process that is the whole hub.
    peers: Option<Arc<Peers>>,
}

/// Where a call is carried out.
enum Place {
    Here,
    At(String),
}

impl<S> ToSteward<S> {
    /// Puts the way to whoever decides in front of a service.
    #[must_use]
    pub fn new(inner: S, peers: Option<Arc<Peers>>) -> Self {
        Self { inner, peers }
    }
}

impl<S: NamedService> NamedService for ToSteward<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for ToSteward<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let unready = self.inner.clone();
        // The one that said it is ready has to be the one that is called.
        let mut inner = std::mem::replace(&mut self.inner, unready);
        let Some(peers) = self.peers.clone().filter(|_| is_decided(&request)) else {
            return inner.call(request).boxed();
        };
        async move {
            let was_passed_on = request.headers().contains_key(PASSED_ON);
            match peers.place(was_passed_on).await {
                Ok(Place::Here) => inner.call(request).await,
                Ok(Place::At(address)) => Ok(peers.pass_on_call(&address, request).await),
                Err(refused) => Ok(refused.into_http()),
            }
        }
        .boxed()
    }
}

impl Peers {
    /// Finds out where a call is carried out; one that was passed on already waits here for the term to begin.
    async fn place(&self, was_passed_on: bool) -> Result<Place, Status> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.is_here() {
                return Ok(Place::Here);
            }
            let steward = self.parts.seen.borrow().steward.clone();
            let is_own = steward.as_ref() == Some(&self.parts.identity.claim());
            if !was_passed_on && !is_own {
                let address = self.parts.seen.borrow().steward_address().map(|(_, address)| address.to_owned());
                if let Some(address) = address {
                    return Ok(Place::At(address));
                }
            }
            if Instant::now() >= deadline || (was_passed_on && !is_own) {
                let message =
                    "no process of the hub decides at present; nothing was changed, try again in some seconds";
                return Err(status(ErrorCode::Unavailable, message));
            }
            sleep(AGAIN).await;
        }
    }

    async fn pass_on_call(&self, address: &str, request: http::Request<Body>) -> http::Response<Body> {
        let failed = |error: String| {
            let message = format!(
                "the hub process that decides, at {address}, broke off: {error}; it is not known whether anything was \
                 changed, look again"
            );
            status(ErrorCode::Unavailable, message).into_http()
        };
        let channel = match self.call_channel(address) {
            Ok(channel) => channel,
            Err(error) => return failed(error.to_string()),
        };
        let (mut parts, body) = request.into_parts();
        parts.headers.insert(PASSED_ON, http::HeaderValue::from_static("1"));
        // What this connection proved is nothing to the next.
        parts.extensions = http::Extensions::new();
        let outcome = match channel.oneshot(http::Request::from_parts(parts, body)).await {
            Ok(response) => response,
            Err(error) => return failed(error.to_string()),
        };
        outcome.map(Body::new)
    }
}

fn is_decided<B>(request: &http::Request<B>) -> bool {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default();
    DECIDED.contains(&method)
}
