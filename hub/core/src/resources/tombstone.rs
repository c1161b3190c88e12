//! The Tombstone document's specification.

use serde::{Deserialize, Serialize};
use starling_model::Uid;

use super::Kind;

/// The committed evidence that one incarnation of a resource is meant to go.
///
/// The resource lives in the Tombstone's own namespace (a Workspace in none).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TombstoneSpec {
    /// The UID that `starling delete` prints; another incarnation of the same name is not meant.
    pub uid: Uid,
    /// The resource's kind.
    pub kind: Kind,
    /// The resource's name.
    pub name: String,
}
