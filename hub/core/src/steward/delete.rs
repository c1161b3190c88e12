//! Deleting a resource: what it would take away, and taking it away once that was confirmed.

use std::collections::BTreeSet;

use starling_model::{ClusterId, ErrorCode};

use super::draft::Draft;
use super::mint::{Authority, Removal, mint, propose};
use super::revise::forget;
use super::settle::settle;
use super::{Answer, Context, Decision, Delete, Deletion, Refusal};
use crate::change::Change;
use crate::deletion::{Cause, Holding, Verdict, holding};
use crate::fleet::{AssignmentInput, Fleet};
use crate::records::{ClusterSet, DeletedRecord, InputRecord, ProposalKind, TombstoneScope};
use crate::resources::{InputKey, Kind, PLATFORM_NAMESPACE};

pub(super) fn decide(fleet: &Fleet, delete: &Delete, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let key = &delete.key;
    let record = fleet.input(key).ok_or_else(|| Refusal::not_found(key.kind, &key.qualified()))?;
    check_deletable(fleet, key)?;
    let assignment = fleet.assignment_named(&key.namespace, &key.name).filter(|_| key.kind == Kind::AddonAssignment);
    let held = assignment.as_ref().map(|assignment| held_by(fleet, context, assignment)).unwrap_or_default();
    let mut deletion = Deletion {
        uid: Some(record.uid),
        installs: held.count(),
        clusters: held.count(),
        unheard: held.unheard.len() as u64,
        examples: held.examples(fleet),
        deleted: false,
        remove: None,
    };
    let mut draft = Draft::new(fleet, context);
    let Some(approved) = delete.approved_count else {
        return Ok(draft.decision(Answer::Deletion(deletion), context));
    };
    if held.count() > approved {
        return Err(over_count(held.count(), approved));
    }
    if let Some(assignment) = &assignment {
        let reason = format!("deleted by {}", context.actor);
        let removal = removal(assignment, &held, reason);
        let foreign = foreign_clusters(fleet, assignment, &held);
        forget(&mut draft, &assignment.record, &assignment.record.name);
        mint_whole(&mut draft, context, &removal, &foreign, Authority::Approval);
    }
    deletion.remove = remove_input(&mut draft, context, record);
    deletion.deleted = true;
    settle(&mut draft, context);
    Ok(draft.decision(Answer::Deletion(deletion), context))
}

/// Deletes an assignment on evidence that nobody was shown a count for: at once where the budget allows it, else as a proposal.
pub(super) fn delete_judged(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    assignment: &AssignmentInput,
    reason: &str,
) {
    let name = &assignment.record.name;
    // What clusters may hold was selected by the documents before this change.
    let basis = draft.before.assignment_named(&name.namespace, &name.name);
    let basis = basis.filter(|before| before.record.uid == assignment.record.uid);
    let held = held_by(draft.before, context, basis.as_ref().unwrap_or(assignment));
    let mut removal = removal(assignment, &held, reason.to_owned());
    let foreign = foreign_clusters(draft.before, assignment, &held);
    let verdict = draft.judge(context, &removal.addon, Cause::Deleted, held.count());
    forget(draft, &assignment.record, &assignment.record.name);
    match verdict {
        Verdict::Go => mint_whole(draft, context, &removal, &foreign, Authority::Budget),
        Verdict::Wait(reason) => {
            removal.reason = reason;
            let clusters = held.clusters().union(&foreign).copied().collect();
            propose(draft, context, &removal, &ProposalKind::Delete, &clusters);
        }
    }
    remove_input(draft, context, &assignment.input);
}

