//! How a Flux object is judged: from the object alone, in one fixed order.
//!
//! Owns the order of the checks and the list of kinds that are worth watching. Does not own "since when": that is
//! the hub's, by receipt, because Flux's transition times move when only a message does.

use starling_model::limits::truncate_text;
use starling_model::{Health, ObjectKey, ObjectStatus, Uid, Value, labels};

/// Flux's request for a reconcile at once; a token.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// The flux-operator's switch for its own kinds; `disabled` means suspended.
pub const OPERATOR_RECONCILE: &str = "fluxcd.controlplane.io/reconcile";

const NOTIFICATION: &str = "notification.toolkit.fluxcd.io";
const SOURCE: &str = "source.toolkit.fluxcd.io";
const OPERATOR: &str = "fluxcd.controlplane.io";
const FLAGGER: &str = "flagger.app";

/// The API groups of which every kind is watched, sorted.
pub const WATCHED_GROUPS: [&str; 7] = [
    OPERATOR,
    "helm.toolkit.fluxcd.io",
    "image.toolkit.fluxcd.io",
    "kustomize.toolkit.fluxcd.io",
    NOTIFICATION,
    "source.extensions.fluxcd.io",
    SOURCE,
];

/// Foreign kinds with conditions that are watched, as (group, kind), sorted.
pub const WATCHED_FOREIGN_KINDS: [(&str, &str); 1] = [(FLAGGER, "Canary")];

/// Tells whether objects of this kind are worth a health.
#[must_use]
pub fn is_watched(group: &str, kind: &str) -> bool {
    WATCHED_GROUPS.contains(&group) || WATCHED_FOREIGN_KINDS.contains(&(group, kind))
}

