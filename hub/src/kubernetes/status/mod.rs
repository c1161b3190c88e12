//! Statuses of resources, written back to where they came from.
//!
//! Owns the task that looks at the fleet, its clusters and the objects, and writes what changed. Does not own what a status says
//! nor when it is written ([`starling_hub_core::status`]). What waits is the latest of each object, never a queue; while the
//! API server is away, it waits there.

mod sightings;
mod survey;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use starling_hub_core::fleet::Fleet;
use starling_hub_core::resources::InputKey;
use starling_hub_core::status::{Book, Pace, Write, WriteFailure};
use starling_model::Millis;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Untaken;
use super::api::{ApiError, objects_beside, within};
use crate::gather::Gather;
use crate::metrics::{StatusMetrics, StatusWrite};
use crate::ports::Clock;
use crate::steward::Hold;

pub use sightings::Sightings;
use survey::Survey;

/// The field manager of statuses.
const FIELD_MANAGER: &str = "starling-hub-status";

/// Writes at the same time.
const AT_ONCE: usize = 8;

/// The shortest time between two looks at everything.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// The share of the time that looking may take, as its inverse.
const SHARE: u32 = 20;

/// How long clusters have to come back after a start of the hub, before they count as not connected.
const COMING_BACK: Duration = Duration::from_secs(60);

/// What the writer works with.
pub struct StatusParts {
    /// The API's client.
    pub client: Client,
    /// The fleet as every reader of the process sees it.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// The clusters, whichever process has them.
    pub gather: Gather,
    /// Whether the fleet holds.
    pub hold: Hold,
    /// The objects that were not taken.
    pub untaken: Untaken,
    /// How fast statuses are written.
    pub pace: Pace,
    /// Where writes are counted.
    pub metrics: StatusMetrics,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Writes statuses.
pub struct StatusWriter {
    parts: StatusParts,
    sightings: Arc<Sightings>,
    started: Millis,
    /// An outage was told of.
    is_away: bool,
}

/// A write that has ended.
type Written = (InputKey, Result<u64, ApiError>, Duration);

impl StatusWriter {
    /// Makes the writer, and what tells it of objects.
    #[must_use]
    pub fn new(parts: StatusParts) -> (Self, Arc<Sightings>) {
        let sightings = Arc::new(Sightings::default());
        let started = parts.clock.uptime();
        (Self { parts, sightings: Arc::clone(&sightings), started, is_away: false }, sightings)
    }

    /// Writes until dropped.
    pub async fn run(mut self) {
        let mut fleet = self.parts.fleet.clone();
        let (mut changes, mut elsewhere) = self.parts.gather.changes();
        let mut untaken = self.parts.untaken.subscribe();
        let mut hold = self.parts.hold.subscribe();
        let mut survey = Survey::default();
        let mut book = Book::new(self.parts.pace, self.uptime());
        let mut writes = FuturesUnordered::new();
        let mut look_at = Some(Instant::now());
        let mut not_before = Instant::now();
        let settled = tokio::time::sleep(COMING_BACK);
        tokio::pin!(settled);
        let mut is_waiting_for_clusters = true;
        loop {
            self.parts.metrics.pending.set(i64::try_from(book.waiting()).unwrap_or(i64::MAX));
            while writes.len() < AT_ONCE
                && let Some(write) = book.next(self.uptime())
            {
                writes.push(put(self.parts.client.clone(), write));
            }
            let wake = book.wake(self.uptime()).filter(|_| writes.len() < AT_ONCE);
            let wake = wake.map(|wake| Instant::now() + wake.since(self.uptime()));
            let changed = tokio::select! {
                Some((key, outcome, took)) = writes.next() => {
                    self.note(&mut book, (key, outcome, took));
                    continue;
                }
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => continue,
                () = tokio::time::sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {
                    look_at = None;
                    let began = Instant::now();
                    let Some(done) = self.look(survey, book).await else { return };
                    (survey, book) = done;
                    not_before = Instant::now() + BETWEEN_LOOKS.max(began.elapsed() * SHARE);
                    continue;
                }
                () = &mut settled, if is_waiting_for_clusters => {
                    is_waiting_for_clusters = false;
                    true
                }
                changed = fleet.changed() => changed.is_ok(),
                changed = changes.changed() => changed.is_ok(),
                changed = changed_elsewhere(&mut elsewhere) => changed,
                changed = untaken.changed() => changed.is_ok(),
                changed = hold.changed() => changed.is_ok(),
                () = self.sightings.told() => true,
            };
            if !changed {
                return;
            }
            look_at.get_or_insert(not_before.max(Instant::now()));
        }
    }

