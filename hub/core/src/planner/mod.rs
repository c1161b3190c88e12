//! The planner: what one cluster should have now, as a pure function of the fleet and the cluster's facts.
//!
//! Owns rendering, revisions and plans. Does not own when an assignment moves to another revision, nor what is removed:
//! the steward decides these, with the budget, and the planner reads its records. No reason of one install holds up
//! another.

mod kubernetes;
mod objects;
mod revision;

use std::collections::BTreeMap;
use std::collections::btree_map;

use starling_model::{
    Action, BlockedReason, ClusterId, Detach, Digest, Entry, Facts, Guard, InstallKey, KeepReason, Plan, Tombstone, Uid,
};

use crate::fleet::{AssignmentInput, ClusterInput, Fleet};
use crate::records::{ClusterStage, ProposalKind, RevisionRecord};

pub use kubernetes::{KubernetesRange, RangeError};
pub use revision::{Ingredients, OWN_NAMESPACES, removes_workloads, revise};

/// The version of the renderer, part of every revision: it changes when the same documents render to other objects.
pub const RENDERER_VERSION: u32 = 1;

/// Computes the plan of a cluster, which has at most one entry for an install.
///
/// A cluster without a ManagedCluster, and a revoked one, has an empty plan, which removes nothing. A plan that has an entry
/// for an install has no tombstone for it.
#[must_use]
pub fn plan(fleet: &Fleet, cluster: ClusterId, facts: &Facts) -> Plan {
    let mut plan = Plan {
        position: fleet.position(),
        facts: facts.digest(),
        entries: Vec::new(),
        tombstones: Vec::new(),
        detach: None,
    };
    let Some(input) = fleet.cluster(cluster) else { return plan };
    if input.document().spec.revoked {
        return plan;
    }
    match fleet.stage(cluster) {
        ClusterStage::Attached => {}
        ClusterStage::Removing { .. } => return emptying(fleet, &input, plan),
        ClusterStage::Detaching { .. } | ClusterStage::Detached { .. } => {
            plan.detach = Some(Detach::Orphan);
            return plan;
        }
    }
    let mut entries: BTreeMap<InstallKey, Entry> = BTreeMap::new();
    for assignment in fleet.assignments_for(&input) {
        if let btree_map::Entry::Vacant(place) = entries.entry(assignment.record.install.clone()) {
            let action = action(fleet, &input, &assignment, facts);
            place.insert(entry(&assignment, action));
        }
    }
    keep_what_awaits_approval(fleet, cluster, &mut entries);
    if !input.document().spec.paused {
        plan.tombstones = tombstones(fleet, &input, &entries);
    }
    if Guard::Planner.is_broken() {
        entries.pop_last();
    }
    plan.entries = entries.into_values().collect();
    plan
}

/// Completes the plan of a cluster that is being emptied: it gets nothing new, and loses what tombstones name.
fn emptying(fleet: &Fleet, cluster: &ClusterInput, mut plan: Plan) -> Plan {
    let mut entries = BTreeMap::new();
    keep_what_awaits_approval(fleet, cluster.id, &mut entries);
    if !cluster.document().spec.paused {
        plan.tombstones = tombstones(fleet, cluster, &entries);
    }
    plan.entries = entries.into_values().collect();
    plan
}

/// Returns the assignments that select a cluster and have no place in its plan, because an older one has the install's name.
#[must_use]
pub fn collisions(fleet: &Fleet, cluster: ClusterId) -> Vec<Entry> {
    let Some(input) = fleet.cluster(cluster).filter(|_| fleet.is_attached(cluster)) else { return Vec::new() };
    let mut owners: BTreeMap<InstallKey, String> = BTreeMap::new();
    let mut losers = Vec::new();
    for assignment in fleet.assignments_for(&input) {
        match owners.entry(assignment.record.install.clone()) {
            btree_map::Entry::Vacant(place) => drop(place.insert(assignment.record.name.to_string())),
            btree_map::Entry::Occupied(owner) => {
                let reason = BlockedReason::NameCollision(owner.get().clone());
                losers.push(entry(&assignment, Action::Blocked(reason)));
            }
        }
    }
    losers
}