/// Refuses what another command does, and a workspace that somebody is still in.
pub(super) fn check_deletable(fleet: &Fleet, key: &InputKey) -> Result<(), Refusal> {
    match key.kind {
        Kind::ManagedCluster => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("a cluster is detached: run `starling detach cluster {} --workspace {}`", key.name, key.namespace),
        )),
        Kind::Workspace => {
            let members: Vec<String> = [Kind::ManagedCluster, Kind::AddonAssignment, Kind::Addon]
                .into_iter()
                .map(|kind| (kind, fleet.inputs_in(kind, &key.name).count()))
                .filter(|(_, count)| *count > 0)
                .map(|(kind, count)| format!("{count} {}{}", kind.word(), if count == 1 { "" } else { "s" }))
                .collect();
            if members.is_empty() {
                return Ok(());
            }
            let text = format!("workspace {} still has {}: delete or detach these first", key.name, members.join(", "));
            Err(Refusal::new(ErrorCode::Conflict, text))
        }
        Kind::Addon | Kind::AddonAssignment | Kind::Tombstone => Ok(()),
    }
}

/// Forgets a resource; while its document is still in the directory, it counts as deleted. Returns the edit to make.
pub(super) fn remove_input(
    draft: &mut Draft<'_>,
    context: &Context<'_>,
    record: &InputRecord,
) -> Option<(String, InputKey)> {
    let key = record.resource.key();
    draft.change(Change::DeleteInput(key.clone()));
    draft.audit("deleted", &key, format!("uid {}", record.uid));
    if record.missing.is_some() {
        return None;
    }
    draft.change(Change::PutDeleted(DeletedRecord {
        key: key.clone(),
        uid: record.uid,
        digest: record.digest,
        file: record.file.clone(),
        deleted: context.now,
        origin: record.origin.clone(),
    }));
    Some((record.file.clone(), key))
}

/// Mints the tombstone of a whole assignment, and one of their own for clusters that have left its workspace.
pub(super) fn mint_whole(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    removal: &Removal,
    foreign: &BTreeSet<ClusterId>,
    authority: Authority,
) {
    mint(draft, context, removal, TombstoneScope::All, authority);
    if !foreign.is_empty() {
        let scope = TombstoneScope::Clusters(ClusterSet(foreign.clone()));
        // The whole was charged above.
        mint(draft, context, &Removal { installs: 0, ..removal.clone() }, scope, authority);
    }
}

/// Refuses an approval that was given for less.
pub(super) fn over_count(count: u64, approved: u64) -> Refusal {
    let text =
        format!("{count} installs would go now, and {approved} were approved: look again, then pass --approve {count}");
    Refusal::new(ErrorCode::ApprovalRequired, text)
}

fn removal(assignment: &AssignmentInput, held: &Holding, reason: String) -> Removal {
    Removal {
        assignment: assignment.record.uid,
        name: assignment.record.name.clone(),
        addon: assignment.record.addon.clone(),
        install: assignment.record.install.clone(),
        installs: held.count(),
        reason,
    }
}

/// Counts who holds an assignment: whom it selects, and whom it no longer selects and still waits for approval.
fn held_by(fleet: &Fleet, context: &Context<'_>, assignment: &AssignmentInput) -> Holding {
    let mut candidates = fleet.selected(assignment.document());
    candidates.extend(awaiting(fleet, assignment));
    holding(fleet, context.heard, assignment.record.uid, &assignment.record.install, &candidates)
}

fn awaiting(fleet: &Fleet, assignment: &AssignmentInput) -> BTreeSet<ClusterId> {
    fleet
        .proposals()
        .filter(|proposal| proposal.assignment == assignment.record.uid && proposal.kind == ProposalKind::Deselect)
        .flat_map(|proposal| proposal.clusters.0.iter().copied())
        .collect()
}

/// Returns the clusters that may hold an assignment and that a tombstone for its workspace does not reach.
fn foreign_clusters(fleet: &Fleet, assignment: &AssignmentInput, held: &Holding) -> BTreeSet<ClusterId> {
    let namespace = &assignment.record.name.namespace;
    if namespace == PLATFORM_NAMESPACE {
        return BTreeSet::new();
    }
    let is_foreign =
        |id: &ClusterId| fleet.cluster(*id).is_some_and(|cluster| cluster.document().metadata.namespace != *namespace);
    held.clusters().into_iter().chain(awaiting(fleet, assignment)).filter(is_foreign).collect()
}
