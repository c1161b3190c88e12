//! The fleet at one position: everything the store holds, and what plans look up in it.
//!
//! Owns applying changes and the indexes over the records. Does not own deciding what changes (the steward does) nor
//! what a cluster should have (the planner does). A clone is cheap, so that readers keep the one they began with.

mod journal;
mod lookup;
mod problems;
mod shared_map;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_model::{ClusterId, Digest, Guard, Millis, Position, ResourceName, Uid};

use crate::change::Change;
use crate::records::{
    AssignmentRecord, ClusterRecord, DeletedRecord, EraRecord, InputRecord, JoinTokenRecord, ProposalRecord,
    RevisionRecord, SpentRecord, TokenRecord, TombstoneRecord, TombstoneScope,
};
use crate::resources::{AddonAssignment, InputKey, ManagedCluster, PLATFORM_NAMESPACE, Resource};
use crate::ring::{Placement, RingRecord};

pub use journal::Touched;
use journal::{Journal, Touch};
pub use problems::Problem;
use shared_map::SharedMap;

/// Everything the store holds, at one position.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    name: Arc<str>,
    position: Position,
    era: Option<EraRecord>,
    /// The ring with the points that follow from it.
    placement: Option<Placement>,
    inputs: SharedMap<InputKey, InputRecord>,
    deleted: SharedMap<InputKey, DeletedRecord>,
    assignments: SharedMap<Uid, AssignmentRecord>,
    revisions: SharedMap<Digest, RevisionRecord>,
    tombstones: SharedMap<Uid, TombstoneRecord>,
    proposals: SharedMap<Uid, ProposalRecord>,
    spent: SharedMap<Uid, SpentRecord>,
    clusters: SharedMap<ClusterId, ClusterRecord>,
    tokens: SharedMap<Digest, TokenRecord>,
    join_tokens: SharedMap<Digest, JoinTokenRecord>,
    /// The ManagedCluster documents that name a cluster, each the very record of `inputs`; more than one is a problem.
    claims: SharedMap<ClusterId, BTreeMap<InputKey, Arc<InputRecord>>>,
    /// The tombstones that list a cluster.
    listed: SharedMap<ClusterId, BTreeSet<Uid>>,
    /// The tombstones for all clusters of a namespace.
    general: SharedMap<String, BTreeSet<Uid>>,
    /// The join tokens of a cluster.
    tokens_of: SharedMap<ClusterId, BTreeSet<Digest>>,
    /// The join tokens of clusters by when they end.
    ending: SharedMap<(Millis, Digest), ()>,
    /// The clusters that joined with a fingerprint; those without one are not in it.
    fingerprints: SharedMap<String, BTreeSet<ClusterId>>,
    journal: Journal,
}

/// A ManagedCluster as the fleet has it.
#[derive(Clone, Debug)]
pub struct ClusterInput {
    /// The cluster's identity.
    pub id: ClusterId,
    /// The record; its resource is a ManagedCluster.
    pub record: Arc<InputRecord>,
}

/// An AddonAssignment as the fleet has it.
#[derive(Clone, Debug)]
pub struct AssignmentInput {
    /// The record of its document; its resource is an AddonAssignment.
    pub input: Arc<InputRecord>,
    /// What became of it.
    pub record: Arc<AssignmentRecord>,
}