fn entry(assignment: &AssignmentInput, action: Action) -> Entry {
    Entry {
        install: assignment.record.install.clone(),
        assignment: assignment.record.uid,
        assignment_name: assignment.record.name.to_string(),
        revision: assignment.record.revision.unwrap_or_default(),
        action,
    }
}

fn action(fleet: &Fleet, cluster: &ClusterInput, assignment: &AssignmentInput, facts: &Facts) -> Action {
    if cluster.document().spec.paused {
        return Action::Keep(KeepReason::ClusterPaused);
    }
    if assignment.document().spec.paused {
        return Action::Keep(KeepReason::AssignmentPaused);
    }
    if let Some(reason) = &assignment.record.blocked {
        return Action::Blocked(reason.clone());
    }
    let Some(revision) = assignment.record.revision.and_then(|digest| fleet.revision(&digest)) else {
        return Action::Blocked(BlockedReason::Invalid("the assignment has no revision yet".to_owned()));
    };
    match fits(revision, facts) {
        Ok(()) => Action::Render(revision.render.clone()),
        Err(reason) => Action::Blocked(reason),
    }
}

fn fits(revision: &RevisionRecord, facts: &Facts) -> Result<(), BlockedReason> {
    let Some(text) = &revision.kubernetes else { return Ok(()) };
    let range = KubernetesRange::parse(text).map_err(|error| BlockedReason::Invalid(error.to_string()))?;
    if facts.kubernetes_version.is_empty() {
        return Err(BlockedReason::KubernetesUnknown);
    }
    let version = &facts.kubernetes_version;
    match range.contains(version) {
        Some(true) => Ok(()),
        Some(false) => Err(BlockedReason::KubernetesOutOfRange(format!(
            "{} {} needs Kubernetes {text}, and the cluster runs {version}",
            revision.addon, revision.version
        ))),
        None => Err(BlockedReason::KubernetesOutOfRange(format!(
            "{} {} needs Kubernetes {text}, and the cluster's version {version:?} cannot be read",
            revision.addon, revision.version
        ))),
    }
}

fn keep_what_awaits_approval(fleet: &Fleet, cluster: ClusterId, entries: &mut BTreeMap<InstallKey, Entry>) {
    for proposal in fleet.proposals() {
        let removes_this = match proposal.kind {
            ProposalKind::Delete | ProposalKind::Deselect | ProposalKind::Renew(_) => {
                proposal.clusters.0.contains(&cluster)
            }
            // Until it is approved, the assignment's present revision is planned.
            ProposalKind::Revise(_) | ProposalKind::Detach => false,
        };
        if removes_this {
            entries.entry(proposal.install.clone()).or_insert_with(|| Entry {
                install: proposal.install.clone(),
                assignment: proposal.assignment,
                assignment_name: proposal.name.to_string(),
                revision: Digest::default(),
                action: Action::Keep(KeepReason::RemovalAwaitsApproval(proposal.id)),
            });
        }
    }
}

fn tombstones(fleet: &Fleet, cluster: &ClusterInput, entries: &BTreeMap<InstallKey, Entry>) -> Vec<Tombstone> {
    let mut tombstones: BTreeMap<Uid, Tombstone> = BTreeMap::new();
    for record in fleet.tombstones_for(cluster.id, &cluster.document().metadata.namespace) {
        if !entries.contains_key(&record.install) {
            let (assignment, install, minted) = (record.assignment, record.install.clone(), record.minted);
            tombstones.insert(record.id, Tombstone { id: record.id, assignment, install, minted });
        }
    }
    tombstones.into_values().collect()
}

#[cfg(test)]
mod tests;
