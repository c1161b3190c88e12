//! The steward: the one writer of what concerns the whole fleet.
//!
//! Owns taking requests one at a time, committing each decision under the next position, and the audit record. Does not
//! own any rule: [`starling_hub_core::steward::decide`] decides, this performs. Every write of the store goes through here.

mod audit;
mod hold;
mod task;
mod traced;

use starling_hub_core::steward::{Answer, Refusal, Request};
use starling_model::ErrorCode;
use tokio::sync::{mpsc, oneshot};

pub use audit::Audit;
pub use hold::Hold;
pub use task::{Steward, StewardParts};

/// Requests that wait for the steward at most; beyond, callers wait.
const WAITING: usize = 256;

/// The way to ask the steward; cheap to clone.
#[derive(Clone, Debug)]
pub struct StewardHandle {
    requests: mpsc::Sender<Asked>,
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
    /// Asks, and waits until the decision is committed and every reader in this process sees it.
    ///
    /// `actor` is who asks, for the audit record.
    ///
    /// # Errors
    /// Why the request was not granted; `Unavailable` when the steward has stopped.
    pub async fn submit(&self, actor: &str, request: Request) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        let traceparent = starling_telemetry::context::current();
        let asked = Asked { actor: actor.to_owned(), request, traceparent, reply };
        self.requests.send(asked).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

fn stopped() -> Refusal {
    Refusal {
        code: ErrorCode::Unavailable,
        message: "the hub is stopping; try again when it is back".into(),
        credential: None,
    }
}
