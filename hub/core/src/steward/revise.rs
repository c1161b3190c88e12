//! Moving assignments to the revisions that their documents now ask for.

use std::collections::BTreeSet;
use std::sync::Arc;

use starling_model::{BlockedReason, ResourceName, Uid};

use super::Context;
use super::draft::Draft;
use super::mint::{Authority, Removal, mint, propose};
use crate::change::Change;
use crate::deletion::{Cause, Verdict, holding};
use crate::planner::{Ingredients, removes_workloads, revise};
use crate::records::{AssignmentRecord, InputRecord, ProposalKind, ProposalRecord, RevisionRecord, TombstoneScope};
use crate::resources::{AddonAssignment, InputKey, Kind, PLATFORM_NAMESPACE, Resource};

/// Renders the assignments that changed resources touch, and moves them where that removes nothing or the budget allows it.
pub(super) fn revise_touched(draft: &mut Draft<'_>, context: &mut Context<'_>) {
    let touched: Vec<Arc<InputRecord>> = draft
        .after
        .inputs_of(Kind::AddonAssignment)
        .filter(|record| is_touched(&draft.touched, record))
        .cloned()
        .collect();
    for record in touched {
        if let Resource::AddonAssignment(assignment) = &record.resource {
            revise_one(draft, context, &record, assignment);
        }
    }
}

fn is_touched(touched: &BTreeSet<InputKey>, record: &InputRecord) -> bool {
    let Resource::AddonAssignment(assignment) = &record.resource else { return false };
    let own = &assignment.metadata.namespace;
    let reference = &assignment.spec.addon;
    let namespaces = match &reference.namespace {
        Some(namespace) => vec![namespace.as_str()],
        None => vec![own.as_str(), PLATFORM_NAMESPACE],
    };
    touched.contains(&record.resource.key())
        || touched.contains(&InputKey::new(Kind::Workspace, "", own.as_str()))
        || namespaces
            .into_iter()
            .any(|namespace| touched.contains(&InputKey::new(Kind::Addon, namespace, reference.name.as_str())))
}

fn revise_one(draft: &mut Draft<'_>, context: &mut Context<'_>, input: &InputRecord, assignment: &AddonAssignment) {
    let known = draft.after.assignment(input.uid).cloned();
    let previous = known.as_ref().and_then(|record| record.revision).and_then(|digest| draft.after.revision(&digest));
    let previous = previous.cloned();
    let ingredients = Ingredients::of(&draft.after, input.uid, assignment);
    let rendered = revise(&ingredients, previous.as_deref());
    let fresh = AssignmentRecord {
        uid: input.uid,
        name: input.resource.key().resource_name(),
        created: input.since,
        addon: ingredients.addon_name.clone(),
        install: ingredients.install(),
        revision: None,
        blocked: None,
    };
    let known = known.map(|record| (*record).clone());
    match rendered {
        Err(reason) => {
            withdraw(draft, input.uid, None);
            block(draft, known, fresh, reason);
        }
        Ok(next) => move_to(draft, context, known.unwrap_or(fresh), previous.as_deref(), next),
    }
}

fn block(draft: &mut Draft<'_>, known: Option<AssignmentRecord>, fresh: AssignmentRecord, reason: BlockedReason) {
    let is_new = known.is_none();
    // What is installed keeps its name until there is another revision.
    let kept = known.filter(|record| record.revision.is_some());
    let mut record = kept.clone().unwrap_or(fresh);
    record.blocked = Some(reason);
    if is_new || kept.as_ref() != Some(&record) {
        draft.audit("assignment-blocked", &record.name, record.blocked.as_ref().map_or("", BlockedReason::as_str));
        draft.change(Change::PutAssignment(record));
    }
}

fn move_to(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    mut record: AssignmentRecord,
    previous: Option<&RevisionRecord>,
    next: RevisionRecord,
) {
    let Some(previous) = previous else {
        return adopt(draft, record, None, next);
    };
    if previous.digest == next.digest {
        withdraw(draft, record.uid, None);
        if record.blocked.take().is_some() {
            draft.change(Change::PutAssignment(record));
        }
        return;
    }
    if !removes_workloads(previous, &next) {
        withdraw(draft, record.uid, None);
        return adopt(draft, record, Some(previous), next);
    }
    let removal = removal_of(draft, context, &record, previous);
    match draft.judge(context, &removal.addon, Cause::Identity, removal.installs) {
        Verdict::Go => {
            withdraw(draft, record.uid, None);
            carry_out(draft, context, record, previous, next, &removal, Authority::Budget);
        }
        Verdict::Wait(reason) => wait(draft, context, record, next, &Removal { reason, ..removal }),
    }
}

