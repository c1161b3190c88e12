//! Which clusters this process tells of: those that it owns, and those that it has and their new owner does not have whole yet.
//!
//! Owns telling these apart, under the newest ring or under one of those before it. Does not own who owns a cluster: that is a
//! function of the ring record alone (`starling_hub_core::ring`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use starling_hub_core::fleet::Fleet;
use starling_hub_core::ring::Placement;
use starling_model::{ClusterId, Guard, Millis};

use super::{Cluster, Shard, lock};

/// How many rings are remembered: a question is asked again under an older one while a newer one is not known everywhere, which
/// takes moments.
const REMEMBERED: usize = 4;

/// How the clusters are divided among the processes for one question, so that each is told of by one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Division {
    /// The ring's epoch; `None` is the newest that the process knows.
    pub epoch: Option<u64>,
    /// The process's own clusters that another one tells of.
    pub without: BTreeSet<ClusterId>,
    /// The clusters of other processes that this one tells of; `None` is all that it has.
    pub keeps: Option<BTreeSet<ClusterId>>,
}

/// The clusters that this process tells of in one answer.
pub(crate) struct Told {
    /// The epoch of the ring by which they are divided; zero without a ring.
    pub(crate) epoch: u64,
    /// Another process's by now, and their picture is here, with when each was last heard.
    pub(crate) extra: BTreeMap<ClusterId, Millis>,
    /// In the registry, and left out.
    hidden: BTreeSet<ClusterId>,
    /// The clusters of the registry that are told of; `None` is all of them.
    pub(crate) clusters: Option<BTreeSet<ClusterId>>,
    placement: Option<Placement>,
    /// The process's name; `None` for a process that is the whole hub.
    name: Option<String>,
}

/// The last rings that the process knew, the newest last, each with a number that no other ever has.
#[derive(Debug, Default)]
pub(super) struct Rings {
    noted: u64,
    last: VecDeque<(u64, Placement)>,
}

impl Told {
    /// Tells whether a cluster is told of, in the registry or not.
    pub(crate) fn covers(&self, id: &ClusterId) -> bool {
        if self.hidden.contains(id) {
            return false;
        }
        let Some(name) = &self.name else { return true };
        let owner = self.placement.as_ref().and_then(|placement| placement.owner(id));
        self.extra.contains_key(id) || owner.is_some_and(|member| member.name == *name)
    }
}

impl Rings {
    /// Returns the number of the newest ring, which is noted if it is news.
    fn note(&mut self, newest: &Placement) -> u64 {
        if let Some((number, noted)) = self.last.back()
            && noted.record() == newest.record()
        {
            return *number;
        }
        self.noted += 1;
        self.last.push_back((self.noted, newest.clone()));
        if self.last.len() > REMEMBERED {
            self.last.pop_front();
        }
        self.noted
    }

    fn find(&self, epoch: u64) -> Option<(u64, Placement)> {
        self.last.iter().rev().find(|(_, placement)| placement.record().epoch == epoch).cloned()
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

    /// Returns the clusters that this process tells of. Where it does not know the ring that is asked for, they are those by the
    /// newest that it knows.
    pub(crate) fn told(&self, division: &Division) -> Told {
        let ring = self.ring(division.epoch.filter(|_| !Guard::OneRing.is_broken()));
        let (mut extra, mut hidden) = (BTreeMap::new(), division.without.clone());
        for cluster in self.clusters_of_others(ring.as_ref()) {
            let is_kept = division.keeps.as_ref().is_none_or(|keeps| keeps.contains(&cluster.id));
            if is_kept && !hidden.contains(&cluster.id) && cluster.state().heard_in.is_some() {
                extra.insert(cluster.id, cluster.last_seen());
            } else {
                hidden.insert(cluster.id);
            }
        }
        let clusters = (!hidden.is_empty())
            .then(|| self.identities().into_iter().filter(|id| !hidden.contains(id)).collect::<BTreeSet<_>>());
        let placement = ring.map(|(_, placement)| placement);
        let mut epoch = placement.as_ref().map_or(0, |placement| placement.record().epoch);
        if Guard::OneRing.is_broken() {
            epoch = division.epoch.unwrap_or(epoch);
        }
        let name = self.parts.is_one_of_many.then(|| self.parts.hub.clone());
        Told { epoch, extra, hidden, clusters, placement, name }
    }

    /// Returns the epoch of the newest ring, which is remembered; zero without a ring.
    pub(crate) fn newest_epoch(&self) -> u64 {
        self.ring(None).map_or(0, |(_, placement)| placement.record().epoch)
    }

    /// Returns the name of the process that owned a cluster at an epoch, if that ring is still known.
    pub(crate) fn owner_at(&self, epoch: u64, id: &ClusterId) -> Option<String> {
        let (_, placement) = self.ring(Some(epoch)).filter(|(_, placement)| placement.record().epoch == epoch)?;
        Some(placement.owner(id)?.name.clone())
    }

    /// Returns how many connected clusters belong to another process.
    pub(crate) fn moving(&self) -> u64 {
        let strangers = self.clusters_of_others(self.ring(None).as_ref());
        strangers.iter().filter(|cluster| cluster.state().session.is_some()).count() as u64
    }

    /// Tells whether the registry has a cluster.
    pub(crate) fn knows(&self, id: &ClusterId) -> bool {
        self.cluster(id).is_some()
    }

    /// Tells whether the picture of a cluster is whole here, and kept up: one that came back may be older than what another has.
    pub(crate) fn is_complete(&self, id: &ClusterId) -> bool {
        let Some(era) = self.era() else { return false };
        self.cluster(id).is_some_and(|cluster| {
            let state = cluster.state();
            state.session.is_some() && state.heard_in == Some(era)
        })
    }

    /// Returns the clusters of the registry that belong to another process.
    pub(crate) fn strangers(&self) -> BTreeSet<ClusterId> {
        self.clusters_of_others(self.ring(None).as_ref()).iter().map(|cluster| cluster.id).collect()
    }

    /// Forgets clusters of other processes whose picture is whole there and that have no session here.
    pub(crate) fn release(&self, complete_elsewhere: &BTreeSet<ClusterId>) {
        let (fleet, before) = (self.fleet(), self.identities().len());
        for id in complete_elsewhere.iter().filter(|id| !self.owns(&fleet, id)) {
            self.forget(id);
        }
        if self.identities().len() != before {
            self.changed();
        }
    }

    /// Returns a ring of the last ones by its epoch, or the newest, each with its number; `None` without a ring, and in a process
    /// that is the whole hub.
    fn ring(&self, epoch: Option<u64>) -> Option<(u64, Placement)> {
        let fleet = self.fleet();
        let newest = fleet.placement().filter(|_| self.parts.is_one_of_many)?;
        let mut rings = lock(&self.rings);
        let number = rings.note(newest);
        epoch.and_then(|epoch| rings.find(epoch)).or_else(|| Some((number, newest.clone())))
    }

    /// Returns the clusters of the registry that belong to another process by a ring; without one, all do where there are others.
    fn clusters_of_others(&self, ring: Option<&(u64, Placement)>) -> Vec<Arc<Cluster>> {
        if !self.parts.is_one_of_many {
            return Vec::new();
        }
        let mut clusters = self.clusters();
        clusters.retain(|cluster| {
            let Some((number, placement)) = ring else { return true };
            !cluster.is_owned_by(*number, || {
                placement.owner(&cluster.id).is_some_and(|member| member.name == self.parts.hub)
            })
        });
        clusters
    }
}
