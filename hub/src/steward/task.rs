//! The steward's loop: decide, reserve, commit, wait until everybody sees it, answer.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use starling_hub_core::change::Change;
use starling_hub_core::fleet::Fleet;
use starling_hub_core::hold::{Mark, POSITION_BLOCK};
use starling_hub_core::steward::{self as rules, Answer, Context, Decision, Refusal, Request};
use starling_model::{Era, ErrorCode, Guard, Position};
use starling_telemetry::context;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Asked, Audit, Authority, Elsewhere, Hold, StewardHandle, WAITING, not_here, traced};
use crate::gather::{Gather, heard};
use crate::keyring::Keyring;
use crate::metrics::StewardMetrics;
use crate::ports::{Clock, Entropy};
use crate::store::keys::CodecError;
use crate::store::{Compare, Outcome, Store, StoreError, Transaction, Write, keys};
use crate::traces::Traces;

/// How long a committed decision may take to be seen by this process's own readers.
const APPLIES_WITHIN: Duration = Duration::from_secs(10);

/// How often a decision is made again after another writer was in between.
const ATTEMPTS: usize = 5;

/// What the steward works with.
pub struct StewardParts {
    /// The store that it writes.
    pub store: Arc<dyn Store>,
    /// The fleet as every reader of the process sees it.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// The fleet's secrets, with the mark beside the store.
    pub keyring: Arc<Keyring>,
    /// What clusters say they hold, whichever process has them.
    pub gather: Gather,
    /// By what right it writes.
    pub authority: Authority,
    /// The stewards of other processes; `None` in a process that is the whole hub.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
    /// Whether the fleet holds.
    pub hold: Hold,
    /// The audit record.
    pub audit: Audit,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// The name of this process, written beside the position.
    pub process: String,
    /// Where decisions and commits are counted.
    pub metrics: StewardMetrics,
    /// Which trace each position belongs to.
    pub traces: Traces,
}

/// The task that performs decisions.
pub struct Steward {
    parts: StewardParts,
    requests: mpsc::Receiver<Asked>,
    /// The newest position that this task wrote.
    written: Position,
}

/// Why a decision was not committed.
#[derive(Debug, thiserror::Error)]
enum CommitError {
    #[error("another writer was faster")]
    Conflict,
    #[error("another process decides")]
    NotHere,
    #[error("the fleet holds, and no reserved position is left: run `starling store recover`")]
    Held,
    #[error("reserve positions")]
    Mark(#[from] io::Error),
    #[error("encode the records")]
    Codec(#[from] CodecError),
    #[error("write the store")]
    Store(#[from] StoreError),
}

impl CommitError {
    /// Returns the label of the metric.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::NotHere => "not-here",
            Self::Held => "held",
            Self::Mark(_) => "mark",
            Self::Codec(_) => "codec",
            Self::Store(_) => "store",
        }
    }
}

impl Steward {
    /// Makes the steward and the way to ask it.
    #[must_use]
    pub fn new(parts: StewardParts) -> (Self, StewardHandle) {
        let (sender, requests) = mpsc::channel(WAITING);
        let elsewhere = parts.elsewhere.clone();
        (Self { parts, requests, written: Position::default() }, StewardHandle { requests: sender, elsewhere })
    }

    /// Serves requests until cancelled; a decision that is under way is finished.
    pub async fn run(mut self, cancelled: CancellationToken) {
        loop {
            let asked = tokio::select! {
                biased;
                () = cancelled.cancelled() => return,
                asked = self.requests.recv() => asked,
            };
            let Some(Asked { actor, request, traceparent, reply }) = asked else { return };
            self.parts.metrics.waiting.set(i64::try_from(self.requests.len()).unwrap_or(i64::MAX));
            let began = Instant::now();
            let span = traced::decision(&traceparent, &actor, &request);
            let outcome = self.serve(&actor, &request).instrument(span).await;
            let refused = outcome.as_ref().err().map(|refusal| refusal.code);
            self.parts.metrics.decided(request.as_str(), began.elapsed(), refused);
            if let Err(refusal) = &outcome {
                tracing::info!(%actor, request = request.as_str(), code = %refusal.code, reason = %refusal.message, "request refused");
            }
            // Whoever asked may have gone; what was decided stands.
            let _ = reply.send(outcome);
        }
    }

