//! The finalizer of an object: put on once its resource is in the store, let go once its deletion is settled.

use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::json;
use starling_hub_core::resources::{API_VERSION, InputKey};

use super::api::{ApiError, objects_beside, within};
use super::seen::Seen;
use super::{FINALIZER, FINALIZER_MANAGER};

/// How often a write is tried again because somebody else wrote the object in between.
const ATTEMPTS: usize = 5;

/// Puts the finalizer on an object, and on no other of its name.
pub(super) async fn put_finalizer(client: &Client, seen: &Seen) -> Result<(), ApiError> {
    let key = &seen.key;
    let mut metadata = json!({ "name": key.name, "uid": seen.uid, "finalizers": [FINALIZER] });
    if !key.namespace.is_empty() {
        metadata["namespace"] = key.namespace.as_str().into();
    }
    // With the UID in it an apply does not make an object that has gone.
    let patch = json!({ "apiVersion": API_VERSION, "kind": key.kind.as_str(), "metadata": metadata });
    let params = PatchParams::apply(FINALIZER_MANAGER).force();
    within(objects_beside(client, key).patch_metadata(&key.name, &params, &Patch::Apply(patch))).await.map(drop)
}

/// Takes the finalizer off the object that was judged; one that is not there, or another of its name, is left alone.
pub(super) async fn release_finalizer(client: &Client, key: &InputKey, uid: &str) -> Result<(), ApiError> {
    let api = objects_beside(client, key);
    let mut outcome = Ok(());
    for _ in 0..ATTEMPTS {
        let object: DynamicObject = match within(api.get(&key.name)).await {
            Err(ApiError::NotFound) => return Ok(()),
            object => object?,
        };
        if object.metadata.uid.as_deref() != Some(uid) {
            return Ok(());
        }
        let finalizers = object.metadata.finalizers.unwrap_or_default();
        if !finalizers.iter().any(|name| name == FINALIZER) {
            return Ok(());
        }
        let rest: Vec<String> = finalizers.into_iter().filter(|name| name != FINALIZER).collect();
        let metadata = json!({ "uid": uid, "resourceVersion": object.metadata.resource_version, "finalizers": rest });
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let params = PatchParams { field_manager: Some(FINALIZER_MANAGER.to_owned()), ..PatchParams::default() };
        outcome = within(api.patch_metadata(&key.name, &params, &patch)).await.map(drop);
        match &outcome {
            Err(ApiError::Conflict(_)) => {}
            Err(ApiError::NotFound) | Ok(()) => return Ok(()),
            Err(_) => return outcome,
        }
    }
    outcome
}
