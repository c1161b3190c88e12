//! Lookups in a fleet.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_model::{ClusterId, Digest, ResourceName, Uid};

use super::{AssignmentInput, ClusterInput, Fleet, is_selected};
use crate::records::{
    AssignmentRecord, ClusterRecord, ClusterStage, DeletedRecord, InputRecord, JoinTokenRecord, ProposalRecord,
    RevisionRecord, SpentRecord, TokenRecord, TombstoneRecord,
};
use crate::resources::{Addon, AddonAssignment, InputKey, Kind, PLATFORM_NAMESPACE, Resource, Tombstone, Workspace};
use crate::ring::{Placement, RingMember, RingRecord};

impl Fleet {
    /// Returns the ring's record; `None` if none was ever written.
    #[must_use]
    pub fn ring(&self) -> Option<&Arc<RingRecord>> {
        self.placement.as_ref().map(Placement::record)
    }

    /// Returns the placement by the ring's record; `None` if none was ever written.
    #[must_use]
    pub fn placement(&self) -> Option<&Placement> {
        self.placement.as_ref()
    }

    /// Returns the member of the ring that owns a cluster; `None` without a ring, or if it is empty.
    #[must_use]
    pub fn owner(&self, cluster: &ClusterId) -> Option<&RingMember> {
        self.placement.as_ref()?.owner(cluster)
    }

    /// Returns a resource.
    #[must_use]
    pub fn input(&self, key: &InputKey) -> Option<&Arc<InputRecord>> {
        self.inputs.get(key)
    }

    /// Returns every resource, by kind, namespace and name.
    pub fn inputs(&self) -> impl Iterator<Item = &Arc<InputRecord>> {
        self.inputs.values()
    }

    /// Returns the resources of a kind, by namespace and name.
    pub fn inputs_of(&self, kind: Kind) -> impl Iterator<Item = &Arc<InputRecord>> {
        let first = InputKey::new(kind, "", "");
        self.inputs.range(first..).take_while(move |(key, _)| key.kind == kind).map(|(_, record)| record)
    }

    /// Returns the resources of a kind in a namespace, by name.
    pub fn inputs_in<'a>(&'a self, kind: Kind, namespace: &'a str) -> impl Iterator<Item = &'a Arc<InputRecord>> {
        let first = InputKey::new(kind, namespace, "");
        self.inputs
            .range(first..)
            .take_while(move |(key, _)| key.kind == kind && key.namespace == namespace)
            .map(|(_, record)| record)
    }

    /// Returns a Workspace.
    #[must_use]
    pub fn workspace(&self, name: &str) -> Option<&Workspace> {
        match &self.input(&InputKey::new(Kind::Workspace, "", name))?.resource {
            Resource::Workspace(workspace) => Some(workspace),
            Resource::ManagedCluster(_)
            | Resource::Addon(_)
            | Resource::AddonAssignment(_)
            | Resource::Tombstone(_) => None,
        }
    }

    /// Returns an Addon.
    #[must_use]
    pub fn addon(&self, name: &ResourceName) -> Option<&Addon> {
        match &self.input(&InputKey::new(Kind::Addon, name.namespace.clone(), name.name.clone()))?.resource {
            Resource::Addon(addon) => Some(addon),
            Resource::Workspace(_)
            | Resource::ManagedCluster(_)
            | Resource::AddonAssignment(_)
            | Resource::Tombstone(_) => None,
        }
    }

    /// Returns the ManagedCluster of an identity: of several documents that claim it the one that is not missing or
    /// is so last, then the oldest, then the first by name.
    #[must_use]
    pub fn cluster(&self, id: ClusterId) -> Option<ClusterInput> {
        first_claim(id, self.claims.get(&id)?)
    }

    /// Returns every managed cluster once, by identity.
    pub fn managed_clusters(&self) -> impl Iterator<Item = ClusterInput> {
        self.claims.iter().filter_map(|(id, claims)| first_claim(*id, claims))
    }

