use rstest::rstest;

use super::*;
use crate::testing::{HELM, fence, fence_of, json, object, release_key, uid};

fn desired() -> Object {
    object(
        HELM,
        "HelmRelease",
        "podinfo",
        uid(1),
        r#"{"interval":"5m","chart":{"spec":{"version":"6.5.0"}},"dependsOn":[{"name":"db"}]}"#,
    )
}

/// The desired object as the API server holds it, stamped, with defaults and a status.
fn live(stamp: &str) -> Value {
    let mut live = desired().document().clone();
    set(&mut live, &["metadata", "uid"], Value::from("u-1"));
    set(&mut live, &["metadata", "resourceVersion"], Value::from("41"));
    set(&mut live, &["metadata", "annotations", labels::FENCE], Value::from(stamp));
    set(&mut live, &["metadata", "annotations", REQUESTED_AT], Value::from("t"));
    set(&mut live, &["spec", "timeout"], Value::from("1m"));
    set(&mut live, &["spec", "suspend"], Value::Bool(true));
    set(&mut live, &["status"], json(r#"{"observedGeneration":1}"#));
    live
}

fn with(mut object: Value, path: &[&str], value: Value) -> Value {
    set(&mut object, path, value);
    object
}

#[test]
fn what_is_not_there_is_created_with_the_stamp() {
    let ApplyDecision::Create(document) = decide_apply(&desired(), None, &fence(5), None, Purpose::Write) else {
        panic!("not created")
    };
    assert_eq!(stamp_of(&document), Some("1.5"));
    assert_eq!(document.get("spec"), desired().document().get("spec"));
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    // Defaults, a suspension and a requested reconcile are no drift.
    let nothing = ApplyDecision::Nothing("u-1".to_owned());
    assert_eq!(decide_apply(&desired(), Some(&live("1.5")), &fence(5), None, Purpose::Write), nothing);
    assert_eq!(decide_apply(&desired(), Some(&live("1.3")), &fence(5), None, Purpose::Repair), nothing);
}

#[test]
fn an_intent_writes_what_an_older_fence_stamped() {
    let decision = decide_apply(&desired(), Some(&live("1.3")), &fence(5), None, Purpose::Write);
    let ApplyDecision::Patch { document, claim: None, drift: None } = decision else { panic!("{decision:?}") };
    assert_eq!(document.at(&["metadata", "uid"]), Some(&Value::from("u-1")));
    assert_eq!(document.at(&["metadata", "resourceVersion"]), Some(&Value::from("41")));
    assert_eq!(stamp_of(&document), Some("1.5"));
    assert_eq!(document.at(&["spec", "suspend"]), None);
}

#[rstest]
#[case::spec(&["spec", "interval"], Value::from("9h"), "spec.interval")]
#[case::deep(&["spec", "chart", "spec", "version"], Value::from("6.4.0"), "spec.chart.spec.version")]
#[case::list_item(&["spec", "dependsOn"], json(r#"[{"name":"other"}]"#), "spec.dependsOn.0.name")]
#[case::list_length(&["spec", "dependsOn"], json("[]"), "spec.dependsOn")]
#[case::gone(&["spec"], Value::Null, "spec")]
#[case::label(&["metadata", "labels", labels::ASSIGNMENT], Value::from("x"), "metadata.labels.starling.dev/assignment")]
fn drift_names_the_first_field(#[case] path: &[&str], #[case] value: Value, #[case] expected: &str) {
    let drifted = with(live("1.5"), path, value);
    assert_eq!(drift(&desired(), &drifted).as_deref(), Some(expected));
    let decision = decide_apply(&desired(), Some(&drifted), &fence(5), Some("u-1"), Purpose::Repair);
    assert!(matches!(decision, ApplyDecision::Patch { drift: Some(field), .. } if field == expected));
}

#[test]
fn the_stamp_and_equal_numbers_are_no_drift() {
    assert_eq!(drift(&desired(), &live("0.1")), None);
    let wanted = object(HELM, "HelmRelease", "x", uid(1), r#"{"a":1,"b":null,"c":{},"d":[],"e":2.0}"#);
    let found = object(HELM, "HelmRelease", "x", uid(1), r#"{"a":1.0,"e":2}"#);
    assert_eq!(drift(&wanted, found.document()), None);
}

#[test]
fn a_desired_suspension_counts() {
    let wanted = object(HELM, "HelmRelease", "podinfo", uid(1), r#"{"suspend":false}"#);
    assert_eq!(drift(&wanted, &live("1.5")).as_deref(), Some("spec.suspend"));
}

#[rstest]
#[case::newer_position(live("1.6"), Refusal::NewerStamp("1.6".into()))]
#[case::newer_era(live("2.1"), Refusal::NewerStamp("2.1".into()))]
#[case::unlabelled(with(live("1.1"), &["metadata", "labels"], Value::empty_map()), Refusal::NotOurs)]
#[case::of_another_install(with(live("1.1"), &["metadata", "labels", labels::INSTANCE], Value::from("y")), Refusal::NotOurs)]
fn what_is_not_ours_is_refused(#[case] live: Value, #[case] refusal: Refusal) {
    let decision = decide_apply(&desired(), Some(&live), &fence(5), None, Purpose::Write);
    assert_eq!(decision, ApplyDecision::Refuse(refusal));
}

#[test]
fn a_known_object_that_lost_its_labels_gets_them_back() {
    let stripped = with(live("1.1"), &["metadata", "labels"], Value::empty_map());
    let decision = decide_apply(&desired(), Some(&stripped), &fence(5), Some("u-1"), Purpose::Repair);
    assert!(matches!(decision, ApplyDecision::Patch { drift: Some(_), .. }));
}

#[test]
fn an_earlier_incarnation_is_adopted() {
    let earlier = with(live("1.1"), &["metadata", "labels", labels::ASSIGNMENT], Value::from(uid(9).to_string()));
    let decision = decide_apply(&desired(), Some(&earlier), &fence(5), None, Purpose::Write);
    assert!(matches!(decision, ApplyDecision::Patch { .. }));
}

#[test]
fn what_is_being_deleted_is_waited_for() {
    let going = with(live("1.1"), &["metadata", "deletionTimestamp"], Value::from("2026-11-21T00:00:00Z"));
    assert_eq!(decide_apply(&desired(), Some(&going), &fence(5), None, Purpose::Write), ApplyDecision::Wait);
    let owners = BTreeSet::from([uid(1)]);
    let key = release_key("podinfo");
    assert_eq!(decide_delete(&key, Some(&going), &owners, "podinfo", &fence(5)), DeleteDecision::Wait);
}

#[test]
fn a_created_object_is_claimed_for_server_side_apply() {
    let fields = json(
        r#"[{"manager":"starling-agent","operation":"Update","apiVersion":"v2","fieldsV1":{"f:spec":{"f:interval":{}}}},
            {"manager":"starling-agent","operation":"Apply","fieldsV1":{"f:spec":{"f:chart":{}}}},
            {"manager":"helm-controller","operation":"Update","subresource":"status","fieldsV1":{}}]"#,
    );
    let created = with(live("1.3"), &["metadata", "managedFields"], fields);
    let ApplyDecision::Patch { claim: Some(claim), .. } =
        decide_apply(&desired(), Some(&created), &fence(5), None, Purpose::Write)
    else {
        panic!("not claimed")
    };
    let expected = json(
        r#"{"metadata":{"uid":"u-1","resourceVersion":"41","managedFields":[
            {"manager":"helm-controller","operation":"Update","subresource":"status","fieldsV1":{}},
            {"manager":"starling-agent","operation":"Apply","fieldsV1":{"f:spec":{"f:chart":{},"f:interval":{}}}}]}}"#,
    );
    assert_eq!(claim, expected);
}

#[test]
fn a_deletion_needs_our_labels_and_carries_what_was_read() {
    let (key, owners) = (release_key("podinfo"), BTreeSet::from([uid(1), uid(2)]));
    let decide = |live: Option<&Value>| decide_delete(&key, live, &owners, "podinfo", &fence(5));
    assert_eq!(decide(None), DeleteDecision::Gone);
    let delete = DeleteDecision::Delete { uid: "u-1".into(), resource_version: "41".into() };
    assert_eq!(decide(Some(&live("1.5"))), delete);
    assert_eq!(decide(Some(&live("1.6"))), DeleteDecision::Refuse(Refusal::NewerStamp("1.6".into())));
    for (path, text) in [(labels::ASSIGNMENT, uid(7).to_string()), (labels::INSTANCE, "other".to_owned())] {
        let foreign = with(live("1.1"), &["metadata", "labels", path], Value::from(text));
        assert_eq!(decide(Some(&foreign)), DeleteDecision::Refuse(Refusal::NotOurs));
    }
    let unlabelled = with(live("1.1"), &["metadata", "labels"], Value::Null);
    assert_eq!(decide(Some(&unlabelled)), DeleteDecision::Refuse(Refusal::NotOurs));
    let namespace = ObjectKey::new("", "Namespace", "", "apps");
    let refused = decide_delete(&namespace, Some(&live("1.1")), &owners, "podinfo", &fence(5));
    assert_eq!(refused, DeleteDecision::Refuse(Refusal::NeverDeleted));
}

#[test]
fn stamps_only_rise() {
    assert_eq!(stamp_patch(&live("1.5"), &fence(5)), None);
    assert_eq!(stamp_patch(&live("2.1"), &fence(5)), None);
    let patch = stamp_patch(&live("1.5"), &fence_of((2, 2), 1)).unwrap();
    assert_eq!(stamp_of(&patch), Some("2.1"));
    assert_eq!(patch.at(&["metadata", "resourceVersion"]), Some(&Value::from("41")));
    let patch = unstamp_patch(&live("1.5")).unwrap();
    assert_eq!(patch.at(&["metadata", "annotations", labels::FENCE]), Some(&Value::Null));
}

#[test]
fn commands_become_merge_patches() {
    let key = release_key("podinfo");
    let patch = |verb, key: &ObjectKey| command_patch(verb, key, "t7");
    assert_eq!(
        patch(CommandVerb::Reconcile, &key),
        Ok(json(r#"{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"t7"}}}"#))
    );
    assert_eq!(patch(CommandVerb::Suspend, &key), Ok(json(r#"{"spec":{"suspend":true}}"#)));
    assert_eq!(patch(CommandVerb::Resume, &key), Ok(json(r#"{"spec":{"suspend":false}}"#)));
    let set_key = ObjectKey::new("fluxcd.controlplane.io", "ResourceSet", "apps", "x");
    assert_eq!(
        patch(CommandVerb::Suspend, &set_key),
        Ok(json(r#"{"metadata":{"annotations":{"fluxcd.controlplane.io/reconcile":"disabled"}}}"#))
    );
    assert!(patch(CommandVerb::Reconcile, &ObjectKey::new("flagger.app", "Canary", "apps", "x")).is_err());
    let provider = ObjectKey::new("notification.toolkit.fluxcd.io", "Provider", "apps", "x");
    assert!(patch(CommandVerb::Suspend, &provider).is_err());
}
