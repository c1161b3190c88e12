//! Detaching a cluster: its agent is asked to let go of everything, then the identity is dropped.
//!
//! What is installed stays (`Orphan`), or is removed before ([`super::empty`], `Delete`).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use starling_model::{ClusterId, ErrorCode};

use super::delete::{over_count, remove_input};
use super::draft::Draft;
use super::empty::{by_evidence, held_by, left, remove_all};
use super::mint::Authority;
use super::settle::settle;
use super::{Answer, Context, Decision, Refusal};
use crate::change::Change;
use crate::fleet::{ClusterInput, Fleet};
use crate::records::{ClusterRecord, ClusterStage, ProposalKind};
use crate::resources::{DeletionPolicy, Kind};

/// How long an emptied cluster's agent is not believed that it let go: what it was applying when the removal began shows in
/// its reports by then.
const SETTLES: Duration = Duration::from_secs(5);

/// The detachment of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detach {
    /// The workspace.
    pub workspace: String,
    /// The cluster's name.
    pub name: String,
    /// Ends it without the agent's word.
    pub forget: bool,
    /// Removes what is installed first; a ManagedCluster whose policy is `Delete` says so for each detachment.
    pub delete: bool,
    /// The number of installs that the caller was shown; `None` asks for the count alone where there is something to remove.
    pub approved_count: Option<u64>,
}

/// How far a detachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetachStage {
    /// Nothing was done: so many installs would go, and nobody approved that yet.
    Asked {
        /// The installs.
        installs: u64,
    },
    /// What is installed is being removed.
    Removing {
        /// The installs that are left.
        installs: u64,
    },
    /// The agent was asked to let go.
    Requested,
    /// The agent let go.
    Acknowledged,
    /// The identity was dropped without the agent's word, or there never was one.
    Forgotten,
}

