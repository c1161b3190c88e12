//! An API server in memory: UIDs, resource versions, preconditions, server-side apply as far as the agent needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use starling_agent_core::judge::key_of;
use starling_model::{Facts, ObjectKey, Value};
use tokio::sync::watch;

use crate::cluster::{
    ClusterApi, ClusterError, ClusterEvent, InventoryChange, Kind, Preconditions, ResourceRef, StoredIdentity,
    StoredInventory,
};

/// The cluster.
pub(crate) struct FakeCluster {
    state: Arc<Mutex<State>>,
    events: watch::Sender<usize>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<ObjectKey, Value>,
    pub(crate) inventory: Option<StoredInventory>,
    pub(crate) identity: Option<StoredIdentity>,
    /// Refuses writes of this kind with this message.
    pub(crate) refuse: Option<(String, String)>,
    /// Stores the inventory once and does not say so.
    pub(crate) lose_answer: bool,
    applied: BTreeMap<ObjectKey, Value>,
    log: Vec<ClusterEvent>,
    version: u64,
}

/// Returns a status in which Ready is True for the generation.
pub(crate) fn flux_status(ready: &str, message: &str, generation: i64) -> Value {
    let condition = Value::map([
        ("type", Value::from("Ready")),
        ("status", Value::from(ready)),
        ("reason", Value::from("Test")),
        ("message", Value::from(message)),
        ("observedGeneration", Value::from(generation)),
    ]);
    Value::map([("conditions", Value::from(vec![condition]))])
}

impl FakeCluster {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), events: watch::Sender::new(0) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes an object as somebody else would.
    pub(crate) fn edit(&self, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let mut object = state.objects.get(key).cloned().expect("object is there");
        change(&mut object);
        self.put(&mut state, object);
    }

    /// Deletes an object as somebody else would.
    pub(crate) fn remove(&self, key: &ObjectKey) {
        let mut state = self.state();
        state.objects.remove(key).expect("object is there");
        state.applied.remove(key);
        self.announce(&mut state, ClusterEvent::Deleted(key.clone()));
    }

    /// Tells how many watches are open.
    pub(crate) fn watchers(&self) -> usize {
        self.events.receiver_count()
    }

    pub(crate) fn object(&self, key: &ObjectKey) -> Option<Value> {
        self.state().objects.get(key).cloned()
    }

    fn put(&self, state: &mut State, mut object: Value) -> Value {
        state.version += 1;
        set_metadata(&mut object, "resourceVersion", Value::from(state.version.to_string()));
        state.objects.insert(key_of(&object), object.clone());
        self.announce(state, ClusterEvent::Applied(object.clone()));
        object
    }

    fn announce(&self, state: &mut State, event: ClusterEvent) {
        state.log.push(event);
        self.events.send_replace(state.log.len());
    }
}

fn set_metadata(object: &mut Value, field: &str, value: Value) {
    let Value::Map(map) = object else { panic!("an object is a mapping") };
    let Value::Map(metadata) = map.entry("metadata".to_owned()).or_insert_with(Value::empty_map) else {
        panic!("metadata is a mapping")
    };
    metadata.insert(field.to_owned(), value);
}

/// Takes away what an earlier apply set and this one does not.
fn unset(object: &mut Value, before: &Value, now: Option<&Value>) {
    let (Value::Map(object), Value::Map(before)) = (object, before) else { return };
    for (key, value) in before {
        let wanted = now.and_then(|now| now.get(key));
        match (value, wanted) {
            (Value::Map(_), _) => {
                if let Some(member) = object.get_mut(key) {
                    unset(member, value, wanted);
                }
            }
            (_, None) => {
                object.remove(key);
            }
            (_, Some(_)) => {}
        }
    }
}

fn check(live: &Value, asked: &Value) -> Result<(), ClusterError> {
    for field in ["uid", "resourceVersion"] {
        let asked = asked.at(&["metadata", field]);
        if asked.is_some() && asked != live.at(&["metadata", field]) {
            return Err(ClusterError::Conflict(format!("{field} differs")));
        }
    }
    Ok(())
}

fn refusal(state: &State, kind: &str) -> Result<(), ClusterError> {
    match &state.refuse {
        Some((refused, message)) if refused == kind => Err(ClusterError::Rejected(message.clone())),
        _ => Ok(()),
    }
}

