//! The fleet as this process sees it: the store's records at a position, followed as they change.
//!
//! Owns reading the store into a [`Fleet`], and into what is seen of the hub's processes, and publishing each position. Everything in the process that plans, judges or
//! answers reads from here, so that no two parts ever use views that cannot be compared.

use std::sync::Arc;
use std::time::Duration;

use crate::gather::Summaries;
use crate::member::Topology;
use crate::steward::Hold;
use starling_hub_core::fleet::Fleet;
use starling_hub_core::hold::HoldReason;
use starling_hub_core::records::EraRecord;
use starling_model::{Guard, Position};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::store::keys::{self, CodecError, Record};
use crate::store::{Event, Revision, Store, StoreError, Watched};

/// How long to wait before the store is read again after an error.
const RETRY: Duration = Duration::from_millis(500);

/// Why the fleet cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store holds what this build does not understand.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Follows the store.
pub struct FleetView {
    store: Arc<dyn Store>,
    read: Read,
    published: watch::Sender<Arc<Fleet>>,
    seen: watch::Sender<Arc<Topology>>,
    summaries: watch::Sender<Arc<Summaries>>,
}

/// What was read, as of a revision.
struct Read {
    fleet: Fleet,
    topology: Topology,
    summaries: Summaries,
    revision: Revision,
}

impl FleetView {
    /// Reads the whole store.
    ///
    /// # Errors
    /// The store cannot be read, or holds what this build does not understand.
    pub async fn load(store: Arc<dyn Store>, fleet_name: &str) -> Result<Self, ViewError> {
        let read = Read::whole(store.as_ref(), fleet_name).await?;
        let published = watch::Sender::new(Arc::new(read.fleet.clone()));
        let seen = watch::Sender::new(Arc::new(read.topology.clone()));
        let summaries = watch::Sender::new(Arc::new(read.summaries.clone()));
        Ok(Self { store, read, published, seen, summaries })
    }

    /// Follows what was last known of clusters.
    #[must_use]
    pub fn summaries(&self) -> watch::Receiver<Arc<Summaries>> {
        self.summaries.subscribe()
    }

    /// Follows what is seen of the hub's processes; a slow reader gets the newest.
    #[must_use]
    pub fn processes(&self) -> watch::Receiver<Arc<Topology>> {
        self.seen.subscribe()
    }

    /// Follows the fleet; a slow reader gets the newest.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Fleet>> {
        self.published.subscribe()
    }

    /// Follows the store until cancelled; after an error, or when it was too slow, it reads everything again. Where that shows
    /// less than was known, the fleet holds before anybody sees it.
    pub async fn run(mut self, cancelled: CancellationToken, hold: Hold) {
        loop {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => return,
                outcome = self.follow() => match outcome {
                    Ok(()) => tracing::info!("fell behind the store, reading it again"),
                    Err(error) => {
                        tracing::warn!(%error, "cannot follow the store, reading it again");
                        tokio::time::sleep(RETRY).await;
                    }
                },
            }
            match Read::whole(self.store.as_ref(), self.read.fleet.name()).await {
                Ok(read) => {
                    if let Some(reason) = went_back(&self.read.fleet, &read.fleet) {
                        hold.engage(reason);
                    }
                    self.read = read;
                    self.publish();
                }
                Err(error) => tracing::warn!(%error, "cannot read the store, trying again"),
            }
        }
    }

    /// Follows the store until events were lost.
    async fn follow(&mut self) -> Result<(), ViewError> {
        let mut watch = self.store.watch(keys::PREFIX, self.read.revision).await?;
        loop {
            match watch.next().await? {
                Watched::Compacted => return Ok(()),
                Watched::Events { revision, events } => {
                    let before = (self.read.fleet.era().cloned(), self.read.fleet.position());
                    for event in &events {
                        self.read.apply(event)?;
                    }
                    self.read.revision = revision;
                    if !self.read.follows_on(before) {
                        return Ok(());
                    }
                    self.publish();
                }
            }
        }
    }

    fn publish(&self) {
        let is_news =
            |fleet: &Arc<Fleet>| fleet.position() != self.read.fleet.position() || fleet.era() != self.read.fleet.era();
        if is_news(&self.published.borrow()) {
            self.published.send_replace(Arc::new(self.read.fleet.clone()));
        }
        self.seen.send_if_modified(|seen| {
            let is_news = **seen != self.read.topology;
            if is_news {
                *seen = Arc::new(self.read.topology.clone());
            }
            is_news
        });
        self.summaries.send_if_modified(|summaries| {
            let is_news = !summaries.is_same(&self.read.summaries);
            if is_news {
                *summaries = Arc::new(self.read.summaries.clone());
            }
            is_news
        });
    }
}

/// Tells whether a store went back: it was restored, or lost.
fn went_back(known: &Fleet, read: &Fleet) -> Option<HoldReason> {
    let era = known.era()?.era;
    let is_newer = read.era().is_some_and(|record| record.era.number > era.number);
    let went_back = !is_newer && read.position() < known.position();
    went_back.then(|| HoldReason::WentBack { store: read.position(), era: era.number, known: known.position() })
}

impl Read {
    async fn whole(store: &dyn Store, fleet_name: &str) -> Result<Self, ViewError> {
        let range = store.range(keys::PREFIX).await?;
        let (fleet, topology, summaries) = (Fleet::new(fleet_name), Topology::default(), Summaries::default());
        let mut read = Self { fleet, topology, summaries, revision: range.revision };
        for entry in range.entries {
            read.apply(&Event::Put(entry))?;
        }
        Ok(read)
    }

    /// Tells whether what was applied is what comes after this era and position. A new era begins with another state than the last one
    /// had, of which not everything may have been heard; so does what a restored store decides.
    fn follows_on(&self, (era, position): (Option<EraRecord>, Position)) -> bool {
        let now = self.fleet.position();
        now == position
            || Guard::History.is_broken()
            || (era.is_none() || self.fleet.era() == era.as_ref()) && now.0 == position.0 + 1
    }

    fn apply(&mut self, event: &Event) -> Result<(), ViewError> {
        match keys::decode(event)? {
            Record::Change(change) => self.fleet.apply(&change),
            Record::Position(position) => self.fleet.set_position(position),
            Record::Member(name, Some(member)) => drop(self.topology.members.insert(name, member)),
            Record::Member(name, None) => drop(self.topology.members.remove(&name)),
            Record::Steward(steward) => self.topology.steward = steward,
            Record::Hold(hold) => self.topology.hold = hold,
            Record::Summaries(place, Some(record)) => drop(self.summaries.0.insert(place, Arc::new(record))),
            Record::Summaries(place, None) => drop(self.summaries.0.remove(&place)),
            Record::Other => {}
        }
        Ok(())
    }
}
