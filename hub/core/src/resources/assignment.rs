//! The AddonAssignment's specification.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_model::Value;

use super::schema;
use crate::selector::LabelSelector;

/// "This addon, this version, these values, on the clusters that this selector matches."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssignmentSpec {
    /// Which addon.
    pub addon: AddonReference,
    /// Exactly this version of it.
    #[schemars(schema_with = "schema::version")]
    pub version: String,
    /// The instance's name on the clusters; absent is the assignment's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::name")]
    pub instance: Option<String>,
    /// Which clusters, by their labels; `{}` is all that the assignment may reach.
    pub cluster_selector: LabelSelector,
    /// Values, merged over the addon version's as Helm merges values.
    #[serde(default = "Value::empty_map")]
    #[schemars(schema_with = "schema::values")]
    pub values: Value,
    /// The namespace that the addon's objects go to; absent is the addon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::name")]
    pub target_namespace: Option<String>,
    /// While true, what is installed stays as it is, whatever the documents say.
    #[serde(default)]
    pub paused: bool,
    /// How often Flux reconciles, such as `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub interval: Option<String>,
}

/// The name of an addon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddonReference {
    /// The addon's name.
    #[schemars(schema_with = "schema::name")]
    pub name: String,
    /// Its namespace; absent is the assignment's own if it has such an addon, else the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::name")]
    pub namespace: Option<String>,
}
