//! Everything that outlives a process: clusters, documents, the store, the fleet's secrets, and what people want.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use starling_hub::gather::Gather;
use starling_hub::keyring::{HighWaterMark, KeyMaterial, Keyring, ServerNames};
use starling_hub::shard::Shard;
use starling_hub::source::Scan;
use starling_hub::steward::{Hold, StewardHandle};
use starling_hub::store::memory::MemoryMedium;
use starling_hub_core::fleet::Fleet;
use starling_model::{ClusterId, Fence};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::cluster::{Flaw, Machine, Managed};
use crate::documents::{Documents, Slot, Wanted};
use crate::evidence::Evidence;
use crate::ports::{DriverTime, SimClock, SimEntropy};
use crate::trace::Trace;

/// The fleet's name.
pub(crate) const FLEET: &str = "simulated";

/// The hub's host.
pub(crate) const HUB: &str = "hub";

/// The hub's port.
pub(crate) const PORT: u16 = 8443;

/// The agents' hosts.
pub(crate) const AGENTS: [&str; 3] = ["edge-1", "edge-2", "edge-3"];

/// The host of a second agent of the first cluster.
pub(crate) const TWIN: &str = "twin";

/// The world of one simulation.
pub(crate) struct World {
    /// A fault that is to be found.
    pub(crate) flaw: Flaw,
    /// What happened.
    pub(crate) trace: Trace,
    /// The time between two steps.
    pub(crate) time: Arc<DriverTime>,
    /// The managed clusters.
    pub(crate) clusters: Vec<Arc<Managed>>,
    /// The machine of a second agent of the first cluster.
    pub(crate) twin: Arc<Machine>,
    /// The hub's clock.
    pub(crate) clock: Arc<SimClock>,
    /// The hub's entropy.
    pub(crate) entropy: Arc<SimEntropy>,
    /// The fleet's secrets, with the mark.
    pub(crate) keyring: Arc<Keyring>,
    /// Holds a file for each cluster with the join token that its agent was given last, as a mounted Secret is.
    tokens: TempDir,
    documents: Mutex<Documents>,
    evidence: Mutex<Evidence>,
    people: Mutex<People>,
    hub: Mutex<HubMachine>,
    decides: Mutex<Decides>,
}

/// Which hub process people have to ask, where there are several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decides {
    /// Its host; `None` where there is only one.
    pub(crate) host: Option<String>,
    /// The newest fence that agents have shown to any process, as the store has it.
    pub(crate) shown: Option<Fence>,
}

/// The machine of the hub.
#[derive(Default)]
struct HubMachine {
    store: MemoryMedium,
    live: Option<LiveHub>,
}

/// A running hub, as the driver looks into it.
#[derive(Clone)]
pub(crate) struct LiveHub {
    /// The way to ask the steward.
    pub(crate) steward: StewardHandle,
    /// Its host.
    pub(crate) host: String,
    /// What it answers, for all processes.
    pub(crate) gather: Gather,
    /// The secrets as its process has them.
    pub(crate) keyring: Arc<Keyring>,
    /// The clusters.
    pub(crate) shard: Arc<Shard>,
    /// The fleet at each position.
    pub(crate) fleet: watch::Receiver<Arc<Fleet>>,
    /// Whether the fleet holds.
    pub(crate) hold: Hold,
}

/// What people want of the hub, and what it gave them.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// What is still to be done, in order.
    pub(crate) wishes: VecDeque<Wish>,
    /// Whether they approve and delete whatever waits, so that the scenario comes to its end.
    pub(crate) settling: bool,
    /// Whether somebody starts a second agent of the first cluster.
    pub(crate) twin: bool,
    /// How often they recovered the store.
    pub(crate) recoveries: u64,
}

/// Something that somebody wants of the hub.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    /// A cluster adopted, by its number.
    Adopt(usize),
    /// An assignment deleted.
    Delete(&'static Slot),
    /// A cluster emptied and detached, by its number.
    Leave(usize),
    /// Everything approved that waits now.
    Approve,
}

