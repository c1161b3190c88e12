//! Detaching a cluster in two stages: its agent is asked to let go of everything, then the identity is dropped.
//!
//! What is installed stays (`Orphan`), so that nothing here mints a tombstone.

use starling_model::{ClusterId, ErrorCode};

use super::delete::remove_input;
use super::draft::Draft;
use super::settle::settle;
use super::{Answer, Context, Decision, Detach, DetachStage, Refusal};
use crate::change::Change;
use crate::fleet::{ClusterInput, Fleet};
use crate::records::{ClusterRecord, ClusterStage};
use crate::resources::Kind;

pub(super) fn decide(fleet: &Fleet, detach: &Detach, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let cluster = fleet
        .cluster_named(&detach.workspace, &detach.name)
        .ok_or_else(|| Refusal::not_found(Kind::ManagedCluster, &format!("{}/{}", detach.workspace, detach.name)))?;
    let mut draft = Draft::new(fleet, context);
    let answer = begin(&mut draft, context, &cluster, detach.forget);
    settle(&mut draft, context);
    Ok(draft.decision(answer, context))
}

pub(super) fn acknowledged(fleet: &Fleet, id: ClusterId, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let stage = fleet.identity(id).map(|record| record.stage);
    let mut draft = Draft::new(fleet, context);
    let remove = match stage {
        Some(ClusterStage::Detaching { .. }) => {
            let input = fleet.cluster(id);
            drop_identity(&mut draft, context, id);
            let remove = input.and_then(|input| remove_input(&mut draft, context, &input.record));
            settle(&mut draft, context);
            remove
        }
        Some(ClusterStage::Detached { .. }) => None,
        Some(ClusterStage::Attached) | None => {
            return Err(Refusal::new(ErrorCode::Conflict, format!("cluster {id} is not being detached")));
        }
    };
    Ok(draft.decision(Answer::Detached { stage: DetachStage::Acknowledged, remove }, context))
}

/// Begins a detachment, or ends it at once where there is no agent to ask.
pub(super) fn begin(draft: &mut Draft<'_>, context: &mut Context<'_>, cluster: &ClusterInput, forget: bool) -> Answer {
    // A second document for a cluster that is managed under its first name stands for nothing.
    let is_first = draft.after.cluster(cluster.id).is_some_and(|first| first.name() == cluster.name());
    let identity = draft.after.identity(cluster.id).filter(|_| is_first).cloned();
    let joined = identity.filter(|record| !matches!(record.stage, ClusterStage::Detached { .. }));
    let Some(record) = joined.filter(|_| !forget) else {
        if is_first {
            drop_identity(draft, context, cluster.id);
        }
        let remove = remove_input(draft, context, &cluster.record);
        return Answer::Detached { stage: DetachStage::Forgotten, remove };
    };
    if record.stage == ClusterStage::Attached {
        let stage = ClusterStage::Detaching { since: context.now };
        draft.audit("detach-requested", &cluster.name(), format!("cluster {}", cluster.id));
        draft.change(Change::PutCluster(ClusterRecord { stage, ..(*record).clone() }));
        void_tokens(draft, cluster.id);
    }
    Answer::Detached { stage: DetachStage::Requested, remove: None }
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

fn void_tokens(draft: &mut Draft<'_>, id: ClusterId) {
    let tokens: Vec<_> = draft.after.tokens().filter(|token| token.cluster == id).map(|token| token.hash).collect();
    for hash in tokens {
        draft.change(Change::DeleteToken(hash));
    }
}
