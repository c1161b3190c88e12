//! Kinds of resources, and the name of one resource among all kinds.

use std::fmt;

use serde::{Deserialize, Serialize};
use starling_model::ResourceName;

/// The kind of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A group of clusters.
    Workspace,
    /// A managed cluster.
    ManagedCluster,
    /// A catalogue entry.
    Addon,
    /// An addon on selected clusters.
    AddonAssignment,
    /// Committed evidence of a deletion.
    Tombstone,
}

/// The name of a resource: kind, namespace (empty for a Workspace) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InputKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace, empty for a Workspace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Kind {
    /// Every kind, in the order in which they refer to one another.
    pub const ALL: [Self; 5] =
        [Self::Workspace, Self::ManagedCluster, Self::Addon, Self::AddonAssignment, Self::Tombstone];

    /// Returns the name that documents use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "Workspace",
            Self::ManagedCluster => "ManagedCluster",
            Self::Addon => "Addon",
            Self::AddonAssignment => "AddonAssignment",
            Self::Tombstone => "Tombstone",
        }
    }

    /// Returns the word that the command line uses.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::ManagedCluster => "cluster",
            Self::Addon => "addon",
            Self::AddonAssignment => "assignment",
            Self::Tombstone => "tombstone",
        }
    }

    /// Reads a kind as documents or the command line name it, singular or plural, whatever the case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let singular = text.strip_suffix('s').unwrap_or(&text);
        Self::ALL.into_iter().find(|kind| singular == kind.word() || singular == kind.as_str().to_ascii_lowercase())
    }

    /// Tells whether resources of this kind live in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        match self {
            Self::Workspace => false,
            Self::ManagedCluster | Self::Addon | Self::AddonAssignment | Self::Tombstone => true,
        }
    }
}

impl InputKey {
    /// Makes a key.
    #[must_use]
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// Returns the file that a resource gets in a directory when it has none: `<kind>/<namespace>/<name>.yaml`.
    #[must_use]
    pub fn own_file(&self) -> String {
        let folder = if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
        format!("{}/{folder}{}.yaml", self.kind.word(), self.name)
    }

    /// Returns namespace and name without the kind.
    #[must_use]
    pub fn resource_name(&self) -> ResourceName {
        ResourceName::new(self.namespace.clone(), self.name.clone())
    }

    /// Returns `namespace/name`, or the name alone where there is no namespace.
    #[must_use]
    pub fn qualified(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for InputKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.qualified())
    }
}
