//! The steward: the one writer of what concerns the whole fleet.
//!
//! Owns taking requests one at a time, committing each decision under the next position, and the audit record. Does not
//! own any rule: [`starling_hub_core::steward::decide`] decides, this performs. Every write that concerns the whole fleet goes
//! through here. Where the hub is several processes, each has a steward, and the one that holds the claim decides
//! ([`crate::member`]); requests made at the others are passed on to it.

mod audit;
mod hold;
mod task;
mod traced;

use std::sync::Arc;

use async_trait::async_trait;
use starling_hub_core::steward::{Answer, Refusal, Request};
use starling_model::ErrorCode;
use tokio::sync::{mpsc, oneshot, watch};

use crate::member::Term;

pub use audit::Audit;
pub use hold::Hold;
pub use task::{Steward, StewardParts};

/// Requests that wait for the steward at most; beyond, callers wait.
const WAITING: usize = 256;

/// The way to ask the steward; cheap to clone.
#[derive(Clone)]
pub struct StewardHandle {
    requests: mpsc::Sender<Asked>,
    /// Knows whether another process decides; `None` in a process that is the whole hub.
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// The steward of another process.
#[async_trait]
pub trait Elsewhere: Send + Sync + 'static {
    /// Tells whether this very process decides at present.
    fn is_here(&self) -> bool;

    /// Asks whoever decides, and waits for a while for somebody to do so.
    ///
    /// # Errors
    /// As [`StewardHandle::submit`]. A request that another process cannot be asked is refused.
    async fn submit(&self, here: &StewardHandle, actor: &str, request: Request) -> Result<Answer, Refusal>;
}

/// By what right a steward writes.
#[derive(Clone, Debug)]
pub enum Authority {
    /// The process is the whole hub: it has the store to itself.
    Whole,
    /// The process was elected; `None` while it is not.
    Elected(watch::Receiver<Option<Term>>),
}

/// A request that waits.
#[derive(Debug)]
struct Asked {
    actor: String,
    request: Request,
    /// The context of the trace that the request belongs to; empty for none.
    traceparent: String,
    reply: oneshot::Sender<Result<Answer, Refusal>>,
}

impl StewardHandle {
    /// Asks whoever decides, and waits until the decision is committed and every reader in the deciding process sees it.
    ///
    /// `actor` is who asks, for the audit record.
    ///
    /// # Errors
    /// Why the request was not granted; `Unavailable` when the steward has stopped, or while nobody decides.
    pub async fn submit(&self, actor: &str, request: Request) -> Result<Answer, Refusal> {
        match &self.elsewhere {
            Some(elsewhere) if !elsewhere.is_here() => elsewhere.submit(self, actor, request).await,
            Some(_) | None => self.submit_here(actor, request).await,
        }
    }

    /// Asks the steward of this very process, which refuses as unavailable while another one decides.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn submit_here(&self, actor: &str, request: Request) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        let traceparent = starling_telemetry::context::current();
        let asked = Asked { actor: actor.to_owned(), request, traceparent, reply };
        self.requests.send(asked).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl std::fmt::Debug for StewardHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StewardHandle").field("is_one_of_many", &self.elsewhere.is_some()).finish_non_exhaustive()
    }
}

/// The refusal of a process that does not decide.
#[must_use]
pub fn not_here() -> Refusal {
    Refusal {
        code: ErrorCode::Unavailable,
        message: "another process of the hub decides, or none at present; nothing was changed, try again".into(),
        credential: None,
    }
}

fn stopped() -> Refusal {
    Refusal {
        code: ErrorCode::Unavailable,
        message: "the hub is stopping; try again when it is back".into(),
        credential: None,
    }
}
