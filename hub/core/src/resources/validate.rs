//! What one document alone can get wrong beyond its form.

use std::collections::{BTreeMap, BTreeSet};

use starling_model::ids::check_label;
use starling_model::limits::Limits;
use starling_model::{Uid, Value};

use super::schema::{REQUIREMENTS, TEXT_CHARACTERS, VARIABLES, VERSION_CHARACTERS, VERSIONS};
use super::{
    AddonSpec, AddonVersion, AssignmentSpec, ClusterSpec, Kind, PLATFORM_NAMESPACE, Resource, ResourceError,
    SourceKind, TombstoneSpec, WorkspaceSpec,
};
use crate::planner::KubernetesRange;
use crate::records::DOCUMENT_BYTES;
use crate::selector::{LabelSelector, Operator};

type Checked = Result<(), ResourceError>;

pub(super) fn check(resource: &Resource) -> Checked {
    check_metadata(resource)?;
    match resource {
        Resource::Workspace(document) => check_workspace(&document.spec),
        Resource::ManagedCluster(document) => check_cluster(&document.spec),
        Resource::Addon(document) => check_addon(&document.spec),
        Resource::AddonAssignment(document) => check_assignment(&document.spec),
        Resource::Tombstone(document) => check_tombstone(&document.spec),
    }?;
    let bytes = resource.to_value().to_json().len();
    if bytes > DOCUMENT_BYTES {
        return fail("spec", format!("the document has {bytes} bytes as JSON, and {DOCUMENT_BYTES} is the limit"));
    }
    Ok(())
}

fn check_metadata(resource: &Resource) -> Checked {
    let metadata = resource.metadata();
    name("metadata.name", &metadata.name)?;
    if resource.kind().is_namespaced() {
        if metadata.namespace.is_empty() {
            return fail("metadata.namespace", "is missing: name the workspace");
        }
        name("metadata.namespace", &metadata.namespace)?;
    } else if !metadata.namespace.is_empty() {
        return fail("metadata.namespace", format!("a {} lives in no namespace: remove it", resource.kind()));
    }
    if resource.kind() == Kind::ManagedCluster && metadata.namespace == PLATFORM_NAMESPACE {
        return fail("metadata.namespace", format!("a cluster lives in a workspace, not in {PLATFORM_NAMESPACE}"));
    }
    check_labels(&metadata.labels)
}

fn check_labels(labels: &BTreeMap<String, String>) -> Checked {
    let limit = Limits::DEFAULT.labels as usize;
    if labels.len() > limit {
        return fail("metadata.labels", format!("{} labels, and {limit} is the limit", labels.len()));
    }
    for (key, value) in labels {
        label_key(&format!("metadata.labels.{key}"), key)?;
        label_value(&format!("metadata.labels.{key}"), value)?;
    }
    Ok(())
}

fn check_workspace(spec: &WorkspaceSpec) -> Checked {
    name("spec.namespace", &spec.namespace)?;
    spec.service_account_name.as_deref().map_or(Ok(()), |account| name("spec.serviceAccountName", account))
}

fn check_cluster(spec: &ClusterSpec) -> Checked {
    at_most("spec.variables", spec.variables.len(), VARIABLES)?;
    for (variable, value) in &spec.variables {
        let path = format!("spec.variables.{variable}");
        let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
        if variable.is_empty() || !variable.chars().all(is_word) || variable.starts_with(|c: char| c.is_ascii_digit()) {
            return fail(path, "a variable's name has letters, digits and '_', and does not start with a digit");
        }
        if matches!(value, Value::List(_) | Value::Map(_) | Value::Null) {
            return fail(path, "a variable is a text, a number or a truth value");
        }
    }
    Ok(())
}

