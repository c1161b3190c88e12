//! The documents that tests write into a hub's directory, as people would.

use super::bed::WORKSPACE;
use super::parts::{BROKEN_VERSION, Parts};

/// The addons of the tests: one of each kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addon {
    /// A chart of a Helm repository over HTTP.
    Web,
    /// A chart of an OCI registry.
    Cache,
    /// A kustomization of a Git repository.
    Rules,
}

impl Addon {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Web, Self::Cache, Self::Rules];

    /// Its name, and that of the assignments of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Cache => "cache",
            Self::Rules => "rules",
        }
    }

    /// The version to begin with.
    pub(crate) fn first(self) -> &'static str {
        match self {
            Self::Web | Self::Cache => "1.0.0",
            Self::Rules => "v1",
        }
    }

    /// The version to upgrade to.
    pub(crate) fn second(self) -> &'static str {
        match self {
            Self::Web | Self::Cache => "1.1.0",
            Self::Rules => "v2",
        }
    }

    /// A version that Flux cannot install.
    pub(crate) fn broken(self) -> &'static str {
        match self {
            Self::Web | Self::Cache => BROKEN_VERSION,
            Self::Rules => "gone",
        }
    }

    /// What Flux says about that version.
    pub(crate) fn complaint(self) -> &'static str {
        match self {
            Self::Web | Self::Cache => "podinfo-lite 1.2.0 is broken",
            Self::Rules => "kustomization path not found",
        }
    }

    /// The version that mends it.
    pub(crate) fn mended(self) -> &'static str {
        match self {
            Self::Web | Self::Cache => "1.3.0",
            Self::Rules => "v1",
        }
    }

    /// The Flux object that runs it.
    pub(crate) fn workload(self) -> &'static str {
        match self {
            Self::Web | Self::Cache => "HelmRelease",
            Self::Rules => "Kustomization",
        }
    }

    /// The Flux object that it comes from.
    pub(crate) fn source(self) -> &'static str {
        match self {
            Self::Web => "HelmRepository",
            Self::Cache => "OCIRepository",
            Self::Rules => "GitRepository",
        }
    }

    /// The ConfigMap that it installs into `default`, whose `version` is the addon's.
    pub(crate) fn config_map(self) -> &'static str {
        match self {
            Self::Web => "web-podinfo-lite",
            Self::Cache => "cache-podinfo-lite",
            Self::Rules => "rules",
        }
    }
}

/// The workspace and the catalogue.
pub(crate) fn catalogue(parts: &Parts) -> String {
    let chart = starling_realparts::ExampleChart::podinfo_lite("1.0.0");
    let web = format!("helmRepository: {{url: {:?}, chart: podinfo-lite}}", parts.helm.url());
    let cache = format!("ociChart: {{url: {:?}, insecure: true}}", parts.oci.chart_url(&chart));
    let rules = |version: &str| format!("git: {{url: {:?}, branch: main, path: ./{version}}}", parts.git.url("rules"));
    let charts = ["1.0.0", "1.1.0", "1.2.0", "1.3.0"];
    let workspace = format!("{}metadata:\n  name: {WORKSPACE}\nspec: {{}}\n", head("Workspace"));
    [
        workspace,
        addon(Addon::Web, &charts.map(|version| (version, web.clone()))),
        addon(Addon::Cache, &charts.map(|version| (version, cache.clone()))),
        addon(Addon::Rules, &["v1", "v2", "gone"].map(|version| (version, rules(version)))),
    ]
    .join("---\n")
}

/// An assignment of an addon to every cluster of the workspace, of the addon's name.
pub(crate) fn assignment(addon: Addon, version: &str) -> String {
    let name = addon.name();
    let spec = format!("spec:\n  addon: {{name: {name}}}\n  version: {version:?}\n  clusterSelector: {{}}\n");
    format!("{}metadata:\n  name: {name}\n  namespace: {WORKSPACE}\n{spec}", head("AddonAssignment"))
}

/// The evidence that one incarnation of an assignment is meant to go.
pub(crate) fn tombstone(addon: Addon, uid: &str) -> String {
    let name = addon.name();
    let spec = format!("spec:\n  uid: {uid}\n  kind: AddonAssignment\n  name: {name}\n");
    format!("{}metadata:\n  name: no-more-{name}\n  namespace: {WORKSPACE}\n{spec}", head("Tombstone"))
}

fn addon(addon: Addon, versions: &[(&str, String)]) -> String {
    let name = addon.name();
    let mut text = format!("{}metadata:\n  name: {name}\n  namespace: starling-platform\n", head("Addon"));
    text.push_str(&format!("spec:\n  title: {name}\n  targetNamespace: default\n  versions:\n"));
    for (version, source) in versions {
        text.push_str(&format!("    - version: {version:?}\n      source:\n        {source}\n"));
    }
    text
}

fn head(kind: &str) -> String {
    format!("apiVersion: starling.dev/v1alpha1\nkind: {kind}\n")
}
