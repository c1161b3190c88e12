//! Which clusters this process tells of: those that it owns, and those that it has and their new owner does not have whole yet.
//!
//! Owns telling these apart. Does not own who owns a cluster: that is a function of the ring record alone
//! (`starling_hub_core::ring`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_hub_core::fleet::Fleet;
use starling_model::{ClusterId, Millis};

use super::{Shard, lock};

/// The clusters that this process tells of in one answer.
pub(crate) struct Told {
    /// Another process's by now, and their picture is here, with when each was last heard.
    pub(crate) extra: BTreeMap<ClusterId, Millis>,
    /// In the registry, and left out.
    hidden: BTreeSet<ClusterId>,
    /// The clusters of the registry that are told of; `None` is all of them.
    pub(crate) clusters: Option<BTreeSet<ClusterId>>,
    fleet: Arc<Fleet>,
    /// The process's name; `None` for a process that is the whole hub.
    name: Option<String>,
}

impl Told {
    /// Tells whether a cluster is told of, in the registry or not.
    pub(crate) fn covers(&self, id: &ClusterId) -> bool {
        if self.hidden.contains(id) {
            return false;
        }
        let Some(name) = &self.name else { return true };
        self.extra.contains_key(id) || self.fleet.owner(id).is_some_and(|member| member.name == *name)
    }
}

impl Shard {
    /// Tells whether a cluster belongs to this process and its whole picture is here, so that nobody else has to be asked.
    pub(crate) fn is_at_home(&self, id: &ClusterId) -> bool {
        self.owns(&self.fleet(), id) && self.is_complete(id)
    }

    /// Tells whether a cluster belongs to this process; to a process that is the whole hub every cluster does.
    pub(crate) fn owns(&self, fleet: &Fleet, id: &ClusterId) -> bool {
        !self.parts.is_one_of_many || fleet.owner(id).is_some_and(|member| member.name == self.parts.hub)
    }

    /// Returns the clusters that this process tells of, without those that another does.
    pub(crate) fn told(&self, without: &BTreeSet<ClusterId>) -> Told {
        let fleet = self.fleet();
        let name = self.parts.is_one_of_many.then(|| self.parts.hub.clone());
        let (mut extra, mut hidden) = (BTreeMap::new(), without.clone());
        for id in lock(&self.strangers).iter().filter(|id| !without.contains(*id)) {
            match self.cluster(id).filter(|cluster| cluster.state().heard_in.is_some()) {
                Some(cluster) => drop(extra.insert(*id, cluster.last_seen())),
                None => drop(hidden.insert(*id)),
            }
        }
        let clusters = (!hidden.is_empty())
            .then(|| self.identities().into_iter().filter(|id| !hidden.contains(id)).collect::<BTreeSet<_>>());
        Told { extra, hidden, clusters, fleet, name }
    }

    /// Returns how many connected clusters belong to another process.
    pub(crate) fn moving(&self) -> u64 {
        let strangers = self.strangers();
        let connected = strangers.iter().filter_map(|id| self.cluster(id));
        connected.filter(|cluster| cluster.state().session.is_some()).count() as u64
    }

    /// Tells whether the registry has a cluster.
    pub(crate) fn knows(&self, id: &ClusterId) -> bool {
        self.cluster(id).is_some()
    }

    /// Tells whether the picture of a cluster is whole here.
    pub(crate) fn is_complete(&self, id: &ClusterId) -> bool {
        let Some(era) = self.era() else { return false };
        self.cluster(id).is_some_and(|cluster| cluster.state().heard_in == Some(era))
    }

    /// Returns the clusters of the registry that belong to another process.
    pub(crate) fn strangers(&self) -> BTreeSet<ClusterId> {
        lock(&self.strangers).clone()
    }

    /// Finds the clusters of the registry that belong to another process, after the ring changed; returns them.
    pub(crate) fn find_strangers(&self, fleet: &Fleet) -> BTreeSet<ClusterId> {
        let ids = self.identities();
        let strangers: BTreeSet<ClusterId> = ids.into_iter().filter(|id| !self.owns(fleet, id)).collect();
        lock(&self.strangers).clone_from(&strangers);
        self.changed();
        strangers
    }

    /// Notes whom a cluster that comes into the registry belongs to.
    pub(super) fn note_owner(&self, id: ClusterId) {
        let is_ours = self.owns(&self.fleet(), &id);
        let mut strangers = lock(&self.strangers);
        if is_ours {
            strangers.remove(&id)
        } else {
            strangers.insert(id)
        };
    }

    /// Forgets clusters of other processes whose picture is whole there and that have no session here.
    pub(crate) fn release(&self, complete_elsewhere: &BTreeSet<ClusterId>) {
        let fleet = self.fleet();
        for id in complete_elsewhere.iter().filter(|id| !self.owns(&fleet, id)) {
            self.forget(id);
        }
        self.changed();
    }
}
