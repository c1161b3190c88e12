//! The list-watches of all Flux kinds, one task a kind, merged into one bounded stream.
//!
//! Keeps no object: a list in progress remembers names alone, and an event is handed on and forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use kube::Api;
use kube::core::{ApiResource, DynamicObject, TypeMeta};
use kube::runtime::watcher;
use serde::Deserialize;
use starling_model::{ObjectKey, Value};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::backoff::Backoff;
use super::discovery;
use super::request::Requests;
use crate::cluster::{ClusterError, ClusterEvent, Kind};

/// How often the kinds are listed anew, besides when their definitions change: while changes of these are watched, and
/// while they are not.
const DISCOVERY_INTERVAL: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(30));

/// How long one listing of the kinds may take.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long after a kind was missing the kinds are listed again, before it counts as gone.
const MISSING_AGAIN: Duration = Duration::from_secs(2);

/// How long changes of definitions are gathered before the kinds are listed anew.
const DISCOVERY_SETTLE: Duration = Duration::from_millis(500);

/// Events that wait for the reader; beyond them the watches wait.
const EVENT_QUEUE: usize = 64;

/// Objects of one page of a list.
const PAGE_SIZE: u32 = 50;

/// How long a list waits for its next page before another kind's list may begin beside it.
const LIST_PATIENCE: Duration = Duration::from_secs(30);

/// Failures in a row after which a kind that the server does not list counts as unreadable: where it is forbidden (once
/// may be a permission that is only just being granted), and else.
const UNREADABLE_AFTER: (u32, u32) = (2, 3);

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
    let definitions_are_watched = Arc::new(AtomicBool::new(false));
    let lists = Arc::new(Semaphore::new(1));
    let notice = (requests.client().clone(), Arc::clone(&changed), Arc::clone(&definitions_are_watched));
    tasks.spawn(async move { discovery::notice_definitions(notice.0, &notice.1, &notice.2).await });
    let mut backoff = Backoff::default();
    let mut announced: Option<BTreeSet<Kind>> = None;
    loop {
        let found = match discover(&requests, announced.as_ref()).await {
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
            let notices = (events.clone(), Arc::clone(&changed));
            let watch = watch_kind(requests.client().clone(), resource, Arc::clone(&lists), notices);
            if let Some((_, older)) = watches.insert(kind, (version, tasks.spawn(watch))) {
                older.abort();
            }
        }
        while tasks.try_join_next().is_some() {}
        let (watched, unwatched) = DISCOVERY_INTERVAL;
        let interval = if definitions_are_watched.load(Ordering::Relaxed) { watched } else { unwatched };
        tokio::select! {
            biased;
            () = changed.notified() => tokio::time::sleep(DISCOVERY_SETTLE).await,
            () = tokio::time::sleep(interval) => {}
            () = events.closed() => return,
        }
    }
}

/// Lists the kinds to watch. A kind that was announced is gone when it is missing twice: an aggregated or starting API
/// server may leave a group out for a moment.
async fn discover(requests: &Requests, announced: Option<&BTreeSet<Kind>>) -> Result<Vec<ApiResource>, ClusterError> {
    let list = || async {
        let listed = timeout(DISCOVERY_TIMEOUT, discovery::discover(requests)).await;
        let no_answer = |_| ClusterError::Unavailable(format!("no answer in {} s", DISCOVERY_TIMEOUT.as_secs()));
        listed.map_err(no_answer)?
    };
    let mut found = list().await?;
    let kinds: BTreeSet<Kind> = found.iter().map(kind_of).collect();
    if announced.is_some_and(|announced| !announced.is_subset(&kinds)) {
        tokio::time::sleep(MISSING_AGAIN).await;
        found.extend(list().await?.into_iter().filter(|resource| !kinds.contains(&kind_of(resource))));
    }
    Ok(found)
}

/// Lists and watches one kind for ever.
async fn watch_kind(
    client: kube::Client,
    resource: ApiResource,
    lists: Arc<Semaphore>,
    (events, kinds_changed): (mpsc::Sender<ClusterEvent>, Arc<Notify>),
) {
    let kind = kind_of(&resource);
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut stream = watcher(api, watcher::Config::default().page_size(PAGE_SIZE)).boxed();
    let mut listed = BTreeSet::new();
    let mut backoff = Backoff::default();
    let mut told_unreadable = false;
    // Held while the kind is listed: the lists of all kinds at once would be the peak of what the agent ever needs.
    let mut turn = None;
    loop {
        let event = match timeout(LIST_PATIENCE, stream.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(_) => {
                turn = None;
                continue;
            }
        };
        let sent = match event {
            Ok(watcher::Event::Init) => {
                listed = BTreeSet::new();
                drop(turn.take());
                turn = lists.acquire().await.ok();
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
                told_unreadable = false;
                turn = None;
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
                turn = None;
                let unreadable = report_failure(&kind, &error, &backoff, &kinds_changed);
                let sent = match unreadable.filter(|_| !told_unreadable) {
                    Some(reason) => {
                        // The server answers, and this is its answer: nothing waits for this kind from here on.
                        tracing::warn!(%kind, error = %reason, "this kind cannot be listed, trying again");
                        told_unreadable = true;
                        events.send(ClusterEvent::KindUnreadable(kind.clone(), reason)).await
                    }
                    None => Ok(()),
                };
                backoff.wait().await;
                sent
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Logs a failure, and returns why the kind counts as unreadable where it does.
fn report_failure(kind: &Kind, error: &watcher::Error, backoff: &Backoff, kinds_changed: &Notify) -> Option<String> {
    if let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error {
        let unreadable_after = if status.code == 403 { UNREADABLE_AFTER.0 } else { UNREADABLE_AFTER.1 };
        if status.code == 404 {
            kinds_changed.notify_one();
        } else if backoff.failures() + 1 >= unreadable_after {
            return Some(status.message.clone());
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
    None
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
