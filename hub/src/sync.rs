//! From scans of the directory to the steward, one at a time, and again when the hold ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use starling_hub_core::fleet::Fleet;
use starling_hub_core::resources::InputKey;
use starling_hub_core::steward::{Answer, Refusal, Request, SourceFile, SyncFiles, Synced, with_names_kept};
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

/// How often everything is handed over although little of it changed: whatever the changed files alone did not tell is told then.
const WHOLE: Duration = Duration::from_secs(40);

/// How often a scan that has become old while it waited for its turn is made again before it keeps others waiting.
const POLITE: usize = 4;

/// What the hand-over works with.
#[derive(Clone)]
pub struct SyncParts {
    /// The fleet as every reader of the process sees it.
    pub fleet: watch::Receiver<Arc<Fleet>>,
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

/// The files as they were handed over last, where every document of them was taken.
struct Taken {
    files: BTreeMap<String, Arc<SourceFile>>,
    /// The fleet then.
    since: Arc<Fleet>,
    /// When everything was handed over last.
    whole: Instant,
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
    /// Written by whoever has the turn; `None` where everything has to be handed over.
    taken: Arc<Mutex<Option<Taken>>>,
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
        let settled = Arc::new(watch::Sender::new(false));
        Self { parts, turn: Arc::default(), old: Arc::default(), settled, taken: Arc::default() }
    }

