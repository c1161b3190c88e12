//! Sessions: the gRPC service that agents call, and one task for each open stream.
//!
//! Owns the messages of a session: their order, their size, and what is said when. Does not own who is let in or what a
//! cluster should have ([`crate::shard`]), nor the rules (`starling_hub_core::session`).

mod caller;
mod end;
mod forward;
mod outgoing;
mod receive;
mod report;
mod task;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use starling_model::limits::LARGEST_BATCH_BYTES;
use starling_model::{ClusterId, ErrorCode};
use starling_proto::v1;
use starling_proto::v1::session_service_server::{SessionService, SessionServiceServer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::api::error::status;
use crate::shard::Shard;
use crate::tls::PeerIdentity;

use caller::Caller;
pub use end::RETRY_AFTER;
pub(crate) use end::{End, NAMES as END_NAMES};
pub use report::Reports;

/// Messages of one session that wait for its connection.
const OUTBOX: usize = 4;

/// Streams of one identity that have not said Hello yet, at most.
const PENDING: usize = 4;

/// The way out of a session; boxed because a channel keeps room for many.
type Outbox = mpsc::Sender<Box<Result<v1::ConnectResponse, Status>>>;

/// The session service; cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    shard: Arc<Shard>,
    steward: Arc<dyn Reports>,
    pending: Arc<Mutex<BTreeMap<ClusterId, usize>>>,
    /// Cancelled when the process stops; streams that are passed on end then.
    stopping: CancellationToken,
}

/// What the hub says in one session.
#[derive(Debug)]
pub struct SessionStream(mpsc::Receiver<Box<Result<v1::ConnectResponse, Status>>>);

/// Counts a stream that has not said Hello yet.
struct Pending {
    counts: Arc<Mutex<BTreeMap<ClusterId, usize>>>,
    cluster: ClusterId,
}

impl Sessions {
    /// Makes the service; what sessions learn goes to the steward.
    #[must_use]
    pub fn new(shard: Arc<Shard>, steward: impl Reports) -> Self {
        let stopping = CancellationToken::new();
        Self { shard, steward: Arc::new(steward), pending: Arc::default(), stopping }
    }

    /// Makes the service as a server takes it, with the limit on one message.
    #[must_use]
    pub fn into_server(self) -> SessionServiceServer<Self> {
        // A batch may be a little larger than announced, by the fields around its content.
        let limit = self.shard.parts.limits.batch_bytes.max(LARGEST_BATCH_BYTES) as usize * 2;
        SessionServiceServer::new(self).max_decoding_message_size(limit)
    }

    /// Tells every agent that the process stops, and waits until all sessions are over, `within` at most; returns how
    /// many were not.
    pub async fn drain(&self, within: Duration) -> usize {
        let tasks = &self.shard.tasks;
        tasks.close();
        self.stopping.cancel();
        self.shard.end_all(&End::Draining);
        match tokio::time::timeout(within, tasks.wait()).await {
            Ok(()) => 0,
            Err(_) => tasks.len(),
        }
    }

    fn pend(&self, cluster: ClusterId) -> Option<Pending> {
        let mut counts = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(cluster).or_default();
        if *count >= PENDING {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Pending { counts: Arc::clone(&self.pending), cluster })
    }
}

#[tonic::async_trait]
impl SessionService for Sessions {
    type ConnectStream = SessionStream;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ConnectRequest>>,
    ) -> Result<Response<SessionStream>, Status> {
        let caller = Caller::identify(request.extensions().get::<PeerIdentity>(), request.metadata())?;
        // A connection can outlive the certificate that it was opened with.
        if caller.expires <= self.shard.parts.clock.now() {
            return Err(End::Expired.status());
        }
        if self.shard.tasks.is_closed() {
            return Err(End::Draining.status());
        }
        let Some(pending) = self.pend(caller.cluster) else {
            let message = format!("more than {PENDING} streams of this cluster wait for their first message");
            return Err(status(ErrorCode::LimitExceeded, message));
        };
        let (outbox, receiver) = task::outbox();
        self.shard.tasks.spawn(task::serve(self.clone(), caller, pending, request.into_inner(), outbox));
        Ok(Response::new(SessionStream(receiver)))
    }
}

impl Stream for SessionStream {
    type Item = Result<v1::ConnectResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|message| message.map(|message| *message))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.cluster) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.cluster);
            }
        }
    }
}
