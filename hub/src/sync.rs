//! From scans of the directory to the steward, one at a time, and again when the hold ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use starling_hub_core::steward::{Answer, Refusal, Request};
use starling_model::ErrorCode;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc, watch};
use tokio::time::Instant;

use crate::api::Problems;
use crate::metrics::SourceMetrics;
use crate::source::{Directory, Scan};
use crate::steward::{Hold, StewardHandle};

/// How long to wait before a scan that could not be handed over is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// How long an edit through the hub waits for the end of what somebody is writing by hand.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it looks whether that is over.
const LOOK: Duration = Duration::from_millis(100);

/// What the hand-over works with.
#[derive(Clone)]
pub struct SyncParts {
    /// The way to ask the steward.
    pub steward: StewardHandle,
    /// Where what could not be taken is shown.
    pub problems: Problems,
    /// Whether the fleet holds.
    pub hold: Hold,
    /// The directory, for reading it at once; `None` where scans come from somewhere else.
    pub directory: Option<Directory>,
    /// Where readings are counted.
    pub metrics: SourceMetrics,
}

/// What a reading of the directory found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Every file to its end.
    Settled,
    /// A file in the middle of being written.
    Unsettled,
}

/// Hands scans to the steward; cheap to clone.
#[derive(Clone)]
pub struct Sync {
    parts: SyncParts,
    /// Held alone from reading the directory until the steward has decided, so that an older scan never follows a newer one, and
    /// shared from a decision until its document is written.
    turn: Arc<RwLock<()>>,
    /// The newest scan that is known to be old: one that was handed over, or that was begun before an edit ended.
    old: Arc<AtomicU64>,
    /// True once a scan without a file in the middle of being written was handed over.
    settled: Arc<watch::Sender<bool>>,
}

/// The fleet knows the directory as it is, and no scan is handed over until this is dropped: what is decided and edited
/// meanwhile is not taken for somebody else's doing.
pub struct Turn<'a> {
    sync: &'a Sync,
    _turn: RwLockWriteGuard<'a, ()>,
}

/// No scan is handed over until this is dropped, and none that was begun before that: what is decided first and written then is
/// not taken for missing in between. Any number of edits may be under way.
pub struct Edit<'a> {
    sync: &'a Sync,
    _turn: RwLockReadGuard<'a, ()>,
}

impl Sync {
    /// Makes the hand-over.
    #[must_use]
    pub fn new(parts: SyncParts) -> Self {
        Self { parts, turn: Arc::default(), old: Arc::default(), settled: Arc::new(watch::Sender::new(false)) }
    }

    /// Hands over what a reader of the directory sends, until it is gone.
    pub async fn run(self, scans: &mut mpsc::Receiver<Scan>) {
        let mut hold = self.parts.hold.subscribe();
        let mut waiting: Option<Scan> = None;
        loop {
            tokio::select! {
                biased;
                scan = scans.recv() => match scan {
                    Some(scan) => waiting = Some(scan),
                    None => return,
                },
                changed = hold.changed(), if waiting.is_some() => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY), if waiting.is_some() => {}
            }
            if self.parts.hold.reason().is_some() {
                if let Some(scan) = &waiting {
                    self.parts.problems.replace(scan.unreadable.clone());
                }
                continue;
            }
            let Some(scan) = waiting.clone() else { continue };
            match self.hand_over("directory", Some(scan)).await {
                Ok(()) => waiting = None,
                Err(refusal) if refusal.code.retry_helps() || refusal.code == ErrorCode::FleetHolds => {}
                Err(refusal) => {
                    tracing::error!(%refusal, "the steward refused a scan of the directory");
                    waiting = None;
                }
            }
        }
    }

    /// Reads the directory now and hands it over, so that the next answer shows what was just written.
    ///
    /// # Errors
    /// The steward refuses.
    pub async fn now(&self, actor: &str) -> Result<(), Refusal> {
        self.hand_over(actor, None).await
    }

    /// Reads the directory and hands it over, once nobody is writing one of its files, and lets nobody else do so until the
    /// turn is dropped.
    ///
    /// # Errors
    /// The steward refuses.
    pub async fn turn(&self, actor: &str) -> Result<Turn<'_>, Refusal> {
        let turn = Turn { sync: self, _turn: self.turn.write().await };
        let until = Instant::now() + PATIENCE;
        while self.read(actor, None).await? == Reading::Unsettled && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        Ok(turn)
    }

    /// Begins an edit that is decided before it is written.
    pub async fn edit(&self) -> Edit<'_> {
        Edit { sync: self, _turn: self.turn.read().await }
    }

    /// Waits until the directory was handed over once, all of it.
    pub async fn settled(&self) {
        // The sender lives as long as this does.
        let _ = self.settled.subscribe().wait_for(|settled| *settled).await;
    }

    async fn hand_over(&self, actor: &str, given: Option<Scan>) -> Result<(), Refusal> {
        let _turn = self.turn.write().await;
        self.read(actor, given).await.map(drop)
    }

    /// Returns what the directory says: what was given, unless that is older than what has been handed over or edited meanwhile.
    async fn newest(&self, given: Option<Scan>) -> Option<Scan> {
        let Some(directory) = self.parts.directory.clone() else { return given };
        if let Some(scan) = given
            && scan.number > self.old.load(Ordering::Relaxed)
        {
            return Some(scan);
        }
        let reader = directory.clone();
        let scan = tokio::task::spawn_blocking(move || reader.scan()).await.ok()?;
        // One that was begun meanwhile may have looked at a file before this one did.
        self.old.fetch_max(directory.newest_scan(), Ordering::Relaxed);
        Some(scan)
    }

    /// Makes every scan old that was begun until now.
    fn outdate(&self) {
        if let Some(directory) = &self.parts.directory {
            self.old.fetch_max(directory.newest_scan(), Ordering::Relaxed);
        }
    }

    /// Does it, for whoever has the turn.
    async fn read(&self, actor: &str, given: Option<Scan>) -> Result<Reading, Refusal> {
        let noticed = Instant::now();
        let Some(scan) = self.newest(given).await else { return Ok(Reading::Settled) };
        self.old.fetch_max(scan.number, Ordering::Relaxed);
        self.parts.problems.replace(scan.unreadable);
        let unsettled = scan.unsettled;
        if let Answer::Synced(synced) = self.parts.steward.submit(actor, Request::SyncInputs(scan.inputs)).await? {
            self.parts.problems.replace_untaken(synced.problems);
        }
        self.parts.metrics.set_available(true);
        self.parts.metrics.handed_over(noticed.elapsed());
        if unsettled {
            return Ok(Reading::Unsettled);
        }
        self.settled.send_replace(true);
        Ok(Reading::Settled)
    }
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        self.sync.outdate();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.sync.outdate();
    }
}

impl Turn<'_> {
    /// Reads the directory and hands it over again, after an edit.
    ///
    /// # Errors
    /// The steward refuses.
    pub async fn now(&self, actor: &str) -> Result<(), Refusal> {
        self.sync.read(actor, None).await.map(drop)
    }
}
