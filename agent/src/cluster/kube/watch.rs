//! The list-watches of all Flux kinds, one task a kind, merged into one bounded stream.
//!
//! Keeps no object: a list in progress remembers names alone, and an event is handed on and forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use kube::Api;
use kube::core::{ApiResource, DynamicObject, TypeMeta};
use kube::runtime::watcher;
use serde::Deserialize;
use starling_model::{ObjectKey, Value};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::backoff::Backoff;
use super::discovery;
use super::request::Requests;
use crate::cluster::{ClusterEvent, Kind};

/// How often the kinds are listed anew, besides when their definitions change.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(30);

/// How long changes of definitions are gathered before the kinds are listed anew.
const DISCOVERY_SETTLE: Duration = Duration::from_millis(500);

/// Events that wait for the reader; beyond them the watches wait.
const EVENT_QUEUE: usize = 64;

/// Objects of one page of a list.
const PAGE_SIZE: u32 = 100;

/// Failures in a row after which a kind that the server does not list counts as unreadable.
const UNREADABLE_AFTER: u32 = 3;

/// An annotation that doubles the size of objects and says nothing of their state.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Starts the watches; they end when the stream is dropped.
pub(super) fn events(requests: Arc<Requests>) -> BoxStream<'static, ClusterEvent> {
    let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
    let mut driver = JoinSet::new();
    driver.spawn(drive(requests, sender));
    // The driver rides along in the stream's state, so that dropping the stream ends it.
    stream::unfold((receiver, driver), |(mut receiver, driver)| async move {
        receiver.recv().await.map(|event| (event, (receiver, driver)))
    })
    .boxed()
}

/// Discovers kinds and keeps one watch for each.
async fn drive(requests: Arc<Requests>, events: mpsc::Sender<ClusterEvent>) {
    let changed = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();
    let mut watches: BTreeMap<Kind, (String, AbortHandle)> = BTreeMap::new();
    let notice = (requests.client().clone(), Arc::clone(&changed));
    tasks.spawn(async move { discovery::notice_definitions(notice.0, &notice.1).await });
    let mut backoff = Backoff::default();
    let mut announced = None;
    loop {
        let found = match discovery::discover(&requests).await {
            Ok(found) => found,
            Err(error) => {
                if backoff.failures() == 0 {
                    tracing::warn!(%error, "cannot discover Flux kinds, trying again");
                }
                backoff.wait().await;
                continue;
            }
        };
        backoff.reset();
        let kinds: BTreeSet<Kind> = found.iter().map(kind_of).collect();
        watches.retain(|kind, (_, watch)| {
            let stays = kinds.contains(kind);
            if !stays {
                watch.abort();
            }
            stays
        });
        if announced.as_ref() != Some(&kinds) {
            requests.forget_resources();
            tracing::info!(kinds = kinds.len(), "watching Flux kinds");
            if events.send(ClusterEvent::Kinds(kinds.clone())).await.is_err() {
                return;
            }
            announced = Some(kinds);
        }
        for resource in found {
            let kind = kind_of(&resource);
            if watches.get(&kind).is_some_and(|(version, _)| *version == resource.api_version) {
                continue;
            }
            let version = resource.api_version.clone();
            let watch = watch_kind(requests.client().clone(), resource, events.clone(), Arc::clone(&changed));
            if let Some((_, older)) = watches.insert(kind, (version, tasks.spawn(watch))) {
                older.abort();
            }
        }
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            biased;
            () = changed.notified() => tokio::time::sleep(DISCOVERY_SETTLE).await,
            () = tokio::time::sleep(DISCOVERY_INTERVAL) => {}
            () = events.closed() => return,
        }
    }
}

/// Lists and watches one kind for ever.
async fn watch_kind(
    client: kube::Client,
    resource: ApiResource,
    events: mpsc::Sender<ClusterEvent>,
    kinds_changed: Arc<Notify>,
) {
    let kind = kind_of(&resource);
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut stream = watcher(api, watcher::Config::default().page_size(PAGE_SIZE)).boxed();
    let mut listed = BTreeSet::new();
    let mut backoff = Backoff::default();
    while let Some(event) = stream.next().await {
        let sent = match event {
            Ok(watcher::Event::Init) => {
                listed = BTreeSet::new();
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(key_of(&kind, &object));
                events.send(ClusterEvent::Applied(document(object, &resource))).await
            }
            Ok(watcher::Event::InitDone) => {
                if backoff.failures() > 0 {
                    tracing::info!(%kind, "watching again");
                }
                backoff.reset();
                events.send(ClusterEvent::KindListed(kind.clone(), std::mem::take(&mut listed))).await
            }
            Ok(watcher::Event::Apply(object)) => {
                backoff.reset();
                events.send(ClusterEvent::Applied(document(object, &resource))).await
            }
            Ok(watcher::Event::Delete(object)) => {
                backoff.reset();
                events.send(ClusterEvent::Deleted(key_of(&kind, &object))).await
            }
            Err(error) => {
                let sent = report_failure(&kind, &error, &backoff, &events, &kinds_changed).await;
                backoff.wait().await;
                sent
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn report_failure(
    kind: &Kind,
    error: &watcher::Error,
    backoff: &Backoff,
    events: &mpsc::Sender<ClusterEvent>,
    kinds_changed: &Notify,
) -> Result<(), mpsc::error::SendError<ClusterEvent>> {
    if let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error {
        let unreadable_after = if status.code == 403 { 0 } else { UNREADABLE_AFTER };
        if status.code == 404 {
            kinds_changed.notify_one();
        } else if backoff.failures() == unreadable_after {
            // The server answers, and this is its answer: nothing waits for this kind from here on.
            tracing::warn!(%kind, error = %status.message, "this kind cannot be listed, trying again");
            return events.send(ClusterEvent::KindUnreadable(kind.clone(), status.message.clone())).await;
        }
    }
    match (error, backoff.failures()) {
        // An ended watch is renewed from where it stood, and a window that was missed by a new list.
        (watcher::Error::WatchFailed(_) | watcher::Error::WatchError(_), 0) => {
            tracing::debug!(%kind, %error, "watch ended");
        }
        (_, 1) => tracing::warn!(%kind, %error, "cannot watch, trying again"),
        _ => tracing::debug!(%kind, %error, "cannot watch, trying again"),
    }
    Ok(())
}

fn kind_of(resource: &ApiResource) -> Kind {
    Kind::new(&resource.group, &resource.kind)
}

fn key_of(kind: &Kind, object: &DynamicObject) -> ObjectKey {
    let metadata = &object.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    ObjectKey::new(&kind.group, &kind.kind, namespace, metadata.name.as_deref().unwrap_or_default())
}

/// Trims an object and turns it into our own value.
fn document(mut object: DynamicObject, resource: &ApiResource) -> Value {
    object.metadata.managed_fields = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    object
        .types
        .get_or_insert_with(|| TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() });
    let json = serde_json::to_value(object).expect("what was read as JSON can be written as JSON");
    Value::deserialize(json).expect("JSON numbers are finite")
}
