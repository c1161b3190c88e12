//! The inventory in ConfigMaps of the agent's namespace: `starling-inventory`, the head, and one
//! `starling-render-<first 16 digits of its name>` for each body.

use std::collections::BTreeSet;

use http::Method;
use starling_model::Value;

use super::request::{JSON, METADATA_LIST_ONLY, METADATA_ONLY, Requests, delete_options};
use crate::cluster::{ClusterError, InventoryChange, Preconditions, StoredInventory};

const HEAD: &str = "starling-inventory";
const BODY_SELECTOR: &str = "starling.dev%2Finventory%3Dbody";
const LABEL: &str = "starling.dev/inventory";
const BODY_NAME: &str = "starling.dev/inventory-body";

/// Reads head and bodies.
pub(super) async fn load(requests: &Requests, namespace: &str) -> Result<Option<StoredInventory>, ClusterError> {
    let head = match requests.read(&path(namespace, HEAD), JSON).await {
        Ok(head) => head,
        Err(ClusterError::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut stored =
        StoredInventory { version: resource_version(&head), head: data(&head, "head"), ..Default::default() };
    let bodies = requests.read(&format!("{}?labelSelector={BODY_SELECTOR}", collection(namespace)), JSON).await?;
    for body in items(&bodies) {
        if let Some(name) = body_name(body) {
            stored.bodies.insert(name.to_owned(), data(body, "body"));
        }
    }
    Ok(Some(stored))
}

/// Stores new bodies and then the head.
pub(super) async fn swap(
    requests: &Requests,
    namespace: &str,
    expected: Option<&str>,
    change: &InventoryChange,
) -> Result<String, ClusterError> {
    for (name, json) in &change.bodies {
        let document = config_map(namespace, &config_map_name(name), "body", json, Some(name));
        match requests.write(Method::POST, &collection(namespace), JSON, &document).await {
            // Content-addressed: what is there is the same, or was tampered with and is written anew. Either way it
            // changes, so that nobody who listed it before removes it.
            Err(ClusterError::Conflict(_)) => {
                let path = path(namespace, &config_map_name(name));
                requests.write(Method::PUT, &path, JSON, &document).await?
            }
            answer => answer?,
        };
    }
    let mut head = config_map(namespace, HEAD, "head", &change.head, None);
    let stored = match expected {
        None => requests.write(Method::POST, &collection(namespace), JSON, &head).await?,
        Some(version) => {
            set_metadata(&mut head, "resourceVersion", Value::from(version));
            match requests.write(Method::PUT, &path(namespace, HEAD), JSON, &head).await {
                Err(ClusterError::NotFound) => Err(ClusterError::Conflict("the inventory was deleted".to_owned())),
                answer => answer,
            }?
        }
    };
    Ok(resource_version(&stored))
}

/// Removes bodies that are not to be kept, if the head is still the one of this version.
pub(super) async fn collect(
    requests: &Requests,
    namespace: &str,
    version: &str,
    keep: &BTreeSet<String>,
) -> Result<(), ClusterError> {
    let list_path = format!("{}?labelSelector={BODY_SELECTOR}", collection(namespace));
    let bodies = requests.read(&list_path, METADATA_LIST_ONLY).await?;
    // Read after the list: under another head the bodies may be another agent's, and that agent knows which it needs.
    let head = requests.read(&path(namespace, HEAD), METADATA_ONLY).await?;
    if resource_version(&head) != version {
        return Err(ClusterError::Conflict("the inventory was stored by another agent".to_owned()));
    }
    for body in items(&bodies) {
        let Some(name) = body.at(&["metadata", "name"]).and_then(Value::as_str) else { continue };
        if body_name(body).is_some_and(|name| keep.contains(name)) {
            continue;
        }
        let options = delete_options(&Preconditions::of(body));
        match requests.write(Method::DELETE, &path(namespace, name), JSON, &options).await {
            // A body that was written since the list is somebody's.
            Ok(_) | Err(ClusterError::NotFound | ClusterError::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn collection(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

fn path(namespace: &str, name: &str) -> String {
    format!("{}/{name}", collection(namespace))
}

fn config_map_name(body: &str) -> String {
    format!("starling-render-{}", &body[..body.floor_char_boundary(16)])
}

fn config_map(namespace: &str, name: &str, field: &str, json: &str, body: Option<&str>) -> Value {
    let mut document = Value::map([
        ("apiVersion", Value::from("v1")),
        ("kind", Value::from("ConfigMap")),
        ("metadata", Value::map([("name", name), ("namespace", namespace)])),
        ("data", Value::map([(field, json)])),
    ]);
    set_metadata(&mut document, "labels", Value::map([(LABEL, field)]));
    if let Some(body) = body {
        set_metadata(&mut document, "annotations", Value::map([(BODY_NAME, body)]));
    }
    document
}

fn set_metadata(document: &mut Value, name: &str, value: Value) {
    if let Value::Map(document) = document
        && let Some(Value::Map(metadata)) = document.get_mut("metadata")
    {
        metadata.insert(name.to_owned(), value);
    }
}

fn items(list: &Value) -> &[Value] {
    list.get("items").and_then(Value::as_list).unwrap_or_default()
}

fn body_name(body: &Value) -> Option<&str> {
    body.at(&["metadata", "annotations", BODY_NAME])?.as_str()
}

fn data(config_map: &Value, field: &str) -> String {
    config_map.at(&["data", field]).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn resource_version(object: &Value) -> String {
    object.at(&["metadata", "resourceVersion"]).and_then(Value::as_str).unwrap_or_default().to_owned()
}
