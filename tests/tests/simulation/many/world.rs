//! What outlives the processes of a hub of several: their machines, etcd, the Secret that they share, and the balancer before them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use starling_hub::keyring::{Entries, KeyMaterial, KeyStorage};
use tokio::sync::watch;

use super::answers::Answer;
use crate::cluster::Flaw;
use crate::etcd::Etcd;
use crate::ports::{Balancer, SimClock, SimEntropy};
use crate::random::Random;
use crate::world::{HUB, LiveHub, PORT, World, secrets};

/// The clusters' names.
pub(crate) const AGENTS: [&str; 4] = ["edge-1", "edge-2", "edge-3", "edge-4"];

/// The hub processes' names, which are their hosts. The last one is started in the middle of some scenarios.
pub(crate) const HUBS: [&str; 4] = ["hub-1", "hub-2", "hub-3", "hub-4"];

/// How many of them run from the beginning.
pub(crate) const FROM_THE_BEGINNING: usize = 3;

/// A host that runs another process with the name of the first.
pub(crate) const NAMESAKE: &str = "hub-1-again";

/// The world of one simulation.
pub(crate) struct Many {
    /// Clusters, documents, people.
    pub(crate) world: Arc<World>,
    /// The store.
    pub(crate) etcd: Arc<Etcd>,
    /// The machines of the hub's processes, the namesake's last.
    pub(crate) machines: Vec<Arc<HubMachine>>,
    secret: Arc<Mutex<Secret>>,
    balances: Mutex<Random>,
}

/// A machine that runs a process of the hub.
pub(crate) struct HubMachine {
    /// The host.
    pub(crate) host: &'static str,
    /// The process's name.
    pub(crate) name: &'static str,
    /// Its clock.
    pub(crate) clock: Arc<SimClock>,
    /// Its entropy.
    pub(crate) entropy: Arc<SimEntropy>,
    /// True once the process is asked to end in order.
    pub(crate) leaving: watch::Sender<bool>,
    state: Mutex<HubState>,
}

#[derive(Default)]
struct HubState {
    live: Option<LiveHub>,
    answer: Option<Arc<Answer>>,
    starts: u64,
    exited: bool,
}

/// The Secret that the processes share.
#[derive(Default)]
struct Secret {
    entries: Entries,
    versions: BTreeMap<String, u64>,
}

/// One process's way to the Secret.
pub(crate) struct SharedStorage {
    secret: Arc<Mutex<Secret>>,
    read: Mutex<BTreeMap<String, u64>>,
}

impl Many {
    /// Makes the world of a seed; `ahead` is by how much each machine's clock on the wall is wrong.
    pub(crate) fn new(seed: u64, ahead: &[Duration]) -> Arc<Self> {
        let world = World::new(seed, Flaw::None, &AGENTS);
        let hosts = HUBS.into_iter().map(|name| (name, name)).chain([(NAMESAKE, HUBS[0])]);
        let machines = hosts.enumerate().map(|(number, (host, name))| {
            let stream = 50 + number as u64;
            let ahead = ahead.get(number).copied().unwrap_or_default();
            Arc::new(HubMachine {
                host,
                name,
                clock: Arc::new(SimClock::new(&world.time, ahead)),
                entropy: Arc::new(SimEntropy::new(seed, stream)),
                leaving: watch::Sender::new(false),
                state: Mutex::default(),
            })
        });
        Arc::new(Self {
            machines: machines.collect(),
            etcd: Arc::new(Etcd::new(seed)),
            secret: Arc::new(Mutex::new(Secret::of(secrets()))),
            balances: Mutex::new(Random::new(seed, 60)),
            world,
        })
    }

    /// Returns a process's way to the Secret.
    pub(crate) fn storage(&self) -> Arc<dyn KeyStorage> {
        Arc::new(SharedStorage { secret: Arc::clone(&self.secret), read: Mutex::default() })
    }