#[async_trait]
impl ClusterApi for FakeCluster {
    fn watch(&self) -> BoxStream<'static, ClusterEvent> {
        let kinds = ["HelmRelease", "HelmRepository"].map(|kind| match kind {
            "HelmRelease" => Kind::new("helm.toolkit.fluxcd.io", kind),
            _ => Kind::new("source.toolkit.fluxcd.io", kind),
        });
        let state = self.state();
        let mut first = vec![ClusterEvent::Kinds(kinds.iter().cloned().collect())];
        for kind in kinds {
            let of_kind = |key: &&ObjectKey| key.kind == kind.kind;
            let keys: BTreeSet<ObjectKey> = state.objects.keys().filter(of_kind).cloned().collect();
            first.extend(keys.iter().map(|key| ClusterEvent::Applied(state.objects[key].clone())));
            first.push(ClusterEvent::KindListed(kind, keys));
        }
        let log = (Arc::clone(&self.state), self.events.subscribe(), state.log.len());
        drop(state);
        let later = stream::unfold(log, |(state, mut events, seen)| async move {
            events.wait_for(|length| *length > seen).await.ok()?;
            let event = state.lock().unwrap().log[seen].clone();
            Some((event, (state, events, seen + 1)))
        });
        stream::iter(first).chain(later).boxed()
    }

    async fn get(&self, resource: &ResourceRef) -> Result<Value, ClusterError> {
        self.object(&resource.key).ok_or(ClusterError::NotFound)
    }

    async fn create(&self, document: &Value) -> Result<Value, ClusterError> {
        let key = key_of(document);
        let mut state = self.state();
        refusal(&state, &key.kind)?;
        if state.objects.contains_key(&key) {
            return Err(ClusterError::Conflict("already exists".to_owned()));
        }
        let mut object = document.clone();
        let uid = format!("uid-{}", state.version + 1);
        set_metadata(&mut object, "uid", Value::from(uid));
        set_metadata(&mut object, "generation", Value::from(1_i64));
        state.applied.insert(key, document.clone());
        Ok(self.put(&mut state, object))
    }

    async fn apply(&self, document: &Value) -> Result<Value, ClusterError> {
        let key = key_of(document);
        let mut state = self.state();
        refusal(&state, &key.kind)?;
        let Some(live) = state.objects.get(&key).cloned() else {
            return Err(ClusterError::Conflict("the object was deleted".to_owned()));
        };
        check(&live, document)?;
        let mut object = live.clone();
        if let Some(before) = state.applied.insert(key, document.clone()) {
            unset(&mut object, &before, Some(document));
        }
        object.merge(document);
        for field in ["uid", "generation"] {
            set_metadata(&mut object, field, live.at(&["metadata", field]).cloned().unwrap_or_default());
        }
        Ok(self.put(&mut state, object))
    }

    async fn merge_patch(&self, resource: &ResourceRef, patch: &Value, _: &str) -> Result<Value, ClusterError> {
        let mut state = self.state();
        let mut object = state.objects.get(&resource.key).cloned().ok_or(ClusterError::NotFound)?;
        check(&object, patch)?;
        object.merge(patch);
        Ok(self.put(&mut state, object))
    }

    async fn delete(&self, resource: &ResourceRef, only: &Preconditions) -> Result<(), ClusterError> {
        let live = self.object(&resource.key).ok_or(ClusterError::NotFound)?;
        if Preconditions::of(&live) != *only {
            return Err(ClusterError::Conflict("changed".to_owned()));
        }
        self.remove(&resource.key);
        Ok(())
    }

    async fn ensure_namespace(&self, _: &str) -> Result<(), ClusterError> {
        Ok(())
    }

    async fn load_inventory(&self) -> Result<Option<StoredInventory>, ClusterError> {
        Ok(self.state().inventory.clone())
    }

    async fn swap_inventory(&self, expected: Option<&str>, change: &InventoryChange) -> Result<String, ClusterError> {
        let mut state = self.state();
        if state.inventory.as_ref().map(|stored| stored.version.as_str()) != expected {
            return Err(ClusterError::Conflict("inventory changed".to_owned()));
        }
        state.version += 1;
        let version = state.version.to_string();
        let stored = state.inventory.get_or_insert_default();
        stored.version.clone_from(&version);
        stored.head.clone_from(&change.head);
        stored.bodies.extend(change.bodies.clone());
        if std::mem::take(&mut state.lose_answer) {
            return Err(ClusterError::Unavailable("no answer".to_owned()));
        }
        Ok(version)
    }

    async fn collect_inventory(&self, keep: &BTreeSet<String>) -> Result<(), ClusterError> {
        if let Some(stored) = &mut self.state().inventory {
            stored.bodies.retain(|name, _| keep.contains(name));
        }
        Ok(())
    }

    async fn load_identity(&self, _: &str) -> Result<Option<StoredIdentity>, ClusterError> {
        Ok(self.state().identity.clone())
    }

    async fn store_identity(&self, _: &str, identity: &StoredIdentity) -> Result<(), ClusterError> {
        self.state().identity = Some(identity.clone());
        Ok(())
    }

    async fn fingerprint(&self) -> Result<String, ClusterError> {
        Ok("kube-system-uid".to_owned())
    }

    async fn facts(&self) -> Result<Facts, ClusterError> {
        Ok(Facts { kubernetes_version: "v1.35.4".to_owned(), nodes: 3, ..Facts::default() })
    }
}
