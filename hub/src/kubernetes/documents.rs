//! The objects that the hub itself edits: of a cluster that registered by itself, and of one that was detached.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kube::Client;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use starling_hub_core::fleet::Fleet;
use starling_hub_core::resources::{InputKey, Resource};
use tokio::sync::watch;

use super::FIELD_MANAGER;
use super::api::{ApiError, objects_beside, within};
use crate::source::{Documents, EditError};

/// The objects of the management cluster, as the hub edits them.
#[derive(Clone)]
pub struct KubernetesDocuments {
    client: Client,
    /// The fleet as every reader of the process sees it.
    fleet: watch::Receiver<Arc<Fleet>>,
}

impl KubernetesDocuments {
    /// Edits through a client.
    #[must_use]
    pub fn new(client: Client, fleet: watch::Receiver<Arc<Fleet>>) -> Self {
        Self { client, fleet }
    }

    /// Returns what must hold of an object that is removed; `None` if no resource of that name was deleted.
    fn that_one(&self, key: &InputKey) -> Option<Preconditions> {
        let fleet = self.fleet.borrow();
        let uid = fleet.deleted(key)?.origin.as_ref().map(|origin| origin.uid.clone());
        Some(Preconditions { uid, ..Preconditions::default() })
    }
}

#[async_trait]
impl Documents for KubernetesDocuments {
    async fn put(&self, resources: &[Resource]) -> Result<(), EditError> {
        for resource in resources {
            let key = resource.key();
            let mut object = serde_json::to_value(resource).map_err(|error| refused(&key, &error.to_string()))?;
            // What is a default is not the hub's wish, and nobody else's edit of it shall be a conflict.
            prune(&mut object);
            let params = PatchParams::apply(FIELD_MANAGER);
            let api = objects_beside(&self.client, &key);
            let written = within(api.patch(&key.name, &params, &Patch::Apply(object))).await;
            written.map_err(|error| refused(&key, &error.to_string()))?;
        }
        Ok(())
    }

    async fn remove(&self, key: &InputKey) -> Result<(), EditError> {
        // Somebody may have made another of its name meanwhile.
        let Some(that_one) = self.that_one(key) else { return Ok(()) };
        let parameters = DeleteParams { preconditions: Some(that_one), ..DeleteParams::background() };
        let api: kube::Api<DynamicObject> = objects_beside(&self.client, key);
        match within(api.delete(&key.name, &parameters)).await {
            Ok(_) | Err(ApiError::NotFound | ApiError::Conflict(_)) => Ok(()),
            Err(error) => Err(refused(key, &error.to_string())),
        }
    }
}

fn refused(key: &InputKey, reason: &str) -> EditError {
    EditError::Api { object: key.to_string(), reason: reason.to_owned() }
}

/// Leaves out what says nothing: false, and empty maps.
fn prune(object: &mut serde_json::Value) {
    if let Some(spec) = object.get_mut("spec").and_then(serde_json::Value::as_object_mut) {
        spec.retain(|_, value| !value.is_null() && *value != serde_json::Value::Bool(false));
    }
}

impl fmt::Debug for KubernetesDocuments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KubernetesDocuments")
    }
}
