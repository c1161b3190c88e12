//! The Flux objects that an assignment renders to.
//!
//! | source | objects, in the order of application |
//! |---|---|
//! | `helmRepository` | HelmRepository, HelmRelease with `chart` |
//! | `ociChart` | OCIRepository (the chart's layer, copied as it is), HelmRelease with `chartRef` |
//! | `git` | GitRepository, Kustomization |
//! | `ociKustomization` | OCIRepository, Kustomization |
//!
//! All are called as the instance and live in the install's namespace, which the agent makes. Decisions that Flux would
//! otherwise take by default:
//! - `interval` is 10 minutes.
//! - A HelmRelease tries again for ever (`remediation.retries: -1`): Flux's own default gives up after one failure and waits for
//!   another spec, and then a repository that was away for a minute would need a person on every cluster.
//! - A HelmRelease makes its target namespace, and its release has the instance's name.
//! - A Kustomization prunes, waits for what it applied to be healthy (five minutes), and tries again after one minute.
//! - A kustomization's values are variables for `postBuild.substitute`, so that they are texts, numbers and truth values.

use std::collections::BTreeMap;

use starling_model::{BlockedReason, Digest, InstallKey, Object, ObjectKey, Uid, Value, labels};

use super::revision::Ingredients;
use crate::resources::{Addon, AddonVersion, Git, HelmRepository, SourceKind};

const SOURCE_API: &str = "source.toolkit.fluxcd.io/v1";
const HELM_API: &str = "helm.toolkit.fluxcd.io/v2";
const KUSTOMIZE_API: &str = "kustomize.toolkit.fluxcd.io/v1";
const HELM_CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const DEFAULT_INTERVAL: &str = "10m";

/// Renders the objects without the labels, which name the revision that is computed of them.
pub(super) fn render(
    ingredients: &Ingredients<'_>,
    addon: &Addon,
    version: &AddonVersion,
    install: &InstallKey,
) -> Result<Vec<Object>, BlockedReason> {
    let spec = &ingredients.assignment.spec;
    let mut values = version.values.clone();
    values.merge(&spec.values);
    let target = spec.target_namespace.as_ref().or(addon.spec.target_namespace.as_ref());
    let account = ingredients.workspace.and_then(|workspace| workspace.spec.service_account_name.as_ref());
    let interval = spec.interval.as_deref().unwrap_or(DEFAULT_INTERVAL);
    let frame = Frame { install, interval, target: target.map(String::as_str), account: account.map(String::as_str) };
    let Some(source) = version.source.kind() else {
        return Err(BlockedReason::Invalid(format!("version {} does not have exactly one source", version.version)));
    };
    let name = &version.version;
    Ok(match source {
        SourceKind::HelmRepository(source) => {
            vec![frame.helm_repository(source), frame.helm_release(frame.chart(source, name), values)]
        }
        SourceKind::OciChart(source) => {
            let tag = source.tag.as_ref().unwrap_or(name);
            let chart = Value::map([("kind", "OCIRepository"), ("name", &install.name)]);
            let layer = Value::map([("mediaType", HELM_CHART_LAYER), ("operation", "copy")]);
            vec![
                frame.oci_repository(&source.url, tag, source.insecure, Some(layer)),
                frame.helm_release(("chartRef", chart), values),
            ]
        }
        SourceKind::Git(source) => {
            let path = source.path.as_str();
            vec![frame.git_repository(source, name), frame.kustomization("GitRepository", path, &values)?]
        }
        SourceKind::OciKustomization(source) => {
            let tag = source.tag.as_ref().unwrap_or(name);
            let path = source.path.as_deref().unwrap_or("./");
            vec![
                frame.oci_repository(&source.url, tag, source.insecure, None),
                frame.kustomization("OCIRepository", path, &values)?,
            ]
        }
    })
}

/// Adds the labels by which an object is known to be ours.
pub(super) fn label(object: &Object, assignment: Uid, install: &InstallKey, revision: &Digest) -> Object {
    let mut document = object.document().clone();
    let ours = Value::map([
        (labels::ASSIGNMENT, assignment.to_string()),
        (labels::INSTANCE, install.name.clone()),
        (labels::REVISION, revision.short()),
    ]);
    document.merge(&Value::map([("metadata", Value::map([("labels", ours)]))]));
    Object::new(document).expect("labels leave an object what it was")
}

/// Tells whether what an object stands for runs in the cluster, other than a source.
pub(super) fn is_workload(key: &ObjectKey) -> bool {
    matches!(key.kind.as_str(), "HelmRelease" | "Kustomization")
}

/// Returns the namespace that a workload's objects go to, where it names one.
pub(super) fn target_namespace(object: &Object) -> Option<&str> {
    object.document().at(&["spec", "targetNamespace"]).and_then(Value::as_str)
}

/// What all objects of an install share.
struct Frame<'a> {
    install: &'a InstallKey,
    interval: &'a str,
    target: Option<&'a str>,
    account: Option<&'a str>,
}

