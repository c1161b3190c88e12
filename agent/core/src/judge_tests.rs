//! Objects as Flux 2.9 leaves them, one a line of the table of checks.

use super::*;
use crate::testing::{json, uid};

const KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io/v1";
const HELM: &str = "helm.toolkit.fluxcd.io/v2";

fn object(api_version: &str, kind: &str, metadata: &str, spec: &str, status: &str) -> Value {
    json(&format!(
        r#"{{"apiVersion":"{api_version}","kind":"{kind}","metadata":{{"name":"x","namespace":"apps"{metadata}}},
           "spec":{spec},"status":{status}}}"#
    ))
}

#[track_caller]
fn check(object: &Value, health: Health, reason: &str) -> ObjectStatus {
    let status = judge(object, 1024);
    assert_eq!((status.health, status.reason.as_str()), (health, reason), "{}", object.to_json());
    status
}

#[test]
fn a_kustomization_that_applied_is_ready() {
    let status = r#"{"observedGeneration":2,"lastAppliedRevision":"main@sha1:b5f2","lastHandledReconcileAt":"t1",
        "conditions":[{"type":"Ready","status":"True","reason":"ReconciliationSucceeded","message":"Applied revision: main@sha1:b5f2","observedGeneration":2},
                      {"type":"Healthy","status":"True","reason":"HealthCheckSucceeded","observedGeneration":2}]}"#;
    let metadata = r#","generation":2,"annotations":{"reconcile.fluxcd.io/requestedAt":"t1"}"#;
    let judged =
        check(&object(KUSTOMIZE, "Kustomization", metadata, "{}", status), Health::Ready, "ReconciliationSucceeded");
    assert_eq!(judged.revision, "main@sha1:b5f2");
    assert_eq!(judged.message, "Applied revision: main@sha1:b5f2");
    assert_eq!(judged.generation, 2);
    assert_eq!(judged.key.to_string(), "Kustomization.kustomize.toolkit.fluxcd.io/apps/x");
}

#[test]
fn an_edited_and_now_failing_kustomization_is_failing_not_stale() {
    // observedGeneration stays behind until success; the condition's own tells that Flux looked.
    let status = r#"{"observedGeneration":1,"conditions":[
        {"type":"Ready","status":"False","reason":"BuildFailed","message":"kustomize build failed","observedGeneration":2}]}"#;
    check(&object(KUSTOMIZE, "Kustomization", r#","generation":2"#, "{}", status), Health::Failing, "BuildFailed");
}

#[test]
fn a_spec_that_flux_has_not_looked_at_is_stale() {
    let status = r#"{"observedGeneration":1,"conditions":[
        {"type":"Ready","status":"True","reason":"ReconciliationSucceeded","observedGeneration":1}]}"#;
    check(
        &object(KUSTOMIZE, "Kustomization", r#","generation":2"#, "{}", status),
        Health::Stale,
        "ReconciliationSucceeded",
    );
    // The API server's default of a new object.
    let fresh = object(KUSTOMIZE, "Kustomization", r#","generation":1"#, "{}", r#"{"observedGeneration":-1}"#);
    check(&fresh, Health::Stale, "");
}

#[test]
fn a_requested_reconcile_that_is_not_answered_is_stale() {
    let status = r#"{"lastHandledReconcileAt":"t1","conditions":[
        {"type":"Ready","status":"True","reason":"Succeeded","observedGeneration":1}]}"#;
    let asked = |token| format!(r#","generation":1,"annotations":{{"reconcile.fluxcd.io/requestedAt":"{token}"}}"#);
    check(&object(HELM, "HelmRelease", &asked("t2"), "{}", status), Health::Stale, "Succeeded");
    check(&object(HELM, "HelmRelease", &asked("t1"), "{}", status), Health::Ready, "Succeeded");
    let artifact = object("source.toolkit.fluxcd.io/v1", "ExternalArtifact", &asked("t2"), "{}", status);
    check(&artifact, Health::Ready, "Succeeded");
}