    /// Returns the processes that run, each with its machine's number.
    pub(crate) fn live(&self) -> Vec<(usize, LiveHub)> {
        let live = self.machines.iter().enumerate().filter_map(|(number, machine)| Some((number, machine.live()?)));
        live.collect()
    }
}

impl Balancer for Many {
    fn find(&self, address: &str) -> String {
        if address != format!("{HUB}:{PORT}") {
            return address.to_owned();
        }
        let live: Vec<&str> =
            self.machines.iter().filter(|machine| machine.live().is_some()).map(|machine| machine.host).collect();
        // A process that is down takes no connection, as its address does without a balancer.
        let host = match live.len() {
            0 => HUBS[0],
            count => live[lock(&self.balances).index(count)],
        };
        format!("{host}:{PORT}")
    }
}

impl HubMachine {
    /// Returns where the process is dialled.
    pub(crate) fn address(&self) -> String {
        format!("{}:{PORT}", self.host)
    }

    /// Tells whether the process runs and is not asked to end: one that ends stops listening before it is over.
    pub(crate) fn answers(&self) -> bool {
        self.live().is_some() && !*self.leaving.borrow()
    }

    /// Returns the running process.
    pub(crate) fn live(&self) -> Option<LiveHub> {
        self.state().live.clone()
    }

    /// Notes that the process runs, or no longer does.
    pub(crate) fn set_live(&self, live: Option<LiveHub>) {
        let before = {
            let mut state = self.state();
            state.answer = None;
            std::mem::replace(&mut state.live, live)
        };
        drop(before);
    }

    /// Notes that the process is over.
    pub(crate) fn exit(&self) {
        self.set_live(None);
        self.state().exited = true;
    }

    /// Tells whether the process is over, once.
    pub(crate) fn take_exited(&self) -> bool {
        std::mem::take(&mut self.state().exited)
    }

    /// Counts a start of the process.
    pub(crate) fn started(&self) -> u64 {
        self.leaving.send_replace(false);
        let mut state = self.state();
        state.starts += 1;
        state.starts
    }

    /// Returns what the process answered last.
    pub(crate) fn answer(&self) -> Option<Arc<Answer>> {
        self.state().answer.clone()
    }

    /// Notes what the process answered.
    pub(crate) fn set_answer(&self, answer: Answer) {
        self.state().answer = Some(Arc::new(answer));
    }

    fn state(&self) -> MutexGuard<'_, HubState> {
        lock(&self.state)
    }
}

impl Secret {
    fn of(material: KeyMaterial) -> Self {
        let entries = Entries::from([
            ("ca.crt".to_owned(), material.ca_crt.into_bytes()),
            ("ca.key".to_owned(), material.ca_key.into_bytes()),
            ("fleet.key".to_owned(), hex(&material.fleet_key).into_bytes()),
            ("admin.token".to_owned(), material.admin_token.into_bytes()),
        ]);
        Self { entries, versions: BTreeMap::new() }
    }
}

#[async_trait]
impl KeyStorage for SharedStorage {
    fn place(&self) -> String {
        "the shared Secret".to_owned()
    }

    fn keeps_server_certificate(&self) -> bool {
        false
    }

    async fn read(&self) -> io::Result<Entries> {
        let secret = lock(&self.secret);
        lock(&self.read).clone_from(&secret.versions);
        Ok(secret.entries.clone())
    }

    async fn create(&self, _: Entries) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "the secrets are there"))
    }

    async fn replace(&self, name: &str, content: Vec<u8>) -> io::Result<()> {
        let (mut secret, mut read) = (lock(&self.secret), lock(&self.read));
        let version = secret.versions.get(name).copied().unwrap_or(0);
        if read.get(name).copied().unwrap_or(0) != version {
            return Err(io::Error::other("another process changed it since it was read"));
        }
        secret.versions.insert(name.to_owned(), version + 1);
        read.insert(name.to_owned(), version + 1);
        secret.entries.insert(name.to_owned(), content);
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
