//! A managed cluster as the simulation sees it: the simulated API server of the load test, with the time its answers take, and a
//! record of everything that the agent was shown and that it removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use starling_agent::cluster::{
    ClusterApi, ClusterError, ClusterEvent, InventoryChange, Preconditions, ResourceRef, StoredIdentity,
    StoredInventory,
};
use starling_agent_core::inventory::{HeldInstall, Inventory};
use starling_agent_core::judge::{judge, key_of};
use starling_loadtest::cluster::{SimulatedApi, SimulatedCluster, SimulatedOptions};
use starling_model::{ClusterId, Facts, Fence, InstallKey, Limits, ObjectKey, ObjectStatus, Tombstone, Value};

use crate::ports::{DriverTime, Link, SimClock, SimEntropy};
use crate::random::Random;
use crate::trace::Trace;

/// How long an API server takes to begin, and after that to answer, in milliseconds at most.
const ANSWER_MS: u64 = 25;

/// How far the clock on an agent's wall is ahead of the hub's, in milliseconds at most.
const AHEAD_MS: u64 = 60_000;

/// How long a flaky API server keeps an answer back before the connection breaks, in percent of all writes.
const LOST_PERCENT: u64 = 30;

/// A fault that a simulation must find: of the first cluster's agent, or of what is known to be meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// None.
    #[default]
    None,
    /// After some writes an object that nobody named is deleted.
    DeletesUnasked,
    /// Changes of one object are not seen.
    MissesChanges,
    /// An object is reported that is not there.
    SeesPhantom,
    /// The hub is told of deletions that nobody means.
    DeletesUnmeant,
}

/// The machine that an agent runs on.
pub(crate) struct Machine {
    /// The host's name.
    pub(crate) host: String,
    /// Its clock.
    pub(crate) clock: Arc<SimClock>,
    /// Its entropy.
    pub(crate) entropy: Arc<SimEntropy>,
    /// Its newest connection to the hub.
    pub(crate) link: Arc<Link>,
    /// Set while whatever the agent asks of the API server does not leave the machine.
    stalled: AtomicBool,
}

/// A managed cluster with its machine.
pub(crate) struct Managed {
    /// The host's name, which is also the cluster's.
    pub(crate) name: String,
    /// The identity.
    pub(crate) id: ClusterId,
    /// The API server.
    pub(crate) cluster: Arc<SimulatedCluster>,
    /// The machine of its agent.
    pub(crate) machine: Arc<Machine>,
    /// What agents were shown and did.
    record: Mutex<Record>,
    draws: Mutex<Random>,
    trace: Trace,
    flaw: Flaw,
}

#[derive(Default)]
struct Record {
    shown: BTreeMap<ObjectKey, Vec<ObjectStatus>>,
    removals: Vec<Removal>,
    /// As it was stored last.
    inventory: Arc<Inventory>,
    acts: Vec<Act>,
    writes: u64,
    churned: u64,
    flaky: bool,
}

/// A plan that an agent committed to act on.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    /// Simulated time.
    pub(crate) at: Duration,
    /// The fence that was committed before.
    pub(crate) before: Option<Fence>,
    /// The plan's.
    pub(crate) fence: Fence,
}

/// A removal that the agent asked for.
#[derive(Clone, Debug)]
pub(crate) struct Removal {
    /// What.
    pub(crate) key: ObjectKey,
    /// The tombstones that the inventory, as it was stored then, carries out or has carried out and that name the object.
    pub(crate) tombstones: Vec<Tombstone>,
    /// The installs whose retired object it was then.
    pub(crate) retiring: Vec<InstallKey>,
}

/// The agent's way to the cluster; one for each start of an agent.
pub(crate) struct ObservedApi {
    managed: Arc<Managed>,
    machine: Arc<Machine>,
    inner: SimulatedApi,
}

