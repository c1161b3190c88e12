//! The Addon's specification: versions, and where each comes from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_model::Value;

use super::schema;

/// A catalogue entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddonSpec {
    /// A short name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// A longer text for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The Kubernetes versions that it fits, such as `>=1.33 <1.36`; absent is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::kubernetes_range")]
    pub kubernetes: Option<String>,
    /// The versions that can be assigned, at least one.
    #[schemars(length(min = 1, max = schema::VERSIONS))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["version"]))]
    pub versions: Vec<AddonVersion>,
    /// The namespace that its objects go to unless the assignment names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::name")]
    pub target_namespace: Option<String>,
}

/// One version of an addon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddonVersion {
    /// The name of the version, unique in the addon.
    #[schemars(schema_with = "schema::version")]
    pub version: String,
    /// Where it comes from.
    pub source: Source,
    /// Default values, a mapping.
    #[serde(default = "Value::empty_map", skip_serializing_if = "is_empty_map")]
    #[schemars(schema_with = "schema::values")]
    pub values: Value,
}

/// Where a version comes from: exactly one of the fields is present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.helmRepository), has(self.ociChart), has(self.git), has(self.ociKustomization)].filter(there, there).size() == 1",
    "message": "exactly one of helmRepository, ociChart, git, ociKustomization is needed",
}]))]
pub struct Source {
    /// A chart in a Helm repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helm_repository: Option<HelmRepository>,
    /// A chart in an OCI registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oci_chart: Option<OciChart>,
    /// A kustomization in a Git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<Git>,
    /// A kustomization in an OCI artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oci_kustomization: Option<OciKustomization>,
}

/// The one source that is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind<'a> {
    /// A chart in a Helm repository.
    HelmRepository(&'a HelmRepository),
    /// A chart in an OCI registry.
    OciChart(&'a OciChart),
    /// A kustomization in a Git repository.
    Git(&'a Git),
    /// A kustomization in an OCI artifact.
    OciKustomization(&'a OciKustomization),
}

/// A chart in a Helm repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HelmRepository {
    /// `https://`, `http://` or `oci://`.
    #[schemars(schema_with = "schema::helm_url")]
    pub url: String,
    /// The chart's name.
    #[schemars(schema_with = "schema::text")]
    pub chart: String,
    /// The chart's version; absent is the addon version's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub version: Option<String>,
    /// An `oci://` registry is spoken to without TLS.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,
}

/// A chart in an OCI registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciChart {
    /// `oci://`, with the chart's name.
    #[schemars(schema_with = "schema::oci_url")]
    pub url: String,
    /// The tag; absent is the addon version's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub tag: Option<String>,
    /// The registry is spoken to without TLS.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,
}

/// A kustomization in a Git repository; at most one of branch, tag and commit, and none is the tag of the addon version's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.branch), has(self.tag), has(self.commit)].filter(there, there).size() <= 1",
    "message": "at most one of branch, tag and commit",
}]))]
pub struct Git {
    /// `https://`, `http://` or `ssh://`.
    #[schemars(schema_with = "schema::git_url")]
    pub url: String,
    /// A branch, followed as it moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub branch: Option<String>,
    /// A tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub tag: Option<String>,
    /// A commit's full hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub commit: Option<String>,
    /// The directory inside the repository.
    #[schemars(schema_with = "schema::text")]
    pub path: String,
}

/// A kustomization in an OCI artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciKustomization {
    /// `oci://`, with the artifact's name.
    #[schemars(schema_with = "schema::oci_url")]
    pub url: String,
    /// The tag; absent is the addon version's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub tag: Option<String>,
    /// The directory inside the artifact; absent is its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub path: Option<String>,
    /// The registry is spoken to without TLS.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,
}

impl AddonSpec {
    /// Returns the version of that name.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<&AddonVersion> {
        self.versions.iter().find(|version| version.version == name)
    }
}

impl Source {
    /// Returns the source that is present; `None` unless exactly one is.
    #[must_use]
    pub fn kind(&self) -> Option<SourceKind<'_>> {
        let present = [
            self.helm_repository.as_ref().map(SourceKind::HelmRepository),
            self.oci_chart.as_ref().map(SourceKind::OciChart),
            self.git.as_ref().map(SourceKind::Git),
            self.oci_kustomization.as_ref().map(SourceKind::OciKustomization),
        ];
        let mut present = present.into_iter().flatten();
        let first = present.next()?;
        present.next().is_none().then_some(first)
    }
}

impl SourceKind<'_> {
    /// Returns the address, for people.
    #[must_use]
    pub fn url(&self) -> &str {
        match self {
            Self::HelmRepository(source) => &source.url,
            Self::OciChart(source) => &source.url,
            Self::Git(source) => &source.url,
            Self::OciKustomization(source) => &source.url,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_empty_map(value: &Value) -> bool {
    value.as_map().is_some_and(std::collections::BTreeMap::is_empty)
}