impl World {
    /// Makes the world of a seed.
    pub(crate) fn new(seed: u64, flaw: Flaw, hosts: &[&'static str]) -> Arc<Self> {
        let (trace, time) = (Trace::default(), Arc::<DriverTime>::default());
        let clock = Arc::new(SimClock::new(&time, Duration::ZERO));
        let entropy = Arc::new(SimEntropy::new(seed, 1));
        let names = ServerNames { dns: [HUB.to_owned()].into(), ..ServerNames::default() };
        let ports = (&*clock as _, &*entropy as _);
        let keyring = Keyring::in_memory(FLEET, names, secrets(), HighWaterMark::in_memory(None), ports);
        let clusters = (0_u64..).zip(hosts.iter().copied()).map(|(number, name)| {
            // One agent with a flaw is enough.
            let flaw = if number == 0 { flaw } else { Flaw::None };
            Arc::new(Managed::new(name, (seed, number), &time, &trace, flaw))
        });
        Arc::new(Self {
            flaw,
            clusters: clusters.collect(),
            twin: Machine::new(TWIN, (seed, 20), &time, Duration::ZERO),
            trace,
            time,
            clock,
            entropy,
            keyring: Arc::new(keyring.expect("the secrets are whole")),
            tokens: TempDir::new().expect("make a directory for tokens"),
            documents: Mutex::new(Documents::new()),
            evidence: Mutex::default(),
            people: Mutex::default(),
            hub: Mutex::default(),
            decides: Mutex::default(),
        })
    }

    /// Returns the file of a cluster's join token.
    pub(crate) fn token(&self, cluster: &str) -> PathBuf {
        self.tokens.path().join(cluster)
    }

    /// Locks the documents.
    pub(crate) fn documents(&self) -> MutexGuard<'_, Documents> {
        lock(&self.documents)
    }

    /// Locks the evidence.
    pub(crate) fn evidence(&self) -> MutexGuard<'_, Evidence> {
        lock(&self.evidence)
    }

    /// Locks what people want.
    pub(crate) fn people(&self) -> MutexGuard<'_, People> {
        lock(&self.people)
    }

    /// Returns which process people have to ask.
    pub(crate) fn decides(&self) -> Decides {
        lock(&self.decides).clone()
    }

    /// Notes which process people have to ask.
    pub(crate) fn set_decides(&self, decides: Decides) {
        *lock(&self.decides) = decides;
    }

    /// Returns the running hub; `None` while it is down.
    pub(crate) fn live(&self) -> Option<LiveHub> {
        lock(&self.hub).live.clone()
    }

    /// Notes that the hub runs, or no longer does.
    pub(crate) fn set_live(&self, live: Option<LiveHub>) {
        // Dropped after the lock is free: what goes with a hub may look here.
        let before = std::mem::replace(&mut lock(&self.hub).live, live);
        drop(before);
    }

    /// Returns the store's records.
    pub(crate) fn medium(&self) -> MemoryMedium {
        lock(&self.hub).store.clone()
    }

    /// Puts another store in the place of the one that was there.
    pub(crate) fn replace_store(&self, store: MemoryMedium) {
        lock(&self.hub).store = store;
    }

    /// Takes in a position that the hub committed, or began with.
    pub(crate) fn see(&self, fleet: &Fleet, begins: bool) {
        let era = fleet.era().map_or(0, |record| record.era.number);
        self.trace.note(HUB, format!("position {} of era {era}", fleet.position()));
        let ids: Vec<ClusterId> = self.clusters.iter().map(|managed| managed.id).collect();
        let written = |document: &_| self.documents().was_written(document);
        self.evidence().see(fleet, begins, &ids, written);
    }

    /// Reads the documents if they changed since they had the given version.
    pub(crate) fn read_documents(&self, read: Option<u64>) -> Option<(u64, Scan)> {
        let documents = self.documents();
        (read != Some(documents.version())).then(|| (documents.version(), documents.scan()))
    }

    /// Writes an assignment as a person does.
    pub(crate) fn assign(&self, slot: &Slot, wanted: Wanted) {
        self.evidence().mean_version(slot.name, wanted);
        self.documents().assign(slot, wanted);
    }
}

/// The fleet's secrets: made once for the process, since nothing that is traced depends on their bytes.
pub(crate) fn secrets() -> KeyMaterial {
    static SECRETS: OnceLock<KeyMaterial> = OnceLock::new();
    let make = || {
        let time = Arc::default();
        KeyMaterial::generate(FLEET, &SimClock::new(&time, Duration::ZERO), &SimEntropy::new(0, 0))
            .expect("keys can be made")
    };
    SECRETS.get_or_init(make).clone()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
