//! What follows from changed resources: clusters that assignments no longer select, and other revisions.
//!
//! The fleet before and the fleet after are compared; nothing else tells what was planned. Only what the changed
//! resources can have touched is looked at, so that adopting one cluster of ten thousand costs one cluster.

use std::collections::{BTreeMap, BTreeSet};

use starling_model::{ClusterId, Uid};

use super::detach::withdraw_proposals;
use super::draft::Draft;
use super::mint::{Authority, Removal, mint, propose};
use super::take::drop_empty_workspaces;
use super::{Context, revise};
use crate::change::Change;
use crate::deletion::{Cause, Verdict, among, holding};
use crate::fleet::AssignmentInput;
use crate::records::{AssignmentRecord, ClusterSet, ProposalKind, ProposalRecord, TombstoneRecord, TombstoneScope};
use crate::resources::{Kind, PLATFORM_NAMESPACE, Resource};

/// Judges every deselection that the draft's changes bring about, then moves assignments to their new revisions.
pub(super) fn settle(draft: &mut Draft<'_>, context: &mut Context<'_>) {
    let moved = carry_tombstones_along(draft, context);
    for (assignment, (cause, clusters)) in deselections(draft, &moved) {
        deselect(draft, context, assignment, cause, &clusters);
    }
    revise::revise_touched(draft, context);
    shrink_proposals(draft);
    drop_empty_workspaces(draft);
    withdraw_detachments(draft);
}

/// Finds the clusters that each assignment selected before and does not select after, with the cause.
fn deselections(draft: &Draft<'_>, moved: &BTreeSet<ClusterId>) -> BTreeMap<Uid, (Cause, BTreeSet<ClusterId>)> {
    let mut found: BTreeMap<Uid, (Cause, BTreeSet<ClusterId>)> = BTreeMap::new();
    for key in draft.touched.iter().filter(|key| key.kind == Kind::AddonAssignment) {
        let Some((before, after)) = same_incarnation(draft, &key.namespace, &key.name) else { continue };
        let Resource::AddonAssignment(after) = &after.resource else { continue };
        if before.document().spec.cluster_selector == after.spec.cluster_selector {
            continue;
        }
        let gone: BTreeSet<ClusterId> =
            draft.before.selected(before.document()).difference(&draft.after.selected(after)).copied().collect();
        found.insert(before.record.uid, (Cause::Selector, still_managed(draft, gone)));
    }
    for cluster in touched_clusters(draft) {
        let (Some(before), Some(after)) = (draft.before.cluster(cluster), draft.after.cluster(cluster)) else {
            continue;
        };
        let cause = if moved.contains(&cluster) { Cause::Moved } else { Cause::Labels };
        for assignment in draft.before.assignments_for(&before) {
            let name = &assignment.record.name;
            let Some((_, now)) = same_incarnation(draft, &name.namespace, &name.name) else { continue };
            let Resource::AddonAssignment(document) = &now.resource else { continue };
            if !after.is_selected_by(document) && draft.after.is_attached(cluster) {
                found.entry(assignment.record.uid).or_insert((cause, BTreeSet::new())).1.insert(cluster);
            }
        }
    }
    found.retain(|_, (_, clusters)| !clusters.is_empty());
    found
}

/// Returns an assignment as it was, and its document as it is, if it is still the same incarnation.
fn same_incarnation(
    draft: &Draft<'_>,
    namespace: &str,
    name: &str,
) -> Option<(AssignmentInput, std::sync::Arc<crate::records::InputRecord>)> {
    let before = draft.before.assignment_named(namespace, name)?;
    let after = draft.after.input(&before.input.resource.key())?;
    (after.uid == before.input.uid).then(|| (before, std::sync::Arc::clone(after)))
}

/// Leaves out clusters that are no longer managed: what they hold is theirs.
pub(super) fn still_managed(draft: &Draft<'_>, clusters: BTreeSet<ClusterId>) -> BTreeSet<ClusterId> {
    clusters.into_iter().filter(|id| draft.after.cluster(*id).is_some() && draft.after.is_attached(*id)).collect()
}

fn touched_clusters(draft: &Draft<'_>) -> BTreeSet<ClusterId> {
    let fleets = [draft.before, &draft.after];
    let keys = draft.touched.iter().filter(|key| key.kind == Kind::ManagedCluster);
    keys.flat_map(|key| fleets.map(|fleet| fleet.cluster_named(&key.namespace, &key.name)))
        .flatten()
        .map(|cluster| cluster.id)
        .collect()
}