    async fn serve(&mut self, actor: &str, request: &Request) -> Result<Answer, Refusal> {
        for _ in 0..ATTEMPTS {
            if self.claim().is_none() {
                return Err(not_here());
            }
            self.check_hold(request)?;
            if self.parts.hold.reason().is_some() {
                // A store that went back does not have it, and would be waited for in vain.
                self.written = Position::default();
            }
            // Nothing is decided on what is known to be old: its era may have ended, and the mark would go back with it.
            self.wait_until_applied(self.written, "nothing was changed, try again").await?;
            let fleet = Arc::clone(&self.parts.fleet.borrow());
            let decision = self.decide(&fleet, actor, request).await?;
            if decision.changes.is_empty() {
                return Ok(decision.answer);
            }
            let span = traced::commit(actor, request, decision.position);
            // Before it is written: whoever reads the position may be faster than this task.
            self.parts.traces.note(decision.position, &context::of(&span));
            let began = Instant::now();
            let outcome = self.commit(&fleet, &decision).instrument(span).await;
            match outcome {
                Ok(()) => {
                    self.parts.metrics.committed(began.elapsed());
                    self.parts.audit.record(self.parts.clock.now(), decision.position, &decision.audit);
                    self.written = decision.position;
                    let applied = self.wait_until_applied(decision.position, "it was written, look again").await;
                    // Whether or not it was seen in time: it is written, and no lease is lent before plans of its era are out.
                    if let Answer::Recovered { .. } = decision.answer {
                        self.parts.hold.release();
                    }
                    applied?;
                    return Ok(decision.answer);
                }
                Err(CommitError::Conflict) => {
                    self.parts.metrics.not_committed(CommitError::Conflict.as_str());
                    if self.has_lost_its_claim().await {
                        return Err(not_here());
                    }
                    self.wait_until_applied(Position(fleet.position().0 + 1), "nothing was changed, try again").await?;
                }
                Err(CommitError::NotHere) => {
                    self.parts.metrics.not_committed(CommitError::NotHere.as_str());
                    return Err(not_here());
                }
                Err(CommitError::Held) => {
                    self.parts.metrics.not_committed(CommitError::Held.as_str());
                    let message = CommitError::Held.to_string();
                    return Err(Refusal { code: ErrorCode::FleetHolds, message, credential: None });
                }
                Err(error @ (CommitError::Mark(_) | CommitError::Codec(_) | CommitError::Store(_))) => {
                    self.parts.metrics.not_committed(error.as_str());
                    self.look_again_after(&error).await;
                    return Err(self.unavailable(&error));
                }
            }
        }
        Err(self.unavailable(&CommitError::Conflict))
    }

    /// Tells of what could not be committed. Where others take over from a process that does not reach the store, nobody has to
    /// look; and over a network it may have been written all the same.
    fn unavailable(&self, error: &CommitError) -> Refusal {
        let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
        let is_one_of_many = matches!(self.parts.authority, Authority::Elected(_));
        let outcome = match error {
            CommitError::Store(StoreError::Unavailable { .. }) if is_one_of_many => {
                tracing::warn!(%error, cause, "cannot commit a decision");
                "it is not known whether anything was changed, look again"
            }
            _ => {
                tracing::error!(%error, cause, "cannot commit a decision");
                "nothing was changed, try again"
            }
        };
        Refusal { code: ErrorCode::Unavailable, message: format!("{error}{cause}; {outcome}"), credential: None }
    }

    fn check_hold(&self, request: &Request) -> Result<(), Refusal> {
        let Some(reason) = self.parts.hold.reason() else { return Ok(()) };
        match request {
            // Placement moves no workload: clusters stay served while the fleet holds.
            Request::Recover(_) | Request::UpdateRing(_) => Ok(()),
            Request::Begin
            | Request::SyncInputs(_)
            | Request::SyncFiles(_)
            | Request::SyncObjects(_)
            | Request::SourceDeleted(_)
            | Request::ApplyResources(_)
            | Request::Adopt(_)
            | Request::CreateJoinToken(_)
            | Request::RevokeJoinToken(_)
            | Request::Join(_)
            | Request::Renew(_)
            | Request::SeeCluster(_)
            | Request::Detach(_)
            | Request::Emptied(_)
            | Request::DetachAcknowledged(_)
            | Request::Delete(_)
            | Request::Approve(_) => {
                Err(Refusal { code: ErrorCode::FleetHolds, message: reason.to_string(), credential: None })
            }
        }
    }

    /// A mark that another process wrote in its term is read again; a write of which it is not known what became is looked for.
    async fn look_again_after(&self, error: &CommitError) {
        if let (CommitError::Mark(_), Authority::Elected(_)) = (error, &self.parts.authority)
            && let Err(error) = self.parts.keyring.refresh_mark().await
        {
            tracing::warn!(%error, "cannot read the mark again");
        }
    }

    /// Tells whether another process has the claim by now, which this one may not have noticed yet.
    async fn has_lost_its_claim(&self) -> bool {
        let Some(Claim::Elected(claim)) = self.claim() else { return false };
        let present = self.parts.store.get(keys::STEWARD.as_bytes()).await;
        present.is_ok_and(|entry| entry.is_none_or(|entry| entry.value != claim))
    }

