//! What a decision changes: puts and deletes of records, applied in order.

use starling_model::{ClusterId, Digest, Uid};

use crate::records::{
    AssignmentRecord, ClusterRecord, DeletedRecord, EraRecord, InputRecord, JoinTokenRecord, ProposalRecord,
    RevisionRecord, SpentRecord, TokenRecord, TombstoneRecord,
};
use crate::resources::InputKey;
use crate::ring::RingRecord;

/// One put or delete of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a resource.
    PutInput(InputRecord),
    /// Forgets a resource.
    DeleteInput(InputKey),
    /// Remembers a deleted resource whose document is still there.
    PutDeleted(DeletedRecord),
    /// Forgets it: its document is gone or changed.
    DeleteDeleted(InputKey),
    /// Writes what became of an assignment.
    PutAssignment(AssignmentRecord),
    /// Forgets an assignment.
    DeleteAssignment(Uid),
    /// Writes a revision.
    PutRevision(RevisionRecord),
    /// Forgets a revision that nothing refers to.
    DeleteRevision(Digest),
    /// Writes a tombstone.
    PutTombstone(TombstoneRecord),
    /// Forgets a tombstone that a newer one covers.
    DeleteTombstone(Uid),
    /// Writes a proposal.
    PutProposal(ProposalRecord),
    /// Forgets a proposal.
    DeleteProposal(Uid),
    /// Writes an entry of the budget's ledger.
    PutSpent(SpentRecord),
    /// Forgets an entry of the ledger that no longer counts.
    DeleteSpent(Uid),
    /// Writes a cluster's identity.
    PutCluster(ClusterRecord),
    /// Forgets a cluster's identity.
    DeleteCluster(ClusterId),
    /// Writes a join token.
    PutToken(TokenRecord),
    /// Forgets a join token.
    DeleteToken(Digest),
    /// Writes a workspace's join token.
    PutJoinToken(JoinTokenRecord),
    /// Forgets a workspace's join token.
    DeleteJoinToken(Digest),
    /// Writes the era.
    PutEra(EraRecord),
    /// Writes the ring.
    PutRing(RingRecord),
}
