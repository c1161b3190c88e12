//! What the hub stores, one record a key, written by the steward alone.
//!
//! Owns the records' fields and their JSON. Does not own the bytes of keys (that is the store's codec) nor any
//! decision. A record with a field that this build does not know is refused rather than rewritten without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use starling_model::plan::Render;
use starling_model::{BlockedReason, ClusterId, Digest, Era, InstallKey, Millis, Position, ResourceName, Uid};

use crate::resources::{InputKey, Resource};

/// The most clusters that one tombstone or proposal lists, so that the record stays below 512 KiB; larger sets are
/// split over several records.
pub const CLUSTERS_PER_RECORD: usize = 20_000;

/// The most bytes of JSON that a document or the objects of a revision may take, so that their records stay below 512 KiB.
pub const DOCUMENT_BYTES: usize = 384 * 1024;

/// One resource as people wrote it, at `input/<kind>/<namespace>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputRecord {
    /// This incarnation's identity.
    pub uid: Uid,
    /// The document.
    pub resource: Resource,
    /// The file that it was read from, relative to the directory.
    pub file: String,
    /// Since when the document is not there; its resource stays all the same.
    pub missing: Option<Millis>,
    /// The document's digest.
    pub digest: Digest,
    /// When this incarnation began.
    pub since: Millis,
    /// Set on a Tombstone document whose deletion was judged (carried out or proposed), so that it is judged once.
    #[serde(default)]
    pub judged: bool,
    /// The object that it was read from; `None` for a document of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<ObjectOrigin>,
}

/// The object of a Kubernetes API that a resource was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectOrigin {
    /// The object's own UID: another object of the same name has another.
    pub uid: String,
    /// The generation that was read.
    pub generation: i64,
    /// Why the object is not there, where more is known than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absence: Option<Absence>,
}

/// Why an object is not there, and its resource is all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absence {
    /// It went with its namespace.
    NamespaceTerminating,
    /// Its namespace was gone already, or was made after the deletion.
    NamespaceMissing,
    /// It went with the definition of its kind.
    KindTerminating,
    /// The definition of its kind was gone already, or was made after the deletion.
    KindMissing,
    /// It was deleted, and others are in it: it goes with the last of them.
    InUse,
    /// It was deleted, and its agent has not let go yet.
    Detaching,
}

/// The memory of a deleted resource whose document is still in the directory, at `deleted/<kind>/<namespace>/<name>`.
///
/// While the very same document is there, the resource does not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeletedRecord {
    /// Which resource.
    pub key: InputKey,
    /// The incarnation that was deleted.
    pub uid: Uid,
    /// The digest of the document that counts as deleted.
    pub digest: Digest,
    /// The file that still holds it.
    pub file: String,
    /// When it was deleted.
    pub deleted: Millis,
    /// The object that counts as deleted; `None` for a document of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<ObjectOrigin>,
}

/// What became of an AddonAssignment, at `assignment/<uid>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssignmentRecord {
    /// The assignment's identity, the same as its input's.
    pub uid: Uid,
    /// Its name.
    pub name: ResourceName,
    /// When it was made; of two that want the same install the older has it.
    pub created: Millis,
    /// The addon that its reference was found to mean.
    pub addon: ResourceName,
    /// What its present revision is called on the clusters.
    pub install: InstallKey,
    /// The present revision; `None` until it could be rendered once.
    pub revision: Option<Digest>,
    /// Why the present documents cannot be rendered.
    pub blocked: Option<BlockedReason>,
}

/// An immutable, content-addressed snapshot of everything but the cluster that shapes an assignment, at `revision/<digest>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevisionRecord {
    /// The digest of all of the following.
    pub digest: Digest,
    /// The assignment.
    pub assignment: Uid,
    /// The addon.
    pub addon: ResourceName,
    /// The addon's version.
    pub version: String,
    /// The addon's range of Kubernetes versions.
    pub kubernetes: Option<String>,
    /// What it is called on the clusters.
    pub install: InstallKey,
    /// The version of the renderer that made the objects.
    pub renderer: u32,
    /// The objects, in which addon and assignment values are merged, and what they retire.
    pub render: Arc<Render>,
}