fn deselect(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    assignment: Uid,
    cause: Cause,
    clusters: &BTreeSet<ClusterId>,
) {
    let Some(record) = draft.before.assignment(assignment).cloned() else { return };
    // An assignment that never had a revision never reached a cluster, but one that was made again while its deletion waited
    // may be blocked, and what it was before is held still.
    if record.revision.is_none() && !is_said_to_be_held(draft, context, &record) {
        return;
    }
    let holding = among(clusters.iter().copied(), &draft.after, context.heard, assignment, &record.install, clusters);
    let mut removal = Removal {
        assignment,
        name: record.name.clone(),
        addon: record.addon.clone(),
        install: record.install.clone(),
        installs: holding.count(),
        reason: cause.to_string(),
    };
    match draft.judge(context, &record.addon, cause, holding.count()) {
        // Also where nothing is held: an agent may be applying just now.
        Verdict::Go => {
            let scope = TombstoneScope::Clusters(ClusterSet(clusters.clone()));
            mint(draft, context, &removal, scope, Authority::Budget);
        }
        Verdict::Wait(reason) => {
            removal.reason = reason;
            propose(draft, context, &removal, &ProposalKind::Deselect, clusters);
        }
    }
}

/// Tells whether any cluster of the fleet said that it holds an assignment.
fn is_said_to_be_held(draft: &Draft<'_>, context: &Context<'_>, record: &AssignmentRecord) -> bool {
    !holding(&draft.after, context.heard, record.uid, &record.install, &BTreeSet::new()).heard.is_empty()
}

/// Copies what its old workspace deleted to a cluster that moves out of its reach, as old as it was; returns the clusters
/// that moved.
fn carry_tombstones_along(draft: &mut Draft<'_>, context: &mut Context<'_>) -> BTreeSet<ClusterId> {
    let mut moved = BTreeSet::new();
    for cluster in touched_clusters(draft) {
        let (Some(before), Some(after)) = (draft.before.cluster(cluster), draft.after.cluster(cluster)) else {
            continue;
        };
        let old = &before.document().metadata.namespace;
        if before.name() != after.name() {
            moved.insert(cluster);
        }
        if *old == after.document().metadata.namespace {
            continue;
        }
        let left_behind: Vec<TombstoneRecord> = draft
            .after
            .tombstones()
            .filter(|record| record.scope == TombstoneScope::All && record.name.namespace == *old)
            .filter(|record| record.name.namespace != PLATFORM_NAMESPACE)
            .map(|record| (**record).clone())
            .collect();
        for record in left_behind {
            let scope = TombstoneScope::Clusters(ClusterSet::from_iter([cluster]));
            draft.change(Change::PutTombstone(TombstoneRecord { id: context.new_uid(), scope, ..record }));
        }
    }
    moved
}

/// Forgets detachments that wait for approval of clusters that are back: their document was found again.
fn withdraw_detachments(draft: &mut Draft<'_>) {
    let is_missing = |fleet: &crate::fleet::Fleet, id: ClusterId| {
        fleet.cluster(id).is_some_and(|cluster| cluster.record.missing.is_some())
    };
    let back: Vec<ClusterId> = touched_clusters(draft)
        .into_iter()
        .filter(|id| is_missing(draft.before, *id) && !is_missing(&draft.after, *id))
        .collect();
    for id in back {
        withdraw_proposals(draft, id);
    }
}

/// Takes clusters out of waiting deselections that are selected again or no longer managed.
fn shrink_proposals(draft: &mut Draft<'_>) {
    let waiting: Vec<ProposalRecord> = draft
        .after
        .proposals()
        .filter(|record| record.kind == ProposalKind::Deselect)
        .map(|record| (**record).clone())
        .collect();
    for record in waiting {
        let name = &record.name;
        let assignment = draft
            .after
            .assignment_named(&name.namespace, &name.name)
            .filter(|assignment| assignment.record.uid == record.assignment);
        let waits = |id: &ClusterId| {
            draft.after.is_attached(*id)
                && draft.after.cluster(*id).is_some_and(|cluster| {
                    assignment.as_ref().is_none_or(|assignment| {
                        assignment.record.install != record.install || !cluster.is_selected_by(assignment.document())
                    })
                })
        };
        let rest: BTreeSet<ClusterId> = record.clusters.0.iter().copied().filter(waits).collect();
        if rest.is_empty() {
            draft.audit("proposal-withdrawn", &record.name, "nothing of it is left");
            draft.change(Change::DeleteProposal(record.id));
        } else if rest.len() < record.clusters.0.len() {
            draft.change(Change::PutProposal(ProposalRecord { clusters: ClusterSet(rest), ..record }));
        }
    }
}