    /// Returns those of some identities, which come in order, that no ManagedCluster names; one walk through both.
    pub fn unmanaged(&self, ids: impl Iterator<Item = ClusterId>) -> impl Iterator<Item = ClusterId> {
        let mut managed = self.claims.iter().map(|(id, _)| *id).peekable();
        ids.filter(move |id| {
            while managed.next_if(|next| next < id).is_some() {}
            managed.peek() != Some(id)
        })
    }

    /// Returns how many managed clusters there are.
    #[must_use]
    pub fn cluster_count(&self) -> usize {
        self.claims.len()
    }

    /// Returns the namespaces that hold resources of a kind; costs what there are of these.
    #[must_use]
    pub fn namespaces_of(&self, kind: Kind) -> BTreeSet<String> {
        let mut namespaces = BTreeSet::new();
        let mut from = InputKey::new(kind, "", "");
        while let Some((key, _)) = self.inputs.range(from..).next().filter(|(key, _)| key.kind == kind) {
            namespaces.insert(key.namespace.clone());
            // Nothing sorts between a text and the same with a NUL behind it.
            from = InputKey::new(kind, format!("{}\0", key.namespace), "");
        }
        namespaces
    }

    /// Returns the ManagedCluster documents that claim an identity.
    pub fn claims(&self, id: ClusterId) -> impl Iterator<Item = &InputKey> {
        self.claims.get(&id).into_iter().flat_map(|claims| claims.keys())
    }

    /// Returns the identity of the ManagedCluster of a name.
    #[must_use]
    pub fn cluster_named(&self, namespace: &str, name: &str) -> Option<ClusterInput> {
        let record = self.input(&InputKey::new(Kind::ManagedCluster, namespace, name))?;
        let Resource::ManagedCluster(cluster) = &record.resource else { return None };
        Some(ClusterInput { id: cluster.id(&self.name), record: Arc::clone(record) })
    }

    /// Returns the assignments that may reach clusters of a workspace: the platform's and its own.
    pub fn assignments_reaching<'a>(&'a self, workspace: &'a str) -> impl Iterator<Item = AssignmentInput> + 'a {
        let own = (workspace != PLATFORM_NAMESPACE).then_some(workspace);
        let namespaces = std::iter::once(PLATFORM_NAMESPACE).chain(own);
        namespaces
            .flat_map(|namespace| self.inputs_in(Kind::AddonAssignment, namespace))
            .filter_map(|record| self.assignment_of(record))
    }

    /// Returns the assignments whose selector matches a cluster, oldest first.
    #[must_use]
    pub fn assignments_for(&self, cluster: &ClusterInput) -> Vec<AssignmentInput> {
        let document = cluster.document();
        let labels = &document.metadata.labels;
        let mut selected: Vec<AssignmentInput> = self
            .assignments_reaching(&document.metadata.namespace)
            .filter(|assignment| assignment.document().spec.cluster_selector.matches(labels))
            .collect();
        selected.sort_by_key(|assignment| (assignment.record.created, assignment.record.uid));
        selected
    }

    /// Returns an assignment by name.
    #[must_use]
    pub fn assignment_named(&self, namespace: &str, name: &str) -> Option<AssignmentInput> {
        self.assignment_of(self.input(&InputKey::new(Kind::AddonAssignment, namespace, name))?)
    }

    /// Returns every assignment with its document, by namespace and name.
    pub fn assignments(&self) -> impl Iterator<Item = AssignmentInput> {
        self.inputs_of(Kind::AddonAssignment).filter_map(|record| self.assignment_of(record))
    }

    fn assignment_of(&self, input: &Arc<InputRecord>) -> Option<AssignmentInput> {
        let record = self.assignments.get(&input.uid)?;
        Some(AssignmentInput { input: Arc::clone(input), record: Arc::clone(record) })
    }

    /// Returns an assignment with its document, by its identity.
    #[must_use]
    pub fn assignment_of_uid(&self, uid: Uid) -> Option<AssignmentInput> {
        let name = &self.assignments.get(&uid)?.name;
        self.assignment_named(&name.namespace, &name.name).filter(|assignment| assignment.record.uid == uid)
    }

    /// Returns what became of an assignment.
    #[must_use]
    pub fn assignment(&self, uid: Uid) -> Option<&Arc<AssignmentRecord>> {
        self.assignments.get(&uid)
    }