#[test]
fn a_stalled_release_tells_what_failed() {
    let status = r#"{"observedGeneration":3,"conditions":[
        {"type":"Stalled","status":"True","reason":"RetriesExceeded","message":"Failed to upgrade after 1 attempt(s)","observedGeneration":3},
        {"type":"Ready","status":"False","reason":"UpgradeFailed","message":"Helm upgrade failed: timeout","observedGeneration":3}],
        "history":[{"chartVersion":"6.5.1","status":"failed"},{"chartVersion":"6.5.0","status":"deployed"}]}"#;
    let judged =
        check(&object(HELM, "HelmRelease", r#","generation":3"#, "{}", status), Health::Stalled, "UpgradeFailed");
    assert_eq!(judged.message, "Helm upgrade failed: timeout");
    assert_eq!(judged.revision, "6.5.1");

    let status = r#"{"conditions":[{"type":"Stalled","status":"True","reason":"AccessDenied","message":"no"}]}"#;
    check(&object(HELM, "HelmRelease", "", "{}", status), Health::Stalled, "AccessDenied");
}

#[test]
fn failing_with_retries_is_not_progress() {
    let status = r#"{"observedGeneration":1,"conditions":[
        {"type":"Reconciling","status":"True","reason":"ProgressingWithRetry","message":"building","observedGeneration":1},
        {"type":"Ready","status":"False","reason":"GitOperationFailed","message":"unable to clone","observedGeneration":1}]}"#;
    let source = object("source.toolkit.fluxcd.io/v1", "GitRepository", r#","generation":1"#, "{}", status);
    assert_eq!(check(&source, Health::FailingRetrying, "GitOperationFailed").message, "unable to clone");
    let plain = status.replace("ProgressingWithRetry", "Progressing");
    let source = object("source.toolkit.fluxcd.io/v1", "GitRepository", r#","generation":1"#, "{}", &plain);
    check(&source, Health::Failing, "GitOperationFailed");
}

#[test]
fn waiting_for_a_dependency_is_progress_even_before_the_newest_spec_was_looked_at() {
    let status = r#"{"observedGeneration":-1,"conditions":[
        {"type":"Reconciling","status":"True","reason":"ProgressingWithRetry"},
        {"type":"Ready","status":"False","reason":"DependencyNotReady","message":"dependency 'apps/db' is not ready","observedGeneration":1}]}"#;
    let waiting = object(KUSTOMIZE, "Kustomization", r#","generation":2"#, "{}", status);
    check(&waiting, Health::Progressing, "DependencyNotReady");
}

#[test]
fn a_suspended_object_is_suspended_whatever_its_old_ready_says() {
    for ready in ["True", "False", "Unknown"] {
        let status = format!(
            r#"{{"conditions":[{{"type":"Ready","status":"{ready}","reason":"Old","message":"m","observedGeneration":1}},
                {{"type":"Stalled","status":"True","reason":"S"}}]}}"#
        );
        let suspended = object(HELM, "HelmRelease", r#","generation":7"#, r#"{"suspend":true}"#, &status);
        check(&suspended, Health::Suspended, "Old");
    }
    let resumed = object(HELM, "HelmRelease", "", r#"{"suspend":false}"#, "{}");
    check(&resumed, Health::Unknown, "");
    let switched_off = r#","annotations":{"fluxcd.controlplane.io/reconcile":"disabled"}"#;
    check(&object("fluxcd.controlplane.io/v1", "ResourceSet", switched_off, "{}", "{}"), Health::Suspended, "");
}