impl Machine {
    /// Makes a machine whose clock on the wall is ahead of the hub's.
    pub(crate) fn new(host: &str, (seed, stream): (u64, u64), driver: &Arc<DriverTime>, ahead: Duration) -> Arc<Self> {
        Arc::new(Self {
            host: host.to_owned(),
            clock: Arc::new(SimClock::new(driver, ahead)),
            entropy: Arc::new(SimEntropy::new(seed, stream)),
            link: Arc::default(),
            stalled: AtomicBool::new(false),
        })
    }

    /// Lets nothing leave the machine towards the API server from now on, or again.
    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }
}

impl Managed {
    /// Makes a cluster with some objects that are there without Starling.
    pub(crate) fn new(
        name: &str,
        (seed, number): (u64, u64),
        driver: &Arc<DriverTime>,
        trace: &Trace,
        flaw: Flaw,
    ) -> Self {
        let options = SimulatedOptions {
            name: name.to_owned(),
            background_objects: 6,
            settle: Duration::from_millis(400),
            kubernetes_version: "v1.35.4".into(),
        };
        let mut draws = Random::new(seed, 100 + number);
        let ahead = Duration::from_millis(draws.within(0..AHEAD_MS));
        Self {
            name: name.to_owned(),
            id: ClusterId::derive(crate::world::FLEET, crate::documents::WORKSPACE, name),
            cluster: SimulatedCluster::with_clock(options, Arc::new(SimClock::new(driver, Duration::ZERO))),
            machine: Machine::new(name, (seed, 10 + number), driver, ahead),
            record: Mutex::default(),
            draws: Mutex::new(draws),
            trace: trace.clone(),
            flaw,
        }
    }

    /// Returns the way of an agent that is newly started on a machine.
    pub(crate) fn api(self: &Arc<Self>, machine: &Arc<Machine>) -> ObservedApi {
        let inner = SimulatedApi(Arc::clone(&self.cluster));
        ObservedApi { managed: Arc::clone(self), machine: Arc::clone(machine), inner }
    }

    /// Tells whether the API server ever told the agent of this status.
    pub(crate) fn was_shown(&self, status: &ObjectStatus) -> bool {
        self.record().shown.get(&status.key).is_some_and(|statuses| statuses.iter().rev().any(|shown| shown == status))
    }

    /// Changes an object that is there without Starling.
    pub(crate) fn churn(&self, index: u32, ready: bool) -> bool {
        self.record().churned += 1;
        self.cluster.touch_background(index, ready).is_some()
    }

    /// Returns what changes whenever the truth does.
    pub(crate) fn version(&self) -> (u64, u64) {
        (self.cluster.version(), self.record().churned)
    }

    /// Returns what the hub should show: the judged status of every object that is there.
    pub(crate) fn truth(&self) -> BTreeMap<ObjectKey, ObjectStatus> {
        let text_bytes = Limits::DEFAULT.text_bytes as usize;
        let truth = self.cluster.truth();
        truth
            .into_iter()
            .filter(|(key, _)| is_reported(key))
            .map(|(key, object)| (key, judge(&object, text_bytes)))
            .collect()
    }

    /// Returns the inventory as it is stored.
    pub(crate) fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(&self.record().inventory)
    }

    /// Returns the removals from a number on.
    pub(crate) fn removals_from(&self, first: usize) -> Vec<Removal> {
        self.record().removals[first..].to_vec()
    }

    /// Returns the plans that were committed to, from a number on.
    pub(crate) fn acts_from(&self, first: usize) -> Vec<Act> {
        self.record().acts[first..].to_vec()
    }

    fn note_inventory(&self, inventory: Inventory) {
        let mut record = self.record();
        let before = record.inventory.acting_fence();
        if let (Some(fence), Some(at)) =
            (inventory.acting_fence().filter(|fence| Some(*fence) != before), turmoil::sim_elapsed())
        {
            record.acts.push(Act { at, before, fence });
        }
        record.inventory = Arc::new(inventory);
    }

    /// Makes the API server lose answers from now on, or no longer.
    pub(crate) fn set_flaky(&self, flaky: bool) {
        self.record().flaky = flaky;
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draws(&self) -> MutexGuard<'_, Random> {
        self.draws.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, event: &ClusterEvent) {
        if let ClusterEvent::Applied(object) = event {
            let status = judge(object, Limits::DEFAULT.text_bytes as usize);
            let mut record = self.record();
            let shown = record.shown.entry(status.key.clone()).or_default();
            if shown.last() != Some(&status) {
                shown.push(status);
            }
        }
    }

    /// Notes why, by its own stored inventory, the agent removes an object.
    fn note_removal(&self, key: &ObjectKey) {
        let inventory = self.inventory();
        let removing = inventory.installs().values().filter(|held| held.objects.contains_key(key));
        let removing = removing.filter_map(|held| held.removing.clone());
        let late =
            inventory.buried().filter(|buried| buried.objects.contains_key(key)).map(|buried| buried.tombstone.clone());
        let tombstones: Vec<Tombstone> = removing.chain(late).collect();
        let is_retired = |held: &HeldInstall| held.retiring.contains(key) || held.retired.contains_key(key);
        let retiring = inventory.installs().iter().filter(|(_, held)| is_retired(held));
        let retiring: Vec<InstallKey> = retiring.map(|(install, _)| install.clone()).collect();
        self.record().removals.push(Removal { key: key.clone(), tombstones, retiring });
    }
}

