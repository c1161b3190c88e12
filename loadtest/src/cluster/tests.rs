use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use starling_agent::cluster::{ClusterApi, ClusterError, ClusterEvent, InventoryChange, Preconditions, ResourceRef};
use starling_agent::ports::Clock;
use starling_model::{Millis, ObjectKey, Value, labels};
use tokio::time::{Instant, sleep, timeout};

use super::api::SimulatedApi;
use super::{SimulatedCluster, SimulatedOptions, WATCH_BACKLOG};

const SETTLE: Duration = Duration::from_millis(50);
const A_MOMENT_LATER: Duration = Duration::from_millis(60);

/// Tokio's time, which tests pause.
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Millis {
        self.uptime()
    }

    fn uptime(&self) -> Millis {
        Millis(0).plus(self.0.elapsed())
    }
}

fn api(background_objects: u32) -> SimulatedApi {
    let options = SimulatedOptions {
        name: "edge-1".into(),
        background_objects,
        settle: SETTLE,
        kubernetes_version: "v1.35.4".into(),
    };
    SimulatedApi(SimulatedCluster::with_clock(options, Arc::new(PausedClock(Instant::now()))))
}

async fn with_release() -> SimulatedApi {
    let api = api(0);
    api.ensure_namespace("addons").await.unwrap();
    api.create(&release("10m")).await.unwrap();
    sleep(A_MOMENT_LATER).await;
    api
}

fn release(interval: &str) -> Value {
    Value::map([
        ("apiVersion", Value::from("helm.toolkit.fluxcd.io/v2")),
        ("kind", Value::from("HelmRelease")),
        ("metadata", Value::map([("name", "podinfo"), ("namespace", "addons")])),
        ("spec", Value::map([("interval", interval)])),
    ])
}

fn resource() -> ResourceRef {
    ResourceRef::any_version(ObjectKey::new("helm.toolkit.fluxcd.io", "HelmRelease", "addons", "podinfo"))
}

fn ready(object: &Value) -> String {
    let conditions = object.at(&["status", "conditions"]).and_then(Value::as_list).unwrap_or_default();
    conditions.iter().filter_map(|one| one.get("status")?.as_str()).collect()
}

/// What the agent sends: the document with the preconditions that it read.
async fn reread(api: &SimulatedApi, mut document: Value) -> Value {
    let live = Preconditions::of(&api.get(&resource()).await.unwrap());
    document.merge(&Value::map([(
        "metadata",
        Value::map([("uid", live.uid), ("resourceVersion", live.resource_version)]),
    )]));
    document
}

fn spec(field: &str, value: Value) -> Value {
    Value::map([("spec", Value::map([(field, value)]))])
}

#[tokio::test(start_paused = true)]
async fn an_applied_object_becomes_ready() {
    let api = api(0);
    assert_eq!(api.create(&release("10m")).await, Err(ClusterError::NotFound), "the namespace is missing");
    api.ensure_namespace("addons").await.unwrap();
    assert_eq!(ready(&api.create(&release("10m")).await.unwrap()), "Unknown");
    assert!(matches!(api.create(&release("10m")).await, Err(ClusterError::Conflict(_))));
    sleep(A_MOMENT_LATER).await;
    assert_eq!(ready(&api.get(&resource()).await.unwrap()), "True");
}

#[tokio::test(start_paused = true)]
async fn a_stale_version_is_a_conflict_and_a_finalizer_takes_its_time() {
    let api = with_release().await;
    let stale = Preconditions::of(&api.get(&resource()).await.unwrap());
    api.0.edit(&resource().key, |object| object.merge(&spec("interval", "1m".into())));
    assert!(matches!(api.delete(&resource(), &stale).await, Err(ClusterError::Conflict(_))));
    let fresh = Preconditions::of(&api.get(&resource()).await.unwrap());
    api.delete(&resource(), &fresh).await.unwrap();
    assert!(api.get(&resource()).await.unwrap().at(&["metadata", "deletionTimestamp"]).is_some());
    sleep(A_MOMENT_LATER).await;
    assert_eq!(api.get(&resource()).await, Err(ClusterError::NotFound));
    assert_eq!(api.0.removals(), [resource().key]);
}

#[tokio::test(start_paused = true)]
async fn fields_have_owners() {
    let api = with_release().await;
    let suspend = api.merge_patch(&resource(), &spec("suspend", true.into()), labels::COMMAND_MANAGER).await.unwrap();
    assert_eq!(suspend.at(&["metadata", "generation"]), Some(&Value::from(2_i64)));
    api.0.edit(&resource().key, |object| {
        object.merge(&Value::map([("spec", Value::map([("interval", "1s"), ("timeout", "9m")]))]));
    });
    let applied = api.apply(&reread(&api, release("5m")).await).await.unwrap();
    let field = |name: &str| applied.at(&["spec", name]).cloned();
    assert_eq!(field("interval"), Some("5m".into()), "the agent takes over what it names");
    assert_eq!(field("timeout"), Some("9m".into()), "what others added stays");
    assert_eq!(field("suspend"), Some(true.into()), "a command's field stays");

    let mut wider = release("5m");
    wider.merge(&spec("releaseName", "x".into()));
    api.apply(&reread(&api, wider).await).await.unwrap();
    let narrower = api.apply(&reread(&api, release("5m")).await).await.unwrap();
    assert_eq!(narrower.at(&["spec", "releaseName"]), None, "what the agent no longer names goes");

    api.0.edit(&resource().key, |object| object.merge(&spec("interval", Value::Null)));
    assert_eq!(api.get(&resource()).await.unwrap().at(&["spec", "interval"]), None);
    let repaired = api.apply(&reread(&api, release("5m")).await).await.unwrap();
    assert_eq!(repaired.at(&["spec", "interval"]), Some(&"5m".into()));
}