#[test]
fn deleting_comes_before_suspended() {
    let metadata = r#","generation":2,"deletionTimestamp":"2026-11-21T00:00:00Z""#;
    let status = r#"{"conditions":[{"type":"Ready","status":"False","reason":"UninstallFailed"}]}"#;
    let deleting = object(HELM, "HelmRelease", metadata, r#"{"suspend":true}"#, status);
    check(&deleting, Health::Deleting, "UninstallFailed");
}

#[test]
fn kinds_without_status_have_no_health() {
    let notification = "notification.toolkit.fluxcd.io/v1beta3";
    for kind in ["Provider", "Alert"] {
        check(&object(notification, kind, r#","generation":4"#, r#"{"suspend":true}"#, "null"), Health::None, "");
    }
    let receiver = r#"{"observedGeneration":1,"conditions":[{"type":"Ready","status":"True","reason":"Succeeded"}]}"#;
    let receiver = object("notification.toolkit.fluxcd.io/v1", "Receiver", r#","generation":1"#, "{}", receiver);
    check(&receiver, Health::Ready, "Succeeded");
    let oci = object("source.toolkit.fluxcd.io/v1", "HelmRepository", r#","generation":1"#, r#"{"type":"oci"}"#, "{}");
    check(&oci, Health::None, "");
}

#[test]
fn work_under_way_is_progress() {
    let status = r#"{"conditions":[{"type":"Ready","status":"Unknown","reason":"Progressing","message":"Running 'upgrade'","observedGeneration":1}]}"#;
    check(&object(HELM, "HelmRelease", r#","generation":1"#, "{}", status), Health::Progressing, "Progressing");
    let status = r#"{"observedGeneration":1,"conditions":[
        {"type":"Reconciling","status":"True","reason":"NewRevision","message":"new","observedGeneration":1},
        {"type":"Ready","status":"True","reason":"Succeeded","observedGeneration":1}],"artifact":{"revision":"6.5.1@sha256:1"}}"#;
    let source = object("source.toolkit.fluxcd.io/v1", "OCIRepository", r#","generation":1"#, "{}", status);
    assert_eq!(check(&source, Health::Progressing, "NewRevision").revision, "6.5.1@sha256:1");
}

#[test]
fn foreign_kinds_are_judged_by_their_conditions() {
    let canary = |status: &str, reason: &str| {
        let status = format!(
            r#"{{"phase":"{reason}","conditions":[{{"type":"Promoted","status":"{status}","reason":"{reason}","message":"m"}}]}}"#
        );
        object("flagger.app/v1beta1", "Canary", r#","generation":9"#, "{}", &status)
    };
    check(&canary("True", "Succeeded"), Health::Ready, "Succeeded");
    check(&canary("Unknown", "Progressing"), Health::Progressing, "Progressing");
    check(&canary("False", "Failed"), Health::Failing, "Failed");
}

#[test]
fn texts_are_bounded_and_the_assignment_is_read() {
    let status = format!(r#"{{"conditions":[{{"type":"Ready","status":"False","message":"{}"}}]}}"#, "ä".repeat(900));
    let metadata = format!(r#","labels":{{"starling.dev/assignment":"{}"}}"#, uid(3));
    let judged = judge(&object(HELM, "HelmRelease", &metadata, "{}", &status), 100);
    assert!(judged.message.len() <= 100 && judged.message.ends_with('…'));
    assert_eq!(judged.assignment, Some(uid(3)));
    assert_eq!(judge(&Value::Null, 100).health, Health::Unknown);
}

#[test]
fn flux_and_the_allow_list_are_watched() {
    for (group, kind, expected) in [
        ("kustomize.toolkit.fluxcd.io", "Kustomization", true),
        ("source.extensions.fluxcd.io", "ArtifactGenerator", true),
        ("image.toolkit.fluxcd.io", "ImagePolicy", true),
        ("fluxcd.controlplane.io", "FluxReport", true),
        ("flagger.app", "Canary", true),
        ("flagger.app", "MetricTemplate", false),
        ("kustomize.config.k8s.io", "Kustomization", false),
        ("", "ConfigMap", false),
    ] {
        assert_eq!(is_watched(group, kind), expected, "{kind}.{group}");
    }
    assert!(WATCHED_GROUPS.is_sorted() && WATCHED_FOREIGN_KINDS.is_sorted());
}