type Fields = BTreeMap<String, Value>;

impl Frame<'_> {
    fn object(&self, api_version: &str, kind: &str, spec: Fields) -> Object {
        let metadata = Value::map([("name", self.install.name.as_str()), ("namespace", &self.install.namespace)]);
        let document = Value::map([
            ("apiVersion", Value::from(api_version)),
            ("kind", Value::from(kind)),
            ("metadata", metadata),
            ("spec", Value::Map(spec)),
        ]);
        Object::new(document).expect("a rendered object has a kind and a name")
    }

    fn source(&self, kind: &str, url: &str, mut spec: Fields) -> Object {
        spec.insert("url".into(), url.into());
        spec.insert("interval".into(), self.interval.into());
        self.object(SOURCE_API, kind, spec)
    }

    fn helm_repository(&self, source: &HelmRepository) -> Object {
        let mut spec = Fields::new();
        if source.url.starts_with("oci://") {
            spec.insert("type".into(), "oci".into());
            insert_if(&mut spec, "insecure", source.insecure);
        }
        self.source("HelmRepository", &source.url, spec)
    }

    fn oci_repository(&self, url: &str, tag: &str, insecure: bool, layer: Option<Value>) -> Object {
        let mut spec = Fields::from([("ref".to_owned(), Value::map([("tag", tag)]))]);
        insert_if(&mut spec, "insecure", insecure);
        if let Some(layer) = layer {
            spec.insert("layerSelector".into(), layer);
        }
        self.source("OCIRepository", url, spec)
    }

    fn git_repository(&self, source: &Git, version: &str) -> Object {
        let reference = if let Some(commit) = &source.commit {
            ("commit", commit.as_str())
        } else if let Some(branch) = &source.branch {
            ("branch", branch.as_str())
        } else {
            ("tag", source.tag.as_deref().unwrap_or(version))
        };
        self.source("GitRepository", &source.url, Fields::from([("ref".to_owned(), Value::map([reference]))]))
    }

    fn chart(&self, source: &HelmRepository, version: &str) -> (&'static str, Value) {
        let repository = Value::map([("kind", "HelmRepository"), ("name", &self.install.name)]);
        let spec = Value::map([
            ("chart", Value::from(source.chart.as_str())),
            ("version", Value::from(source.version.as_deref().unwrap_or(version))),
            ("sourceRef", repository),
        ]);
        ("chart", Value::map([("spec", spec)]))
    }

    fn helm_release(&self, chart: (&str, Value), values: Value) -> Object {
        let for_ever = Value::map([("retries", Value::Int(-1))]);
        let install = Value::map([("createNamespace", Value::Bool(true)), ("remediation", for_ever.clone())]);
        let mut spec = self.workload();
        spec.insert(chart.0.to_owned(), chart.1);
        spec.insert("releaseName".into(), self.install.name.as_str().into());
        spec.insert("install".into(), install);
        spec.insert("upgrade".into(), Value::map([("remediation", for_ever)]));
        if values.as_map().is_some_and(|values| !values.is_empty()) {
            spec.insert("values".into(), values);
        }
        self.object(HELM_API, "HelmRelease", spec)
    }

    fn kustomization(&self, source: &str, path: &str, values: &Value) -> Result<Object, BlockedReason> {
        let mut spec = self.workload();
        spec.insert("sourceRef".into(), Value::map([("kind", source), ("name", &self.install.name)]));
        spec.insert("path".into(), path.into());
        spec.insert("prune".into(), true.into());
        spec.insert("wait".into(), true.into());
        spec.insert("timeout".into(), "5m".into());
        spec.insert("retryInterval".into(), "1m".into());
        let variables = substitutions(values)?;
        if !variables.is_empty() {
            spec.insert("postBuild".into(), Value::map([("substitute", Value::Map(variables))]));
        }
        Ok(self.object(KUSTOMIZE_API, "Kustomization", spec))
    }

    fn workload(&self) -> Fields {
        let mut spec = Fields::from([("interval".to_owned(), self.interval.into())]);
        if let Some(namespace) = self.target {
            spec.insert("targetNamespace".into(), namespace.into());
        }
        if let Some(account) = self.account {
            spec.insert("serviceAccountName".into(), account.into());
        }
        spec
    }
}

fn substitutions(values: &Value) -> Result<Fields, BlockedReason> {
    let mut variables = Fields::new();
    for (name, value) in values.as_map().into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Float(_) => value.to_json(),
            Value::Null | Value::List(_) | Value::Map(_) => {
                let text = format!("value {name}: a kustomization takes only texts, numbers and truth values");
                return Err(BlockedReason::Invalid(text));
            }
        };
        variables.insert(name.clone(), Value::String(text));
    }
    Ok(variables)
}

fn insert_if(spec: &mut Fields, name: &str, flag: bool) {
    if flag {
        spec.insert(name.to_owned(), Value::Bool(true));
    }
}
