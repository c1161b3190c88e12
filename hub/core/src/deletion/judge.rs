//! Whether a removal may go at once or waits for approval.

use std::fmt;

use starling_model::{Millis, ResourceName};

use super::budget;
use crate::fleet::{ClusterInput, Fleet};

/// What brought a removal about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The assignment was deleted by a committed Tombstone document.
    Deleted,
    /// The assignment's selector changed.
    Selector,
    /// A cluster moved to another workspace or another name.
    Moved,
    /// A cluster's labels changed.
    Labels,
    /// The assignment's instance or namespace changed, or its kind of source.
    Identity,
    /// A cluster whose policy is `Delete` was deleted.
    Detached,
    /// A fact that an agent reported changed; always waits for approval.
    Facts,
}

/// The judgement of one removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes.
    Go,
    /// It waits, whole, for the reason given.
    Wait(String),
}

/// Judges the removal of `asked` installs of an addon that has `installs`, over the ledger of `spent`. Nothing held needs no
/// budget.
#[must_use]
pub fn judge(spent: &Fleet, now: Millis, addon: &ResourceName, installs: u64, cause: Cause, asked: u64) -> Verdict {
    if asked == 0 {
        return Verdict::Go;
    }
    if cause == Cause::Facts {
        return Verdict::Wait(format!("{cause}, which always needs approval"));
    }
    match budget::check(spent.spent().map(AsRef::as_ref), now, addon, installs, asked) {
        Ok(()) => Verdict::Go,
        Err(over) => Verdict::Wait(format!("{cause}: {over}")),
    }
}

/// Judges the removal of `asked` installs of whatever addons by the budget of the whole fleet.
#[must_use]
pub fn judge_all(spent: &Fleet, now: Millis, cause: Cause, asked: u64) -> Verdict {
    match budget::check_fleet(spent.spent().map(AsRef::as_ref), now, asked) {
        Ok(()) => Verdict::Go,
        Err(over) => Verdict::Wait(format!("{cause}: {over}")),
    }
}

/// Counts the installs that an addon is meant to have.
#[must_use]
pub fn installs_of(fleet: &Fleet, addon: &ResourceName) -> u64 {
    let assignments: Vec<_> = fleet.assignments().filter(|assignment| assignment.record.addon == *addon).collect();
    let on_cluster = |cluster: &ClusterInput| {
        assignments.iter().filter(|assignment| cluster.is_selected_by(assignment.document())).count() as u64
    };
    fleet.managed_clusters().filter(|cluster| fleet.is_attached(cluster.id)).map(|cluster| on_cluster(&cluster)).sum()
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deleted => "the assignment was deleted",
            Self::Selector => "the assignment's selector changed",
            Self::Moved => "clusters moved",
            Self::Labels => "labels of clusters changed",
            Self::Identity => "the assignment's instance, namespace or kind of source changed",
            Self::Detached => "the cluster was deleted, and its deletionPolicy is Delete",
            Self::Facts => "reported facts changed",
        })
    }
}
