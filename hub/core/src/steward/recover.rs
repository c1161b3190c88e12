//! The beginning of an era: of a new fleet, and of one whose store was lost or restored.

use starling_model::{Era, ErrorCode};

use super::draft::Draft;
use super::{Answer, Context, Decision, Recover, Refusal};
use crate::change::Change;
use crate::deletion::reached;
use crate::fleet::Fleet;
use crate::hold::{self, Mark};
use crate::records::{CLUSTERS_PER_RECORD, ClusterSet, EraRecord, ProposalKind, ProposalRecord, TombstoneRecord};

pub(super) fn begin(fleet: &Fleet, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    if fleet.era().is_some() || fleet.input_count() > 0 {
        return Err(Refusal::new(ErrorCode::Conflict, "the fleet has begun already"));
    }
    let mut draft = Draft::new(fleet, context);
    let era = Era { number: 1, id: context.new_uid() };
    draft.change(Change::PutEra(EraRecord { era, began: context.now }));
    draft.audit("era-begun", &fleet.name(), "era 1");
    Ok(draft.decision(Answer::Begun, context))
}

/// Begins a greater era: older tombstones wait for approval again, open tokens are void.
pub(super) fn decide(fleet: &Fleet, recover: &Recover, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    if recover.fleet != fleet.name() {
        let text = format!("this is fleet {:?}, not {:?}: confirm with the fleet's name", fleet.name(), recover.fleet);
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    let mark = recover.mark.map(|(era, reserved)| Mark { era, reserved });
    let store = fleet.era().map(|record| (record.era, fleet.position()));
    let (number, position) = hold::recovery(mark, store, recover.shown.as_ref());
    let position = position.max(context.position);
    let mut draft = Draft::new(fleet, context);
    let era = Era { number, id: context.new_uid() };
    draft.change(Change::PutEra(EraRecord { era, began: context.now }));
    for token in fleet.tokens() {
        draft.change(Change::DeleteToken(token.hash));
    }
    for token in fleet.join_tokens() {
        draft.change(Change::DeleteJoinToken(token.hash));
    }
    for tombstone in fleet.tombstones() {
        ask_again(&mut draft, context, tombstone);
    }
    draft.audit("era-begun", &fleet.name(), format!("era {number} at position {position}"));
    let mut decision = draft.decision(Answer::Recovered { era, position }, context);
    decision.position = position;
    Ok(decision)
}

fn ask_again(draft: &mut Draft<'_>, context: &mut Context<'_>, tombstone: &TombstoneRecord) {
    let kind = ProposalKind::Renew(tombstone.id);
    if draft.after.proposals().any(|proposal| proposal.kind == kind) {
        return;
    }
    // For the clusters' plans; whoever approves is shown a count that is made then.
    let clusters: ClusterSet = reached(&draft.after, tombstone).into_iter().take(CLUSTERS_PER_RECORD).collect();
    let addon = draft.after.assignment(tombstone.assignment).map(|record| record.addon.clone());
    draft.change(Change::PutProposal(ProposalRecord {
        id: context.new_uid(),
        assignment: tombstone.assignment,
        name: tombstone.name.clone(),
        addon: addon.unwrap_or_else(|| tombstone.name.clone()),
        install: tombstone.install.clone(),
        kind,
        clusters,
        since: context.now,
        reason: format!("from before the store was recovered: {}", tombstone.reason),
    }));
}