fn check_addon(spec: &AddonSpec) -> Checked {
    if let Some(range) = &spec.kubernetes {
        KubernetesRange::parse(range).map_err(|error| ResourceError::new("spec.kubernetes", error.to_string()))?;
    }
    if let Some(namespace) = &spec.target_namespace {
        name("spec.targetNamespace", namespace)?;
    }
    if spec.versions.is_empty() {
        return fail("spec.versions", "at least one version is needed");
    }
    at_most("spec.versions", spec.versions.len(), VERSIONS)?;
    let mut seen = BTreeSet::new();
    for (index, version) in spec.versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        version_name(&format!("{path}.version"), &version.version)?;
        if !seen.insert(&version.version) {
            return fail(format!("{path}.version"), format!("{:?} is there twice", version.version));
        }
        check_version(&path, version)?;
    }
    Ok(())
}

fn check_version(path: &str, version: &AddonVersion) -> Checked {
    if version.values.as_map().is_none() {
        return fail(format!("{path}.values"), "must be a mapping");
    }
    let at = |field: &str| format!("{path}.source.{field}");
    let Some(source) = version.source.kind() else {
        let names = "helmRepository, ociChart, git, ociKustomization";
        return fail(format!("{path}.source"), format!("exactly one of {names} is needed"));
    };
    match source {
        SourceKind::HelmRepository(source) => {
            url(&at("helmRepository.url"), &source.url, &["https://", "http://", "oci://"])?;
            not_empty(&at("helmRepository.chart"), &source.chart)
        }
        SourceKind::OciChart(source) => url(&at("ociChart.url"), &source.url, &["oci://"]),
        SourceKind::OciKustomization(source) => url(&at("ociKustomization.url"), &source.url, &["oci://"]),
        SourceKind::Git(source) => {
            url(&at("git.url"), &source.url, &["https://", "http://", "ssh://"])?;
            let named = [&source.branch, &source.tag, &source.commit].into_iter().flatten().count();
            if named > 1 {
                return fail(at("git"), "at most one of branch, tag and commit");
            }
            not_empty(&at("git.path"), &source.path)
        }
    }
}

fn check_assignment(spec: &AssignmentSpec) -> Checked {
    name("spec.addon.name", &spec.addon.name)?;
    if let Some(namespace) = &spec.addon.namespace {
        name("spec.addon.namespace", namespace)?;
    }
    version_name("spec.version", &spec.version)?;
    if let Some(instance) = &spec.instance {
        name("spec.instance", instance)?;
    }
    if let Some(namespace) = &spec.target_namespace {
        name("spec.targetNamespace", namespace)?;
    }
    if spec.values.as_map().is_none() {
        return fail("spec.values", "must be a mapping");
    }
    if let Some(interval) = &spec.interval
        && !is_duration(interval)
    {
        return fail("spec.interval", format!("{interval:?} is not a duration such as 30s, 10m or 1h30m"));
    }
    check_selector(&spec.cluster_selector)
}

fn check_selector(selector: &LabelSelector) -> Checked {
    at_most("spec.clusterSelector.matchLabels", selector.match_labels.len(), REQUIREMENTS)?;
    at_most("spec.clusterSelector.matchExpressions", selector.match_expressions.len(), REQUIREMENTS)?;
    for (key, value) in &selector.match_labels {
        let path = format!("spec.clusterSelector.matchLabels.{key}");
        label_key(&path, key)?;
        label_value(&path, value)?;
    }
    for (index, requirement) in selector.match_expressions.iter().enumerate() {
        let path = format!("spec.clusterSelector.matchExpressions[{index}]");
        label_key(&format!("{path}.key"), &requirement.key)?;
        match requirement.operator {
            Operator::In | Operator::NotIn if requirement.values.is_empty() => {
                return fail(format!("{path}.values"), "In and NotIn need values");
            }
            Operator::Exists | Operator::DoesNotExist if !requirement.values.is_empty() => {
                return fail(format!("{path}.values"), "Exists and DoesNotExist take no values");
            }
            Operator::In | Operator::NotIn | Operator::Exists | Operator::DoesNotExist => {}
        }
        at_most(&format!("{path}.values"), requirement.values.len(), REQUIREMENTS)?;
        for value in &requirement.values {
            label_value(&format!("{path}.values"), value)?;
        }
    }
    Ok(())
}

