//! Whose plan two fleets can differ in.

use std::collections::BTreeSet;
use std::sync::Arc;

use starling_hub_core::fleet::{Fleet, Touched};
use starling_hub_core::records::InputRecord;
use starling_hub_core::resources::{Kind, Resource};
use starling_model::{ClusterId, Uid};

/// The clusters that have to be planned again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Affected {
    /// Every cluster.
    All,
    /// These clusters, perhaps none.
    Some(BTreeSet<ClusterId>),
}

/// Tells what a fleet noted of its changes, and compares where it did not.
///
/// A joining cluster changes records that no other cluster's plan reads, and ten thousand of them may join at once.
pub(crate) fn affected(old: &Fleet, new: &Fleet) -> Affected {
    match new.touched_since(old) {
        Some(Touched::All) => Affected::All,
        Some(Touched::Some { clusters, assignments }) => {
            Affected::Some(with_selected(clusters, &assignments, old, new))
        }
        None => compare(old, new),
    }
}

/// Adds the clusters that assignments select in either fleet.
fn with_selected(
    mut clusters: BTreeSet<ClusterId>,
    assignments: &BTreeSet<Uid>,
    old: &Fleet,
    new: &Fleet,
) -> BTreeSet<ClusterId> {
    for uid in assignments {
        for fleet in [old, new] {
            if let Some(assignment) = fleet.assignment_of_uid(*uid) {
                clusters.extend(fleet.selected_by(assignment.document()));
            }
        }
    }
    clusters
}

/// Compares by identity what plans are made of; records that did not change are the very same in both fleets.
fn compare(old: &Fleet, new: &Fleet) -> Affected {
    let shared = [Kind::Workspace, Kind::Addon, Kind::AddonAssignment, Kind::Tombstone];
    let same = shared.iter().all(|kind| same_records(old.inputs_of(*kind), new.inputs_of(*kind)))
        && same_records(old.tombstones(), new.tombstones())
        && same_records(old.proposals(), new.proposals())
        && same_records(old.revisions(), new.revisions())
        && old.era() == new.era()
        && old
            .assignments()
            .map(|one| Arc::as_ptr(&one.record))
            .eq(new.assignments().map(|one| Arc::as_ptr(&one.record)));
    if !same {
        return Affected::All;
    }
    let inputs = difference(|| old.inputs_of(Kind::ManagedCluster), || new.inputs_of(Kind::ManagedCluster));
    let identities = difference(|| old.identities(), || new.identities());
    let documents = inputs.iter().filter_map(|record| cluster_of(old, record));
    Affected::Some(documents.chain(identities.iter().map(|record| record.id)).collect())
}

fn cluster_of(fleet: &Fleet, record: &InputRecord) -> Option<ClusterId> {
    let Resource::ManagedCluster(cluster) = &record.resource else { return None };
    Some(cluster.id(fleet.name()))
}

fn same_records<'a, T: 'a>(old: impl Iterator<Item = &'a Arc<T>>, new: impl Iterator<Item = &'a Arc<T>>) -> bool {
    old.map(Arc::as_ptr).eq(new.map(Arc::as_ptr))
}

/// Returns the records that are in one of the two alone.
fn difference<'a, T: 'a, Old, New>(old: impl Fn() -> Old, new: impl Fn() -> New) -> Vec<&'a Arc<T>>
where
    Old: Iterator<Item = &'a Arc<T>>,
    New: Iterator<Item = &'a Arc<T>>,
{
    // Most often nothing differs, which needs no sets.
    if same_records(old(), new()) {
        return Vec::new();
    }
    let before: BTreeSet<_> = old().map(Arc::as_ptr).collect();
    let after: BTreeSet<_> = new().map(Arc::as_ptr).collect();
    let gone = old().filter(|record| !after.contains(&Arc::as_ptr(record)));
    gone.chain(new().filter(|record| !before.contains(&Arc::as_ptr(record)))).collect()
}

#[cfg(test)]
mod tests;
