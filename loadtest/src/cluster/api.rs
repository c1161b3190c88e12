//! The API server of a simulated cluster, as the agent's port asks it.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use async_trait::async_trait;
use futures::stream::BoxStream;
use starling_agent::cluster::{
    ClusterApi, ClusterError, ClusterEvent, InventoryChange, Preconditions, ResourceRef, StoredIdentity,
    StoredInventory,
};
use starling_model::{Facts, ObjectKey, Value, labels};

use super::SimulatedCluster;
use super::state::State;
use super::stored::Stored;
use super::watch::{self, Change};

/// The agent's way to a simulated cluster. The cluster outlives its agents, as a real one does.
pub struct SimulatedApi(pub Arc<SimulatedCluster>);

#[async_trait]
impl ClusterApi for SimulatedApi {
    fn watch(&self) -> BoxStream<'static, ClusterEvent> {
        watch::watch(&self.0)
    }

    async fn get(&self, resource: &ResourceRef) -> Result<Value, ClusterError> {
        self.ready()?.document(&resource.key).ok_or(ClusterError::NotFound)
    }

    async fn create(&self, document: &Value) -> Result<Value, ClusterError> {
        let key = key_of(document)?;
        let mut state = self.ready()?;
        if !watch::serves(&key) || (!key.namespace.is_empty() && !state.namespaces.contains(&key.namespace)) {
            return Err(ClusterError::NotFound);
        }
        if state.document(&key).is_some() {
            return Err(ClusterError::Conflict(format!("{key} already exists")));
        }
        state.create(&key, document, self.0.done());
        Ok(self.stored(&state, key))
    }

    async fn apply(&self, document: &Value) -> Result<Value, ClusterError> {
        let key = key_of(document)?;
        let mut state = self.ready()?;
        check(state.objects.get(&key), &Preconditions::of(document)).map_err(|error| match error {
            // The object went away since it was read.
            ClusterError::NotFound => ClusterError::Conflict("the object was deleted".into()),
            other => other,
        })?;
        state.change(&key, |object| object.apply(document), self.0.done());
        Ok(self.stored(&state, key))
    }

    async fn merge_patch(
        &self,
        resource: &ResourceRef,
        patch: &Value,
        field_manager: &str,
    ) -> Result<Value, ClusterError> {
        let mut state = self.ready()?;
        check(state.objects.get(&resource.key), &Preconditions::of(patch))?;
        let change = |object: &mut Stored| match field_manager {
            labels::APPLY_MANAGER => object.patch_own(patch),
            _ => object.write_over(patch),
        };
        state.change(&resource.key, change, self.0.done());
        Ok(self.stored(&state, resource.key.clone()))
    }

    async fn delete(&self, resource: &ResourceRef, only: &Preconditions) -> Result<(), ClusterError> {
        let key = resource.key.clone();
        let mut state = self.ready()?;
        check(state.objects.get(&key), only)?;
        state.removals.push(key.clone());
        let gone = state.delete(&key, self.0.done());
        self.0.tell(if gone { Change::Deleted(key) } else { Change::Changed(key) });
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
        if !change.bodies.is_empty() {
            state.commits = (state.commits.0 + 1, Some(Instant::now()));
        }
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
    fn ready(&self) -> Result<MutexGuard<'_, State>, ClusterError> {
        let state = self.0.state();
        if state.unavailable {
            return Err(ClusterError::Unavailable("connection refused".into()));
        }
        Ok(state)
    }

    /// Tells of a write, and returns the object as stored.
    fn stored(&self, state: &State, key: ObjectKey) -> Value {
        let document = state.document(&key).unwrap_or_default();
        self.0.tell(Change::Changed(key));
        document
    }
}

/// Checks that an object is still the one that was read; what the preconditions leave out may be anything.
fn check(live: Option<&Stored>, only: &Preconditions) -> Result<(), ClusterError> {
    let live = live.ok_or(ClusterError::NotFound)?;
    let same_uid = only.uid.is_empty() || only.uid == live.uid.to_string();
    let same_version = only.resource_version.is_empty() || only.resource_version == live.version.to_string();
    if same_uid && same_version {
        return Ok(());
    }
    Err(ClusterError::Conflict("the object has been modified".into()))
}

fn key_of(document: &Value) -> Result<ObjectKey, ClusterError> {
    let text = |path: &[&str]| document.at(path).and_then(Value::as_str);
    let lacks = |field: &str| ClusterError::Rejected(format!("the document lacks {field}"));
    let api_version = text(&["apiVersion"]).ok_or_else(|| lacks("apiVersion"))?;
    let kind = text(&["kind"]).ok_or_else(|| lacks("kind"))?;
    let name = text(&["metadata", "name"]).ok_or_else(|| lacks("metadata.name"))?;
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    Ok(ObjectKey::new(group, kind, text(&["metadata", "namespace"]).unwrap_or_default(), name))
}
