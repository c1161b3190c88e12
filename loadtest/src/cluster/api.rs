//! The API server of a simulated cluster, as the agent's port asks it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use starling_agent::cluster::{
    ClusterApi, ClusterError, ClusterEvent, InventoryChange, Kind, Preconditions, ResourceRef, StoredIdentity,
    StoredInventory,
};
use starling_model::{Facts, Object, ObjectKey, Value};
use tokio::sync::broadcast;

use super::{Change, SimulatedCluster, State, event, flux};

/// The kinds that a simulated cluster serves.
const KINDS: [(&str, &str); 6] = [
    ("kustomize.toolkit.fluxcd.io", "Kustomization"),
    ("helm.toolkit.fluxcd.io", "HelmRelease"),
    ("source.toolkit.fluxcd.io", "HelmRepository"),
    ("source.toolkit.fluxcd.io", "OCIRepository"),
    ("source.toolkit.fluxcd.io", "GitRepository"),
    ("source.toolkit.fluxcd.io", "HelmChart"),
];

/// The agent's way to a simulated cluster. The cluster outlives its agents, as a real one does.
pub struct SimulatedApi(pub Arc<SimulatedCluster>);

#[async_trait]
impl ClusterApi for SimulatedApi {
    fn watch(&self) -> BoxStream<'static, ClusterEvent> {
        let changes = self.0.events.subscribe();
        let first = list(&self.0.state());
        let watcher = Watcher { cluster: Arc::downgrade(&self.0), changes };
        stream::iter(first).chain(stream::unfold(watcher, Watcher::next).flat_map(stream::iter)).boxed()
    }

    async fn get(&self, resource: &ResourceRef) -> Result<Value, ClusterError> {
        self.ready()?.document(&resource.key).ok_or(ClusterError::NotFound)
    }

    async fn create(&self, document: &Value) -> Result<Value, ClusterError> {
        let key = key_of(document)?;
        let stored = {
            let mut state = self.ready()?;
            if state.objects.contains_key(&key) {
                return Err(ClusterError::Conflict(format!("{key} already exists")));
            }
            if !key.namespace.is_empty() && !state.namespaces.contains(&key.namespace) {
                return Err(ClusterError::Rejected(format!("namespaces {:?} not found", key.namespace)));
            }
            state.write(key.clone(), document.clone());
            self.reconcile(&mut state, &key)
        };
        self.tell(Change::Changed(key));
        Ok(stored)
    }

    async fn apply(&self, document: &Value) -> Result<Value, ClusterError> {
        let key = key_of(document)?;
        let stored = {
            let mut state = self.ready()?;
            let live = state.objects.get(&key).cloned().ok_or(ClusterError::NotFound)?;
            check(&live, &Preconditions::of(document))?;
            // Fields of others stay, as server-side apply leaves them; a specification is all ours.
            let mut merged = live;
            merged.merge(document);
            if let (Value::Map(map), Some(spec)) = (&mut merged, document.get("spec")) {
                map.insert("spec".into(), spec.clone());
            }
            state.write(key.clone(), merged);
            self.reconcile(&mut state, &key)
        };
        self.tell(Change::Changed(key));
        Ok(stored)
    }

    async fn merge_patch(&self, resource: &ResourceRef, patch: &Value, _: &str) -> Result<Value, ClusterError> {
        let key = resource.key.clone();
        let stored = {
            let mut state = self.ready()?;
            let mut live = state.objects.get(&key).cloned().ok_or(ClusterError::NotFound)?;
            let only = Preconditions::of(patch);
            if !only.uid.is_empty() || !only.resource_version.is_empty() {
                check(&live, &only)?;
            }
            live.merge(patch);
            state.write(key.clone(), live);
            self.reconcile(&mut state, &key)
        };
        self.tell(Change::Changed(key));
        Ok(stored)
    }

    async fn delete(&self, resource: &ResourceRef, only: &Preconditions) -> Result<(), ClusterError> {
        let key = resource.key.clone();
        {
            let mut state = self.ready()?;
            let live = state.objects.get(&key).ok_or(ClusterError::NotFound)?;
            check(live, only)?;
            state.objects.remove(&key);
            state.removals.push(key.clone());
        }
        self.tell(Change::Deleted(key));
        Ok(())
    }

    async fn ensure_namespace(&self, name: &str) -> Result<(), ClusterError> {
        self.ready()?.namespaces.insert(name.to_owned());
        Ok(())
    }

    async fn load_inventory(&self) -> Result<Option<StoredInventory>, ClusterError> {
        Ok(self.ready()?.inventory.clone())
    }

    async fn swap_inventory(&self, expected: Option<&str>, change: &InventoryChange) -> Result<String, ClusterError> {
        let mut state = self.ready()?;
        if state.inventory.as_ref().map(|stored| stored.version.as_str()) != expected {
            return Err(ClusterError::Conflict("the inventory changed".into()));
        }
        state.version += 1;
        let version = state.version.to_string();
        let stored = state.inventory.get_or_insert_default();
        stored.version.clone_from(&version);
        stored.head.clone_from(&change.head);
        stored.bodies.extend(change.bodies.clone());
        Ok(version)
    }

    async fn collect_inventory(&self, keep: &BTreeSet<String>) -> Result<(), ClusterError> {
        if let Some(stored) = &mut self.ready()?.inventory {
            stored.bodies.retain(|name, _| keep.contains(name));
        }
        Ok(())
    }

    async fn load_identity(&self, secret: &str) -> Result<Option<StoredIdentity>, ClusterError> {
        Ok(self.ready()?.identities.get(secret).cloned())
    }

    async fn store_identity(&self, secret: &str, identity: &StoredIdentity) -> Result<(), ClusterError> {
        self.ready()?.identities.insert(secret.to_owned(), identity.clone());
        Ok(())
    }

    async fn fingerprint(&self) -> Result<String, ClusterError> {
        drop(self.ready()?);
        Ok(self.0.fingerprint_now())
    }

    async fn facts(&self) -> Result<Facts, ClusterError> {
        drop(self.ready()?);
        Ok(self.0.facts_now())
    }
}