#[tokio::test(start_paused = true)]
async fn flux_looks_at_what_concerns_it() {
    let api = with_release().await;
    let stamp = Value::map([("metadata", Value::map([("annotations", Value::map([(labels::FENCE, "1.2")]))]))]);
    let stamped = api.merge_patch(&resource(), &stamp, labels::APPLY_MANAGER).await.unwrap();
    assert_eq!((ready(&stamped).as_str(), stamped.at(&["metadata", "generation"])), ("True", Some(&1_i64.into())));

    let token = "reconcile.fluxcd.io/requestedAt";
    let ask = Value::map([("metadata", Value::map([("annotations", Value::map([(token, "now")]))]))]);
    let asked = api.merge_patch(&resource(), &ask, labels::COMMAND_MANAGER).await.unwrap();
    assert_eq!(ready(&asked), "Unknown");
    sleep(A_MOMENT_LATER).await;
    let handled = api.get(&resource()).await.unwrap();
    assert_eq!(handled.at(&["status", "lastHandledReconcileAt"]), Some(&"now".into()));

    api.0.set_failing("podinfo", Some("no such chart"));
    assert_eq!(ready(&api.get(&resource()).await.unwrap()), "False");
}

#[tokio::test(start_paused = true)]
async fn a_watch_lists_and_then_follows() {
    let api = api(3);
    let mut watch = api.watch();
    let (mut applied, mut listed) = (0, 0);
    while listed < 6 {
        match watch.next().await.unwrap() {
            ClusterEvent::Applied(_) => applied += 1,
            ClusterEvent::KindListed(..) => listed += 1,
            ClusterEvent::Kinds(_) | ClusterEvent::Deleted(_) | ClusterEvent::KindUnreadable(..) => {}
        }
    }
    assert_eq!(applied, 3);
    let (key, revision) = api.0.touch_background(1, false).unwrap();
    let ClusterEvent::Applied(document) = watch.next().await.unwrap() else { panic!("not a change") };
    assert_eq!(document.at(&["metadata", "name"]), Some(&key.name.into()));
    assert_eq!(document.at(&["status", "lastAppliedRevision"]), Some(&revision.into()));
    assert_eq!(ready(&document), "False");

    api.ensure_namespace("addons").await.unwrap();
    api.create(&release("10m")).await.unwrap();
    let ClusterEvent::Applied(begun) = watch.next().await.unwrap() else { panic!("not a change") };
    let ClusterEvent::Applied(done) = watch.next().await.unwrap() else { panic!("not a change") };
    assert_eq!((ready(&begun).as_str(), ready(&done).as_str()), ("Unknown", "True"), "nobody else had to look");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fell_behind_or_was_cut_off_lists_again() {
    let api = api(2);
    let mut watch = api.watch();
    while !matches!(watch.next().await.unwrap(), ClusterEvent::KindListed(kind, _) if kind.kind == "OCIRepository") {}
    for _ in 0..=WATCH_BACKLOG {
        api.0.touch_background(0, true).unwrap();
    }
    assert!(matches!(watch.next().await.unwrap(), ClusterEvent::Kinds(_)));
    while timeout(A_MOMENT_LATER, watch.next()).await.is_ok() {}

    api.0.set_available(false);
    assert!(matches!(api.get(&resource()).await, Err(ClusterError::Unavailable(_))));
    api.0.touch_background(0, true).unwrap();
    assert!(timeout(A_MOMENT_LATER, watch.next()).await.is_err(), "nobody is told");
    api.0.set_available(true);
    assert!(matches!(watch.next().await.unwrap(), ClusterEvent::Kinds(_)));
}

#[tokio::test(start_paused = true)]
async fn an_inventory_is_compared_and_set() {
    let api = api(0);
    let change = |body: &str| InventoryChange { head: "{}".into(), bodies: [(body.into(), "{}".into())].into() };
    let version = api.swap_inventory(None, &change("a")).await.unwrap();
    assert!(matches!(api.swap_inventory(None, &change("b")).await, Err(ClusterError::Conflict(_))));
    let outcome = InventoryChange { head: "{}".into(), ..InventoryChange::default() };
    api.swap_inventory(Some(&version), &outcome).await.unwrap();
    assert_eq!(api.0.commits().count, 1, "an outcome brings no render");
}
