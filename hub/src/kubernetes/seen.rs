//! An object as the API told of it, read into the resource that it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::DynamicObject;
use serde_json::json;
use starling_hub_core::records::ObjectOrigin;
use starling_hub_core::resources::{API_VERSION, InputKey, Kind, Resource};
use starling_model::Value;

use super::{FIELD_MANAGER, FINALIZER, FINALIZER_MANAGER, NOTES};

/// What kubectl writes for itself, with the whole document in it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object of one of the resources' kinds.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which resource it is.
    pub key: InputKey,
    /// Its own UID.
    pub uid: String,
    /// The generation of its specification.
    pub generation: i64,
    /// Its version as a write must name it.
    pub resource_version: String,
    /// Whether our finalizer is on it.
    pub has_finalizer: bool,
    /// Whether it is being deleted.
    pub is_deleting: bool,
    /// The field manager that wrote last, other than the hub.
    pub manager: String,
    /// What it says, or why it cannot be read although the schema took it.
    pub resource: Result<Resource, String>,
    /// Its status as the API has it; null where there is none.
    pub status: serde_json::Value,
}

impl Seen {
    /// Reads an object; `None` if it lacks what every object has.
    #[must_use]
    pub fn read(kind: Kind, object: DynamicObject) -> Option<Self> {
        let DynamicObject { metadata, mut data, .. } = object;
        let (name, uid) = (metadata.name?, metadata.uid?);
        let namespace = metadata.namespace.unwrap_or_default();
        let key = InputKey::new(kind, namespace.as_str(), name.as_str());
        let mut annotations = metadata.annotations.unwrap_or_default();
        annotations.remove(LAST_APPLIED);
        let mut labels = metadata.labels.unwrap_or_default();
        if kind == Kind::ManagedCluster {
            labels.retain(|name, _| !NOTES.contains(&name.as_str()));
        }
        let mut reduced = json!({
            "name": name, "labels": labels, "annotations": annotations,
        });
        if !namespace.is_empty() {
            reduced["namespace"] = namespace.into();
        }
        let mut document = json!({ "apiVersion": API_VERSION, "kind": kind.as_str(), "metadata": reduced });
        let take = |data: &mut serde_json::Value, member: &str| data.get_mut(member).map(serde_json::Value::take);
        if let Some(spec) = take(&mut data, "spec") {
            document["spec"] = spec;
        }
        Some(Self {
            uid,
            generation: metadata.generation.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
            has_finalizer: metadata.finalizers.unwrap_or_default().iter().any(|name| name == FINALIZER),
            is_deleting: metadata.deletion_timestamp.is_some(),
            manager: last_manager(metadata.managed_fields.unwrap_or_default()),
            resource: read(&document),
            status: take(&mut data, "status").unwrap_or_default(),
            key,
        })
    }

    /// Returns what the store remembers of the object.
    #[must_use]
    pub fn origin(&self) -> ObjectOrigin {
        ObjectOrigin { uid: self.uid.clone(), generation: self.generation, absence: None }
    }
}

fn read(document: &serde_json::Value) -> Result<Resource, String> {
    let value = Value::from_json(document.to_string().as_bytes()).map_err(|error| error.to_string())?;
    Resource::from_value(&value).map_err(|error| error.to_string())
}

/// Returns who wrote last besides the hub; statuses aside.
pub(super) fn last_manager(entries: Vec<ManagedFieldsEntry>) -> String {
    let others = entries.into_iter().filter(|entry| {
        let is_status = entry.subresource.as_deref().is_some_and(|subresource| !subresource.is_empty());
        !is_status
            && !matches!(entry.manager.as_deref(), Some(FIELD_MANAGER | FINALIZER_MANAGER | "before-first-apply"))
    });
    let last = others.max_by(|one, other| {
        let time = |entry: &ManagedFieldsEntry| entry.time.as_ref().map(|time| time.0);
        time(one).cmp(&time(other))
    });
    last.and_then(|entry| entry.manager).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: serde_json::Value) -> DynamicObject {
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn what_machines_write_into_an_object_is_left_out() {
        let text = json!({
            "apiVersion": API_VERSION, "kind": "ManagedCluster",
            "metadata": {
                "name": "edge", "namespace": "dev", "uid": "u1", "generation": 3, "resourceVersion": "77",
                "labels": { "env": "prod", "app.kubernetes.io/managed-by": "x" }, "annotations": { LAST_APPLIED: "{}", "owner": "me" },
                "finalizers": [FINALIZER], "creationTimestamp": "2026-11-21T08:00:00Z",
                "managedFields": [
                    { "manager": "kubectl", "operation": "Apply", "time": "2026-11-21T08:00:00Z" },
                    { "manager": "flux", "operation": "Apply", "time": "2026-11-21T08:00:01Z" },
                    { "manager": "starling-hub", "operation": "Apply", "time": "2026-11-21T08:00:02Z" },
                    { "manager": "x", "operation": "Update", "time": "2026-11-21T08:00:03Z", "subresource": "status" },
                ],
            },
            "spec": { "paused": true }, "status": { "observedGeneration": 2 },
        });
        let seen = Seen::read(Kind::ManagedCluster, object(text)).unwrap();
        assert!(seen.has_finalizer && !seen.is_deleting);
        assert_eq!((seen.manager.as_str(), seen.resource_version.as_str()), ("flux", "77"));
        assert_eq!(seen.origin(), ObjectOrigin { uid: "u1".into(), generation: 3, absence: None });
        let resource = seen.resource.unwrap();
        assert_eq!(resource.key(), seen.key);
        let annotations: Vec<_> = resource.metadata().annotations.iter().collect();
        assert_eq!(annotations, [(&"owner".to_owned(), &"me".to_owned())]);
        assert_eq!(resource.labels().keys().collect::<Vec<_>>(), ["env"]);
        assert_eq!(seen.status["observedGeneration"], 2);
    }

    #[test]
    fn what_the_schema_cannot_refuse_is_told() {
        let text = json!({
            "apiVersion": API_VERSION, "kind": "ManagedCluster",
            "metadata": { "name": "edge", "namespace": "dev", "uid": "u1" }, "spec": { "mystery": 1 },
        });
        let seen = Seen::read(Kind::ManagedCluster, object(text)).unwrap();
        assert!(seen.resource.unwrap_err().contains("mystery"));
    }

    #[test]
    fn what_anybody_may_label_is_what_selects_nothing() {
        let policy = include_str!("../../../charts/starling-hub/templates/admission.yaml");
        let (_, notes) = policy.split_once("- name: notes").unwrap();
        let (list, _) = notes.split_once(']').unwrap();
        let listed: Vec<&str> = list.split('\'').skip(1).step_by(2).collect();
        assert_eq!(listed, NOTES);
    }
}
