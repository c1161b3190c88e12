//! The ManagedCluster's specification.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use starling_model::{ClusterId, Value};

use super::ManagedCluster;

/// What a managed cluster is to the hub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// The immutable identity; absent is UUIDv5 of fleet, namespace and name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<ClusterId>,
    /// Values that addons may refer to.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Value>,
    /// What is held stays as it is, and nothing moves.
    pub paused: bool,
    /// The identity is refused.
    pub revoked: bool,
    /// What detaching does with what is installed.
    pub deletion_policy: DeletionPolicy,
}

/// What detaching a cluster does with what is installed there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// Leaves everything where it is.
    #[default]
    Orphan,
    /// Removes it first, in order.
    Delete,
}

impl ManagedCluster {
    /// Returns the cluster's identity in a fleet.
    #[must_use]
    pub fn id(&self, fleet: &str) -> ClusterId {
        self.spec.id.unwrap_or_else(|| ClusterId::derive(fleet, &self.metadata.namespace, &self.metadata.name))
    }
}