/// The evidence that installs were meant to go away, at `tombstone/<id>`; never pruned by age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TombstoneRecord {
    /// The tombstone's own identity.
    pub id: Uid,
    /// The assignment whose installs go.
    pub assignment: Uid,
    /// Its name, for people; its namespace bounds the scope [`TombstoneScope::All`].
    pub name: ResourceName,
    /// Which install.
    pub install: InstallKey,
    /// On which clusters.
    pub scope: TombstoneScope,
    /// The era number and position at which it was minted: only installs recorded before go.
    ///
    /// One of an older era than the fleet's is suspended until it is minted again.
    pub minted: (u64, Position),
    /// Why, for people.
    pub reason: String,
    /// Whose approval it carries; `None` if the budget allowed it.
    pub approved_by: Option<String>,
}

/// The clusters of a tombstone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TombstoneScope {
    /// Every cluster that the assignment could reach: those of its workspace, or all for a platform assignment.
    All,
    /// These clusters.
    Clusters(ClusterSet),
}

/// A removal that waits for approval, at `proposal/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProposalRecord {
    /// The proposal's own identity.
    pub id: Uid,
    /// The assignment whose installs would go.
    pub assignment: Uid,
    /// Its name.
    pub name: ResourceName,
    /// The addon, for the budget's sake and for people.
    pub addon: ResourceName,
    /// Which install would go.
    pub install: InstallKey,
    /// What approval does.
    pub kind: ProposalKind,
    /// The clusters that were affected when it was made; approval counts again.
    pub clusters: ClusterSet,
    /// Since when it waits.
    pub since: Millis,
    /// Why it waits, for people.
    pub reason: String,
}

/// What an approval does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProposalKind {
    /// The assignment was deleted: mints a tombstone for all of its clusters.
    Delete,
    /// The assignment no longer selects the clusters: mints a tombstone for them.
    Deselect,
    /// The assignment would move to this revision, which retires a workload or another install; until then it keeps the one it has.
    Revise(Digest),
    /// The tombstone is of an older era: mints it again.
    Renew(Uid),
    /// The cluster was deleted and its policy removes what it holds: empties it, then detaches it. The proposal's assignment is
    /// the ManagedCluster.
    Detach,
}

/// A removal that the budget allowed, at `spent/<uid>`; older than a day it no longer counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpentRecord {
    /// The entry's own identity.
    pub id: Uid,
    /// The addon whose installs went.
    pub addon: ResourceName,
    /// How many went.
    pub installs: u64,
    /// When.
    pub at: Millis,
}

/// The identity of a cluster that joined, at `cluster/<id>`; never pruned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterRecord {
    /// The cluster.
    pub id: ClusterId,
    /// Its name when it joined, for people; `None` if it had no ManagedCluster then.
    pub name: Option<ResourceName>,
    /// SHA-256 of the public keys that it may use: the present one, and the one before until the present one was seen.
    pub keys: Vec<Digest>,
    /// SHA-256 of public keys that are refused for ever.
    pub revoked_keys: BTreeSet<Digest>,
    /// The UID of the cluster's kube-system namespace; empty where it has none.
    pub fingerprint: String,
    /// When it last joined.
    pub joined: Millis,
    /// The number of the era in which the keys were recorded; an earlier one's may be older than the cluster's certificate.
    #[serde(default)]
    pub era: u64,
    /// The workspace's join token that let it in; `None` if it was adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_with: Option<Uid>,
    /// How far its detachment is.
    pub stage: ClusterStage,
}

