//! The inventory in ConfigMaps of the agent's namespace: `starling-inventory`, the head, and one
//! `starling-render-<first 16 digits of its name>` for each body.

use std::collections::BTreeSet;

use http::Method;
use starling_model::Value;

use super::request::{JSON, METADATA_LIST_ONLY, Requests};
use crate::cluster::{ClusterError, InventoryChange, StoredInventory};

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
            // Content-addressed: the same name means the same content.
            Ok(_) | Err(ClusterError::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
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

/// Removes bodies that are not to be kept.
pub(super) async fn collect(requests: &Requests, namespace: &str, keep: &BTreeSet<String>) -> Result<(), ClusterError> {
    let list_path = format!("{}?labelSelector={BODY_SELECTOR}", collection(namespace));
    let bodies = requests.read(&list_path, METADATA_LIST_ONLY).await?;
    for body in items(&bodies) {
        let Some(name) = body.at(&["metadata", "name"]).and_then(Value::as_str) else { continue };
        if body_name(body).is_some_and(|name| keep.contains(name)) {
            continue;
        }
        match requests.write(Method::DELETE, &path(namespace, name), JSON, &Value::empty_map()).await {
            Ok(_) | Err(ClusterError::NotFound) => {}
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