/// Tells whether agents report objects of a kind.
fn is_reported(key: &ObjectKey) -> bool {
    starling_agent_core::judge::is_watched(&key.group, &key.kind)
}

fn read(stored: &StoredInventory) -> Inventory {
    Inventory::from_records(&stored.head, &stored.bodies).expect("the agent stored it").inventory
}

impl ObservedApi {
    /// Takes the time that a request needs to arrive.
    async fn arrive(&self) {
        loop {
            let wait = self.managed.draws().within(1..ANSWER_MS);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            if !self.machine.stalled.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn note(&self, what: String) {
        self.managed.trace.note(&self.machine.host, what);
    }

    /// Takes the time that the answer to a write needs; a flaky API server may lose it, and what was done stays done.
    async fn answer<T>(&self, answer: Result<T, ClusterError>) -> Result<T, ClusterError> {
        let (wait, lost) = {
            let mut draws = self.managed.draws();
            (draws.within(1..ANSWER_MS), draws.chance(LOST_PERCENT))
        };
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if lost && self.managed.record().flaky {
            self.note("answer lost".into());
            return Err(ClusterError::Unavailable("connection reset".into()));
        }
        answer
    }

    async fn written(
        &self,
        what: &str,
        key: &ObjectKey,
        answer: Result<Value, ClusterError>,
    ) -> Result<Value, ClusterError> {
        let outcome = answer.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string);
        self.note(format!("{what} {key}: {outcome}"));
        self.go_wrong(key).await;
        self.answer(answer).await
    }

    /// Carries out the planted flaw of a write.
    async fn go_wrong(&self, written: &ObjectKey) {
        let writes = {
            let mut record = self.managed.record();
            record.writes += 1;
            record.writes
        };
        if self.managed.flaw != Flaw::DeletesUnasked || writes < 20 {
            return;
        }
        let objects = self.managed.cluster.objects();
        let Some((victim, object)) = objects.iter().find(|(key, _)| *key != written) else { return };
        let resource = ResourceRef::any_version(victim.clone());
        if self.inner.delete(&resource, &Preconditions::of(object)).await.is_ok() {
            self.managed.note_removal(victim);
        }
    }
}

#[async_trait]
impl ClusterApi for ObservedApi {
    fn watch(&self) -> BoxStream<'static, ClusterEvent> {
        let managed = Arc::clone(&self.managed);
        let hidden = |key: &ObjectKey| key.name == "app-3" && turmoil::sim_elapsed() > Some(Duration::from_secs(30));
        let events = self.inner.watch().flat_map(move |event| {
            managed.show(&event);
            let mut events = vec![event];
            match managed.flaw {
                Flaw::MissesChanges => {
                    events.retain(|event| !matches!(event, ClusterEvent::Applied(object) if hidden(&key_of(object))));
                }
                Flaw::SeesPhantom => events.extend(phantom(&events[0])),
                Flaw::None | Flaw::DeletesUnasked | Flaw::DeletesUnmeant => {}
            }
            futures::stream::iter(events)
        });
        let managed = Arc::clone(&self.managed);
        let late = events.then(move |event| {
            // Events come late now and then, and in order.
            let wait = { managed.draws().within(0..60).saturating_sub(50) };
            async move {
                if wait > 0 {
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
                event
            }
        });
        late.boxed()
    }

