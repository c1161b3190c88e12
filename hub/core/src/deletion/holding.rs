//! Who holds an install, as far as the hub can tell.

use std::collections::BTreeSet;

use starling_model::{ClusterId, InstallKey, ResourceName, Uid};

use crate::fleet::{ClusterInput, Fleet};
use crate::records::{ClusterStage, ProposalKind, ProposalRecord, TombstoneRecord};
use crate::steward::Heard;

/// The clusters that a removal takes an install from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Those that said they hold it.
    pub heard: BTreeSet<ClusterId>,
    /// Those that may hold it and were not heard in this era.
    pub unheard: BTreeSet<ClusterId>,
    /// Installs beyond the first of a cluster, where all that a cluster holds goes.
    pub more: u64,
}

/// The number of examples that people are shown.
const EXAMPLES: usize = 5;

/// Counts the clusters that hold an install of an assignment: those of `candidates` that were not heard in this era, and
/// those of the whole fleet that said they hold it, unless they are being detached.
#[must_use]
pub fn holding(
    fleet: &Fleet,
    heard: &dyn Heard,
    assignment: Uid,
    install: &InstallKey,
    candidates: &BTreeSet<ClusterId>,
) -> Holding {
    among(fleet.managed_clusters().map(|cluster| cluster.id), fleet, heard, assignment, install, candidates)
}

/// Counts what approving a proposal would remove now, which may have changed since it was made.
#[must_use]
pub fn proposed(fleet: &Fleet, heard: &dyn Heard, proposal: &ProposalRecord) -> Holding {
    let listed = &proposal.clusters.0;
    let (assignment, install) = (proposal.assignment, &proposal.install);
    match proposal.kind {
        // A deletion that is too large for one record waits in several, and is approved whole.
        ProposalKind::Delete => {
            let whole: BTreeSet<ClusterId> =
                siblings(fleet, proposal).flat_map(|sibling| sibling.clusters.0.iter().copied()).collect();
            holding(fleet, heard, assignment, install, &whole)
        }
        ProposalKind::Deselect => among(listed.iter().copied(), fleet, heard, assignment, install, listed),
        ProposalKind::Renew(tombstone) => {
            let reached = fleet.tombstone(tombstone).map(|tombstone| reached(fleet, tombstone)).unwrap_or_default();
            among(reached.iter().copied(), fleet, heard, assignment, install, &reached)
        }
        ProposalKind::Detach => whole_clusters(fleet, heard, listed),
        ProposalKind::Revise(_) => {
            let record = fleet.assignment(assignment);
            let input = record.and_then(|record| fleet.assignment_named(&record.name.namespace, &record.name.name));
            let selected = input.map(|input| fleet.selected(input.document())).unwrap_or_default();
            holding(fleet, heard, assignment, install, &selected)
        }
    }
}

/// Returns the installs that a cluster holds, each with its assignment: what it said, or where it was not heard in this era
/// what it is meant to hold and what it may still hold because its removal waits.
#[must_use]
pub fn held_by(fleet: &Fleet, heard: &dyn Heard, cluster: &ClusterInput) -> BTreeSet<(InstallKey, Uid)> {
    if let Some(held) = heard.installs(&cluster.id) {
        return held;
    }
    let assigned = fleet.assignments_for(cluster).into_iter().filter(|assignment| assignment.record.revision.is_some());
    let assigned = assigned.map(|assignment| (assignment.record.install.clone(), assignment.record.uid));
    let waiting = fleet.proposals().filter(|proposal| match proposal.kind {
        ProposalKind::Delete | ProposalKind::Deselect | ProposalKind::Renew(_) => {
            proposal.clusters.0.contains(&cluster.id)
        }
        ProposalKind::Revise(_) | ProposalKind::Detach => false,
    });
    assigned.chain(waiting.map(|proposal| (proposal.install.clone(), proposal.assignment))).collect()
}

fn whole_clusters(fleet: &Fleet, heard: &dyn Heard, clusters: &BTreeSet<ClusterId>) -> Holding {
    let mut holding = Holding::default();
    for cluster in clusters.iter().filter_map(|id| fleet.cluster(*id)).filter(|cluster| may_lose(fleet, cluster.id)) {
        let Some(more) = held_by(fleet, heard, &cluster).len().checked_sub(1) else { continue };
        holding.more += more as u64;
        let was_heard = heard.installs(&cluster.id).is_some();
        let said = if was_heard { &mut holding.heard } else { &mut holding.unheard };
        said.insert(cluster.id);
    }
    holding
}

/// Tells whether a tombstone can still take something from a cluster: one that lets go keeps what it has.
fn may_lose(fleet: &Fleet, cluster: ClusterId) -> bool {
    match fleet.stage(cluster) {
        ClusterStage::Attached | ClusterStage::Removing { .. } => true,
        ClusterStage::Detaching { .. } | ClusterStage::Detached { .. } => false,
    }
}

/// Returns the proposals that are part of one deletion, the given one among them.
pub(crate) fn siblings<'a>(fleet: &'a Fleet, proposal: &'a ProposalRecord) -> impl Iterator<Item = &'a ProposalRecord> {
    fleet.proposals().map(AsRef::as_ref).filter(move |other| {
        other.assignment == proposal.assignment && other.install == proposal.install && other.kind == proposal.kind
    })
}

/// Returns the managed clusters that a tombstone is for.
pub(crate) fn reached(fleet: &Fleet, tombstone: &TombstoneRecord) -> BTreeSet<ClusterId> {
    fleet
        .managed_clusters()
        .filter(|cluster| tombstone.reaches(cluster.id, &cluster.document().metadata.namespace))
        .map(|cluster| cluster.id)
        .collect()
}

/// Counts those of `clusters` that said they hold the install, or were not heard and are in `candidates`.
pub(crate) fn among(
    clusters: impl Iterator<Item = ClusterId>,
    fleet: &Fleet,
    heard: &dyn Heard,
    assignment: Uid,
    install: &InstallKey,
    candidates: &BTreeSet<ClusterId>,
) -> Holding {
    let mut holding = Holding::default();
    let wanted = (install.clone(), assignment);
    for cluster in clusters.filter(|cluster| may_lose(fleet, *cluster)) {
        match heard.installs(&cluster) {
            Some(installs) if installs.contains(&wanted) => {
                holding.heard.insert(cluster);
            }
            Some(_) => {}
            None if candidates.contains(&cluster) => {
                holding.unheard.insert(cluster);
            }
            None => {}
        }
    }
    holding
}

impl Holding {
    /// Returns how many installs there are: one a cluster, and those beyond.
    #[must_use]
    pub fn count(&self) -> u64 {
        (self.heard.len() + self.unheard.len()) as u64 + self.more
    }

    /// Returns all of them.
    #[must_use]
    pub fn clusters(&self) -> BTreeSet<ClusterId> {
        self.heard.union(&self.unheard).copied().collect()
    }

    /// Returns the names of some of them.
    #[must_use]
    pub fn examples(&self, fleet: &Fleet) -> Vec<ResourceName> {
        let clusters = self.heard.iter().chain(&self.unheard);
        clusters.filter_map(|id| fleet.cluster(*id)).map(|cluster| cluster.name()).take(EXAMPLES).collect()
    }
}
