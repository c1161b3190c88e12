//! Approving what waits: counted again, and void if the count grew.

use std::collections::BTreeSet;

use starling_model::{ClusterId, ErrorCode, Uid};

use super::delete::{mint_whole, over_count};
use super::draft::Draft;
use super::empty::{held_by, remove_all};
use super::mint::{Authority, Removal, mint};
use super::revise::{carry_out, removal_of};
use super::settle::settle;
use super::{Answer, Approve, Context, Decision, Refusal};
use crate::change::Change;
use crate::deletion::{proposed, siblings};
use crate::fleet::Fleet;
use crate::records::{ClusterSet, ProposalKind, ProposalRecord, TombstoneScope};
use crate::resources::PLATFORM_NAMESPACE;

pub(super) fn decide(fleet: &Fleet, approve: &Approve, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let Some(proposal) = fleet.proposal(approve.proposal) else {
        return Err(Refusal::no_proposal(approve.proposal));
    };
    let installs = proposed(fleet, context.heard, proposal).count();
    if installs > approve.count {
        return Err(over_count(installs, approve.count));
    }
    let mut draft = Draft::new(fleet, context);
    let removal = Removal {
        assignment: proposal.assignment,
        name: proposal.name.clone(),
        addon: proposal.addon.clone(),
        install: proposal.install.clone(),
        installs,
        reason: format!("approved by {}: {}", context.actor, proposal.reason),
    };
    draft.audit("proposal-approved", &proposal.name, format!("{installs} installs: {}", proposal.reason));
    let settled: Vec<_> = match proposal.kind {
        ProposalKind::Delete => siblings(fleet, proposal).collect(),
        ProposalKind::Deselect | ProposalKind::Revise(_) | ProposalKind::Renew(_) | ProposalKind::Detach => {
            vec![&**proposal]
        }
    };
    for record in &settled {
        draft.change(Change::DeleteProposal(record.id));
    }
    match &proposal.kind {
        ProposalKind::Delete => {
            let foreign = settled.iter().flat_map(|record| foreign(fleet, record)).collect();
            mint_whole(&mut draft, context, &removal, &foreign, Authority::Approval);
        }
        ProposalKind::Deselect => {
            let scope = TombstoneScope::Clusters(proposal.clusters.clone());
            mint(&mut draft, context, &removal, scope, Authority::Approval);
        }
        ProposalKind::Revise(digest) => {
            let assignment = fleet.assignment(proposal.assignment);
            let next = fleet.revision(digest);
            let previous = assignment.and_then(|record| record.revision).and_then(|digest| fleet.revision(&digest));
            let (Some(assignment), Some(next), Some(previous)) = (assignment, next, previous) else {
                return Err(Refusal::new(ErrorCode::Internal, "the proposal's revision is not in the store"));
            };
            let removal = Removal { reason: removal.reason, ..removal_of(&draft, context, assignment, previous) };
            let (record, next) = ((**assignment).clone(), (**next).clone());
            carry_out(&mut draft, context, record, previous, next, &removal, Authority::Approval);
        }
        ProposalKind::Detach => {
            for cluster in proposal.clusters.0.iter().filter_map(|id| fleet.cluster(*id)) {
                let held = held_by(fleet, context, &cluster);
                remove_all(&mut draft, context, &cluster, &held, &removal.reason, Authority::Approval);
            }
            settle(&mut draft, context);
        }
        ProposalKind::Renew(old) => {
            let Some(tombstone) = fleet.tombstone(*old) else {
                return Err(Refusal::new(ErrorCode::Internal, "the proposal's tombstone is not in the store"));
            };
            let scope = tombstone.scope.clone();
            draft.change(Change::DeleteTombstone(*old));
            mint(&mut draft, context, &removal, scope, Authority::Approval);
        }
    }
    Ok(draft.decision(Answer::Approved { installs }, context))
}

impl Refusal {
    /// The refusal of a proposal that does not wait, as far as whoever asks may know.
    #[must_use]
    pub fn no_proposal(proposal: Uid) -> Self {
        let text = format!("proposal {proposal} does not wait: see `starling get proposals`");
        Self::new(ErrorCode::NotFound, text)
    }
}

/// Returns the proposal's clusters that a tombstone for its workspace does not reach.
fn foreign(fleet: &Fleet, proposal: &ProposalRecord) -> BTreeSet<ClusterId> {
    let namespace = &proposal.name.namespace;
    if namespace == PLATFORM_NAMESPACE {
        return BTreeSet::new();
    }
    let ClusterSet(clusters) = &proposal.clusters;
    let is_foreign =
        |id: &ClusterId| fleet.cluster(*id).is_some_and(|cluster| cluster.document().metadata.namespace != *namespace);
    clusters.iter().copied().filter(is_foreign).collect()
}
