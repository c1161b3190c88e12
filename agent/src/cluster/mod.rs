//! The port to the managed cluster's API server: what the agent needs of it, and nothing else.
//!
//! Owns the words of that conversation (events, errors, stored inventory and identity). Does not own any decision about
//! what is watched, applied or removed. [`kube`] talks to a real API server; simulations implement the trait in memory.

pub mod kube;
mod lease;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_trait::async_trait;
use futures::stream::BoxStream;
use starling_model::{Facts, ObjectKey, Value};

pub use self::lease::LeaseApi;

/// A cluster's API server, as the agent uses it.
#[async_trait]
pub trait ClusterApi: Send + Sync + 'static {
    /// Watches every Flux kind that the cluster has. Each call starts from nothing, with full lists; the stream does not
    /// end and retries by itself.
    fn watch(&self) -> BoxStream<'static, ClusterEvent>;

    /// Reads one object.
    async fn get(&self, resource: &ResourceRef) -> Result<Value, ClusterError>;

    /// Creates an object, only if there is none of its name ([`ClusterError::Conflict`] otherwise); returns it as stored.
    async fn create(&self, document: &Value) -> Result<Value, ClusterError>;

    /// Changes an object by server-side apply under our field manager, taking fields over from others; returns it as stored.
    ///
    /// The document carries the UID and resourceVersion that were read: a change or a replacement since then is
    /// [`ClusterError::Conflict`].
    async fn apply(&self, document: &Value) -> Result<Value, ClusterError>;

    /// Changes an object by a JSON merge patch under the given field manager; returns it as stored. A UID and
    /// resourceVersion in the patch are preconditions, as for [`Self::apply`].
    async fn merge_patch(
        &self,
        resource: &ResourceRef,
        patch: &Value,
        field_manager: &str,
    ) -> Result<Value, ClusterError>;

    /// Deletes an object if it is still the one that was read ([`ClusterError::Conflict`] otherwise).
    async fn delete(&self, resource: &ResourceRef, only: &Preconditions) -> Result<(), ClusterError>;

    /// Makes sure that a namespace exists.
    async fn ensure_namespace(&self, name: &str) -> Result<(), ClusterError>;

    /// Reads the inventory; `None` where the agent never stored one.
    async fn load_inventory(&self) -> Result<Option<StoredInventory>, ClusterError>;

    /// Replaces the inventory if it is still at the version that was read (`None`: if there is still none), else
    /// [`ClusterError::Conflict`]. Returns the new version.
    ///
    /// New bodies are stored before the head, so that a head never names a body that is not there.
    async fn swap_inventory(&self, expected: Option<&str>, change: &InventoryChange) -> Result<String, ClusterError>;

    /// Removes stored bodies that are not among those to keep; [`ClusterError::Conflict`] if the head is no longer the
    /// one that was stored last through this port.
    async fn collect_inventory(&self, keep: &BTreeSet<String>) -> Result<(), ClusterError>;

    /// Reads the agent's identity from the Secret of the given name.
    async fn load_identity(&self, secret: &str) -> Result<Option<StoredIdentity>, ClusterError>;

    /// Stores the agent's identity in the Secret of the given name.
    async fn store_identity(&self, secret: &str, identity: &StoredIdentity) -> Result<(), ClusterError>;

    /// Returns the cluster's fingerprint: the UID of its kube-system namespace.
    async fn fingerprint(&self) -> Result<String, ClusterError>;

    /// Observes the cluster's facts; what the agent may not see stays empty.
    async fn facts(&self) -> Result<Facts, ClusterError>;
}

/// Something that happened in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum ClusterEvent {
    /// The kinds that are watched from now on; kinds that are not listed here are gone with all their objects.
    Kinds(BTreeSet<Kind>),
    /// An object was made or changed, or was found by a list.
    Applied(Value),
    /// An object is gone.
    Deleted(ObjectKey),
    /// A kind was listed whole; objects of the kind that are not named are gone.
    KindListed(Kind, BTreeSet<ObjectKey>),
    /// A kind cannot be listed, with the reason; it is retried, and nothing should wait for it.
    KindUnreadable(Kind, String),
}

/// A kind of objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

/// Names one object, with the version through which it is read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRef {
    /// `group/version`; `None` takes the version that the API server prefers.
    pub api_version: Option<String>,
    /// The object.
    pub key: ObjectKey,
}

/// The state that an object must still have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preconditions {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// The inventory as it is stored in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredInventory {
    /// The version of the head, for compare-and-set.
    pub version: String,
    /// The head: a JSON document.
    pub head: String,
    /// All bodies that are stored, also those of other heads, by name (64 hexadecimal digits).
    pub bodies: BTreeMap<String, String>,
}

/// A change of the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InventoryChange {
    /// The new head.
    pub head: String,
    /// Bodies that the new head names and that are not stored yet, by name.
    pub bodies: BTreeMap<String, String>,
}

/// The agent's identity as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredIdentity {
    /// The certificate chain.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: String,
    /// The certificate authorities that the hub announced.
    pub trust_pem: String,
}

/// Why the API server did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The object, or its whole kind, does not exist.
    #[error("not found")]
    NotFound,
    /// It exists already, or is no longer what was read.
    #[error("changed meanwhile: {0}")]
    Conflict(String),
    /// The request was refused (invalid, or not permitted); the API server's message.
    #[error("{0}")]
    Rejected(String),
    /// No answer, or one that a retry can better.
    #[error("API server unavailable: {0}")]
    Unavailable(String),
}

impl ResourceRef {
    /// Names an object of any version.
    #[must_use]
    pub fn any_version(key: ObjectKey) -> Self {
        Self { api_version: None, key }
    }
}

impl Preconditions {
    /// Takes UID and resourceVersion from an object as it was read.
    #[must_use]
    pub fn of(live: &Value) -> Self {
        let text = |path: &[&str]| live.at(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { uid: text(&["metadata", "uid"]), resource_version: text(&["metadata", "resourceVersion"]) }
    }
}

impl Kind {
    /// Makes a kind.
    #[must_use]
    pub fn new(group: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), kind: kind.to_owned() }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.group)
    }
}

impl fmt::Debug for StoredIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredIdentity(redacted)")
    }
}
