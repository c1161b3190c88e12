//! Copying one document or object into the fleet, whichever source it comes from.

use std::collections::BTreeSet;

use starling_model::{ClusterId, Uid};

use super::delete::{check_deletable, delete_judged, remove_input};
use super::draft::Draft;
use super::mint::{Removal, propose};
use super::settle::still_managed;
use super::{Context, DocumentProblem, Synced, detach};
use crate::change::Change;
use crate::deletion::among;
use crate::fleet::{AssignmentInput, Problem};
use crate::records::{Absence, DeletedRecord, InputRecord, ObjectOrigin, ProposalKind, ProposalRecord};
use crate::resources::{InputKey, Kind, Resource};

/// A document of a directory, or an object.
pub(super) struct Found<'a> {
    /// The file; empty for an object.
    pub(super) file: &'a str,
    /// The number of its first line there.
    pub(super) line: u64,
    /// What it says.
    pub(super) resource: &'a Resource,
    /// The object; `None` for a document of a directory.
    pub(super) origin: Option<&'a ObjectOrigin>,
    /// Where it comes from, for the audit record.
    pub(super) detail: &'a str,
}

/// What a source says of the documents besides one.
pub(super) trait Source {
    /// Tells whether a resource's document is known not to be there.
    fn is_absent(&self, record: &InputRecord) -> bool;

    /// Tells whether a file that may hold a document cannot be read.
    fn is_unreadable(&self, file: &str) -> bool;
}

/// Copies one document: a new one, a changed one, one that was missing.
pub(super) fn take(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    source: &dyn Source,
    found: &Found<'_>,
    synced: &mut Synced,
) {
    let key = found.resource.key();
    let known = draft.after.input(&key).cloned();
    let own_file = known.as_ref().map(|record| record.file.as_str());
    let own_file = own_file.or_else(|| draft.after.deleted(&key).map(|record| record.file.as_str()));
    if let Some(own_file) = own_file.filter(|own_file| *own_file != found.file && source.is_unreadable(own_file)) {
        let text = format!("its own file {own_file} cannot be read; this copy is not taken");
        let next = format!("make {own_file} readable, or remove it");
        return synced.refuse(found, Problem::new(key, text, next));
    }
    let digest = match &known {
        Some(known) if known.resource == *found.resource => known.digest,
        Some(_) | None => found.resource.digest(),
    };
    if let Some(deleted) = draft.after.deleted(&key) {
        let is_same_text = deleted.digest == digest;
        if is_still_deleted(deleted, found.origin, is_same_text) {
            return;
        }
        draft.change(Change::DeleteDeleted(key.clone()));
    }
    if let Some(message) = changed_identity(draft, &key, found.resource) {
        let next = "restore spec.id, or detach the cluster and adopt it again";
        return synced.refuse(found, Problem::new(key, message, next));
    }
    let common = |record: InputRecord| InputRecord {
        resource: found.resource.clone(),
        file: found.file.to_owned(),
        missing: None,
        digest,
        origin: found.origin.cloned(),
        ..record
    };
    let record = match &known {
        Some(known) => common(InputRecord { judged: known.judged && known.digest == digest, ..(**known).clone() }),
        None => InputRecord {
            uid: waiting_incarnation(draft, found).unwrap_or_else(|| context.new_uid()),
            resource: found.resource.clone(),
            file: found.file.to_owned(),
            missing: None,
            digest,
            since: context.now,
            judged: false,
            origin: found.origin.cloned(),
        },
    };
    if known.as_deref() == Some(&record) {
        return;
    }
    let action = match &known {
        None => Some("created"),
        Some(known) if known.digest != digest => Some("configured"),
        Some(known) if known.missing.is_some() || known.file != record.file => Some("source-found"),
        // Another generation that says the same.
        Some(_) => None,
    };
    if let Some(action) = action {
        draft.audit(action, &key, found.detail);
        synced.changed += 1;
    }
    make_room(draft, source, found.resource);
    if let Some(known) = &known {
        take_back_detachment(draft, known);
    }
    draft.change(Change::PutInput(record));
}