/// Moves an assignment and sees to what the step removes.
pub(super) fn carry_out(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    record: AssignmentRecord,
    previous: &RevisionRecord,
    next: RevisionRecord,
    removal: &Removal,
    authority: Authority,
) {
    if previous.install == next.install {
        // What goes is listed in the revision's own `retires`, so that only the budget is to be charged.
        super::mint::charge_for(draft, context, removal, authority);
    } else {
        mint(draft, context, removal, TombstoneScope::All, authority);
    }
    adopt(draft, record, Some(previous), next);
}

/// Counts what a step away from a revision removes.
pub(super) fn removal_of(
    draft: &Draft<'_>,
    context: &Context<'_>,
    record: &AssignmentRecord,
    previous: &RevisionRecord,
) -> Removal {
    let name = &record.name;
    let selected = draft
        .before
        .assignment_named(&name.namespace, &name.name)
        .map(|assignment| draft.before.selected(assignment.document()))
        .unwrap_or_default();
    let held = holding(&draft.after, context.heard, record.uid, &previous.install, &selected);
    Removal {
        assignment: record.uid,
        name: record.name.clone(),
        addon: record.addon.clone(),
        install: previous.install.clone(),
        installs: held.count(),
        reason: Cause::Identity.to_string(),
    }
}

fn wait(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    record: AssignmentRecord,
    next: RevisionRecord,
    removal: &Removal,
) {
    withdraw(draft, record.uid, Some(&next));
    let kind = ProposalKind::Revise(next.digest);
    if record.blocked.is_some() {
        draft.change(Change::PutAssignment(AssignmentRecord { blocked: None, ..record }));
    }
    let waits_already =
        draft.after.proposals().any(|proposal| proposal.assignment == removal.assignment && proposal.kind == kind);
    if !waits_already {
        draft.change(Change::PutRevision(next));
        propose(draft, context, removal, &kind, &BTreeSet::new());
    }
}

/// Makes a revision the assignment's present one, and forgets the one before.
fn adopt(draft: &mut Draft<'_>, record: AssignmentRecord, previous: Option<&RevisionRecord>, next: RevisionRecord) {
    if let Some(previous) = previous {
        draft.change(Change::DeleteRevision(previous.digest));
    }
    let detail = format!("{} {} as {}", next.addon, next.version, next.digest.short());
    draft.audit("assignment-revised", &record.name, detail);
    draft.change(Change::PutAssignment(AssignmentRecord {
        addon: next.addon.clone(),
        install: next.install.clone(),
        revision: Some(next.digest),
        blocked: None,
        ..record
    }));
    draft.change(Change::PutRevision(next));
}

/// Forgets revisions that wait for approval and that the documents no longer ask for.
fn withdraw(draft: &mut Draft<'_>, assignment: Uid, wanted: Option<&RevisionRecord>) {
    let waiting: Vec<ProposalRecord> = draft
        .after
        .proposals()
        .filter(|record| record.assignment == assignment)
        .map(|record| (**record).clone())
        .collect();
    for record in waiting {
        let ProposalKind::Revise(digest) = record.kind else { continue };
        if wanted.is_none_or(|wanted| wanted.digest != digest) {
            draft.audit("proposal-withdrawn", &record.name, "its documents changed again");
            draft.change(Change::DeleteProposal(record.id));
            draft.change(Change::DeleteRevision(digest));
        }
    }
}

/// Forgets everything that is kept of an assignment but its tombstones, and the proposals that its deletion settles.
pub(super) fn forget(draft: &mut Draft<'_>, record: &AssignmentRecord, name: &ResourceName) {
    withdraw(draft, record.uid, None);
    let settled: Vec<Uid> = draft
        .after
        .proposals()
        .filter(|proposal| proposal.assignment == record.uid && proposal.kind == ProposalKind::Deselect)
        .filter(|proposal| proposal.install == record.install)
        .map(|proposal| proposal.id)
        .collect();
    for id in settled {
        draft.audit("proposal-withdrawn", &name, "the whole assignment goes");
        draft.change(Change::DeleteProposal(id));
    }
    if let Some(digest) = record.revision {
        draft.change(Change::DeleteRevision(digest));
    }
    draft.change(Change::DeleteAssignment(record.uid));
}
