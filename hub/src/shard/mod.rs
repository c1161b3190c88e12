//! The shard: the process in its role as owner of clusters. Their sessions, their plans, their statuses.
//!
//! Owns the registry of clusters that opened a session, when plans are computed and to whom they are told, the status
//! index, and the way to send a command. Does not own a session's messages ([`crate::session`]), nor any rule
//! (`starling-hub-core`). Nothing here awaits a store.

mod affected;
mod cluster;
mod commands;
mod counters;
mod figures;
mod index;
mod mailbox;
pub mod metrics;
mod opening;
mod ownership;
mod planning;
mod plans;
mod read;
mod routing;
mod rows;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use starling_hub_core::fleet::Fleet;
use starling_hub_core::hold;
use starling_hub_core::session::lease::{Lent, lend};
use starling_model::limits::COMMAND_LEASE;
use starling_model::{ClusterId, Era, Fence, FleetKey, Guard, Limits, Millis, Position};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use crate::ports::Clock;
use crate::steward::Hold;
use crate::traces::Traces;

pub use cluster::Assigned;
pub(crate) use cluster::Cluster;
pub use commands::CommandError;
pub use counters::{Counter, Counters};
pub(crate) use opening::{OpenSession, Opened};
pub use ownership::Division;
pub(crate) use ownership::Told;
pub use read::{ClusterView, InstallView, Overview};
pub(crate) use routing::Route;
pub use routing::Routing;
pub use rows::{InstallRow, Planned, ProcessFigures};

use index::IndexParts;
use ownership::Rings;
use planning::Progress;
use plans::Plans;
use wire::WireRenders;

/// What a shard works with.
pub struct ShardParts {
    /// The fleet as every reader of the process sees it.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// The key that fences are issued under.
    pub fleet_key: FleetKey,
    /// Whether the fleet holds.
    pub hold: Hold,
    /// The hub's own lease.
    pub lease: Arc<dyn HubLease>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What each session may send.
    pub limits: Limits,
    /// The process's name: for people, and in the ring.
    pub hub: String,
    /// The process is one of several, and owns the clusters that the ring says; otherwise it owns all.
    pub is_one_of_many: bool,
    /// How agents reach the process that owns their cluster.
    pub routing: Routing,
    /// Passes streams on to other processes; `None` in a process that is the whole hub.
    pub forwarder: Option<Arc<dyn Forwarder>>,
    /// Which trace each position belongs to.
    pub traces: Traces,
}

/// Opens channels to other processes, for streams that are passed on.
pub trait Forwarder: Send + Sync + 'static {
    /// Returns a channel of its own for one stream.
    ///
    /// # Errors
    /// Why there is none, for people.
    fn stream_to(&self, address: &str) -> Result<Channel, String>;
}

/// The hub process's own lease, which no command lease outlives.
pub trait HubLease: Send + Sync + 'static {
    /// Returns how much of it is left.
    fn remaining(&self, uptime: Millis) -> Duration;
}

/// The lease of a process that is the whole hub: it holds the store's lock, and nobody else can.
#[derive(Clone, Copy, Debug, Default)]
pub struct WholeHub;

impl HubLease for WholeHub {
    fn remaining(&self, _uptime: Millis) -> Duration {
        COMMAND_LEASE
    }
}

/// The clusters of this process.
pub struct Shard {
    pub(crate) parts: ShardParts,
    pub(crate) index: IndexParts,
    pub(crate) counters: Counters,
    pub(crate) renders: WireRenders,
    pub(crate) tasks: TaskTracker,
    clusters: RwLock<BTreeMap<ClusterId, Arc<Cluster>>>,
    /// Which cluster has the open session of a kube-system.
    fingerprints: Mutex<BTreeMap<String, ClusterId>>,
    rings: Mutex<Rings>,
    progress: Progress,
    plans: Plans,
    newest_shown: Mutex<Option<Fence>>,
    suspicious: watch::Sender<Option<Fence>>,
    changes: watch::Sender<u64>,
    /// When the process started, wall time.
    started: Millis,
}

impl Shard {
    /// Makes a shard without clusters; [`Self::run_planner`] must run beside it.
    #[must_use]
    pub fn new(parts: ShardParts) -> Arc<Self> {
        let started = parts.clock.now();
        Arc::new(Self {
            parts,
            index: IndexParts::default(),
            counters: Counters::default(),
            renders: WireRenders::default(),
            tasks: TaskTracker::new(),
            clusters: RwLock::default(),
            fingerprints: Mutex::default(),
            rings: Mutex::default(),
            progress: Progress::default(),
            plans: Plans::default(),
            newest_shown: Mutex::default(),
            suspicious: watch::Sender::new(None),
            changes: watch::Sender::new(0),
            started,
        })
    }

    /// Follows fences that an agent showed and this process's view of the store has not reached.
    pub(crate) fn suspicious(&self) -> watch::Receiver<Option<Fence>> {
        self.suspicious.subscribe()
    }

