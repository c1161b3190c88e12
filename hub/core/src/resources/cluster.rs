//! The ManagedCluster's specification.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_model::{ClusterId, Value};

use super::{ManagedCluster, schema};

/// What a managed cluster is to the hub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(oldSelf.id) || (has(self.id) && self.id == oldSelf.id)",
    "message": "the id cannot change once it is set: it is what the cluster's certificate names",
    "fieldPath": ".id",
}]))]
pub struct ClusterSpec {
    /// The identity, which cannot change once it is set; absent is UUIDv5 of fleet, namespace and name. The same id in another
    /// workspace is a move, not a deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uuid")]
    pub id: Option<ClusterId>,
    /// Values that addons may refer to, by name: texts, numbers and truth values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::variables")]
    pub variables: BTreeMap<String, Value>,
    /// While true, what is installed stays as it is: nothing is installed, changed or removed.
    pub paused: bool,
    /// While true, the identity is refused: the agent's session is cut, and it gets none again.
    pub revoked: bool,
    /// What detaching does with what is installed.
    pub deletion_policy: DeletionPolicy,
}

/// What detaching a cluster does with what is installed there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Everything stays where it is.
    #[default]
    Orphan,
    /// It is removed first, in order.
    Delete,
}

impl ManagedCluster {
    /// Returns the cluster's identity in a fleet.
    #[must_use]
    pub fn id(&self, fleet: &str) -> ClusterId {
        self.spec.id.unwrap_or_else(|| ClusterId::derive(fleet, &self.metadata.namespace, &self.metadata.name))
    }
}