    /// Hands everything over next time: another process may have read the directory meanwhile.
    pub fn forget(&self) {
        *self.taken() = None;
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

    /// Lets the fleet know some documents as they are in the directory, once nobody is writing a file, and lets nobody else read it
    /// until the turn is dropped.
    ///
    /// Where these documents are known it costs the files that they are in; otherwise, and for none, the whole directory is read.
    ///
    /// # Errors
    /// The steward refuses.
    pub async fn turn(&self, actor: &str, documents: Vec<InputKey>) -> Result<Turn<'_>, Refusal> {
        let turn = Turn { sync: self, _turn: self.turn.write().await };
        if !self.read_documents(actor, documents, false).await? {
            turn.whole(actor).await?;
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

    async fn hand_over(&self, actor: &str, mut given: Option<Scan>) -> Result<(), Refusal> {
        for _ in 0..POLITE {
            let turn = self.turn.write().await;
            if given.as_ref().is_none_or(|scan| !self.is_old(scan)) {
                return self.read(actor, given).await.map(drop);
            }
            // Edits need not wait for this.
            drop(turn);
            given = self.scan().await;
        }
        let _turn = self.turn.write().await;
        self.read(actor, given).await.map(drop)
    }

    fn is_old(&self, scan: &Scan) -> bool {
        self.parts.directory.is_some() && scan.number <= self.old.load(Ordering::Relaxed)
    }

    async fn scan(&self) -> Option<Scan> {
        let directory = self.parts.directory.clone()?;
        tokio::task::spawn_blocking(move || directory.scan()).await.ok()
    }

    /// Returns what the directory says: what was given, unless that is older than what has been handed over or edited meanwhile.
    async fn newest(&self, given: Option<Scan>) -> Option<Scan> {
        let given = given.filter(|scan| !self.is_old(scan));
        if given.is_some() || self.parts.directory.is_none() {
            return given;
        }
        let scan = self.scan().await?;
        // One that was begun meanwhile may have looked at a file before this one did.
        self.outdate();
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
        let is_of_its_own_accord = given.is_some();
        let Some(scan) = self.newest(given).await else { return Ok(Reading::Settled) };
        self.old.fetch_max(scan.number, Ordering::Relaxed);
        self.parts.problems.replace(scan.unreadable);
        let (unsettled, inputs) = (scan.unsettled, scan.inputs);
        // What is asked for in between is not kept waiting for everything.
        let changed = self
            .taken()
            .as_ref()
            .filter(|taken| !is_of_its_own_accord || taken.whole.elapsed() < WHOLE)
            .and_then(|taken| SyncFiles::between(&taken.files, &inputs.files, Arc::clone(&taken.since)));
        let changed = changed.filter(|_| inputs.unlisted.is_empty() && self.parts.hold.reason().is_none());
        let is_done = match changed {
            Some(changed) => self.submit_files(actor, changed, Some(inputs.files.clone())).await?,
            None => false,
        };
        if !is_done {
            let before = self.taken().take().map(|taken| taken.files);
            let (files, is_listed) = (inputs.files.clone(), inputs.unlisted.is_empty());
            if let Answer::Synced(synced) = self.parts.steward.submit(actor, Request::SyncInputs(inputs)).await? {
                let whole = Instant::now();
                let since = Arc::clone(&self.parts.fleet.borrow());
                let files = with_names_kept(before.as_ref(), files);
                let files = files.filter(|_| is_listed && synced.problems.is_empty());
                *self.taken() = files.map(|files| Taken { files, since, whole });
                self.parts.problems.replace_untaken(synced.problems);
            }
        }
        self.parts.metrics.set_available(true);
        self.parts.metrics.handed_over(noticed.elapsed());
        if unsettled {
            return Ok(Reading::Unsettled);
        }
        self.settled.send_replace(true);
        Ok(Reading::Settled)
    }

    /// Reads the files of some documents and hands over those that differ from what is known of them, or all that were edited, for
    /// whoever has the turn; false if that is not enough.
    async fn read_documents(&self, actor: &str, documents: Vec<InputKey>, edited: bool) -> Result<bool, Refusal> {
        let noticed = Instant::now();
        let Some(directory) = self.parts.directory.clone() else { return Ok(false) };
        if documents.is_empty() || self.taken().is_none() || self.parts.hold.reason().is_some() {
            return Ok(false);
        }
        let reading = tokio::task::spawn_blocking(move || {
            let read = directory.read(&directory.places_of(&documents)?)?;
            let named = read.values().flat_map(|content| &content.documents).map(|(_, resource)| resource.key());
            let named: BTreeSet<InputKey> = named.collect();
            // One that is not where it was may be somewhere else by now.
            documents.iter().all(|key| named.contains(key)).then_some(read)
        });
        let Ok(Some(read)) = reading.await else { return Ok(false) };
        let changed = self.taken().as_ref().map(|taken| {
            let is_known = |file: &String, content: &Arc<SourceFile>| taken.files.get(file) == Some(content);
            let changed = read.into_iter().filter(|(file, content)| edited || !is_known(file, content)).collect();
            SyncFiles::of(changed, &taken.files, Arc::clone(&taken.since))
        });
        let Some(changed) = changed else { return Ok(false) };
        let is_done = self.submit_files(actor, changed, None).await?;
        self.parts.metrics.handed_over(noticed.elapsed());
        Ok(is_done)
    }

    /// Hands some files over, of all that there are where these were read; false if that is not enough.
    async fn submit_files(
        &self,
        actor: &str,
        changed: SyncFiles,
        all: Option<BTreeMap<String, Arc<SourceFile>>>,
    ) -> Result<bool, Refusal> {
        if changed.files.is_empty() {
            let fleet = Arc::clone(&self.parts.fleet.borrow());
            let touched = fleet.documents_touched_since(&changed.since).filter(|_| fleet.era() == changed.since.era());
            return Ok(touched.is_some_and(|touched| touched.is_empty()));
        }
        // Until it is known what became of them.
        let Some(taken) = self.taken().take() else { return Ok(false) };
        let files = changed.files.clone();
        let Synced { problems, .. } = match self.parts.steward.submit(actor, Request::SyncFiles(changed)).await {
            Ok(Answer::Synced(synced)) => synced,
            Ok(_) => return Ok(false),
            Err(refusal) if refusal.code == ErrorCode::Conflict => return Ok(false),
            Err(refusal) => return Err(refusal),
        };
        if problems.is_empty() {
            let kept = match all {
                Some(all) => with_names_kept(Some(&taken.files), all),
                None => with_names_kept(Some(&taken.files), files).map(|files| {
                    let mut all = taken.files;
                    all.extend(files);
                    all
                }),
            };
            let since = Arc::clone(&self.parts.fleet.borrow());
            *self.taken() = kept.map(|files| Taken { files, since, whole: taken.whole });
        }
        self.parts.problems.replace_untaken(problems);
        Ok(true)
    }

    fn taken(&self) -> MutexGuard<'_, Option<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Reads the whole directory and hands it over, once nobody is writing one of its files.
    ///
    /// # Errors
    /// The steward refuses.
    pub async fn whole(&self, actor: &str) -> Result<(), Refusal> {
        let until = Instant::now() + PATIENCE;
        while self.sync.read(actor, None).await? == Reading::Unsettled && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Hands some documents over again, after they were edited.
    ///
    /// # Errors
    /// The steward refuses.
    pub async fn now(&self, actor: &str, documents: Vec<InputKey>) -> Result<(), Refusal> {
        if !self.sync.read_documents(actor, documents, true).await? {
            self.sync.read(actor, None).await?;
        }
        Ok(())
    }
}
