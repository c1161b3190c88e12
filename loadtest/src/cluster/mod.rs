//! A managed cluster in memory: an API server as the agent sees one, and a Flux that does nothing but report.
//!
//! Owns just enough of both to be true to the agent: UIDs, resource versions, generations, preconditions, field ownership,
//! finalizers, watches that fall behind, an inventory with compare-and-set. Nothing is fetched or installed: an applied
//! Flux object becomes Ready after the settle time, or fails when the simulation says so. Nothing runs in the background:
//! what is due is done when somebody looks, so a cluster outlives the runtime of its agents.

mod api;
mod background;
mod flux;
mod state;
mod stored;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use starling_agent::ports::{Clock, SystemClock};
use starling_model::{ClusterId, Facts, Millis, ObjectKey, Value};
use tokio::sync::broadcast;

use state::State;
use watch::Change;

pub use api::SimulatedApi;
pub use background::BACKGROUND_NAMESPACE;

/// Changes that a slow watcher may fall behind before it lists again.
const WATCH_BACKLOG: usize = 32;

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

/// Renders that an agent stored in its inventory: the first part of acting on a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commits {
    /// How many stores brought renders that were not held.
    pub count: u64,
    /// When the newest was.
    pub newest: Option<Instant>,
}

/// A managed cluster in memory.
pub struct SimulatedCluster {
    options: SimulatedOptions,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    events: broadcast::Sender<Change>,
}

impl SimulatedCluster {
    /// Makes a cluster in the machine's own time.
    #[must_use]
    pub fn new(options: SimulatedOptions) -> Arc<Self> {
        Self::with_clock(options, Arc::new(SystemClock))
    }

    /// Makes a cluster whose Flux goes by the given clock.
    #[must_use]
    pub fn with_clock(options: SimulatedOptions, clock: Arc<dyn Clock>) -> Arc<Self> {
        let state = Mutex::new(State::new(options.background_objects));
        let (events, _) = broadcast::channel(WATCH_BACKLOG);
        Arc::new(Self { options, clock, state, events })
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Returns the objects that were applied and are there now.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<ObjectKey, Value> {
        self.state().objects.iter().map(|(key, object)| (key.clone(), object.document())).collect()
    }

    /// Returns every object, applied or in the background: what an agent has to report.
    #[must_use]
    pub fn truth(&self) -> BTreeMap<ObjectKey, Value> {
        self.state().documents()
    }

    /// Returns how many objects an agent has to report, applied ones and those in the background.
    #[must_use]
    pub fn object_count(&self) -> usize {
        let state = self.state();
        state.objects.len() + state.background.len()
    }

    /// Returns how many objects are there without Starling.
    #[must_use]
    pub fn background_count(&self) -> u32 {
        u32::try_from(self.state().background.len()).unwrap_or(u32::MAX)
    }

    /// Returns a number that grows whenever something that was applied changes, by whomever.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// Returns every removal that the agent asked for, in order.
    #[must_use]
    pub fn removals(&self) -> Vec<ObjectKey> {
        self.state().removals.clone()
    }

    /// Tells which renders the agent stored.
    #[must_use]
    pub fn commits(&self) -> Commits {
        let (count, newest) = self.state().commits;
        Commits { count, newest }
    }

    /// Makes Flux fail on objects of a name from now on, or succeed again.
    pub fn set_failing(&self, name: &str, message: Option<&str>) {
        let mut state = self.state();
        match message {
            Some(message) => state.failing.insert(name.to_owned(), message.to_owned()),
            None => state.failing.remove(name),
        };
        let keys: Vec<ObjectKey> = state.objects.keys().filter(|key| key.name == name).cloned().collect();
        for key in keys.into_iter().filter(flux::reconciles) {
            let (key, gone) = state.settle(key);
            self.tell(if gone { Change::Deleted(key) } else { Change::Changed(key) });
        }
    }

    /// Makes the API server answer, or not.
    pub fn set_available(&self, available: bool) {
        self.state().unavailable = !available;
        if available {
            self.tell(Change::Answering);
        }
    }

    /// Changes an object as a person with kubectl would; its status stays Flux's.
    pub fn edit(&self, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
        let done = self.done();
        let mut state = self.state();
        let Some(mut document) = state.objects.get(key).map(|object| object.document()) else { return };
        change(&mut document);
        state.change(key, |object| object.replace(&document), done);
        self.tell(Change::Changed(key.clone()));
    }

    /// Deletes an object as a person with kubectl would.
    pub fn delete_by_hand(&self, key: &ObjectKey) {
        let done = self.done();
        let mut state = self.state();
        if state.objects.contains_key(key) {
            let gone = state.delete(key, done);
            self.tell(if gone { Change::Deleted(key.clone()) } else { Change::Changed(key.clone()) });
        }
    }

    /// Gives one of the background objects another revision, and health as told; returns the object's key and revision.
    pub fn touch_background(&self, index: u32, ready: bool) -> Option<(ObjectKey, String)> {
        let touched = self.state().background.touch(index, ready)?;
        self.tell(Change::Changed(touched.0.clone()));
        Some(touched)
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
        ClusterId::derive("simulated", "kube-system", &self.options.name).to_string()
    }

    /// Returns when Flux is done with what it begins now.
    fn done(&self) -> Millis {
        self.clock.uptime().plus(self.options.settle)
    }

    /// Locks the state, after Flux has ended what is due.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, gone) in state.catch_up(self.clock.uptime()) {
            self.tell(if gone { Change::Deleted(key) } else { Change::Changed(key) });
        }
        state
    }

    fn tell(&self, change: Change) {
        // Nobody may be watching.
        let _ = self.events.send(change);
    }
}

#[cfg(test)]
mod tests;
