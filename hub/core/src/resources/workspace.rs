//! The Workspace's specification.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_model::labels::DEFAULT_ADDON_NAMESPACE;

use super::schema;

/// What a workspace's addons are confined to on each managed cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkspaceSpec {
    /// The namespace that holds the Flux objects of the workspace's addons.
    #[schemars(schema_with = "schema::name")]
    pub namespace: String,
    /// The ServiceAccount that Flux acts as; absent leaves that to Flux.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::name")]
    pub service_account_name: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl Default for WorkspaceSpec {
    fn default() -> Self {
        Self { namespace: DEFAULT_ADDON_NAMESPACE.to_owned(), service_account_name: None, description: String::new() }
    }
}
