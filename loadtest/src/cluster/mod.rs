//! A managed cluster in memory: an API server as the agent sees one, and a Flux that reconciles at once.
//!
//! Owns just enough of both to be true to the agent: UIDs, resource versions, generations, preconditions, watches that lag,
//! an inventory with compare-and-set. Nothing is fetched or installed: an applied Flux object becomes Ready after the
//! settle time, or fails when the simulation says so.

mod api;
mod background;
mod flux;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use starling_agent::cluster::{ClusterEvent, StoredIdentity, StoredInventory};
use starling_model::{Facts, ObjectKey, Uid, Value};
use tokio::sync::broadcast;

pub use api::SimulatedApi;
pub use background::BACKGROUND_NAMESPACE;

/// Events that a slow watcher may fall behind before it lists again.
const WATCH_BACKLOG: usize = 256;

/// What a simulated cluster is made of.
#[derive(Clone, Debug)]
pub struct SimulatedOptions {
    /// Its name, which its fingerprint is derived from.
    pub name: String,
    /// Flux objects that are there without Starling.
    pub background_objects: u32,
    /// How long Flux takes to reconcile an object.
    pub settle: Duration,
    /// The version of Kubernetes that it says it is.
    pub kubernetes_version: String,
}

/// A managed cluster in memory.
pub struct SimulatedCluster {
    options: SimulatedOptions,
    state: Mutex<State>,
    events: broadcast::Sender<Change>,
}

/// What changed, cheap to send to every watcher: the document is built by the watcher.
#[derive(Clone, Debug)]
enum Change {
    Changed(ObjectKey),
    Deleted(ObjectKey),
}

#[derive(Default)]
struct State {
    /// The newest resource version.
    version: u64,
    /// Objects made since the last UID was given.
    made: u64,
    objects: BTreeMap<ObjectKey, Value>,
    background: background::Background,
    namespaces: std::collections::BTreeSet<String>,
    inventory: Option<StoredInventory>,
    identities: BTreeMap<String, StoredIdentity>,
    /// Names of objects that Flux fails to reconcile, with its message.
    failing: BTreeMap<String, String>,
    /// Set while the API server does not answer.
    unavailable: bool,
    /// Every removal of an object that the agent asked for.
    removals: Vec<ObjectKey>,
}

impl SimulatedCluster {
    /// Makes a cluster.
    #[must_use]
    pub fn new(options: SimulatedOptions) -> Arc<Self> {
        let state = State {
            version: 1,
            background: background::Background::new(options.background_objects),
            ..State::default()
        };
        let (events, _) = broadcast::channel(WATCH_BACKLOG);
        Arc::new(Self { options, state: Mutex::new(state), events })
    }

    /// Returns the objects that were applied and are there now.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<ObjectKey, Value> {
        self.state().objects.clone()
    }

    /// Returns every object that the agent deleted, in order.
    #[must_use]
    pub fn removals(&self) -> Vec<ObjectKey> {
        self.state().removals.clone()
    }

    /// Makes Flux fail on objects of a name from now on, or succeed again.
    pub fn set_failing(&self, name: &str, message: Option<&str>) {
        let mut state = self.state();
        match message {
            Some(message) => state.failing.insert(name.to_owned(), message.to_owned()),
            None => state.failing.remove(name),
        };
        let keys: Vec<ObjectKey> = state.objects.keys().filter(|key| key.name == name).cloned().collect();
        for key in keys {
            flux::settle(&mut state, &key);
            drop(self.events.send(Change::Changed(key)));
        }
    }

    /// Makes the API server answer, or not.
    pub fn set_available(&self, available: bool) {
        self.state().unavailable = !available;
    }

    /// Changes an object as a person with kubectl would.
    pub fn edit(&self, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let Some(mut object) = state.objects.get(key).cloned() else { return };
        change(&mut object);
        state.write(key.clone(), object);
        drop(state);
        drop(self.events.send(Change::Changed(key.clone())));
    }

    /// Deletes an object as a person with kubectl would.
    pub fn delete_by_hand(&self, key: &ObjectKey) {
        if self.state().objects.remove(key).is_some() {
            drop(self.events.send(Change::Deleted(key.clone())));
        }
    }

    /// Gives one of the background objects another revision, and health as told; returns the object's key.
    pub fn touch_background(&self, index: u32, ready: bool) -> Option<ObjectKey> {
        let key = self.state().background.touch(index, ready)?;
        drop(self.events.send(Change::Changed(key.clone())));
        Some(key)
    }

    /// Returns what an agent would have to report: every object with its status, applied or in the background.
    #[must_use]
    pub fn truth(&self) -> BTreeMap<ObjectKey, Value> {
        let state = self.state();
        let mut truth = state.objects.clone();
        truth.extend(state.background.documents());
        truth
    }

    fn facts_now(&self) -> Facts {
        Facts {
            kubernetes_version: self.options.kubernetes_version.clone(),
            flux_version: "v2.9.0".into(),
            nodes: 3,
            platform: "simulated".into(),
            extra: BTreeMap::new(),
        }
    }

    fn fingerprint_now(&self) -> String {
        starling_model::ClusterId::derive("simulated", "kube-system", &self.options.name).to_string()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Stores an object under a new resource version; the generation moves when the specification does.
    fn write(&mut self, key: ObjectKey, mut object: Value) -> Value {
        self.version += 1;
        let old = self.objects.get(&key);
        let generation = |value: &Value| value.at(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
        let same_spec = old.is_some_and(|old| old.get("spec") == object.get("spec"));
        let next = old.map_or(1, |old| generation(old) + i64::from(!same_spec));
        let uid = match old.and_then(|old| old.at(&["metadata", "uid"])) {
            Some(uid) => uid.clone(),
            None => {
                self.made += 1;
                Value::from(Uid::from_entropy(u128::from(self.made).to_be_bytes()).to_string())
            }
        };
        if let Value::Map(map) = &mut object
            && let Some(Value::Map(metadata)) = map.get_mut("metadata")
        {
            metadata.insert("uid".into(), uid);
            metadata.insert("resourceVersion".into(), Value::from(self.version.to_string()));
            metadata.insert("generation".into(), Value::from(next));
        }
        self.objects.insert(key, object.clone());
        object
    }

    /// Builds the document that a watcher is told.
    fn document(&self, key: &ObjectKey) -> Option<Value> {
        self.objects.get(key).cloned().or_else(|| self.background.document(key))
    }
}

/// What a watcher is told of a change.
fn event(state: &State, change: Change) -> ClusterEvent {
    match change {
        Change::Changed(key) => match state.document(&key) {
            Some(document) => ClusterEvent::Applied(document),
            None => ClusterEvent::Deleted(key),
        },
        Change::Deleted(key) => ClusterEvent::Deleted(key),
    }
}

#[cfg(test)]
mod tests;
