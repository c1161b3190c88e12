//! What sessions did, as numbers that only grow; for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The counters of all sessions of the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sessions that were opened.
    pub opened: Counter,
    /// Status batches that were taken in.
    pub batches: Counter,
    /// Objects and installs that changed in the index.
    pub changes: Counter,
    /// Objects and installs that were refused because a limit was reached.
    pub refused: Counter,
    /// Snapshots that were asked for because of a gap.
    pub resyncs: Counter,
    /// Sessions that opened with the index equal to the agent's digests.
    pub status_known: Counter,
    /// Waits of a session that sent faster than its limit.
    pub throttled: Counter,
    /// Command leases that were lent.
    pub leases: Counter,
    /// Plans that were sent.
    pub plans_sent: Counter,
    /// Positions that were sent without a plan, because it did not change.
    pub positions_sent: Counter,
    /// Plans that agents refused.
    pub plans_refused: Counter,
    /// Plans that could not be sent because they exceed the size of a message.
    pub plans_too_large: Counter,
    /// Commands that were sent.
    pub commands: Counter,
    /// Plans that were computed.
    pub planned: Counter,
    /// Agents that were sent to another process.
    pub redirected: Counter,
    /// Agents whose stream was passed on to another process.
    pub forwarded: Counter,
    ended: Mutex<BTreeMap<&'static str, u64>>,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Returns the number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }
}

impl Counters {
    /// Returns how many sessions ended or were refused, by reason.
    #[must_use]
    pub fn ended(&self) -> BTreeMap<&'static str, u64> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count_end(&self, reason: &'static str) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    /// Returns every plain counter with its name and meaning, for metrics.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &'static str, u64); 16] {
        [
            ("sessions_opened", "Sessions that were opened", self.opened.get()),
            ("status_batches", "Status batches that were taken in", self.batches.get()),
            ("status_changes", "Objects and installs that changed in the index", self.changes.get()),
            ("status_refused", "Objects and installs refused because a limit was reached", self.refused.get()),
            ("resyncs", "Snapshots asked for because of a gap", self.resyncs.get()),
            ("status_known", "Sessions that needed no snapshot", self.status_known.get()),
            ("sessions_throttled", "Waits of sessions that sent faster than their limit", self.throttled.get()),
            ("leases_lent", "Command leases that were lent", self.leases.get()),
            ("plans_sent", "Plans that were sent", self.plans_sent.get()),
            ("positions_sent", "Positions sent without a plan", self.positions_sent.get()),
            ("plans_refused", "Plans that agents refused", self.plans_refused.get()),
            ("plans_too_large", "Plans that exceed the size of a message", self.plans_too_large.get()),
            ("commands_sent", "Commands that were sent", self.commands.get()),
            ("plans_computed", "Plans that were computed", self.planned.get()),
            ("sessions_redirected", "Agents that were sent to another process", self.redirected.get()),
            ("sessions_forwarded", "Agents whose stream was passed on to another process", self.forwarded.get()),
        ]
    }
}