impl Fleet {
    /// Makes the fleet of an empty store.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            position: Position(0),
            era: None,
            placement: None,
            inputs: SharedMap::default(),
            deleted: SharedMap::default(),
            assignments: SharedMap::default(),
            revisions: SharedMap::default(),
            tombstones: SharedMap::default(),
            proposals: SharedMap::default(),
            spent: SharedMap::default(),
            clusters: SharedMap::default(),
            tokens: SharedMap::default(),
            join_tokens: SharedMap::default(),
            claims: SharedMap::default(),
            listed: SharedMap::default(),
            general: SharedMap::default(),
            tokens_of: SharedMap::default(),
            ending: SharedMap::default(),
            fingerprints: SharedMap::default(),
            journal: Journal::default(),
        }
    }

    /// Returns the fleet's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the position of the newest changes.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Sets the position that the applied changes have reached.
    pub fn set_position(&mut self, position: Position) {
        self.position = position;
    }

    /// Returns the store's era; `None` for an empty store.
    #[must_use]
    pub fn era(&self) -> Option<&EraRecord> {
        self.era.as_ref()
    }

    /// Applies one change; changes of one decision are applied in order.
    pub fn apply(&mut self, change: &Change) {
        if let Some(touch) = self.touch(change) {
            self.journal.note(touch);
        }
        self.journal.note_document(change);
        match change {
            Change::PutInput(record) => self.put_input(record),
            Change::DeleteInput(key) => self.delete_input(key),
            Change::PutDeleted(record) => self.deleted.insert(record.key.clone(), record.clone()),
            Change::DeleteDeleted(key) => drop(self.deleted.remove(key)),
            Change::PutAssignment(record) => self.assignments.insert(record.uid, record.clone()),
            Change::DeleteAssignment(uid) => drop(self.assignments.remove(uid)),
            Change::PutRevision(record) => self.revisions.insert(record.digest, record.clone()),
            Change::DeleteRevision(digest) => drop(self.revisions.remove(digest)),
            Change::PutTombstone(record) => self.put_tombstone(record),
            Change::DeleteTombstone(id) => self.delete_tombstone(*id),
            Change::PutProposal(record) => self.proposals.insert(record.id, record.clone()),
            Change::DeleteProposal(id) => drop(self.proposals.remove(id)),
            Change::PutSpent(record) => self.spent.insert(record.id, record.clone()),
            Change::DeleteSpent(id) => drop(self.spent.remove(id)),
            Change::PutCluster(record) => self.put_cluster(record),
            Change::DeleteCluster(id) => self.delete_cluster(id),
            Change::PutToken(record) => self.put_token(record),
            Change::DeleteToken(hash) => self.delete_token(hash),
            Change::PutJoinToken(record) => self.join_tokens.insert(record.hash, record.clone()),
            Change::DeleteJoinToken(hash) => drop(self.join_tokens.remove(hash)),
            Change::PutEra(record) => self.era = Some(record.clone()),
            Change::PutRing(record) => self.put_ring(record),
        }
    }

    /// Tells whose plan a change may concern; `None` if plans are made of other things.
    fn touch(&self, change: &Change) -> Option<Touch> {
        match change {
            Change::PutInput(record) => Some(self.touch_of(record)),
            Change::DeleteInput(key) => self.inputs.get(key).map(|record| self.touch_of(record)),
            Change::PutCluster(record) => Some(Touch::Cluster(record.id)),
            Change::DeleteCluster(id) => Some(Touch::Cluster(*id)),
            Change::PutAssignment(record) => Some(Touch::Assignment(record.uid)),
            Change::DeleteAssignment(uid) => Some(Touch::Assignment(*uid)),
            Change::PutRevision(record) => Some(Touch::Assignment(record.assignment)),
            Change::DeleteRevision(digest) => {
                self.revisions.get(digest).map(|record| Touch::Assignment(record.assignment))
            }
            // These may name clusters that their assignment does not select.
            Change::PutTombstone(_)
            | Change::DeleteTombstone(_)
            | Change::PutProposal(_)
            | Change::DeleteProposal(_)
            | Change::PutEra(_) => Some(Touch::All),
            Change::PutDeleted(_)
            | Change::DeleteDeleted(_)
            | Change::PutSpent(_)
            | Change::DeleteSpent(_)
            | Change::PutToken(_)
            | Change::DeleteToken(_)
            | Change::PutJoinToken(_)
            | Change::DeleteJoinToken(_)
            | Change::PutRing(_) => None,
        }
    }

    fn touch_of(&self, record: &InputRecord) -> Touch {
        let known = self.inputs.get(&record.resource.key());
        match &record.resource {
            Resource::ManagedCluster(cluster) => {
                let id = cluster.id(&self.name);
                match known.map(|record| &record.resource) {
                    // Its document names another cluster now.
                    Some(Resource::ManagedCluster(known)) if known.id(&self.name) != id => Touch::All,
                    Some(_) | None => Touch::Cluster(id),
                }
            }
            // Another one may have had its name.
            Resource::AddonAssignment(_) if known.is_some_and(|known| known.uid != record.uid) => Touch::All,
            Resource::AddonAssignment(_) => Touch::Assignment(record.uid),
            Resource::Workspace(_) | Resource::Addon(_) | Resource::Tombstone(_) => Touch::All,
        }
    }

    fn put_cluster(&mut self, record: &ClusterRecord) {
        self.delete_cluster(&record.id);
        if !record.fingerprint.is_empty() {
            self.fingerprints.update(record.fingerprint.clone(), |ids| {
                ids.insert(record.id);
            });
        }
        self.clusters.insert(record.id, record.clone());
    }

    fn delete_cluster(&mut self, id: &ClusterId) {
        let Some(record) = self.clusters.remove(id) else { return };
        if !record.fingerprint.is_empty() {
            remove_from(&mut self.fingerprints, &record.fingerprint, id);
        }
    }

    fn put_token(&mut self, record: &TokenRecord) {
        self.delete_token(&record.hash);
        self.tokens_of.update(record.cluster, |hashes| {
            hashes.insert(record.hash);
        });
        self.ending.insert((record.expires, record.hash), ());
        self.tokens.insert(record.hash, record.clone());
    }

    fn delete_token(&mut self, hash: &Digest) {
        let Some(record) = self.tokens.remove(hash) else { return };
        remove_from(&mut self.tokens_of, &record.cluster, hash);
        self.ending.remove(&(record.expires, *hash));
    }

    fn put_ring(&mut self, record: &RingRecord) {
        if self.placement.is_some() && Guard::Ring.is_broken() {
            return;
        }
        let placement = match &self.placement {
            Some(before) => before.followed_by(Arc::new(record.clone())),
            None => Placement::of(record),
        };
        self.placement = Some(placement);
    }

    fn put_input(&mut self, record: &InputRecord) {
        let key = record.resource.key();
        self.delete_input(&key);
        let record = Arc::new(record.clone());
        if let Resource::ManagedCluster(cluster) = &record.resource {
            self.claims.update(cluster.id(&self.name), |claims| {
                claims.insert(key.clone(), Arc::clone(&record));
            });
        }
        self.inputs.insert_shared(key, record);
    }

    fn delete_input(&mut self, key: &InputKey) {
        let Some(record) = self.inputs.remove(key) else { return };
        if let Resource::ManagedCluster(cluster) = &record.resource {
            let id = cluster.id(&self.name);
            self.claims.update(id, |claims| {
                claims.remove(key);
            });
            if self.claims.get(&id).is_some_and(|claims| claims.is_empty()) {
                self.claims.remove(&id);
            }
        }
    }

    fn put_tombstone(&mut self, record: &TombstoneRecord) {
        self.delete_tombstone(record.id);
        match &record.scope {
            TombstoneScope::All => {
                self.general.update(record.name.namespace.clone(), |ids| {
                    ids.insert(record.id);
                });
            }
            TombstoneScope::Clusters(clusters) => {
                for cluster in &clusters.0 {
                    self.listed.update(*cluster, |ids| {
                        ids.insert(record.id);
                    });
                }
            }
        }
        self.tombstones.insert(record.id, record.clone());
    }

    fn delete_tombstone(&mut self, id: Uid) {
        let Some(record) = self.tombstones.remove(&id) else { return };
        match &record.scope {
            TombstoneScope::All => remove_from(&mut self.general, &record.name.namespace, &id),
            TombstoneScope::Clusters(clusters) => {
                for cluster in &clusters.0 {
                    remove_from(&mut self.listed, cluster, &id);
                }
            }
        }
    }
}

