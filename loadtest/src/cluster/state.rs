//! What a simulated cluster holds, and how it changes with writes and with time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use starling_agent::cluster::{StoredIdentity, StoredInventory};
use starling_model::{Millis, ObjectKey, Uid, Value};

use super::background::Background;
use super::flux;
use super::stored::Stored;

/// The state of a cluster.
#[derive(Default)]
pub(super) struct State {
    /// The newest resource version.
    pub(super) version: u64,
    /// Objects that were ever made, which UIDs come from.
    made: u64,
    pub(super) objects: BTreeMap<ObjectKey, Stored>,
    pub(super) background: Background,
    pub(super) namespaces: BTreeSet<String>,
    pub(super) inventory: Option<StoredInventory>,
    pub(super) identities: BTreeMap<String, StoredIdentity>,
    /// Names of objects that Flux fails to reconcile, with its message.
    pub(super) failing: BTreeMap<String, String>,
    /// Set while the API server does not answer.
    pub(super) unavailable: bool,
    /// Every removal that the agent asked for.
    pub(super) removals: Vec<ObjectKey>,
    /// Renders that the agent stored, and when the newest was.
    pub(super) commits: (u64, Option<Instant>),
}

impl State {
    pub(super) fn new(background_objects: u32) -> Self {
        Self { version: 1, background: Background::new(background_objects), ..Self::default() }
    }

    /// Stores an object that was not there.
    pub(super) fn create(&mut self, key: &ObjectKey, document: &Value, done: Millis) {
        self.made += 1;
        let uid = Uid::from_entropy(u128::from(self.made).to_be_bytes());
        self.objects.insert(key.clone(), Stored::new(document, uid));
        self.written(key, None, done);
    }

    /// Changes an object that is there; Flux is done with the change at `done`.
    pub(super) fn change(&mut self, key: &ObjectKey, change: impl FnOnce(&mut Stored), done: Millis) {
        let Some(object) = self.objects.get_mut(key) else { return };
        let before = object.specified();
        change(object);
        self.written(key, Some(&before), done);
    }

    fn written(&mut self, key: &ObjectKey, before: Option<&Value>, done: Millis) {
        let Some(object) = self.objects.get_mut(key) else { return };
        self.version += 1;
        object.version = self.version;
        if before.is_some_and(|before| before.get("spec") != object.specified().get("spec")) {
            object.generation += 1;
        }
        if flux::reconciles(key) && flux::begin(object, before) {
            object.due = Some(done);
        }
    }

    /// Deletes an object: what Flux reconciles goes at `done`, when its finalizer ran, the rest at once. Tells whether it
    /// is gone.
    pub(super) fn delete(&mut self, key: &ObjectKey, done: Millis) -> bool {
        let Some(object) = self.objects.get_mut(key) else { return true };
        self.version += 1;
        if flux::reconciles(key) {
            if !object.deleting {
                (object.deleting, object.due, object.version) = (true, Some(done), self.version);
            }
            return false;
        }
        self.objects.remove(key);
        true
    }

    /// Lets Flux end what is due; returns what changed, with whether it is gone.
    pub(super) fn catch_up(&mut self, now: Millis) -> Vec<(ObjectKey, bool)> {
        let is_due = |object: &Stored| object.due.is_some_and(|due| due <= now);
        let due: Vec<ObjectKey> =
            self.objects.iter().filter(|(_, object)| is_due(object)).map(|(key, _)| key.clone()).collect();
        due.into_iter().map(|key| self.settle(key)).collect()
    }

    /// Lets Flux end with one object.
    pub(super) fn settle(&mut self, key: ObjectKey) -> (ObjectKey, bool) {
        self.version += 1;
        if self.objects.get(&key).is_none_or(|object| object.deleting) {
            self.objects.remove(&key);
            return (key, true);
        }
        if let Some(object) = self.objects.get_mut(&key) {
            (object.due, object.version) = (None, self.version);
            flux::settle(object, self.failing.get(&key.name).map(String::as_str));
        }
        (key, false)
    }

    /// Returns how long Flux works on until something is due.
    pub(super) fn next_due(&self, now: Millis) -> Option<Duration> {
        self.objects.values().filter_map(|object| object.due).min().map(|due| due.since(now))
    }

    /// Returns an object, applied or in the background.
    pub(super) fn document(&self, key: &ObjectKey) -> Option<Value> {
        self.objects.get(key).map(Stored::document).or_else(|| self.background.document(key))
    }

    /// Returns every object, applied or in the background.
    pub(super) fn documents(&self) -> BTreeMap<ObjectKey, Value> {
        let mut documents = self.background.documents();
        documents.extend(self.objects.iter().map(|(key, object)| (key.clone(), object.document())));
        documents
    }
}
