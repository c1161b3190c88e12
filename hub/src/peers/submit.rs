//! Asking the process that decides, wherever it is.

use std::time::Duration;

use async_trait::async_trait;
use starling_hub_core::steward::{Answer, Refusal, Request};
use starling_model::ErrorCode;
use starling_proto::v1;
use starling_telemetry::context;
use tokio::time::{Instant, sleep, timeout_at};

use super::wire::{Outcome, Report};
use super::{PeerError, Peers, from_json, to_json};
use crate::steward::{Elsewhere, StewardHandle, not_here};

/// How long a request waits until somebody decides: a lease ends and another process takes over meanwhile.
const PATIENCE: Duration = Duration::from_secs(25);

/// How long to wait before whoever decides is asked again.
const AGAIN: Duration = Duration::from_millis(250);

#[async_trait]
impl Elsewhere for Peers {
    fn is_here(&self) -> bool {
        self.parts.term.borrow().is_some()
    }

    async fn submit(&self, here: &StewardHandle, actor: &str, request: Request) -> Result<Answer, Refusal> {
        let Some(report) = Report::of(&request) else { return Err(not_here()) };
        let deadline = Instant::now() + PATIENCE;
        let json = to_json(&report);
        loop {
            let outcome = if self.is_here() {
                here.submit_here(actor, request.clone()).await
            } else {
                match self.pass_on(actor, &json, deadline).await {
                    Ok(outcome) => outcome.map(Answer::from),
                    Err(error) => {
                        tracing::debug!(%error, "cannot ask the process that decides");
                        Err(not_here())
                    }
                }
            };
            // A report may be made twice, so that it does not matter whether it was heard.
            match outcome {
                Err(refusal) if refusal.code == ErrorCode::Unavailable && Instant::now() + AGAIN < deadline => {
                    sleep(AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }
}

impl Peers {
    async fn pass_on(&self, actor: &str, report: &[u8], deadline: Instant) -> Result<Outcome, PeerError> {
        let steward =
            self.parts.seen.borrow().steward_address().map(|(name, address)| (name.to_owned(), address.to_owned()));
        let (name, address) = steward.ok_or_else(|| PeerError::Unknown("steward".to_owned()))?;
        let mut client = self.client(&address)?;
        let request =
            v1::SubmitRequest { actor: actor.to_owned(), report: report.to_vec(), traceparent: context::current() };
        let answer = timeout_at(deadline, client.submit(request)).await.map_err(|_| PeerError::Late(name))??;
        from_json(&answer.into_inner().outcome)
    }
}
