use std::time::Duration;

use futures::StreamExt;
use starling_agent::cluster::{ClusterApi, ClusterError, ClusterEvent, Preconditions, ResourceRef};
use starling_model::{ObjectKey, Value};

use super::api::SimulatedApi;
use super::{SimulatedCluster, SimulatedOptions};

fn api(background_objects: u32) -> SimulatedApi {
    SimulatedApi(SimulatedCluster::new(SimulatedOptions {
        name: "edge-1".into(),
        background_objects,
        settle: Duration::from_millis(50),
        kubernetes_version: "v1.35.4".into(),
    }))
}

fn release() -> Value {
    Value::map([
        ("apiVersion", Value::from("helm.toolkit.fluxcd.io/v2")),
        ("kind", Value::from("HelmRelease")),
        ("metadata", Value::map([("name", "podinfo"), ("namespace", "addons")])),
        ("spec", Value::map([("interval", "10m")])),
    ])
}

fn resource() -> ResourceRef {
    ResourceRef::any_version(ObjectKey::new("helm.toolkit.fluxcd.io", "HelmRelease", "addons", "podinfo"))
}

fn ready(object: &Value) -> String {
    let conditions = object.at(&["status", "conditions"]).and_then(Value::as_list).unwrap_or_default();
    conditions.iter().filter_map(|one| one.get("status")?.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_applied_object_becomes_ready() {
    let api = api(0);
    assert!(matches!(api.create(&release()).await, Err(ClusterError::Rejected(_))), "the namespace is missing");
    api.ensure_namespace("addons").await.expect("make the namespace");
    assert_eq!(ready(&api.create(&release()).await.expect("create")), "Unknown");
    assert!(matches!(api.create(&release()).await, Err(ClusterError::Conflict(_))));
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(ready(&api.get(&resource()).await.expect("get")), "True");
}

#[tokio::test(start_paused = true)]
async fn a_stale_version_is_a_conflict() {
    let api = api(0);
    api.ensure_namespace("addons").await.expect("make the namespace");
    api.create(&release()).await.expect("create");
    let stale = Preconditions::of(&api.get(&resource()).await.expect("get"));
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(matches!(api.delete(&resource(), &stale).await, Err(ClusterError::Conflict(_))));
    let fresh = Preconditions::of(&api.get(&resource()).await.expect("get"));
    api.delete(&resource(), &fresh).await.expect("delete");
    assert_eq!(api.0.removals(), [resource().key]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_lists_and_then_follows() {
    let api = api(3);
    let mut watch = api.watch();
    let mut applied = 0;
    let mut listed = 0;
    while listed < 6 {
        match watch.next().await.expect("the watch goes on") {
            ClusterEvent::Applied(_) => applied += 1,
            ClusterEvent::KindListed(..) => listed += 1,
            ClusterEvent::Kinds(_) | ClusterEvent::Deleted(_) | ClusterEvent::KindUnreadable(..) => {}
        }
    }
    assert_eq!(applied, 3);
    let key = api.0.touch_background(1, false).expect("there are three");
    let ClusterEvent::Applied(document) = watch.next().await.expect("a change") else { panic!("not a change") };
    assert_eq!((document.at(&["metadata", "name"]).and_then(Value::as_str), ready(&document).as_str()), (Some(key.name.as_str()), "False"));
}
