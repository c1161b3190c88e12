//! What is in the cluster, as kubectl sees it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;
use starling_realparts::ManagedCluster;

use super::documents::Addon;

/// The namespace of the addons' Flux objects.
pub(crate) const ADDONS: &str = "starling-addons";

/// The kinds that an addon renders to, as kubectl takes them.
const RENDERED: &str = "helmreleases.helm.toolkit.fluxcd.io,kustomizations.kustomize.toolkit.fluxcd.io,\
     helmrepositories.source.toolkit.fluxcd.io,ocirepositories.source.toolkit.fluxcd.io,\
     gitrepositories.source.toolkit.fluxcd.io";

/// An object of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct LiveObject(Value);

impl LiveObject {
    /// Returns the object's UID.
    pub(crate) fn uid(&self) -> &str {
        self.0["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// Returns a field as text; empty where it is not there.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns a field.
    pub(crate) fn field(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }
}

/// Returns every Flux object of the addons' namespace that an addon renders to, by `Kind/name`.
pub(crate) fn rendered(cluster: &ManagedCluster) -> Result<BTreeMap<String, LiveObject>> {
    let list = cluster.admin().get_json(&[RENDERED, "-n", ADDONS]).context("list what is installed")?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let key = |item: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text(&item["kind"]), text(&item["metadata"]["name"]))
    };
    Ok(items.into_iter().map(|item| (key(&item), LiveObject(item))).collect())
}

/// Returns the `version` in the ConfigMap that an addon installs; `None` where there is no ConfigMap.
pub(crate) fn installed_version(cluster: &ManagedCluster, addon: Addon) -> Result<Option<String>> {
    let arguments = ["configmap", addon.config_map(), "-n", "default", "--ignore-not-found"];
    let text = cluster.kubectl(&[&["get", "-o", "json"], arguments.as_slice()].concat())?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let found: Value = serde_json::from_str(&text).context("read a ConfigMap")?;
    Ok(Some(found["data"]["version"].as_str().unwrap_or_default().to_owned()))
}