/// Ends what follows from what was taken: Tombstone documents, and deletions that wait of what is there again.
pub(super) fn finish(draft: &mut Draft<'_>, context: &mut Context<'_>) {
    judge_tombstone_documents(draft, context);
}

/// Forgets the deletions that wait for approval of assignments that are there again under the same install. Clusters of theirs
/// that are not selected any more are not forgotten with them: they hold it still, and wait as a deselection.
pub(super) fn withdraw_deletions(draft: &mut Draft<'_>, context: &mut Context<'_>) {
    let back: Vec<(ProposalRecord, AssignmentInput)> = draft
        .after
        .proposals()
        .filter(|proposal| proposal.kind == ProposalKind::Delete)
        .filter_map(|proposal| {
            let assignment = draft.after.assignment_named(&proposal.name.namespace, &proposal.name.name)?;
            let is_same = assignment.record.uid == proposal.assignment && assignment.record.install == proposal.install;
            is_same.then(|| ((**proposal).clone(), assignment))
        })
        .collect();
    for (proposal, assignment) in back {
        let selected = draft.after.selected(assignment.document());
        let rest = still_managed(draft, proposal.clusters.0.difference(&selected).copied().collect());
        if !rest.is_empty() {
            propose_rest(draft, context, &proposal, &rest);
        }
        draft.audit("proposal-withdrawn", &proposal.name, "the assignment is there again");
        draft.change(Change::DeleteProposal(proposal.id));
    }
}

/// Proposes to take an install from those clusters of a deletion that its assignment does not select now.
fn propose_rest(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    deletion: &ProposalRecord,
    rest: &BTreeSet<ClusterId>,
) {
    let ProposalRecord { assignment, install, .. } = deletion;
    let held = among(rest.iter().copied(), &draft.after, context.heard, *assignment, install, rest);
    let removal = Removal {
        assignment: *assignment,
        name: deletion.name.clone(),
        addon: deletion.addon.clone(),
        install: install.clone(),
        installs: held.count(),
        reason: format!("it was made again and does not select them; before: {}", deletion.reason),
    };
    propose(draft, context, &removal, &ProposalKind::Deselect, rest);
}

/// Tells whether what is there is still what was deleted.
fn is_still_deleted(deleted: &DeletedRecord, origin: Option<&ObjectOrigin>, is_same_text: bool) -> bool {
    match (&deleted.origin, origin) {
        // Labels and annotations, which controllers write, too, do not bring an object back; its owner's next edit does.
        (Some(deleted), Some(found)) => {
            deleted.uid == found.uid && (is_same_text || deleted.generation == found.generation)
        }
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => is_same_text,
    }
}

/// Returns the incarnation of an assignment whose deletion waits for approval: whoever makes its object again has it again.
/// In a directory the document that deleted it may still be there, and names that incarnation.
fn waiting_incarnation(draft: &Draft<'_>, found: &Found<'_>) -> Option<Uid> {
    let key = found.resource.key();
    if key.kind != Kind::AddonAssignment || found.origin.is_none() {
        return None;
    }
    let name = key.resource_name();
    let waits =
        |proposal: &&std::sync::Arc<ProposalRecord>| proposal.kind == ProposalKind::Delete && proposal.name == name;
    let uid = draft.after.proposals().find(waits)?.assignment;
    draft.after.assignment(uid).is_none().then_some(uid)
}

fn changed_identity(draft: &Draft<'_>, key: &InputKey, resource: &Resource) -> Option<String> {
    let Resource::ManagedCluster(cluster) = resource else { return None };
    let known = draft.after.cluster_named(&key.namespace, &key.name)?;
    let id = cluster.id(draft.after.name());
    (known.id != id).then(|| format!("spec.id is immutable: it is {}, not {id}", known.id))
}