fn check_tombstone(spec: &TombstoneSpec) -> Checked {
    if spec.kind == Kind::Tombstone {
        return fail("spec.kind", "a tombstone has none of its own: delete its document");
    }
    if spec.uid == Uid([0; 16]) {
        return fail("spec.uid", "take the UID that `starling delete` prints");
    }
    name("spec.name", &spec.name)
}

fn fail(path: impl Into<String>, message: impl Into<String>) -> Checked {
    Err(ResourceError::new(path, message))
}

fn name(path: &str, text: &str) -> Checked {
    check_label(text).map_err(|error| ResourceError::new(path, error.to_string()))
}

fn at_most(path: &str, count: usize, limit: usize) -> Checked {
    if count > limit { fail(path, format!("{count} of them, and {limit} is the limit")) } else { Ok(()) }
}

/// Checks the name of an addon's version, which is also a tag or a chart's version where none is given.
fn version_name(path: &str, text: &str) -> Checked {
    not_empty(path, text)?;
    let inner = |character: char| character.is_ascii_alphanumeric() || "-._+/".contains(character);
    let edge = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
    if text.len() <= VERSION_CHARACTERS
        && text.chars().all(inner)
        && edge(text.chars().next())
        && edge(text.chars().last())
    {
        return Ok(());
    }
    let rule = "letters, digits and any of -._+/, with letters or digits at its ends";
    fail(path, format!("{text:?} is not a version: use at most {VERSION_CHARACTERS} {rule}"))
}

fn not_empty(path: &str, text: &str) -> Checked {
    if text.trim().is_empty() {
        return fail(path, "is empty");
    }
    at_most_characters(path, text)
}

fn at_most_characters(path: &str, text: &str) -> Checked {
    let characters = text.chars().count();
    if characters > TEXT_CHARACTERS {
        return fail(path, format!("has {characters} characters, and {TEXT_CHARACTERS} is the limit"));
    }
    Ok(())
}

fn url(path: &str, text: &str, schemes: &[&str]) -> Checked {
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    if rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace)) {
        at_most_characters(path, text)
    } else {
        fail(path, format!("{text:?} is not an address that starts with {}", schemes.join(" or ")))
    }
}

/// Checks a label's key: an optional DNS prefix of at most 253 characters and '/', and a name of at most 63.
fn label_key(path: &str, key: &str) -> Checked {
    let (prefix, short) = key.split_once('/').map_or((None, key), |(prefix, short)| (Some(prefix), short));
    let prefix_fits =
        prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(|part| check_label(part).is_ok()));
    if prefix_fits && !short.is_empty() && is_label_text(short) {
        Ok(())
    } else {
        fail(path, format!("{key:?} is not a valid label key"))
    }
}

fn label_value(path: &str, value: &str) -> Checked {
    if is_label_text(value) { Ok(()) } else { fail(path, format!("{value:?} is not a valid label value")) }
}

/// Tells whether a text is a label's value: empty, or at most 63 letters, digits, '-', '_' and '.', with letters or digits at its ends.
fn is_label_text(text: &str) -> bool {
    let edge = |character: Option<char>| character.is_none_or(|character| character.is_ascii_alphanumeric());
    let inner = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    text.len() <= 63 && text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last())
}

/// Tells whether Flux takes a text as a duration: numbers with the units ms, s, m, h.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = &rest[..digits];
        let Some(unit) = ["ms", "s", "m", "h"].into_iter().find(|unit| rest[digits..].starts_with(unit)) else {
            return false;
        };
        if number.parse::<f64>().is_err() {
            return false;
        }
        rest = &rest[digits + unit.len()..];
    }
    !text.is_empty()
}