    /// Returns by what claim the process writes now; `None` while it does not decide.
    fn claim(&self) -> Option<Claim> {
        match &self.parts.authority {
            Authority::Whole => Some(Claim::Whole),
            Authority::Elected(term) => term.borrow().as_ref().map(|term| Claim::Elected(term.claim.clone())),
        }
    }

    async fn decide(&self, fleet: &Fleet, actor: &str, request: &Request) -> Result<Decision, Refusal> {
        let now = self.parts.clock.now();
        let decided = heard::ask(&self.parts.gather, |heard| {
            let mut entropy = Drawn(self.parts.entropy.as_ref());
            let mut context = Context {
                now,
                actor: actor.to_owned(),
                position: Position(fleet.position().0 + 1),
                entropy: &mut entropy,
                heard,
            };
            rules::decide(fleet, request, &mut context)
        })
        .await;
        // What clusters of a silent process hold would be missing from what goes, or from the budget that is spent.
        if let Some(silent) = decided.unanswered.first() {
            let message = format!(
                "hub process {silent} does not say what its clusters hold; nothing was changed, try again when it answers or \
                 has left the ring"
            );
            return Err(Refusal { code: ErrorCode::Unavailable, message, credential: None });
        }
        decided.value
    }

    /// Writes a decision in one transaction, under the position that it was made for.
    async fn commit(&self, fleet: &Fleet, decision: &Decision) -> Result<(), CommitError> {
        let claim = self.claim().ok_or(CommitError::NotHere)?;
        self.reserve(decision, new_era(decision).or(fleet.era().map(|record| record.era))).await?;
        let mut writes = vec![Write::put(keys::POSITION, keys::encode_position(decision.position))];
        writes.extend(keys::writes(&decision.changes)?);
        if new_era(decision).is_some() {
            // Every process lets the fleet move again.
            writes.push(Write::delete(keys::HOLD));
            // An emptied store has lost these, too.
            writes.push(Write::put(keys::FORMAT_KEY, keys::FORMAT));
            writes.push(Write::put(keys::FLEET, fleet.name().to_owned()));
        }
        let mut compares = Vec::new();
        match claim {
            Claim::Whole => writes.push(Write::put(keys::STEWARD, self.parts.process.clone())),
            Claim::Elected(claim) => compares.push(Compare::ValueEquals(keys::STEWARD.into(), claim)),
        }
        let unchanged = if fleet.era().is_none() {
            Compare::Absent(keys::POSITION.into())
        } else {
            Compare::ValueEquals(keys::POSITION.into(), keys::encode_position(fleet.position()))
        };
        compares.push(unchanged);
        compares.retain(|compare| match compare {
            Compare::ValueEquals(key, _) if **key == *keys::STEWARD.as_bytes() => !Guard::Claim.is_broken(),
            _ => !Guard::Position.is_broken(),
        });
        match self.parts.store.transact(Transaction { compares, writes }).await? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict => Err(CommitError::Conflict),
        }
    }

    /// Writes the mark before a position beyond it is used.
    async fn reserve(&self, decision: &Decision, era: Option<Era>) -> Result<(), CommitError> {
        let Some(era) = era else { return Ok(()) };
        let mark = self.parts.keyring.mark().mark();
        if mark.is_some_and(|mark| mark.era == era && decision.position <= mark.reserved) {
            return Ok(());
        }
        // The mark is the evidence for which a fleet holds: only a recovery may write over it.
        if self.parts.hold.reason().is_some() && new_era(decision).is_none() {
            return Err(CommitError::Held);
        }
        let reserved = Position(decision.position.0 + POSITION_BLOCK - 1);
        Ok(self.parts.keyring.mark().reserve(Mark { era, reserved }).await?)
    }

    async fn wait_until_applied(&mut self, position: Position, otherwise: &str) -> Result<(), Refusal> {
        let seen = self.parts.fleet.wait_for(|fleet| fleet.position() >= position);
        match tokio::time::timeout(APPLIES_WITHIN, seen).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(super::stopped()),
            Err(_) => Err(Refusal {
                code: ErrorCode::Unavailable,
                message: format!("the hub has not caught up with its store yet; {otherwise}"),
                credential: None,
            }),
        }
    }
}

/// Entropy as the rules take it.
struct Drawn<'a>(&'a dyn Entropy);

impl rules::Entropy for Drawn<'_> {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

/// What a commit compares or writes to show that the process may.
enum Claim {
    Whole,
    Elected(Bytes),
}

fn new_era(decision: &Decision) -> Option<Era> {
    decision.changes.iter().find_map(|change| match change {
        Change::PutEra(record) => Some(record.era),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
