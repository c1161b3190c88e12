//! The status of an AddonAssignment.

use super::conditions::{Draft, kept};
use super::counts::Tally;
use super::judge::{Judge, Subject, count};
use crate::resources::AddonAssignment;
use crate::resources::status::{AssignmentStatus, Condition, READY, REMOVAL_WAITS};

pub(super) fn fill(
    judge: &Judge<'_>,
    subject: &Subject<'_>,
    document: &AddonAssignment,
    status: &mut AssignmentStatus,
    present: &[Condition],
) -> Vec<Condition> {
    let uid = subject.record.uid;
    let settle = |draft: Draft| draft.settle(present, subject.generation, judge.now);
    let mut conditions = Vec::new();
    if let Some(revision) = judge.fleet.assignment(uid).and_then(|record| record.revision) {
        status.revision = revision.short();
        status.version = judge.fleet.revision(&revision).map_or_else(String::new, |record| record.version.clone());
    }
    let selected = judge.counts.selected.get(&uid).copied().unwrap_or_default();
    status.selected = Some(count(selected));
    if judge.settled || status.applied.is_none() {
        let tally = judge.tallies.get(&uid).copied().unwrap_or_default();
        status.applied = Some(count(tally.applied));
        status.ready = Some(count(tally.ready));
        status.failing = Some(count(tally.failing));
        status.blocked = Some(count(tally.blocked));
        conditions.push(settle(ready(document, selected, tally)));
    } else {
        // Counts over the clusters that happened to be back first would only mislead.
        conditions.extend(kept(present, &[READY]));
    }
    conditions.push(settle(removal(judge, subject)));
    conditions
}

fn ready(document: &AddonAssignment, selected: u64, tally: Tally) -> Draft {
    let Tally { ready, failing, blocked, .. } = tally;
    let text = format!("{ready} of {selected} clusters are ready, {failing} are failing, {blocked} are blocked");
    if document.spec.paused {
        return Draft::is_not(READY, "Paused", format!("spec.paused is set: what is installed stays as it is; {text}"));
    }
    if selected == 0 {
        return Draft::is(READY, "NothingSelected", "the selector matches no cluster");
    }
    if failing > 0 {
        return Draft::is_not(READY, "Failing", text);
    }
    if blocked > 0 {
        return Draft::is_not(READY, "Blocked", text);
    }
    if ready < selected {
        return Draft::is_not(READY, "Progressing", text);
    }
    Draft::is(READY, "AllReady", format!("{ready} of {selected} clusters are ready"))
}

fn removal(judge: &Judge<'_>, subject: &Subject<'_>) -> Draft {
    let Some(removal) = judge.counts.removals.get(&subject.record.uid) else {
        return Draft::is_not(REMOVAL_WAITS, "NothingWaits", "");
    };
    let text = format!(
        "{}; it concerns {} clusters, which keep what they have until somebody approves: `starling approve` lists what waits",
        removal.reason, removal.clusters
    );
    Draft::is(REMOVAL_WAITS, "ApprovalNeeded", text)
}
