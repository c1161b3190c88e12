//! Which status batches count: snapshots, deltas, gaps.

use std::time::Duration;

use starling_model::session::{BatchKind, StatusBatch};
use starling_model::{ClusterId, Limits, Millis};

use crate::index::{Outcome, StatusIndex};

/// After this time without the snapshot that was asked for, it is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Where a session is in its agent's report.
#[derive(Clone, Debug)]
pub struct Sequence {
    next: u64,
    state: State,
    complete: bool,
    asked: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No snapshot runs, and the picture has a gap or there is none.
    Incomplete,
    /// A snapshot runs without a gap so far.
    Snapshot,
    /// The picture equals the agent's.
    Current,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// A snapshot begins with it.
    pub begin: bool,
    /// Its contents count.
    pub take: bool,
    /// The snapshot ends with it, and what was not in it is gone.
    pub finish: bool,
    /// The agent is to be asked for a snapshot, for this reason.
    pub resync: Option<&'static str>,
}

/// What a batch did to the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// Objects and installs that show something else now.
    pub changed: usize,
    /// Objects and installs that were refused.
    pub refused: usize,
}

impl Sequence {
    /// Starts a session; `known` when the index shows exactly what the agent's digests stand for.
    #[must_use]
    pub fn new(known: bool) -> Self {
        let state = if known { State::Current } else { State::Incomplete };
        Self { next: 1, state, complete: known, asked: None }
    }

    /// Judges the next batch.
    ///
    /// What arrives behind a gap still counts, being newer than what is known; but nothing is concluded from what a
    /// snapshot with a gap does not name.
    pub fn accept(&mut self, sequence: u64, kind: BatchKind, uptime: Millis) -> Step {
        if sequence < self.next {
            return Step::default();
        }
        let gap = sequence > self.next;
        self.next = sequence.saturating_add(1);
        let mut step = Step { take: true, ..Step::default() };
        match kind {
            // A snapshot heals any gap before it.
            BatchKind::SnapshotStart | BatchKind::SnapshotWhole => {
                step.begin = true;
                self.state = State::Snapshot;
                self.asked = None;
            }
            BatchKind::SnapshotPart | BatchKind::SnapshotEnd | BatchKind::Delta if gap => {
                self.state = State::Incomplete;
                step.resync = self.ask("status batches are missing", uptime);
            }
            BatchKind::SnapshotPart | BatchKind::SnapshotEnd | BatchKind::Delta => {}
        }
        let ends = match kind {
            BatchKind::SnapshotEnd | BatchKind::SnapshotWhole => true,
            BatchKind::SnapshotStart | BatchKind::SnapshotPart | BatchKind::Delta => false,
        };
        if ends && self.state == State::Snapshot {
            step.finish = true;
            self.state = State::Current;
            self.complete = true;
        }
        step
    }

    /// Returns the reason to ask for a snapshot that was asked for and has not begun for long.
    pub fn remind(&mut self, uptime: Millis) -> Option<&'static str> {
        let asked = self.asked?;
        if uptime.since(asked) < ASK_AGAIN {
            return None;
        }
        self.asked = Some(uptime);
        Some("the snapshot that was asked for has not begun")
    }

    /// Tells whether the cluster's picture was complete at least once in this session.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    fn ask(&mut self, reason: &'static str, uptime: Millis) -> Option<&'static str> {
        if self.asked.is_some() {
            return None;
        }
        self.asked = Some(uptime);
        Some(reason)
    }
}

impl Step {
    /// Brings a batch into the index, received at wall time `now`.
    pub fn apply(
        self,
        index: &mut StatusIndex,
        cluster: ClusterId,
        batch: &StatusBatch,
        limits: &Limits,
        now: Millis,
    ) -> BatchOutcome {
        let mut outcome = BatchOutcome::default();
        if self.begin {
            index.begin_snapshot(cluster);
        }
        if self.take {
            outcome.count(batch.objects.iter().map(|status| index.upsert(cluster, status, limits, now)));
            outcome.count(batch.removed.iter().map(|key| index.remove(cluster, key)));
            outcome.count(batch.installs.iter().map(|report| index.report_install(cluster, report, limits)));
            outcome.count(batch.removed_installs.iter().map(|install| index.remove_install(cluster, install)));
        }
        if self.finish {
            outcome.changed += index.finish_snapshot(cluster);
        }
        outcome
    }
}

impl BatchOutcome {
    fn count(&mut self, outcomes: impl Iterator<Item = Outcome>) {
        for outcome in outcomes {
            match outcome {
                Outcome::Changed => self.changed += 1,
                Outcome::Refused => self.refused += 1,
                Outcome::Unchanged => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use BatchKind::{Delta, SnapshotEnd, SnapshotPart, SnapshotStart, SnapshotWhole};

    /// Runs batches and prints each step: `b`egin, `t`ake, `f`inish, `r`esync.
    fn run(sequence: &mut Sequence, batches: &[(u64, BatchKind)]) -> String {
        let steps: Vec<_> = batches
            .iter()
            .map(|(number, kind)| {
                let step = sequence.accept(*number, *kind, Millis(*number));
                let letters = [(step.begin, "b"), (step.take, "t"), (step.finish, "f"), (step.resync.is_some(), "r")];
                letters.into_iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect::<String>()
            })
            .collect();
        steps.join(" ")
    }

    #[test]
    fn a_snapshot_then_deltas() {
        let mut sequence = Sequence::new(false);
        let batches = [(1, SnapshotStart), (2, SnapshotPart), (3, SnapshotEnd), (4, Delta)];
        assert_eq!(run(&mut sequence, &batches), "bt t tf t");
        assert!(sequence.is_complete());
    }

    #[test]
    fn a_gap_in_a_snapshot_concludes_nothing_and_asks_once() {
        let mut sequence = Sequence::new(false);
        let batches = [(1, SnapshotStart), (3, SnapshotPart), (4, SnapshotEnd), (7, Delta)];
        assert_eq!(run(&mut sequence, &batches), "bt tr t t");
        assert!(!sequence.is_complete());
        assert_eq!(run(&mut sequence, &[(8, SnapshotWhole)]), "btf");
        assert!(sequence.is_complete());
    }

    #[test]
    fn a_snapshot_behind_a_gap_needs_no_question() {
        let mut sequence = Sequence::new(true);
        assert_eq!(run(&mut sequence, &[(5, SnapshotWhole), (6, Delta)]), "btf t");
    }

    #[test]
    fn what_was_seen_is_not_taken_twice() {
        let mut sequence = Sequence::new(true);
        assert_eq!(run(&mut sequence, &[(1, Delta), (1, Delta), (0, SnapshotWhole), (2, Delta)]), "t   t");
    }

    #[test]
    fn a_snapshot_that_does_not_come_is_asked_for_again() {
        let mut sequence = Sequence::new(true);
        assert!(sequence.accept(3, Delta, Millis(0)).resync.is_some());
        assert_eq!(sequence.remind(Millis(29_999)), None);
        assert!(sequence.remind(Millis(30_000)).is_some());
        assert_eq!(sequence.remind(Millis(30_001)), None);
    }
}
