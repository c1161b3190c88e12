//! Which process decides for the fleet: whoever holds the key `steward` under its lease.
//!
//! A process that wins first reads the mark and catches up with the store; only then does its term begin. It ends the moment its
//! own lease does, or another claim is seen. Every write of a term compares the claim, so that one that ended unnoticed writes
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use starling_hub_core::fleet::Fleet;
use starling_model::Position;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::lease::ProcessLease;
use super::{Identity, Seen};
use crate::keyring::Keyring;
use crate::ports::Clock;
use crate::shard::HubLease as _;
use crate::store::{Compare, LeaseId, Outcome, Store, StoreError, Transaction, Write, keys};

/// How often a process looks, besides when something changed.
const LOOK: Duration = Duration::from_millis(500);

/// How long a process that won may take to catch up before it tries again.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(10);

/// How long a process that won may be unable to begin before it lets another one try, and how long it does not take part then.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time in which a process decides for the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The value under the key `steward`, which every write compares.
    pub claim: Bytes,
    /// Counts the terms of the process.
    pub number: u64,
}

/// What an election works with.
pub struct ElectionParts {
    /// Which process this is.
    pub identity: Identity,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The fleet as every reader of the process sees it.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// What is seen of the processes.
    pub seen: Seen,
    /// The fleet's secrets, with the mark.
    pub keyring: Arc<Keyring>,
    /// The process's lease.
    pub lease: Arc<ProcessLease>,
    /// The lease under which its keys are.
    pub seated: watch::Receiver<Option<LeaseId>>,
    /// True once the process leaves.
    pub draining: watch::Receiver<bool>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Takes part in elections.
pub struct Election {
    parts: ElectionParts,
    term: watch::Sender<Option<Term>>,
    terms: u64,
    waiting: Waiting,
}

/// How long a process that won has been unable to begin.
#[derive(Debug, Default)]
struct Waiting {
    since: Option<Instant>,
    stands_aside_until: Option<Instant>,
}

impl Election {
    /// Makes a process that takes part, and tells of its terms.
    #[must_use]
    pub fn new(parts: ElectionParts, term: watch::Sender<Option<Term>>) -> Self {
        Self { parts, term, terms: 0, waiting: Waiting::default() }
    }

    /// Takes part until cancelled.
    pub async fn run(mut self, cancelled: CancellationToken) {
        loop {
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "cannot take part in an election now");
            }
            let next_look = self.next_look();
            tokio::select! {
                biased;
                () = cancelled.cancelled() => break,
                changed = self.parts.seen.changed() => if changed.is_err() { break },
                changed = self.parts.draining.changed() => if changed.is_err() { break },
                () = sleep(next_look) => {}
            }
        }
        self.end("the process stops");
    }

    /// A term ends with the lease, at that very moment.
    fn next_look(&self) -> Duration {
        let left = self.parts.lease.remaining(self.parts.clock.uptime());
        if self.term.borrow().is_some() { left.min(LOOK) } else { LOOK }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let claim = self.parts.identity.claim();
        let lease = *self.parts.seated.borrow();
        let has_lease = !self.parts.lease.remaining(self.parts.clock.uptime()).is_zero();
        let Some(lease) = lease.filter(|_| has_lease) else {
            self.end("its lease ended");
            return Ok(());
        };
        let steward = self.parts.seen.borrow_and_update().steward.clone();
        match steward {
            Some(present) if present == claim => {
                if *self.parts.draining.borrow() {
                    return self.step_down(&claim.to_bytes(), "the process leaves").await;
                }
                self.begin(claim.to_bytes()).await?;
                if self.term.borrow().is_some() || !self.waiting.is_too_long(Instant::now()) {
                    return Ok(());
                }
                tracing::warn!("this process won an election and cannot begin, another one is to try");
                self.step_down(&claim.to_bytes(), "it cannot begin").await
            }
            Some(_) => {
                self.end("another process decides");
                Ok(())
            }
            None if *self.parts.draining.borrow() => {
                self.end("the process leaves");
                Ok(())
            }
            None if self.waiting.stands_aside(Instant::now()) => {
                self.end("nobody decides");
                Ok(())
            }
            None => {
                self.end("nobody decides");
                self.campaign(&claim.to_bytes(), lease).await
            }
        }
    }

    async fn campaign(&self, claim: &Bytes, lease: LeaseId) -> Result<(), StoreError> {
        let name = &self.parts.identity.name;
        let compares = vec![Compare::Absent(keys::STEWARD.into()), Compare::Exists(keys::member(name).into())];
        let put = Write::Put { key: keys::STEWARD.into(), value: claim.clone(), lease: Some(lease) };
        // Whether it was won is seen by whoever follows the store, this process among them.
        self.parts.store.transact(Transaction { compares, writes: vec![put] }).await.map(|outcome| match outcome {
            Outcome::Committed(_) => tracing::info!(name, "this process decides for the fleet"),
            Outcome::Conflict => {}
        })
    }

    /// Begins the term, once everything is known that was decided before.
    async fn begin(&mut self, claim: Bytes) -> Result<(), StoreError> {
        if self.term.borrow().is_some() {
            return Ok(());
        }
        let position = keys::read_position(self.parts.store.as_ref()).await?.unwrap_or(Position(0));
        let caught_up = self.parts.fleet.wait_for(|fleet| fleet.position() >= position);
        if timeout(CATCHES_UP_WITHIN, caught_up).await.is_err() {
            tracing::warn!(%position, "this process won an election and has not caught up with the store yet");
            return Ok(());
        }
        if let Err(error) = self.parts.keyring.refresh_mark().await {
            tracing::warn!(%error, "cannot read the mark yet, the term waits for it");
            return Ok(());
        }
        self.terms += 1;
        self.waiting = Waiting::default();
        tracing::info!(name = %self.parts.identity.name, %position, term = self.terms, "the term begins");
        self.term.send_replace(Some(Term { claim, number: self.terms }));
        Ok(())
    }

    async fn step_down(&mut self, claim: &Bytes, why: &str) -> Result<(), StoreError> {
        self.end(why);
        let compares = vec![Compare::ValueEquals(keys::STEWARD.into(), claim.clone())];
        let writes = vec![Write::delete(keys::STEWARD)];
        self.parts.store.transact(Transaction { compares, writes }).await.map(drop)
    }

    fn end(&self, why: &str) {
        if self.term.send_replace(None).is_some() {
            tracing::info!(name = %self.parts.identity.name, why, "the term ends");
        }
    }
}

impl Waiting {
    /// Tells whether a process that still cannot begin has tried for long enough; it stands aside then.
    fn is_too_long(&mut self, now: Instant) -> bool {
        let is_too_long = now >= *self.since.get_or_insert(now) + PATIENCE;
        if is_too_long {
            *self = Self { since: None, stands_aside_until: Some(now + PATIENCE) };
        }
        is_too_long
    }

    /// Tells whether the process takes no part now. What it waited for in an election before this one does not count in the next.
    fn stands_aside(&mut self, now: Instant) -> bool {
        self.since = None;
        self.stands_aside_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_begin_stands_aside_for_a_while_and_tries_again() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        assert!(!waiting.stands_aside(start));
        assert!(!waiting.is_too_long(start));
        assert!(!waiting.is_too_long(start + PATIENCE / 2));
        let over = start + PATIENCE;
        assert!(waiting.is_too_long(over));
        assert!(waiting.stands_aside(over + PATIENCE / 2));
        assert!(!waiting.stands_aside(over + PATIENCE));
        assert!(!waiting.is_too_long(over + PATIENCE), "it has all of its time again");
    }
}