pub(super) fn decide(fleet: &Fleet, detach: &Detach, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    if detach.forget && detach.delete {
        let text = "an agent that is not waited for removes nothing: use --forget or --delete";
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    let cluster = fleet
        .cluster_named(&detach.workspace, &detach.name)
        .ok_or_else(|| Refusal::not_found(Kind::ManagedCluster, &format!("{}/{}", detach.workspace, detach.name)))?;
    let mut draft = Draft::new(fleet, context);
    let removes = detach.delete || cluster.document().spec.deletion_policy == DeletionPolicy::Delete;
    let answer = if removes && !detach.forget && is_emptiable(fleet, &cluster) {
        let held = held_by(fleet, context, &cluster);
        let installs = held.len() as u64;
        match detach.approved_count {
            None => Answer::Detached { stage: DetachStage::Asked { installs }, remove: None },
            Some(approved) if installs > approved => return Err(over_count(installs, approved)),
            Some(_) => {
                let reason = format!("detached with all that it holds by {}", context.actor);
                remove_all(&mut draft, context, &cluster, &held, &reason, Authority::Approval);
                Answer::Detached { stage: DetachStage::Removing { installs }, remove: None }
            }
        }
    } else if detach.delete && detach.approved_count.is_none() {
        Answer::Detached { stage: DetachStage::Asked { installs: 0 }, remove: None }
    } else {
        begin(&mut draft, context, &cluster, detach.forget)
    };
    settle(&mut draft, context);
    Ok(draft.decision(answer, context))
}

/// Tells whether there is an agent that could remove something, of a cluster that stands for itself.
fn is_emptiable(fleet: &Fleet, cluster: &ClusterInput) -> bool {
    let is_first = fleet.cluster(cluster.id).is_some_and(|first| first.name() == cluster.name());
    is_first
        && match fleet.identity(cluster.id).map(|record| record.stage) {
            None | Some(ClusterStage::Detached { .. }) => false,
            Some(ClusterStage::Attached | ClusterStage::Removing { .. } | ClusterStage::Detaching { .. }) => true,
        }
}

/// Goes on with the detachment of a cluster that holds nothing any more.
pub(super) fn emptied(fleet: &Fleet, id: ClusterId, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(fleet, context);
    let stage = match (fleet.identity(id), context.heard.installs(&id)) {
        (Some(record), Some(held)) if held.is_empty() && matches!(record.stage, ClusterStage::Removing { .. }) => {
            let stage = ClusterStage::Detaching { since: context.now, emptied: true };
            draft.audit("cluster-emptied", &id, "nothing is held any more");
            draft.change(Change::PutCluster(ClusterRecord { stage, ..(**record).clone() }));
            DetachStage::Requested
        }
        _ => DetachStage::Removing { installs: left(fleet, context.heard, id) },
    };
    Ok(draft.decision(Answer::Detached { stage, remove: None }, context))
}

pub(super) fn acknowledged(fleet: &Fleet, id: ClusterId, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(fleet, context);
    let (stage, remove) = match fleet.identity(id).map(|record| (record, record.stage)) {
        Some((record, ClusterStage::Detaching { since, emptied: true })) if holds_something(id, context)? => {
            // It was on its way when the removal began, and came after it seemed to be done.
            let stage = ClusterStage::Removing { since };
            draft.audit("removal-resumed", &id, "the agent still holds something");
            draft.change(Change::PutCluster(ClusterRecord { stage, ..(**record).clone() }));
            (DetachStage::Removing { installs: left(fleet, context.heard, id) }, None)
        }
        Some((_, ClusterStage::Detaching { since, emptied: true })) if context.now.since(since) < SETTLES => {
            return Err(Refusal::new(ErrorCode::Unavailable, "whether everything is gone is looked at once more"));
        }
        Some((_, ClusterStage::Detaching { .. })) => {
            let input = fleet.cluster(id);
            drop_identity(&mut draft, context, id);
            let remove = input.and_then(|input| remove_input(&mut draft, context, &input.record));
            settle(&mut draft, context);
            (DetachStage::Acknowledged, remove)
        }
        Some((_, ClusterStage::Detached { .. })) => (DetachStage::Acknowledged, None),
        Some((_, ClusterStage::Attached | ClusterStage::Removing { .. })) | None => {
            return Err(Refusal::new(ErrorCode::Conflict, format!("cluster {id} is not being detached")));
        }
    };
    Ok(draft.decision(Answer::Detached { stage, remove }, context))
}

fn holds_something(id: ClusterId, context: &Context<'_>) -> Result<bool, Refusal> {
    let held = context.heard.installs(&id);
    let unheard = || Refusal::new(ErrorCode::Unavailable, "the agent has not said yet what it holds");
    held.map(|held| !held.is_empty()).ok_or_else(unheard)
}

/// Begins a detachment for which there is evidence, or ends it at once where there is no agent to ask.
pub(super) fn begin(draft: &mut Draft<'_>, context: &mut Context<'_>, cluster: &ClusterInput, forget: bool) -> Answer {
    // A second document for a cluster that is managed under its first name stands for nothing.
    let is_first = draft.after.cluster(cluster.id).is_some_and(|first| first.name() == cluster.name());
    let identity = draft.after.identity(cluster.id).filter(|_| is_first).cloned();
    let joined = identity.filter(|record| !matches!(record.stage, ClusterStage::Detached { .. }));
    let Some(record) = joined.filter(|_| !forget) else {
        if is_first {
            withdraw_proposals(draft, cluster.id);
            drop_identity(draft, context, cluster.id);
        }
        let remove = remove_input(draft, context, &cluster.record);
        return Answer::Detached { stage: DetachStage::Forgotten, remove };
    };
    let stage = match record.stage {
        ClusterStage::Attached if cluster.document().spec.deletion_policy == DeletionPolicy::Delete => {
            by_evidence(draft, context, cluster)
        }
        ClusterStage::Attached => {
            let stage = ClusterStage::Detaching { since: context.now, emptied: false };
            draft.audit("detach-requested", &cluster.name(), format!("cluster {}", cluster.id));
            draft.change(Change::PutCluster(ClusterRecord { stage, ..(*record).clone() }));
            withdraw_proposals(draft, cluster.id);
            void_tokens(draft, cluster.id);
            DetachStage::Requested
        }
        ClusterStage::Removing { .. } => {
            DetachStage::Removing { installs: left(&draft.after, context.heard, cluster.id) }
        }
        ClusterStage::Detaching { .. } | ClusterStage::Detached { .. } => DetachStage::Requested,
    };
    Answer::Detached { stage, remove: None }
}

/// Forgets that a removal of the whole cluster waits for approval.
pub(super) fn withdraw_proposals(draft: &mut Draft<'_>, id: ClusterId) {
    let waiting: Vec<_> = draft
        .after
        .proposals()
        .filter(|proposal| proposal.kind == ProposalKind::Detach && proposal.clusters.0.contains(&id))
        .map(|proposal| (proposal.id, proposal.name.clone()))
        .collect();
    for (proposal, name) in waiting {
        draft.audit("proposal-withdrawn", &name, "the detachment was decided otherwise");
        draft.change(Change::DeleteProposal(proposal));
    }
}

/// Lets a cluster stay that is being detached because its object was deleted, and that is there again.
pub(super) fn take_back(draft: &mut Draft<'_>, id: ClusterId) {
    let Some(record) = draft.after.identity(id).cloned() else { return };
    if matches!(record.stage, ClusterStage::Attached | ClusterStage::Detached { .. }) {
        return;
    }
    draft.audit("detach-taken-back", &id, "its object is there again");
    draft.change(Change::PutCluster(ClusterRecord { stage: ClusterStage::Attached, ..(*record).clone() }));
}

/// Refuses the cluster's keys for ever, and voids its tokens.
fn drop_identity(draft: &mut Draft<'_>, context: &Context<'_>, id: ClusterId) {
    void_tokens(draft, id);
    let Some(record) = draft.after.identity(id).cloned() else { return };
    let mut record = (*record).clone();
    record.revoked_keys.extend(record.keys.drain(..));
    record.stage = ClusterStage::Detached { since: context.now };
    draft.audit("identity-dropped", &id, "");
    draft.change(Change::PutCluster(record));
}

pub(super) fn void_tokens(draft: &mut Draft<'_>, id: ClusterId) {
    let tokens: Vec<_> = draft.after.tokens_of(id).map(|token| token.hash).collect();
    for hash in tokens {
        draft.change(Change::DeleteToken(hash));
    }
}