impl ClusterInput {
    /// Returns the document.
    ///
    /// # Panics
    /// Never: the fleet makes this of ManagedCluster records alone.
    #[must_use]
    pub fn document(&self) -> &ManagedCluster {
        let Resource::ManagedCluster(document) = &self.record.resource else {
            unreachable!("a cluster's record is a ManagedCluster")
        };
        document
    }

    /// Returns the cluster's name.
    #[must_use]
    pub fn name(&self) -> ResourceName {
        self.record.resource.key().resource_name()
    }

    /// Tells whether an assignment's namespace and selector reach the cluster.
    #[must_use]
    pub fn is_selected_by(&self, assignment: &AddonAssignment) -> bool {
        is_selected(&self.record, assignment)
    }
}

/// Tells whether an assignment's namespace and selector reach the cluster of a record.
fn is_selected(cluster: &InputRecord, assignment: &AddonAssignment) -> bool {
    let Resource::ManagedCluster(cluster) = &cluster.resource else { return false };
    let (metadata, namespace) = (&cluster.metadata, &assignment.metadata.namespace);
    (namespace == PLATFORM_NAMESPACE || *namespace == metadata.namespace)
        && assignment.spec.cluster_selector.matches(&metadata.labels)
}

impl AssignmentInput {
    /// Returns the document.
    ///
    /// # Panics
    /// Never: the fleet makes this of AddonAssignment records alone.
    #[must_use]
    pub fn document(&self) -> &AddonAssignment {
        let Resource::AddonAssignment(document) = &self.input.resource else {
            unreachable!("an assignment's record is an AddonAssignment")
        };
        document
    }
}

fn remove_from<K: Ord + Clone, T: Ord + Clone>(map: &mut SharedMap<K, BTreeSet<T>>, key: &K, member: &T) {
    map.update(key.clone(), |members| {
        members.remove(member);
    });
    if map.get(key).is_some_and(|members| members.is_empty()) {
        map.remove(key);
    }
}
