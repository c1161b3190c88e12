//! A plan: everything one cluster should have now, at one position.
//!
//! A plan lists; it never implies. An install that a plan does not mention is kept (invariant I1): only a
//! [`Tombstone`] that names it removes it, and only an entry's `retires` removes an object of a kept install.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestWriter};
use crate::fence::Position;
use crate::ids::{InstallKey, Uid};
use crate::object::{Object, ObjectKey};

/// Everything one cluster should have now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The steward's position that the plan was computed from.
    pub position: Position,
    /// The digest of the facts that were used.
    pub facts: Digest,
    /// What to hold, sorted by install.
    pub entries: Vec<Entry>,
    /// What to remove, sorted by id.
    pub tombstones: Vec<Tombstone>,
    /// Set when the cluster is being detached.
    pub detach: Option<Detach>,
}

/// One install of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which install.
    pub install: InstallKey,
    /// The assignment behind it.
    pub assignment: Uid,
    /// The assignment's name, `namespace/name`, for people.
    pub assignment_name: String,
    /// The assignment's revision.
    pub revision: Digest,
    /// What to do.
    pub action: Action,
}

/// What to do with an install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Apply these objects.
    Render(Arc<Render>),
    /// What is held stays; the agent repairs drift from its own inventory.
    Keep(KeepReason),
    /// Nothing can be applied; what is held stays.
    Blocked(BlockedReason),
}

/// The rendered objects of a revision, shared by all clusters that get the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Render {
    /// The digest of objects and retirements.
    pub digest: Digest,
    /// The objects in the order in which they are applied.
    pub objects: Vec<Object>,
    /// Objects of earlier revisions to remove once the objects above are Ready.
    pub retires: Vec<ObjectKey>,
}

/// Why what is held stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "detail")]
pub enum KeepReason {
    /// The cluster is paused.
    ClusterPaused,
    /// The assignment is paused.
    AssignmentPaused,
    /// A removal waits for approval; the proposal is named.
    RemovalAwaitsApproval(Uid),
}

/// Why nothing can be applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "detail")]
pub enum BlockedReason {
    /// The addon does not exist; it is named.
    AddonNotFound(String),
    /// The addon has no such version; addon and version are named.
    VersionNotFound(String),
    /// The assignment's workspace may not use this addon.
    NotPermitted(String),
    /// The cluster's Kubernetes is outside the addon's range; both are named.
    KubernetesOutOfRange(String),
    /// The cluster has not yet said which Kubernetes it runs, and the addon has a range.
    KubernetesUnknown,
    /// Another assignment has the same install on this cluster; it is named.
    NameCollision(String),
    /// The addon's definition cannot be rendered.
    Invalid(String),
}

/// The recorded evidence that an install was meant to go away, as one cluster gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The tombstone's own identity.
    pub id: Uid,
    /// The assignment that was deleted or no longer selects the cluster.
    pub assignment: Uid,
    /// Which install.
    pub install: InstallKey,
    /// The era number and the position at which it was minted: only installs recorded before go.
    pub minted: (u64, Position),
}

/// What a detached agent does with what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detach {
    /// Stops syncing and leaves everything where it is.
    Orphan,
}

impl Plan {
    /// Returns the digest of what the plan asks for: a tree over its entries. The position takes no part, so that a
    /// position that changes nothing for a cluster resends nothing.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut writer = DigestWriter::new("plan");
        writer.digest(&self.facts).number(self.entries.len() as u64);
        for entry in &self.entries {
            writer.digest(&entry.digest());
        }
        writer.number(self.tombstones.len() as u64);
        for tombstone in &self.tombstones {
            writer.digest(&tombstone.digest());
        }
        match self.detach {
            None => writer.number(0),
            Some(Detach::Orphan) => writer.number(1),
        };
        writer.finish()
    }
}

impl Entry {
    /// Returns the digest of the entry.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut writer = DigestWriter::new("entry");
        writer
            .field(self.install.namespace.as_bytes())
            .field(self.install.name.as_bytes())
            .field(&self.assignment.0)
            .field(self.assignment_name.as_bytes());
        match &self.action {
            Action::Render(render) => writer.field(b"render").digest(&self.revision).digest(&render.digest),
            Action::Keep(_) => writer.field(b"keep"),
            Action::Blocked(_) => writer.field(b"blocked"),
        };
        writer.finish()
    }
}

impl Render {
    /// Makes a render and computes its digest.
    #[must_use]
    pub fn new(objects: Vec<Object>, retires: Vec<ObjectKey>) -> Self {
        let mut writer = DigestWriter::new("render");
        writer.number(objects.len() as u64);
        for object in &objects {
            writer.digest(&object.digest());
        }
        writer.number(retires.len() as u64);
        for key in &retires {
            writer.field(key.to_string().as_bytes());
        }
        Self { digest: writer.finish(), objects, retires }
    }
}

impl Tombstone {
    fn digest(&self) -> Digest {
        let mut writer = DigestWriter::new("tombstone");
        writer
            .field(&self.id.0)
            .field(&self.assignment.0)
            .field(self.install.namespace.as_bytes())
            .field(self.install.name.as_bytes())
            .number(self.minted.0)
            .number(self.minted.1.0);
        writer.finish()
    }
}

impl BlockedReason {
    /// Returns the reason's name in output and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::AddonNotFound(_) => "addon-not-found",
            Self::VersionNotFound(_) => "version-not-found",
            Self::NotPermitted(_) => "not-permitted",
            Self::KubernetesOutOfRange(_) => "kubernetes-out-of-range",
            Self::KubernetesUnknown => "kubernetes-unknown",
            Self::NameCollision(_) => "name-collision",
            Self::Invalid(_) => "invalid",
        }
    }
}

impl fmt::Display for BlockedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddonNotFound(addon) => write!(f, "addon {addon} does not exist"),
            Self::VersionNotFound(version) => write!(f, "{version} is not a version of the addon"),
            Self::NotPermitted(what) => f.write_str(what),
            Self::KubernetesOutOfRange(what) => f.write_str(what),
            Self::KubernetesUnknown => {
                f.write_str("the cluster has not yet reported its Kubernetes version, which the addon restricts")
            }
            Self::NameCollision(other) => write!(f, "assignment {other} already has this instance on the cluster"),
            Self::Invalid(what) => f.write_str(what),
        }
    }
}

impl KeepReason {
    /// Returns the reason's name in output and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ClusterPaused => "cluster-paused",
            Self::AssignmentPaused => "assignment-paused",
            Self::RemovalAwaitsApproval(_) => "removal-awaits-approval",
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterPaused => f.write_str("the cluster is paused"),
            Self::AssignmentPaused => f.write_str("the assignment is paused"),
            Self::RemovalAwaitsApproval(proposal) => write!(f, "its removal waits for approval of proposal {proposal}"),
        }
    }
}
