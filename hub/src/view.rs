//! The fleet as this process sees it: the store's records at a position, followed as they change.
//!
//! Owns reading the store into a [`Fleet`] and publishing each position. Everything in the process that plans, judges or
//! answers reads from here, so that no two parts ever use views that cannot be compared.

use std::sync::Arc;
use std::time::Duration;

use starling_hub_core::fleet::Fleet;
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
    fleet: Fleet,
    revision: Revision,
    published: watch::Sender<Arc<Fleet>>,
}

impl FleetView {
    /// Reads the whole store.
    ///
    /// # Errors
    /// The store cannot be read, or holds what this build does not understand.
    pub async fn load(store: Arc<dyn Store>, fleet_name: &str) -> Result<Self, ViewError> {
        let (fleet, revision) = read(store.as_ref(), fleet_name).await?;
        let published = watch::Sender::new(Arc::new(fleet.clone()));
        Ok(Self { store, fleet, revision, published })
    }

    /// Follows the fleet; a slow reader gets the newest.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Fleet>> {
        self.published.subscribe()
    }

    /// Follows the store until cancelled; after an error, or when it was too slow, it reads everything again.
    pub async fn run(mut self, cancelled: CancellationToken) {
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
            match read(self.store.as_ref(), self.fleet.name()).await {
                Ok((fleet, revision)) => {
                    (self.fleet, self.revision) = (fleet, revision);
                    self.publish();
                }
                Err(error) => tracing::warn!(%error, "cannot read the store, trying again"),
            }
        }
    }

    /// Follows the store until events were lost.
    async fn follow(&mut self) -> Result<(), ViewError> {
        let mut watch = self.store.watch(keys::PREFIX, self.revision).await?;
        loop {
            match watch.next().await? {
                Watched::Compacted => return Ok(()),
                Watched::Events { revision, events } => {
                    for event in &events {
                        apply(&mut self.fleet, event)?;
                    }
                    self.revision = revision;
                    self.publish();
                }
            }
        }
    }

    fn publish(&self) {
        self.published.send_replace(Arc::new(self.fleet.clone()));
    }
}

async fn read(store: &dyn Store, fleet_name: &str) -> Result<(Fleet, Revision), ViewError> {
    let range = store.range(keys::PREFIX).await?;
    let mut fleet = Fleet::new(fleet_name);
    for entry in range.entries {
        apply(&mut fleet, &Event::Put(entry))?;
    }
    Ok((fleet, range.revision))
}

fn apply(fleet: &mut Fleet, event: &Event) -> Result<(), ViewError> {
    match keys::decode(event)? {
        Record::Change(change) => fleet.apply(&change),
        Record::Position(position) => fleet.set_position(position),
        Record::Other => {}
    }
    Ok(())
}
