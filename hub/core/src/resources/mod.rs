//! The resources of `starling.dev/v1alpha1`: what people write, as types.
//!
//! Owns their fields, how a document becomes one of them, and what can be checked in one document alone.
//! Does not own what needs other documents to be judged (a missing addon, a cluster under two names): that is
//! the planner's and the fleet's.

mod addon;
mod assignment;
mod cluster;
pub mod crd;
mod document;
mod key;
pub(crate) mod schema;
pub mod status;
mod tombstone;
mod validate;
mod workspace;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use starling_model::canonical::digest_value;
use starling_model::{Digest, Value};

pub use addon::{AddonSpec, AddonVersion, Git, HelmRepository, OciChart, OciKustomization, Source, SourceKind};
pub use assignment::{AddonReference, AssignmentSpec};
pub use cluster::{ClusterSpec, DeletionPolicy};
pub use document::ResourceError;
pub use key::{InputKey, Kind};
pub use tombstone::TombstoneSpec;
pub use workspace::WorkspaceSpec;

/// The API version of all resources.
pub const API_VERSION: &str = "starling.dev/v1alpha1";

/// The namespace of what the platform owns for everybody.
pub const PLATFORM_NAMESPACE: &str = "starling-platform";

/// A document of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A group of clusters under one set of administrators.
    Workspace(Workspace),
    /// A managed cluster.
    ManagedCluster(ManagedCluster),
    /// A catalogue entry.
    Addon(Addon),
    /// "This addon on the clusters that this selector matches."
    AddonAssignment(AddonAssignment),
    /// The committed evidence that a resource is meant to go.
    Tombstone(Tombstone),
}

/// A `Workspace` document.
pub type Workspace = Document<WorkspaceSpec>;
/// A `ManagedCluster` document.
pub type ManagedCluster = Document<ClusterSpec>;
/// An `Addon` document.
pub type Addon = Document<AddonSpec>;
/// An `AddonAssignment` document.
pub type AddonAssignment = Document<AssignmentSpec>;
/// A `Tombstone` document.
pub type Tombstone = Document<TombstoneSpec>;

/// What all documents have: metadata, and a specification of their kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Document<S> {
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: S,
}

/// The part of Kubernetes' object metadata that Starling reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name, a DNS label.
    pub name: String,
    /// The namespace, empty for a Workspace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Labels; a ManagedCluster's are what selectors see.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, kept and not interpreted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Resource {
    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Workspace(_) => Kind::Workspace,
            Self::ManagedCluster(_) => Kind::ManagedCluster,
            Self::Addon(_) => Kind::Addon,
            Self::AddonAssignment(_) => Kind::AddonAssignment,
            Self::Tombstone(_) => Kind::Tombstone,
        }
    }

    /// Returns the metadata.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Workspace(document) => &document.metadata,
            Self::ManagedCluster(document) => &document.metadata,
            Self::Addon(document) => &document.metadata,
            Self::AddonAssignment(document) => &document.metadata,
            Self::Tombstone(document) => &document.metadata,
        }
    }

    /// Returns the namespace, empty for a Workspace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.metadata().namespace
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata().name
    }

    /// Returns the labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.metadata().labels
    }

    /// Returns kind, namespace and name.
    #[must_use]
    pub fn key(&self) -> InputKey {
        InputKey::new(self.kind(), self.namespace(), self.name())
    }

    /// Returns the whole document, with defaults written out.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let json = serde_json::to_vec(self).expect("resources have only string keys");
        Value::from_json(&json).expect("serde_json reads what it wrote")
    }

    /// Returns the digest of the document: equal for documents that mean the same, whatever their layout.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest_value("resource", &self.to_value())
    }

    /// Reads and checks a document.
    ///
    /// # Errors
    /// The first thing that is wrong, with the path of its field.
    pub fn from_value(value: &Value) -> Result<Self, ResourceError> {
        let resource = document::parse(value)?;
        resource.check()?;
        Ok(resource)
    }

    /// Checks what one document alone can get wrong beyond its form: names, exactly one source, ranges, limits.
    ///
    /// Deserializing does not check this, so that a reader of YAML calls it after.
    ///
    /// # Errors
    /// The first thing that is wrong, with the path of its field.
    pub fn check(&self) -> Result<(), ResourceError> {
        validate::check(self)
    }
}

impl Workspace {
    /// Returns the namespace on the managed clusters that holds this workspace's addons.
    #[must_use]
    pub fn install_namespace(&self) -> &str {
        &self.spec.namespace
    }
}

impl AddonAssignment {
    /// Returns the instance's name: the one given, else the assignment's own.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.spec.instance.as_deref().unwrap_or(&self.metadata.name)
    }
}

#[cfg(test)]
mod tests;
