//! Who holds an install, as far as the hub can tell.

use std::collections::BTreeSet;

use starling_model::{ClusterId, InstallKey, ResourceName, Uid};

use crate::fleet::Fleet;
use crate::records::{ProposalKind, ProposalRecord, TombstoneRecord};
use crate::steward::Heard;

/// The clusters that a removal takes an install from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Those that said they hold it.
    pub heard: BTreeSet<ClusterId>,
    /// Those that may hold it and were not heard in this era.
    pub unheard: BTreeSet<ClusterId>,
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
        ProposalKind::Revise(_) => {
            let record = fleet.assignment(assignment);
            let input = record.and_then(|record| fleet.assignment_named(&record.name.namespace, &record.name.name));
            let selected = input.map(|input| fleet.selected(input.document())).unwrap_or_default();
            holding(fleet, heard, assignment, install, &selected)
        }
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
    for cluster in clusters.filter(|cluster| fleet.is_attached(*cluster)) {
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
    /// Returns how many clusters there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        (self.heard.len() + self.unheard.len()) as u64
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
