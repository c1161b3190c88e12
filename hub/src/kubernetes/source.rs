//! From the watches to the steward: what changed, a few objects at a time, and deletions after everything else.
//!
//! A change costs what its own objects cost; nothing here walks through all of them but the end of a list. While the API is away
//! nothing moves, and the store serves what it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream, SelectAll};
use kube::Client;
use kube::api::{DynamicObject, ListParams};
use kube::runtime::utils::WatchStreamExt as _;
use kube::runtime::watcher;
use starling_hub_core::fleet::{Fleet, Problem};
use starling_hub_core::resources::{InputKey, Kind};
use starling_hub_core::steward::{Answer, Evidence, Refusal, Request, SourceDeleted, SourceObject, SyncObjects};
use starling_model::ErrorCode;
use tokio::sync::watch;
use tokio::time::Instant;

use super::api::{ApiError, objects_of, within};
use super::mirror::{Change, Mirror};
use super::namespaces::Namespaces;
use super::seen::Seen;
use super::untaken::Untaken;
use super::waits::Waits;
use super::{evidence, metadata};
use crate::metrics::SourceMetrics;
use crate::source::Documents;
use crate::steward::{Hold, StewardHandle};

/// Who the audit record names for what was read.
const ACTOR: &str = "kubernetes";

/// How long changes are gathered before they are handed over.
const GATHER: Duration = Duration::from_millis(20);

/// How long to wait before what failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// How long to wait where somebody else has to put it right, such as a missing permission.
const RETRY_REFUSED: Duration = Duration::from_secs(15);

/// How long a look whether the API server is back may take.
const PROBE: Duration = Duration::from_secs(2);

/// Objects of one request to the steward at most: its transaction stays below what an etcd takes at once.
const BATCH: usize = 128;

/// Writes to the API server at the same time.
const WRITES: usize = 8;

/// Somebody who wants to know what each object looks like, such as the writer of statuses.
pub trait Observer: Send + Sync {
    /// An object is there, as it is now.
    fn saw(&self, seen: &Seen);

    /// An object is not there, or nothing of it counts any more.
    fn gone(&self, key: &InputKey);
}

/// What the source works with.
pub struct SourceParts {
    /// The API's client.
    pub client: Client,
    /// The way to ask the steward.
    pub steward: StewardHandle,
    /// The fleet as every reader of the process sees it.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// Whether the fleet holds.
    pub hold: Hold,
    /// The objects that the hub edits itself.
    pub documents: Arc<dyn Documents>,
    /// Where what could not be taken is shown.
    pub untaken: Untaken,
    /// Who wants to see each object.
    pub observers: Vec<Arc<dyn Observer>>,
    /// Where everything is counted.
    pub metrics: SourceMetrics,
}

/// What became of what was handed to the steward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handed {
    /// It decided, or what is left to do was deferred.
    Taken,
    /// It cannot decide now: everything waits as it did.
    Refused,
}

/// Follows the API's objects.
pub struct KubernetesSource {
    parts: SourceParts,
    mirror: Mirror,
    namespaces: Namespaces,
    /// When what was deferred is tried again.
    retry: Option<Instant>,
    /// When what waits is handed over.
    due: Option<Instant>,
    /// When the oldest of it was noticed.
    noticed: Option<Instant>,
    /// The kinds whose watch fails.
    failing: BTreeMap<Kind, String>,
    settled: Arc<watch::Sender<bool>>,
}

type Events = SelectAll<BoxStream<'static, (Kind, watcher::Result<watcher::Event<DynamicObject>>)>>;

impl KubernetesSource {
    /// Makes the source, and what is true once every object was handed over.
    #[must_use]
    pub fn new(parts: SourceParts) -> (Self, watch::Receiver<bool>) {
        let settled = Arc::new(watch::Sender::new(false));
        let receiver = settled.subscribe();
        let source = Self {
            parts,
            mirror: Mirror::default(),
            namespaces: Namespaces::new(),
            retry: None,
            due: None,
            noticed: None,
            failing: BTreeMap::new(),
            settled,
        };
        (source, receiver)
    }

    /// Follows until dropped.
    pub async fn run(mut self) {
        loop {
            self.mirror.reset();
            self.parts.untaken.clear();
            let mut events = self.watches();
            self.follow(&mut events).await;
            tracing::info!("the fleet moves again: reading every object anew");
        }
    }