    /// Tells whether every plan of a position is out.
    pub(crate) fn has_planned(&self, position: Position) -> bool {
        let is_empty = self.era().is_none();
        is_empty || self.progress.verified().is_some_and(|fence| fence.position >= position)
    }

    /// Follows a number that grows whenever an answer may have changed; a slow reader gets the newest.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns what sessions did.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the newest genuine fence that any agent has shown.
    #[must_use]
    pub fn newest_shown_fence(&self) -> Option<Fence> {
        *lock(&self.newest_shown)
    }

    pub(crate) fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.parts.fleet.borrow())
    }

    /// Returns the present era; `None` for an empty store.
    pub(crate) fn era(&self) -> Option<Era> {
        self.parts.fleet.borrow().era().map(|record| record.era)
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    pub(crate) fn cluster(&self, id: &ClusterId) -> Option<Arc<Cluster>> {
        self.clusters.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(crate) fn clusters(&self) -> Vec<Arc<Cluster>> {
        self.clusters.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn cluster_or_new(&self, id: ClusterId) -> Arc<Cluster> {
        if let Some(cluster) = self.cluster(&id) {
            return cluster;
        }
        let mut clusters = self.clusters.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(clusters.entry(id).or_insert_with(|| Arc::new(Cluster::new(id, self.parts.clock.uptime()))))
    }

    /// Forgets a cluster that nobody manages and that has no session.
    fn forget(&self, id: &ClusterId) {
        let mut clusters = self.clusters.write().unwrap_or_else(PoisonError::into_inner);
        if clusters.get(id).is_some_and(|cluster| cluster.state().session.is_none()) {
            clusters.remove(id);
            self.index.write(id).drop_cluster(id);
        }
    }

    /// Decides the command lease that a session is lent now, whose agent has seen a plan of `era`.
    ///
    /// An agent that knows only a plan of an older era must not act on it.
    pub(crate) fn lend_in(&self, era: Option<Era>) -> Lent {
        let lent = self.lend();
        if lent.lease.is_zero() || era == self.era() {
            return lent;
        }
        Lent { lease: Duration::ZERO, reason: Some("the plan of the present era is yet to come".into()) }
    }

    /// Decides the same for a session of a cluster: one that belongs to another process by now is lent nothing here.
    pub(crate) fn lend_to(&self, id: &ClusterId, era: Option<Era>) -> Lent {
        if self.owns(&self.fleet(), id) || Guard::Ownership.is_broken() {
            return self.lend_in(era);
        }
        Lent { lease: Duration::ZERO, reason: Some("the cluster belongs to another hub process by now".into()) }
    }

    /// Notes what a session of a cluster is lent now.
    pub(crate) fn note_lent(&self, cluster: &Cluster, lent: &Lent) {
        if !lent.lease.is_zero() {
            self.counters.leases.add(1);
            cluster.lent(self.parts.clock.uptime().plus(lent.lease));
        }
    }

    /// Returns until when any session of a cluster was lent a command lease by this process, uptime; `None` if none ever was.
    #[must_use]
    pub fn lent_until(&self, id: &ClusterId) -> Option<Millis> {
        self.cluster(id).map(|cluster| cluster.lent_until()).filter(|until| *until > Millis(0))
    }

    /// Decides the command lease of a session that has not seen any plan.
    pub(crate) fn lend(&self) -> Lent {
        let uptime = self.parts.clock.uptime();
        // A hub whose planner is stuck must not let agents act on what it no longer follows.
        let planner = COMMAND_LEASE.saturating_sub(uptime.since(self.progress.refreshed()));
        let remaining = self.parts.lease.remaining(uptime).min(planner);
        lend(remaining, self.hold_reason().as_deref())
    }

    /// Returns why nothing moves, for people.
    pub(crate) fn hold_reason(&self) -> Option<String> {
        self.parts.hold.reason().map(|reason| reason.to_string())
    }

    /// Takes note of a fence that an agent shows: one of ours that the store has not reached holds the fleet.
    pub(crate) fn see_fence(&self, shown: &Fence) {
        if !self.parts.fleet_key.is_genuine(shown) {
            return;
        }
        let mut newest = lock(&self.newest_shown);
        let key = |fence: &Fence| (fence.era.number, fence.position);
        if newest.is_none_or(|newest| key(&newest) < key(shown)) {
            *newest = Some(*shown);
        }
        drop(newest);
        let fleet = self.fleet();
        // Without an era the fleet is new, or holds already.
        let Some(record) = fleet.era() else { return };
        let Some(reason) = hold::at_fence(record.era, fleet.position(), shown) else { return };
        if self.parts.is_one_of_many {
            // Another process wrote what this one may not have seen yet: the store is asked.
            self.suspicious.send_replace(Some(*shown));
        } else {
            self.parts.hold.engage(reason);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