/// Reads the name of an object as the API server returned it; missing parts are empty.
#[must_use]
pub fn key_of(object: &Value) -> ObjectKey {
    let text = |path: &[&str]| object.at(path).and_then(Value::as_str).unwrap_or_default();
    let group = text(&["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
    ObjectKey::new(group, text(&["kind"]), text(&["metadata", "namespace"]), text(&["metadata", "name"]))
}

/// Judges one object as the API server returned it (with `apiVersion` and `kind`); `text_limit` is the bound in bytes
/// of each text that Flux wrote.
#[must_use]
pub fn judge(object: &Value, text_limit: usize) -> ObjectStatus {
    let key = key_of(object);
    let (health, telling) = judge_health(&key, object);
    let text = |text: Option<&str>| truncate_text(text.unwrap_or_default(), text_limit);
    ObjectStatus {
        health,
        reason: text(telling.and_then(|condition| condition.get("reason")).and_then(Value::as_str)),
        message: text(telling.and_then(|condition| condition.get("message")).and_then(Value::as_str)),
        revision: text(revision(object)),
        generation: generation(object).and_then(|number| u64::try_from(number).ok()).unwrap_or_default(),
        assignment: assignment_of(object),
        key,
    }
}

/// Returns the assignment whose label the object carries.
#[must_use]
pub fn assignment_of(object: &Value) -> Option<Uid> {
    object.at(&["metadata", "labels", labels::ASSIGNMENT])?.as_str()?.parse().ok()
}

/// Returns the health, and the condition whose reason and message tell most about it.
fn judge_health<'a>(key: &ObjectKey, object: &'a Value) -> (Health, Option<&'a Value>) {
    let ready = condition(object, if key.group == FLAGGER { "Promoted" } else { "Ready" });
    if has_no_status(key, object) {
        return (Health::None, None);
    }
    if object.at(&["metadata", "deletionTimestamp"]).is_some_and(|time| *time != Value::Null) {
        return (Health::Deleting, ready);
    }
    if is_suspended(key, object) {
        return (Health::Suspended, ready);
    }
    let is_ready = |status: &str| ready.is_some_and(|condition| has(condition, "status", status));
    if is_ready("False") && ready.is_some_and(|condition| has(condition, "reason", "DependencyNotReady")) {
        return (Health::Progressing, ready);
    }
    if is_stale(key, object, ready) {
        return (Health::Stale, ready);
    }
    let stalled = condition(object, "Stalled").filter(|condition| has(condition, "status", "True"));
    if stalled.is_some() {
        // Stalled tells that Flux gave up; Ready, where it is False, tells over what.
        return (Health::Stalled, if is_ready("False") { ready } else { stalled });
    }
    let reconciling = condition(object, "Reconciling").filter(|condition| has(condition, "status", "True"));
    if is_ready("False") {
        let retries = reconciling.is_some_and(|condition| has(condition, "reason", "ProgressingWithRetry"));
        return (if retries { Health::FailingRetrying } else { Health::Failing }, ready);
    }
    if is_ready("Unknown") {
        return (Health::Progressing, ready);
    }
    if reconciling.is_some() {
        return (Health::Progressing, reconciling);
    }
    (if is_ready("True") { Health::Ready } else { Health::Unknown }, ready)
}

/// Tells whether Flux never writes a status for the object: Provider, Alert, and the Helm repository that is only an
/// OCI address.
fn has_no_status(key: &ObjectKey, object: &Value) -> bool {
    match (key.group.as_str(), key.kind.as_str()) {
        (NOTIFICATION, "Provider" | "Alert") => true,
        (SOURCE, "HelmRepository") => object.at(&["spec", "type"]).and_then(Value::as_str) == Some("oci"),
        _ => false,
    }
}

fn is_suspended(key: &ObjectKey, object: &Value) -> bool {
    let switched_off = || annotation(object, OPERATOR_RECONCILE) == Some("disabled");
    object.at(&["spec", "suspend"]).and_then(Value::as_bool) == Some(true) || key.group == OPERATOR && switched_off()
}

/// Tells whether Flux has not looked at the newest spec, or has not answered a requested reconcile.
fn is_stale(key: &ObjectKey, object: &Value, ready: Option<&Value>) -> bool {
    let observed = ready
        .and_then(|condition| condition.get("observedGeneration"))
        .or_else(|| object.at(&["status", "observedGeneration"]))
        .and_then(Value::as_i64);
    if let (Some(generation), Some(observed)) = (generation(object), observed)
        && generation != observed
    {
        return true;
    }
    let requested = annotation(object, REQUESTED_AT);
    let handled = object.at(&["status", "lastHandledReconcileAt"]).and_then(Value::as_str);
    answers_requests(&key.group, &key.kind) && requested.is_some_and(|token| handled != Some(token))
}

/// Tells whether objects of this kind answer [`REQUESTED_AT`] with `status.lastHandledReconcileAt`.
#[must_use]
pub fn answers_requests(group: &str, kind: &str) -> bool {
    WATCHED_GROUPS.contains(&group)
        && !matches!((group, kind), (NOTIFICATION, "Provider" | "Alert") | (SOURCE, "ExternalArtifact"))
}

/// Returns what is applied: a Kustomization's revision, a source's artifact, a HelmRelease's newest chart version.
fn revision(object: &Value) -> Option<&str> {
    let status = object.get("status")?;
    let newest_release = || status.get("history")?.as_list()?.first()?.get("chartVersion");
    status
        .get("lastAppliedRevision")
        .or_else(|| status.at(&["artifact", "revision"]))
        .or_else(newest_release)
        .and_then(Value::as_str)
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.at(&["status", "conditions"])?.as_list()?.iter().find(|condition| has(condition, "type", name))
}

fn has(condition: &Value, field: &str, text: &str) -> bool {
    condition.get(field).and_then(Value::as_str) == Some(text)
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.at(&["metadata", "annotations", name])?.as_str()
}

fn generation(object: &Value) -> Option<i64> {
    object.at(&["metadata", "generation"])?.as_i64()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
