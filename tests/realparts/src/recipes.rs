//! The table of programs and how each is built from its Go module.
//!
//! Owns names, versions and replacements; knows nothing of processes or of the cache. A change to any field of a recipe
//! changes its key, so the program is built anew and the old one stays for whoever still uses it.

use sha2::{Digest, Sha256};

/// Says how recipes are turned into programs; raised when the way of building changes, so that cached programs are not reused.
const RECIPE_FORMAT: &str = "starling-realparts-recipe-1";

/// Names a program that this crate can build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// The store of API servers and of the hub.
    Etcd,
    /// The Kubernetes API.
    KubeApiserver,
    /// The Kubernetes command line.
    Kubectl,
    /// Flux's fetcher of charts, Git and OCI artifacts.
    SourceController,
    /// Flux's applier of Kustomizations.
    KustomizeController,
    /// Flux's applier of HelmReleases.
    HelmController,
    /// Kubernetes' own controllers.
    KubeControllerManager,
    /// The Helm command line.
    Helm,
    /// A command line for OCI registries that is also a registry.
    Crane,
    /// The linter of protos.
    Buf,
    /// Flux's sender of events and receiver of webhooks.
    NotificationController,
}

/// A module replaced by itself at another version, which Go does not take from the `go.mod` of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replace {
    pub(crate) module: &'static str,
    pub(crate) version: &'static str,
}

/// Everything that decides what a program is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// The file name of the program.
    pub(crate) name: &'static str,
    pub(crate) module: &'static str,
    pub(crate) version: &'static str,
    /// The package inside the module, empty for the module's root.
    pub(crate) package: &'static str,
    /// Further modules at fixed versions, beside the program's own.
    pub(crate) requires: &'static [Replace],
    pub(crate) replaces: &'static [Replace],
    /// The version every local replacement of the module's own `go.mod` is replaced with (Kubernetes' staging modules).
    pub(crate) staging_version: Option<&'static str>,
    pub(crate) ldflags: &'static str,
    /// The module's folder whose YAML files (CRDs) are stored next to the program.
    pub(crate) crds: Option<&'static str>,
    /// Seconds of a build with nothing cached on two cores; shown to the waiting person, not part of the key.
    pub(crate) cold_seconds: u32,
}

const STRIP: &str = "-s -w";
const KUBERNETES_LDFLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.35.4 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35";
const FLUX_CRDS: Option<&str> = Some("config/crd/bases");

const fn at(module: &'static str, version: &'static str) -> Replace {
    Replace { module, version }
}

const GO_DIGEST: Replace = at("github.com/opencontainers/go-digest", "v1.0.1-0.20220411205349-bde1400a84be");
const GO_DIGEST_HELM: Replace = at("github.com/opencontainers/go-digest", "v1.0.1-0.20231025023718-d50d2fec9c98");
const KUSTOMIZE_API: Replace = at("sigs.k8s.io/kustomize/api", "v0.21.1");
const KUSTOMIZE_KYAML: Replace = at("sigs.k8s.io/kustomize/kyaml", "v0.21.1");
const YAML_V3: Replace = at("gopkg.in/yaml.v3", "v3.0.1");

const fn plain(
    name: &'static str,
    module: &'static str,
    version: &'static str,
    package: &'static str,
    cold_seconds: u32,
) -> Recipe {
    Recipe {
        name,
        module,
        version,
        package,
        requires: &[],
        replaces: &[],
        staging_version: None,
        ldflags: STRIP,
        crds: None,
        cold_seconds,
    }
}

const fn kubernetes(name: &'static str, package: &'static str, cold_seconds: u32) -> Recipe {
    Recipe {
        staging_version: Some("v0.35.4"),
        ldflags: KUBERNETES_LDFLAGS,
        ..plain(name, "k8s.io/kubernetes", "v1.35.4", package, cold_seconds)
    }
}

const fn flux(
    name: &'static str,
    module: &'static str,
    version: &'static str,
    requires: &'static [Replace],
    replaces: &'static [Replace],
    cold_seconds: u32,
) -> Recipe {
    Recipe { requires, replaces, crds: FLUX_CRDS, ..plain(name, module, version, "", cold_seconds) }
}

const ETCD: Recipe = plain("etcd", "go.etcd.io/etcd/server/v3", "v3.6.16", "", 35);
const KUBE_APISERVER: Recipe = kubernetes("kube-apiserver", "cmd/kube-apiserver", 150);
const KUBECTL: Recipe = kubernetes("kubectl", "cmd/kubectl", 16);
const KUBE_CONTROLLER_MANAGER: Recipe = kubernetes("kube-controller-manager", "cmd/kube-controller-manager", 40);
const SOURCE_CONTROLLER: Recipe =
    flux("source-controller", "github.com/fluxcd/source-controller", "v1.9.1", &[], &[GO_DIGEST], 170);