    fn watches(&self) -> Events {
        let watch = |kind: Kind| {
            let events = watcher(objects_of(&self.parts.client, kind), watcher::Config::default());
            let events = events.backoff(Waits::default());
            events.map(move |event| (kind, event)).boxed()
        };
        stream::select_all(Kind::ALL.map(watch))
    }

    /// Follows until a hold has ended: what was told before may be unknown to the store that there is now.
    async fn follow(&mut self, events: &mut Events) {
        let mut hold = self.parts.hold.subscribe();
        let mut held = hold.borrow_and_update().is_some();
        loop {
            let due = [self.due, self.retry].into_iter().flatten().min().filter(|_| !held);
            tokio::select! {
                biased;
                changed = hold.changed() => {
                    let holds = hold.borrow_and_update().is_some();
                    if changed.is_err() || (held && !holds) {
                        return;
                    }
                    held = holds;
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.work().await,
                Some((kind, event)) = events.next() => self.note(kind, event),
            }
        }
    }

    fn note(&mut self, kind: Kind, event: watcher::Result<watcher::Event<DynamicObject>>) {
        let fleet = self.fleet();
        match event {
            Ok(event) => {
                self.answers(kind, matches!(event, watcher::Event::Init));
                self.count(kind, &event);
                match self.mirror.note(kind, event, &fleet) {
                    Some((_, Some(seen))) => self.parts.observers.iter().for_each(|observer| observer.saw(seen)),
                    Some((key, None)) => self.parts.observers.iter().for_each(|observer| observer.gone(&key)),
                    None => {}
                }
            }
            Err(error) => {
                let error = watch_error(&error);
                if matches!(error, ApiError::NotFound) {
                    self.mirror.no_such_kind(kind, &fleet);
                }
                self.fails(kind, &error);
            }
        }
        let now = Instant::now();
        self.noticed.get_or_insert(now);
        self.due.get_or_insert(now + GATHER);
    }

    /// Deals with a part of what waits.
    async fn work(&mut self) {
        let now = Instant::now();
        if self.retry.is_some_and(|retry| retry <= now) {
            self.retry = None;
            self.mirror.retry();
            self.probe().await;
        }
        let batch = self.mirror.take(BATCH);
        let outcome = if !batch.is_empty() {
            self.hand_over(batch).await
        } else if let Some(seen) = self.mirror.take_deletion() {
            self.settle_deletion(seen).await
        } else {
            self.due = None;
            self.noticed = None;
            self.make_namespaces().await;
            if self.mirror.is_settled() && self.mirror.is_nothing_deferred() {
                self.settled.send_replace(true);
            }
            return;
        };
        // No deletion is judged before what came with it is in the store: it may be the other half of a move.
        let wait = if outcome == Handed::Refused { RETRY } else { Duration::ZERO };
        self.due = Some(Instant::now() + wait);
    }

    /// Hands objects to the steward, then does what their being known brings.
    async fn hand_over(&mut self, batch: Vec<(InputKey, Change)>) -> Handed {
        let fleet = self.fleet();
        let mut request = SyncObjects::default();
        for (key, change) in &batch {
            match change {
                Change::Present(seen) => {
                    let news = news(&fleet, seen);
                    if news.is_some() && key.kind == Kind::Workspace {
                        self.namespaces.look_again(&key.name);
                    }
                    request.present.extend(news);
                }
                Change::Gone => {
                    let is_there = fleet.input(key).is_some_and(|record| record.missing.is_none());
                    if is_there || fleet.deleted(key).is_some() {
                        request.gone.insert(key.clone());
                    }
                }
                Change::Deleting(_) => {}
            }
        }
        let mut problems: BTreeMap<InputKey, Problem> = BTreeMap::new();
        if !request.present.is_empty() || !request.gone.is_empty() {
            let objects = request.present.len() + request.gone.len();
            match self.parts.steward.submit(ACTOR, Request::SyncObjects(request)).await {
                Ok(Answer::Synced(synced)) => {
                    problems = synced.problems.into_iter().map(|one| (one.problem.key.clone(), one.problem)).collect();
                    if let Some(noticed) = self.noticed.take() {
                        self.parts.metrics.handed_over(noticed.elapsed());
                    }
                }
                Ok(_) => tracing::error!("an answer of the steward does not fit its question"),
                Err(refusal) => return self.refused(batch, objects, &refusal),
            }
        }
        let mut seen = Vec::new();
        for (key, change) in batch {
            let problem = match change {
                Change::Present(object) => {
                    let problem = match &object.resource {
                        Ok(_) => problems.remove(&key),
                        Err(message) => Some(Problem::of_object(key.clone(), message.as_str())),
                    };
                    if problem.is_none() {
                        seen.push(*object);
                    }
                    problem
                }
                Change::Gone | Change::Deleting(_) => None,
            };
            self.parts.untaken.set(&key, problem);
        }
        self.follow_up(seen).await;
        Handed::Taken
    }

    fn refused(&mut self, batch: Vec<(InputKey, Change)>, objects: usize, refusal: &Refusal) -> Handed {
        if refusal.code.retry_helps() || refusal.code == ErrorCode::FleetHolds {
            batch.into_iter().for_each(|(key, change)| self.mirror.put_back(key, change));
            return Handed::Refused;
        }
        tracing::error!(objects, %refusal, "the steward refused objects");
        Handed::Taken
    }

    /// Puts finalizers on what is in the store now, makes namespaces, and ends what a crash left half done.
    async fn follow_up(&mut self, seen: Vec<Seen>) {
        let fleet = self.fleet();
        let mut without = Vec::new();
        for object in seen {
            if object.key.kind == Kind::Workspace {
                self.namespaces.want(&object.key.name);
            }
            let Some(record) = fleet.input(&object.key) else {
                if object.key.kind == Kind::ManagedCluster && fleet.deleted(&object.key).is_some() {
                    self.remove_detached(object).await;
                }
                continue;
            };
            let is_taken = record.origin.as_ref().is_some_and(|origin| origin.uid == object.uid);
            if is_taken && !object.has_finalizer && object.key.kind != Kind::Tombstone {
                without.push(object);
            }
        }
        let client = &self.parts.client;
        let put = stream::iter(without).map(|object| async {
            let outcome = metadata::put_finalizer(client, &object).await;
            (object, outcome)
        });
        let outcomes: Vec<_> = put.buffer_unordered(WRITES).collect().await;
        for (object, outcome) in outcomes {
            match outcome {
                // Of another object, or of none: what there is now is told by the watch.
                Ok(()) | Err(ApiError::Conflict(_) | ApiError::NotFound) => {}
                Err(error) => self.failed("put the finalizer", Box::new(object), false, &error),
            }
        }
    }

    /// Removes the object of a cluster whose detachment ended.
    async fn remove_detached(&mut self, object: Seen) {
        match self.parts.documents.remove(&object.key).await {
            Ok(()) => tracing::info!(key = %object.key, "removed the object of a detached cluster"),
            Err(error) => {
                tracing::warn!(key = %object.key, %error, "cannot remove the object of a detached cluster");
                self.defer(object.key.clone(), Change::Present(Box::new(object)));
            }
        }
    }

    /// Confirms a deletion, has it judged, and lets the object go.
    async fn settle_deletion(&mut self, seen: Box<Seen>) -> Handed {
        let evidence = match evidence::confirm(&self.parts.client, &seen).await {
            Ok(Some(evidence)) => evidence,
            // What there is now is told by the watch.
            Ok(None) => return Handed::Taken,
            Err(error) => {
                self.failed("confirm a deletion", seen, true, &error);
                return Handed::Taken;
            }
        };
        let (key, uid) = (seen.key.clone(), seen.uid.clone());
        let request = SourceDeleted { key: key.clone(), uid, evidence };
        let outcome = match self.parts.steward.submit(ACTOR, Request::SourceDeleted(request)).await {
            Ok(Answer::SourceDeletion(outcome)) => outcome,
            Ok(_) => {
                tracing::error!("an answer of the steward does not fit its question");
                return Handed::Taken;
            }
            Err(refusal) => return self.refused(vec![(key, Change::Deleting(seen))], 1, &refusal),
        };
        if let Err(error) = metadata::release_finalizer(&self.parts.client, &key, &seen.uid).await {
            self.failed("let the finalizer go", seen, true, &error);
            return Handed::Taken;
        }
        self.parts.untaken.set(&key, None);
        if evidence != Evidence::Confirmed {
            // Whatever takes it along may take its namespace along, too.
            self.namespaces.lost(&key.namespace, &self.fleet());
        }
        tracing::info!(%key, ?evidence, ?outcome, "settled the deletion of an object");
        Handed::Taken
    }

    async fn make_namespaces(&mut self) {
        if !self.namespaces.is_any_wanted() {
            return;
        }
        if let Err(error) = self.namespaces.make(&self.parts.client).await {
            self.parts.metrics.error(error.label());
            tracing::warn!(%error, "cannot make the namespace of a workspace");
        }
        if self.namespaces.is_any_wanted() {
            self.retry.get_or_insert(Instant::now() + RETRY);
        }
    }

    /// Notes that something could not be done with an object, to be tried again.
    fn failed(&mut self, what: &'static str, seen: Box<Seen>, is_deleting: bool, error: &ApiError) {
        self.parts.metrics.error(error.label());
        let key = seen.key.clone();
        tracing::warn!(%key, %error, "cannot {what}, trying again");
        self.parts.untaken.set(&key, Some(Problem::of_object(key.clone(), format!("the hub cannot {what}: {error}"))));
        self.mirror.defer(key, if is_deleting { Change::Deleting(seen) } else { Change::Present(seen) });
        let wait = if matches!(error, ApiError::Unreachable(_)) { RETRY } else { RETRY_REFUSED };
        self.retry.get_or_insert(Instant::now() + wait);
    }

    fn defer(&mut self, key: InputKey, change: Change) {
        self.mirror.defer(key, change);
        self.retry.get_or_insert(Instant::now() + RETRY);
    }

    /// Asks for what failed: a watch that goes on tells nothing until something changes.
    async fn probe(&mut self) {
        for kind in self.failing.keys().copied().collect::<Vec<_>>() {
            let params = ListParams::default().limit(1);
            let api = objects_of(&self.parts.client, kind);
            match tokio::time::timeout(PROBE, within(api.list_metadata(&params))).await {
                Ok(Ok(_)) => self.answers(kind, false),
                // The others would not answer either.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        if !self.failing.is_empty() {
            self.retry.get_or_insert(Instant::now() + RETRY);
        }
    }

    fn answers(&mut self, kind: Kind, is_beginning: bool) {
        // The beginning of a list is our own doing, and no answer.
        if !is_beginning && self.failing.remove(&kind).is_some() {
            tracing::info!(%kind, "the API server answers again");
        }
        self.parts.metrics.set_available(self.failing.is_empty());
    }

    fn fails(&mut self, kind: Kind, error: &ApiError) {
        self.parts.metrics.error(error.label());
        if matches!(error, ApiError::Conflict(_)) {
            // Too old to go on: it is listed anew.
            return;
        }
        self.parts.metrics.set_available(false);
        self.retry.get_or_insert(Instant::now() + RETRY);
        let text = error.to_string();
        if self.failing.insert(kind, text.clone()).is_none() {
            tracing::warn!(%kind, error = text, "cannot follow objects: what the fleet has stays as it is");
        }
    }

    fn count(&self, kind: Kind, event: &watcher::Event<DynamicObject>) {
        match event {
            watcher::Event::Init if *self.settled.borrow() => drop(self.parts.metrics.relists.inc()),
            watcher::Event::Init | watcher::Event::InitDone => {}
            watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitApply(_) => {
                self.parts.metrics.event(kind);
            }
        }
    }

    fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.parts.fleet.borrow())
    }
}

/// Returns what an object says that the fleet does not know yet.
fn news(fleet: &Fleet, seen: &Seen) -> Option<SourceObject> {
    let resource = seen.resource.as_ref().ok()?;
    let origin = seen.origin();
    let is_known = fleet.input(&seen.key).is_some_and(|record| {
        record.missing.is_none() && record.origin.as_ref() == Some(&origin) && record.resource == *resource
    });
    (!is_known).then(|| SourceObject { resource: resource.clone(), origin, manager: seen.manager.clone() })
}

fn watch_error(error: &watcher::Error) -> ApiError {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => ApiError::of(error),
        // The watch is too old, and begins anew with a list.
        watcher::Error::WatchError(status) => ApiError::Conflict(status.message.clone()),
        watcher::Error::NoResourceVersion => ApiError::Refused(error.to_string()),
    }
}