/// How far the detachment of a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterStage {
    /// Not detached.
    Attached,
    /// What it holds is removed first; waits for its agent to hold nothing any more.
    Removing {
        /// When that was asked or approved.
        since: Millis,
    },
    /// Asked to let go of everything; waits for its agent's word.
    Detaching {
        /// When it was asked.
        since: Millis,
        /// It was emptied before: a word of an agent that still holds something does not end it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        emptied: bool,
    },
    /// Let go; its keys are refused until it joins again.
    Detached {
        /// When it let go.
        since: Millis,
    },
}

/// A join token, at `token/<hash>`; the token itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRecord {
    /// The token's hash.
    pub hash: Digest,
    /// The cluster that it lets in.
    pub cluster: ClusterId,
    /// The workspace that the cluster must still be in.
    pub workspace: String,
    /// When it was made.
    pub created: Millis,
    /// When it ends.
    pub expires: Millis,
    /// SHA-256 of the public key that used it; the same key may try again, which a lost answer makes it do.
    pub used_by: Option<Digest>,
}

/// A join token that is bound to a workspace, at `join-token/<hash>`; the token itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinTokenRecord {
    /// The token's hash.
    pub hash: Digest,
    /// The name by which people and documents refer to it.
    pub id: Uid,
    /// The workspace that its clusters join.
    pub workspace: String,
    /// The labels that they get.
    pub labels: BTreeMap<String, String>,
    /// How many clusters may join with it.
    pub uses: u32,
    /// How many have.
    pub used: u32,
    /// When it was made.
    pub created: Millis,
    /// When it ends.
    pub expires: Millis,
    /// Who made it.
    pub created_by: String,
    /// For people.
    pub description: String,
    /// When somebody voided it; kept for a while, so that whoever shows it is told.
    pub revoked: Option<Millis>,
}

/// The era of this store, at `era`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EraRecord {
    /// Number and id.
    pub era: Era,
    /// When it began.
    pub began: Millis,
}

/// A set of clusters, stored as the unpadded base64 of their ids in order (22 bytes a cluster at most).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSet(pub BTreeSet<ClusterId>);

impl TombstoneRecord {
    /// Tells whether a cluster of this workspace gets the tombstone (its era aside).
    #[must_use]
    pub fn reaches(&self, cluster: ClusterId, workspace: &str) -> bool {
        match &self.scope {
            TombstoneScope::All => {
                self.name.namespace == workspace || self.name.namespace == crate::resources::PLATFORM_NAMESPACE
            }
            TombstoneScope::Clusters(clusters) => clusters.0.contains(&cluster),
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NamespaceTerminating => {
                "its object went with its namespace, which is no evidence that it was meant to go"
            }
            Self::NamespaceMissing => "its namespace was deleted before, which is no evidence that it was meant to go",
            Self::KindTerminating => {
                "its object went with the definition of its kind, which is no evidence that it was meant to go"
            }
            Self::KindMissing => {
                "the definition of its kind was deleted before, which is no evidence that it was meant to go"
            }
            Self::InUse => "its object was deleted, and others are in it still",
            Self::Detaching => "its object was deleted, and its agent has not let go yet",
        })
    }
}

impl ProposalKind {
    /// Returns the name used in output and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Deselect => "deselect",
            Self::Revise(_) => "revise",
            Self::Renew(_) => "renew",
            Self::Detach => "detach",
        }
    }
}

impl FromIterator<ClusterId> for ClusterSet {
    fn from_iter<I: IntoIterator<Item = ClusterId>>(clusters: I) -> Self {
        Self(clusters.into_iter().collect())
    }
}

impl Serialize for ClusterSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|id| id.0).collect();
        serializer.serialize_str(&STANDARD_NO_PAD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for ClusterSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let bytes = STANDARD_NO_PAD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        if bytes.len() % 16 != 0 {
            return Err(D::Error::custom("a set of clusters is a multiple of 16 bytes"));
        }
        Ok(bytes.chunks_exact(16).filter_map(ClusterId::from_slice).collect())
    }
}

#[cfg(test)]
mod tests;