    /// Returns the clusters that an assignment selects now; none that is being detached.
    #[must_use]
    pub fn selected(&self, assignment: &AddonAssignment) -> BTreeSet<ClusterId> {
        self.selected_attached(assignment).collect()
    }

    /// Returns how many clusters an assignment selects now; none that is being detached.
    #[must_use]
    pub fn selected_count(&self, assignment: &AddonAssignment) -> u64 {
        self.selected_attached(assignment).count() as u64
    }

    fn selected_attached<'a>(&'a self, assignment: &'a AddonAssignment) -> impl Iterator<Item = ClusterId> + 'a {
        let mut leaving = self.leaving().peekable();
        self.selected_by(assignment).filter(move |id| {
            // Both come by identity.
            while leaving.next_if(|next| next < id).is_some() {}
            leaving.peek() != Some(id)
        })
    }

    /// Returns the clusters that an assignment selects now, also those that are being detached, by identity; looks at every cluster
    /// that it may reach.
    pub fn selected_by<'a>(&'a self, assignment: &'a AddonAssignment) -> impl Iterator<Item = ClusterId> + 'a {
        let claimed = self.claims.iter().filter_map(|(id, claims)| Some((*id, first_record(claims)?)));
        claimed.filter(|(_, record)| is_selected(record, assignment)).map(|(id, _)| id)
    }

    /// Tells whether a cluster is not being detached.
    #[must_use]
    pub fn is_attached(&self, id: ClusterId) -> bool {
        self.stage(id) == ClusterStage::Attached
    }

    /// Returns the clusters that are being detached or were, by identity.
    pub fn leaving(&self) -> impl Iterator<Item = ClusterId> {
        self.clusters.iter().filter(|(_, record)| record.stage != ClusterStage::Attached).map(|(id, _)| *id)
    }

    /// Returns how far the detachment of a cluster is; one that never joined is not being detached.
    #[must_use]
    pub fn stage(&self, id: ClusterId) -> ClusterStage {
        self.clusters.get(&id).map_or(ClusterStage::Attached, |record| record.stage)
    }

    /// Returns a revision.
    #[must_use]
    pub fn revision(&self, digest: &Digest) -> Option<&Arc<RevisionRecord>> {
        self.revisions.get(digest)
    }

    /// Returns every revision.
    pub fn revisions(&self) -> impl Iterator<Item = &Arc<RevisionRecord>> {
        self.revisions.values()
    }

    /// Returns every tombstone, by id.
    pub fn tombstones(&self) -> impl Iterator<Item = &Arc<TombstoneRecord>> {
        self.tombstones.values()
    }

    /// Returns a tombstone.
    #[must_use]
    pub fn tombstone(&self, id: Uid) -> Option<&Arc<TombstoneRecord>> {
        self.tombstones.get(&id)
    }

    /// Returns the tombstones that reach a cluster of a workspace and are of the present era, by id.
    #[must_use]
    pub fn tombstones_for(&self, cluster: ClusterId, workspace: &str) -> Vec<&Arc<TombstoneRecord>> {
        let general = [PLATFORM_NAMESPACE, workspace].map(|namespace| self.general.get(&namespace.to_owned()));
        let ids: BTreeSet<Uid> = general
            .into_iter()
            .chain([self.listed.get(&cluster)])
            .flatten()
            .flat_map(|ids| ids.iter().copied())
            .collect();
        ids.iter().filter_map(|id| self.tombstones.get(id)).filter(|record| !self.is_suspended(record)).collect()
    }

    /// Tells whether a tombstone waits for approval because it was minted in an older era.
    #[must_use]
    pub fn is_suspended(&self, tombstone: &TombstoneRecord) -> bool {
        self.era.as_ref().is_none_or(|record| tombstone.minted.0 < record.era.number)
    }

    /// Returns every proposal, by id.
    pub fn proposals(&self) -> impl Iterator<Item = &Arc<ProposalRecord>> {
        self.proposals.values()
    }

    /// Returns a proposal.
    #[must_use]
    pub fn proposal(&self, id: Uid) -> Option<&Arc<ProposalRecord>> {
        self.proposals.get(&id)
    }

