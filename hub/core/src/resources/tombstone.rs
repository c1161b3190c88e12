//! The Tombstone document's specification.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_model::Uid;

use super::{Kind, schema};

/// The committed evidence that one incarnation of a resource is meant to go.
///
/// The resource lives in the Tombstone's own namespace (a Workspace in none).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TombstoneSpec {
    /// The UID that `starling delete` prints; another incarnation of the same name is not meant.
    #[schemars(schema_with = "schema::uuid")]
    pub uid: Uid,
    /// The resource's kind.
    #[schemars(schema_with = "schema::removable_kind")]
    pub kind: Kind,
    /// The resource's name.
    #[schemars(schema_with = "schema::name")]
    pub name: String,
}