/// Ends a cluster's old name when its document has gone and another names the same identity: that is a move, not a deletion.
fn make_room(draft: &mut Draft<'_>, source: &dyn Source, resource: &Resource) {
    let Resource::ManagedCluster(cluster) = resource else { return };
    let id = cluster.id(draft.after.name());
    let key = resource.key();
    let claims = draft.after.claims(id).filter(|claim| **claim != key);
    let vacated: Vec<_> = claims
        .filter_map(|claim| draft.after.input(claim))
        .filter(|record| source.is_absent(record))
        .map(std::sync::Arc::clone)
        .collect();
    for record in vacated {
        let old = record.resource.key();
        draft.audit("cluster-moved", &old, format!("to {}", key.qualified()));
        take_back_detachment(draft, &record);
        draft.change(Change::DeleteInput(old));
    }
}

/// Lets a cluster stay whose object was deleted, and is there again before its agent let go.
fn take_back_detachment(draft: &mut Draft<'_>, record: &InputRecord) {
    let absence = record.origin.as_ref().and_then(|origin| origin.absence);
    let Resource::ManagedCluster(cluster) = &record.resource else { return };
    if absence == Some(Absence::Detaching) {
        detach::take_back(draft, cluster.id(draft.after.name()));
    }
}

/// Carries out the Tombstone documents that name a resource of the fleet, each once.
fn judge_tombstone_documents(draft: &mut Draft<'_>, context: &mut Context<'_>) {
    let waiting: Vec<InputRecord> = draft
        .after
        .inputs_of(Kind::Tombstone)
        .filter(|record| !record.judged && record.missing.is_none())
        .map(|record| (**record).clone())
        .collect();
    for record in waiting {
        if judge_one(draft, context, &record) {
            draft.change(Change::PutInput(InputRecord { judged: true, ..record }));
        }
    }
}

/// Carries out one Tombstone document; false if it names nothing that can be deleted now.
fn judge_one(draft: &mut Draft<'_>, context: &mut Context<'_>, record: &InputRecord) -> bool {
    let Resource::Tombstone(tombstone) = &record.resource else { return false };
    let Some(target) = draft.after.tombstone_target(tombstone) else {
        let uid = tombstone.spec.uid;
        return draft.after.tombstones().any(|record| record.assignment == uid)
            || draft.after.proposals().any(|record| record.assignment == uid)
            || draft.after.all_deleted().any(|record| record.uid == uid);
    };
    let key = target.resource.key();
    match key.kind {
        Kind::AddonAssignment => match draft.after.assignment_named(&key.namespace, &key.name) {
            Some(assignment) => {
                let reason = format!("deleted by {}", record.resource.key());
                delete_judged(draft, context, &assignment, &reason);
            }
            // Made in this very sync, so that nobody can hold it.
            None => drop(remove_input(draft, context, &target)),
        },
        Kind::ManagedCluster => {
            let Some(cluster) = draft.after.cluster_named(&key.namespace, &key.name) else { return false };
            detach::begin(draft, context, &cluster, false);
        }
        Kind::Workspace | Kind::Addon => {
            if check_deletable(&draft.after, &key).is_err() {
                return false;
            }
            remove_input(draft, context, &target);
        }
        Kind::Tombstone => return false,
    }
    true
}

/// Forgets workspaces whose object was deleted while somebody was in them, once nobody is.
pub(super) fn drop_empty_workspaces(draft: &mut Draft<'_>) {
    let is_deleted = |record: &InputRecord| {
        record.origin.as_ref().is_some_and(|origin| origin.absence == Some(Absence::InUse)) && record.missing.is_some()
    };
    let deleted: BTreeSet<InputKey> = draft
        .after
        .inputs_of(Kind::Workspace)
        .filter(|record| is_deleted(record))
        .map(|record| record.resource.key())
        .filter(|key| check_deletable(&draft.after, key).is_ok())
        .collect();
    for key in deleted {
        draft.audit("deleted", &key, "its object was deleted before, and it is empty now");
        draft.change(Change::DeleteInput(key));
    }
}

impl Synced {
    pub(super) fn refuse(&mut self, found: &Found<'_>, problem: Problem) {
        self.problems.push(DocumentProblem { file: found.file.to_owned(), line: found.line, problem });
    }
}