    /// Looks at everything, away from where requests are answered.
    async fn look(&self, mut survey: Survey, mut book: Book) -> Option<(Survey, Book)> {
        let news = self.sightings.take();
        let fleet = Arc::clone(&self.parts.fleet.borrow());
        let untaken = self.parts.untaken.subscribe().borrow().clone();
        let hold = self.parts.hold.reason().map(|reason| reason.to_string());
        let (now, uptime) = (self.parts.clock.now(), self.uptime());
        let had_time = uptime.since(self.started) >= COMING_BACK;
        let (views, tallies) = (self.parts.gather.views(None).await, self.parts.gather.tallies().await);
        // Of clusters whose process does not answer nothing new is said.
        let is_whole = views.unanswered.is_empty() && tallies.unanswered.is_empty();
        let looked = tokio::task::spawn_blocking(move || {
            for (key, sighting) in news {
                match sighting {
                    Some(sighting) => book.see(&key, sighting),
                    None => book.forget(&key),
                }
            }
            let settled = had_time || survey::is_settled(&fleet, &views.value);
            survey.look(&fleet, views.value, tallies.value, is_whole);
            for (key, status) in survey.judge(&fleet, &untaken, hold.as_deref(), settled, now, &book) {
                book.want(&key, status, uptime);
            }
            (survey, book)
        });
        match looked.await {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::error!(%error, "cannot judge the statuses of resources");
                None
            }
        }
    }

    fn note(&mut self, book: &mut Book, (key, outcome, took): Written) {
        let uptime = self.uptime();
        let metrics = &self.parts.metrics;
        let failure = match outcome {
            Ok(version) => {
                metrics.wrote(StatusWrite::Written, took);
                self.answers();
                return book.wrote(&key, version, uptime);
            }
            Err(ApiError::NotFound) => {
                metrics.wrote(StatusWrite::Gone, took);
                self.answers();
                WriteFailure::Gone
            }
            Err(ApiError::Conflict(_)) => {
                metrics.wrote(StatusWrite::Conflict, took);
                self.answers();
                WriteFailure::Conflict
            }
            Err(error @ (ApiError::Forbidden(_) | ApiError::Refused(_))) => {
                metrics.wrote(StatusWrite::Failed, took);
                tracing::warn!(%key, %error, "cannot write a status, trying again in a minute");
                WriteFailure::Refused
            }
            Err(error @ ApiError::Unreachable(_)) => {
                metrics.wrote(StatusWrite::Failed, took);
                if !self.is_away {
                    self.is_away = true;
                    tracing::warn!(%error, "cannot write statuses, trying again");
                }
                WriteFailure::Away
            }
        };
        book.failed(&key, failure, uptime);
    }

    fn answers(&mut self) {
        if std::mem::take(&mut self.is_away) {
            tracing::info!("statuses are written again");
        }
    }

    fn uptime(&self) -> Millis {
        self.parts.clock.uptime()
    }
}

/// Waits for a change at another process, for ever where there is none.
async fn changed_elsewhere(changes: &mut Option<watch::Receiver<u64>>) -> bool {
    match changes {
        Some(changes) => changes.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// Writes one status; answers with the object's version after it.
async fn put(client: Client, write: Write) -> Written {
    let began = Instant::now();
    let objects = objects_beside(&client, &write.key);
    // The UID makes the write fail where another object has the name by now.
    let patch = Patch::Merge(json!({"metadata": {"uid": write.object}, "status": write.patch}));
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let outcome = within(objects.patch_status(&write.key.name, &parameters, &patch)).await;
    let version = outcome.map(|object| sightings::version(object.metadata.resource_version.as_deref()));
    (write.key, version, began.elapsed())
}
