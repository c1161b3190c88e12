//! An object that is being deleted under our finalizer: what that is evidence of.
//!
//! Owns what follows from a deletion that was confirmed, and from one that was not. Does not own confirming it: the shell reads
//! object, namespace and definition anew, and lets the finalizer go once the decision is committed, whatever it is. Everything
//! here can be repeated: a shell that ended in between asks again.

use super::delete::{check_deletable, delete_judged, remove_input};
use super::draft::Draft;
use super::objects::other_name;
use super::settle::settle;
use super::{Answer, Context, Decision, DetachStage, Refusal, detach};
use crate::change::Change;
use crate::fleet::Fleet;
use crate::records::{Absence, InputRecord, ObjectOrigin, ProposalKind};
use crate::resources::{InputKey, Kind};

/// An object that has a deletion timestamp and our finalizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDeleted {
    /// Which.
    pub key: InputKey,
    /// Its UID.
    pub uid: String,
    /// What uncached reads showed.
    pub evidence: Evidence,
}

/// What uncached reads showed of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The very object is being deleted, and neither its namespace nor its kind is: somebody meant it.
    Confirmed,
    /// It goes with something else, which is no evidence.
    Denied(Absence),
}

/// What a deletion of an object came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceDeletion {
    /// The fleet does not know this object, or has settled its deletion already.
    Settled,
    /// Its resource is gone, and with it what the budget allowed.
    Removed,
    /// Its resource is gone; its installs stay until somebody approves.
    Proposed,
    /// The cluster's agent is asked to let go.
    Detaching,
    /// Its resource stays, marked as missing.
    Kept(Absence),
}

pub(super) fn decide(fleet: &Fleet, deleted: &SourceDeleted, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(fleet, context);
    let record = fleet.input(&deleted.key).cloned();
    // Evidence is about the very object that was copied: after a restore of the store there may be another in its place.
    let known = record
        .as_ref()
        .and_then(|record| Some((record, record.origin.as_ref()?)))
        .filter(|(_, origin)| origin.uid == deleted.uid);
    let outcome = match known {
        None => SourceDeletion::Settled,
        // What was judged once stays judged: the finalizer was not let go in time.
        Some((_, ObjectOrigin { absence: Some(absence), .. })) => SourceDeletion::of(*absence),
        Some((record, _)) => match deleted.evidence {
            Evidence::Denied(absence) => keep(&mut draft, context, record, absence),
            Evidence::Confirmed => carry_out(&mut draft, context, record),
        },
    };
    settle(&mut draft, context);
    Ok(draft.decision(Answer::SourceDeletion(outcome), context))
}

/// Does what somebody meant, as far as its budget and others allow.
fn carry_out(draft: &mut Draft<'_>, context: &mut Context<'_>, record: &InputRecord) -> SourceDeletion {
    let key = record.resource.key();
    match key.kind {
        Kind::AddonAssignment => {
            let Some(assignment) = draft.after.assignment_named(&key.namespace, &key.name) else {
                // It never had a plan, so that nobody can hold it.
                remove_input(draft, context, record);
                return SourceDeletion::Removed;
            };
            delete_judged(draft, context, &assignment, "its object was deleted");
            let waits = draft
                .after
                .proposals()
                .any(|proposal| proposal.assignment == record.uid && proposal.kind == ProposalKind::Delete);
            if waits { SourceDeletion::Proposed } else { SourceDeletion::Removed }
        }
        Kind::ManagedCluster => carry_out_detachment(draft, context, record),
        Kind::Workspace if check_deletable(&draft.after, &key).is_err() => keep(draft, context, record, Absence::InUse),
        // What assignments of an addon have installed stays, and is shown as blocked.
        Kind::Workspace | Kind::Addon | Kind::Tombstone => {
            remove_input(draft, context, record);
            SourceDeletion::Removed
        }
    }
}

fn carry_out_detachment(draft: &mut Draft<'_>, context: &mut Context<'_>, record: &InputRecord) -> SourceDeletion {
    let key = record.resource.key();
    if let Some(moved_to) = other_name(&draft.after, record) {
        draft.audit("cluster-moved", &key, format!("to {}", moved_to.qualified()));
        remove_input(draft, context, record);
        return SourceDeletion::Removed;
    }
    let Some(cluster) = draft.after.cluster_named(&key.namespace, &key.name) else { return SourceDeletion::Settled };
    match detach::begin(draft, context, &cluster, false) {
        Answer::Detached { stage: DetachStage::Forgotten, .. } => SourceDeletion::Removed,
        _ => keep(draft, context, record, Absence::Detaching),
    }
}

/// Keeps a resource whose object goes, marked with why.
fn keep(draft: &mut Draft<'_>, context: &Context<'_>, record: &InputRecord, absence: Absence) -> SourceDeletion {
    draft.audit("source-missing", &record.resource.key(), absence.to_string());
    let origin = record.origin.clone().map(|origin| ObjectOrigin { absence: Some(absence), ..origin });
    let missing = Some(record.missing.unwrap_or(context.now));
    draft.change(Change::PutInput(InputRecord { missing, origin, ..record.clone() }));
    SourceDeletion::of(absence)
}

impl SourceDeletion {
    fn of(absence: Absence) -> Self {
        match absence {
            Absence::Detaching => Self::Detaching,
            Absence::NamespaceTerminating
            | Absence::NamespaceMissing
            | Absence::KindTerminating
            | Absence::KindMissing
            | Absence::InUse => Self::Kept(absence),
        }
    }
}