const KUSTOMIZE_CONTROLLER: Recipe = flux(
    "kustomize-controller",
    "github.com/fluxcd/kustomize-controller",
    "v1.9.4",
    &[],
    &[GO_DIGEST, KUSTOMIZE_API, KUSTOMIZE_KYAML, YAML_V3],
    104,
);
/// Built with upstream Helm, because the fork that Flux replaces it with is not published as a module.
const HELM_CONTROLLER: Recipe = flux(
    "helm-controller",
    "github.com/fluxcd/helm-controller",
    "v1.6.3",
    &[at("helm.sh/helm/v4", "v4.2.4")],
    &[GO_DIGEST_HELM, KUSTOMIZE_API, KUSTOMIZE_KYAML],
    60,
);
const NOTIFICATION_CONTROLLER: Recipe =
    flux("notification-controller", "github.com/fluxcd/notification-controller", "v1.9.3", &[], &[YAML_V3], 93);
const HELM: Recipe = plain("helm", "helm.sh/helm/v4", "v4.3.1", "cmd/helm", 77);
const CRANE: Recipe = plain("crane", "github.com/google/go-containerregistry", "v0.20.6", "cmd/crane", 15);
/// The newest version whose dependencies could all be had from the Go module proxy; v1.74.0 and v1.75.0 failed on theirs.
const BUF: Recipe = plain("buf", "github.com/bufbuild/buf", "v1.73.0", "cmd/buf", 68);

impl Program {
    /// Every program, in the order in which they are best built from nothing.
    pub const ALL: [Self; 11] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::Kubectl,
        Self::SourceController,
        Self::KustomizeController,
        Self::HelmController,
        Self::KubeControllerManager,
        Self::Helm,
        Self::Crane,
        Self::Buf,
        Self::NotificationController,
    ];

    /// What a managed cluster and its sources need: all but `buf` and the notification-controller.
    pub const CLUSTER: [Self; 9] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::Kubectl,
        Self::SourceController,
        Self::KustomizeController,
        Self::HelmController,
        Self::KubeControllerManager,
        Self::Helm,
        Self::Crane,
    ];

    /// The file name of the program.
    pub fn name(self) -> &'static str {
        self.recipe().name
    }

    /// The version of the module it is built from, such as `v1.35.4`.
    pub fn version(self) -> &'static str {
        self.recipe().version
    }

    pub(crate) fn recipe(self) -> &'static Recipe {
        match self {
            Self::Etcd => &ETCD,
            Self::KubeApiserver => &KUBE_APISERVER,
            Self::Kubectl => &KUBECTL,
            Self::SourceController => &SOURCE_CONTROLLER,
            Self::KustomizeController => &KUSTOMIZE_CONTROLLER,
            Self::HelmController => &HELM_CONTROLLER,
            Self::KubeControllerManager => &KUBE_CONTROLLER_MANAGER,
            Self::Helm => &HELM,
            Self::Crane => &CRANE,
            Self::Buf => &BUF,
            Self::NotificationController => &NOTIFICATION_CONTROLLER,
        }
    }
}

impl Recipe {
    /// The package in Go's notation.
    pub(crate) fn package_path(&self) -> String {
        if self.package.is_empty() { self.module.to_owned() } else { format!("{}/{}", self.module, self.package) }
    }

    /// The folder name in the cache: name, version and the first 12 hex digits of the recipe's SHA-256.
    pub(crate) fn key(&self) -> String {
        let digest = hex::encode(Sha256::digest(self.canonical_text().as_bytes()));
        format!("{}-{}-{}", self.name, self.version, &digest[..12])
    }

    /// One line a field, in a fixed order: what the key is computed over.
    fn canonical_text(&self) -> String {
        let mut text = format!(
            "{RECIPE_FORMAT}\nname {}\nmodule {} {}\npackage {}\nldflags {}\n",
            self.name, self.module, self.version, self.package, self.ldflags
        );
        for require in self.requires {
            text.push_str(&format!("require {} {}\n", require.module, require.version));
        }
        for replace in self.replaces {
            text.push_str(&format!("replace {} {}\n", replace.module, replace.version));
        }
        if let Some(version) = self.staging_version {
            text.push_str(&format!("staging {version}\n"));
        }
        if let Some(folder) = self.crds {
            text.push_str(&format!("crds {folder}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn key_names_program_version_and_digest() {
        let key = Program::Etcd.recipe().key();
        let digest = key.strip_prefix("etcd-v3.6.16-").unwrap();
        assert_eq!(digest.len(), 12);
        assert!(digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn key_depends_on_what_is_built_and_not_on_the_estimate() {
        let base = HELM_CONTROLLER;
        assert_eq!(base.key(), Recipe { cold_seconds: 1, ..base }.key());
        let changed = [
            Recipe { package: "cmd/other", ..base },
            Recipe { requires: &[], ..base },
            Recipe { replaces: &[], ..base },
            Recipe { staging_version: Some("v0.1.0"), ..base },
            Recipe { ldflags: "", ..base },
            Recipe { crds: None, ..base },
        ];
        let keys: BTreeSet<String> = changed.iter().chain([&base]).map(Recipe::key).collect();
        assert_eq!(keys.len(), changed.len() + 1);
    }

    #[test]
    fn all_programs_have_their_own_key() {
        let keys: BTreeSet<String> = Program::ALL.iter().map(|program| program.recipe().key()).collect();
        assert_eq!(keys.len(), Program::ALL.len());
    }
}