impl SimulatedApi {
    fn ready(&self) -> Result<std::sync::MutexGuard<'_, State>, ClusterError> {
        let state = self.0.state();
        if state.unavailable {
            return Err(ClusterError::Unavailable("connection refused".into()));
        }
        Ok(state)
    }

    /// Lets Flux begin with an object, and end after the settle time; returns the object as stored.
    fn reconcile(&self, state: &mut State, key: &ObjectKey) -> Value {
        if flux::reconciles(key) {
            flux::begin(state, key);
            let (cluster, key) = (Arc::downgrade(&self.0), key.clone());
            tokio::spawn(async move {
                let Some(settle) = cluster.upgrade().map(|cluster| cluster.options.settle) else { return };
                tokio::time::sleep(settle).await;
                let Some(cluster) = cluster.upgrade() else { return };
                flux::settle(&mut cluster.state(), &key);
                // Nobody may be watching.
                let _ = cluster.events.send(Change::Changed(key));
            });
        }
        state.objects.get(key).cloned().unwrap_or_default()
    }

    fn tell(&self, change: Change) {
        // Nobody may be watching.
        let _ = self.0.events.send(change);
    }
}

/// A watch behind its first list.
struct Watcher {
    cluster: Weak<SimulatedCluster>,
    changes: broadcast::Receiver<Change>,
}

impl Watcher {
    async fn next(mut self) -> Option<(Vec<ClusterEvent>, Self)> {
        let change = self.changes.recv().await;
        let cluster = self.cluster.upgrade()?;
        let state = cluster.state();
        let events = match change {
            Ok(change) => vec![event(&state, change)],
            // Events were lost, so everything is listed again, as a real watch does.
            Err(broadcast::error::RecvError::Lagged(_)) => list(&state),
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        drop(state);
        Some((events, self))
    }
}

/// Lists everything, as the beginning of a watch does.
fn list(state: &State) -> Vec<ClusterEvent> {
    let kinds: BTreeSet<Kind> = KINDS.into_iter().map(|(group, kind)| Kind::new(group, kind)).collect();
    let mut by_kind: BTreeMap<Kind, BTreeSet<ObjectKey>> =
        kinds.iter().map(|kind| (kind.clone(), BTreeSet::new())).collect();
    let mut events = vec![ClusterEvent::Kinds(kinds)];
    let mut documents = state.objects.clone();
    documents.extend(state.background.documents());
    for (key, document) in documents {
        if let Some(keys) = by_kind.get_mut(&Kind::new(&key.group, &key.kind)) {
            keys.insert(key);
            events.push(ClusterEvent::Applied(document));
        }
    }
    events.extend(by_kind.into_iter().map(|(kind, keys)| ClusterEvent::KindListed(kind, keys)));
    events
}

fn check(live: &Value, only: &Preconditions) -> Result<(), ClusterError> {
    if *only == Preconditions::of(live) {
        return Ok(());
    }
    Err(ClusterError::Conflict("the object has been modified".into()))
}

fn key_of(document: &Value) -> Result<ObjectKey, ClusterError> {
    let object = Object::new(document.clone()).map_err(|error| ClusterError::Rejected(error.to_string()))?;
    Ok(object.key().clone())
}