    /// Returns the budget's ledger.
    pub fn spent(&self) -> impl Iterator<Item = &Arc<SpentRecord>> {
        self.spent.values()
    }

    /// Returns the identity of a cluster that joined.
    #[must_use]
    pub fn identity(&self, id: ClusterId) -> Option<&Arc<ClusterRecord>> {
        self.clusters.get(&id)
    }

    /// Returns the identity of every cluster that ever joined.
    pub fn identities(&self) -> impl Iterator<Item = &Arc<ClusterRecord>> {
        self.clusters.values()
    }

    /// Returns the clusters that joined with a fingerprint; none for the empty one.
    pub fn identities_with(&self, fingerprint: &str) -> impl Iterator<Item = &Arc<ClusterRecord>> {
        let ids = self.fingerprints.get(&fingerprint.to_owned());
        ids.into_iter().flat_map(|ids| ids.iter()).filter_map(|id| self.clusters.get(id))
    }

    /// Returns a join token's record.
    #[must_use]
    pub fn token(&self, hash: &Digest) -> Option<&Arc<TokenRecord>> {
        self.tokens.get(hash)
    }

    /// Returns every join token's record.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<TokenRecord>> {
        self.tokens.values()
    }

    /// Returns the join tokens of a cluster.
    pub fn tokens_of(&self, cluster: ClusterId) -> impl Iterator<Item = &Arc<TokenRecord>> {
        let hashes = self.tokens_of.get(&cluster);
        hashes.into_iter().flat_map(|hashes| hashes.iter()).filter_map(|hash| self.tokens.get(hash))
    }

    /// Returns the join tokens of all clusters, those first that end first.
    pub fn tokens_by_end(&self) -> impl Iterator<Item = &Arc<TokenRecord>> {
        self.ending.iter().filter_map(|((_, hash), _)| self.tokens.get(hash))
    }

    /// Returns the record of a workspace's join token.
    #[must_use]
    pub fn join_token(&self, hash: &Digest) -> Option<&Arc<JoinTokenRecord>> {
        self.join_tokens.get(hash)
    }

    /// Returns the record of every workspace's join tokens, also of those that are void and remembered.
    pub fn join_tokens(&self) -> impl Iterator<Item = &Arc<JoinTokenRecord>> {
        self.join_tokens.values()
    }

    /// Returns the memory of a deleted resource whose document is still there.
    #[must_use]
    pub fn deleted(&self, key: &InputKey) -> Option<&Arc<DeletedRecord>> {
        self.deleted.get(key)
    }

    /// Returns every deleted resource whose document is still there.
    pub fn all_deleted(&self) -> impl Iterator<Item = &Arc<DeletedRecord>> {
        self.deleted.values()
    }

    /// Returns how many resources there are.
    #[must_use]
    pub fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// Returns the resource that a Tombstone document names, if that very incarnation is there.
    #[must_use]
    pub fn tombstone_target(&self, tombstone: &Tombstone) -> Option<Arc<InputRecord>> {
        let (kind, namespace) = (tombstone.spec.kind, tombstone.metadata.namespace.as_str());
        let namespace = if kind.is_namespaced() { namespace } else { "" };
        let record = self.input(&InputKey::new(kind, namespace, tombstone.spec.name.as_str()))?;
        (record.uid == tombstone.spec.uid).then(|| Arc::clone(record))
    }
}

fn first_claim(id: ClusterId, claims: &BTreeMap<InputKey, Arc<InputRecord>>) -> Option<ClusterInput> {
    first_record(claims).map(|record| ClusterInput { id, record: Arc::clone(record) })
}

fn first_record(claims: &BTreeMap<InputKey, Arc<InputRecord>>) -> Option<&Arc<InputRecord>> {
    // Most often there is just one.
    if claims.len() == 1 {
        return claims.values().next();
    }
    // Of several that are all missing, the cluster is called as it was called last.
    let order = |key, record: &InputRecord| (record.missing.is_some(), Reverse(record.missing), record.since, key);
    claims.iter().min_by(|one, other| order(one.0, one.1).cmp(&order(other.0, other.1))).map(|(_, record)| record)
}