    async fn get(&self, resource: &ResourceRef) -> Result<Value, ClusterError> {
        self.arrive().await;
        let answer = self.inner.get(resource).await;
        if let Ok(object) = &answer {
            self.managed.show(&ClusterEvent::Applied(object.clone()));
        }
        answer
    }

    async fn create(&self, document: &Value) -> Result<Value, ClusterError> {
        self.arrive().await;
        let answer = self.inner.create(document).await;
        self.written("create", &key_of(document), answer).await
    }

    async fn apply(&self, document: &Value) -> Result<Value, ClusterError> {
        self.arrive().await;
        let answer = self.inner.apply(document).await;
        self.written("apply", &key_of(document), answer).await
    }

    async fn merge_patch(&self, resource: &ResourceRef, patch: &Value, manager: &str) -> Result<Value, ClusterError> {
        self.arrive().await;
        let answer = self.inner.merge_patch(resource, patch, manager).await;
        self.written("patch", &resource.key, answer).await
    }

    async fn delete(&self, resource: &ResourceRef, only: &Preconditions) -> Result<(), ClusterError> {
        self.arrive().await;
        let before = self.managed.cluster.removals().len();
        let answer = self.inner.delete(resource, only).await;
        if self.managed.cluster.removals().len() > before {
            self.managed.note_removal(&resource.key);
        }
        let outcome = answer.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string);
        self.note(format!("delete {}: {outcome}", resource.key));
        self.answer(answer).await
    }

    async fn ensure_namespace(&self, name: &str) -> Result<(), ClusterError> {
        self.arrive().await;
        self.inner.ensure_namespace(name).await
    }

    async fn load_inventory(&self) -> Result<Option<StoredInventory>, ClusterError> {
        self.arrive().await;
        self.inner.load_inventory().await
    }

    async fn swap_inventory(&self, expected: Option<&str>, change: &InventoryChange) -> Result<String, ClusterError> {
        self.arrive().await;
        let answer = self.inner.swap_inventory(expected, change).await;
        if let Ok(Some(stored)) = self.inner.load_inventory().await {
            self.managed.note_inventory(read(&stored));
        }
        let outcome = answer.as_ref().map_or_else(ToString::to_string, |version| format!("version {version}"));
        self.note(format!("inventory: {outcome}"));
        self.answer(answer).await
    }

    async fn collect_inventory(&self, keep: &BTreeSet<String>) -> Result<(), ClusterError> {
        self.arrive().await;
        self.inner.collect_inventory(keep).await
    }

    async fn load_identity(&self, secret: &str) -> Result<Option<StoredIdentity>, ClusterError> {
        self.arrive().await;
        self.inner.load_identity(secret).await
    }

    async fn store_identity(&self, secret: &str, identity: &StoredIdentity) -> Result<(), ClusterError> {
        self.arrive().await;
        let answer = self.inner.store_identity(secret, identity).await;
        self.note("identity stored".into());
        self.answer(answer).await
    }

    async fn fingerprint(&self) -> Result<String, ClusterError> {
        self.arrive().await;
        self.inner.fingerprint().await
    }

    async fn facts(&self) -> Result<Facts, ClusterError> {
        self.arrive().await;
        self.inner.facts().await
    }
}

/// Returns an event about an object that is not there, beside one about a background object.
fn phantom(event: &ClusterEvent) -> Option<ClusterEvent> {
    let ClusterEvent::Applied(object) = event else { return None };
    let mut object = object.clone();
    if key_of(&object).name != "app-2" {
        return None;
    }
    object.merge(&Value::map([("metadata", Value::map([("name", "phantom")]))]));
    Some(ClusterEvent::Applied(object))
}
