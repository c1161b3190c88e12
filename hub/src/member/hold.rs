//! Holding together: a reason that one process has is every process's, until the store is recovered.
//!
//! Also judges what agents show: a process whose view is late must not take a fence that it has not reached yet for a sign of a
//! lost store, so the store itself is asked.

use std::sync::Arc;
use std::time::Duration;

use starling_hub_core::fleet::Fleet;
use starling_hub_core::hold;
use starling_model::Fence;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Identity, Seen, ToldHold};
use crate::keyring::Keyring;
use crate::ports::Clock;
use crate::shard::Shard;
use crate::steward::Hold;
use crate::store::keys::{self, Record};
use crate::store::{Compare, Outcome, Store, StoreError, Transaction, Write};

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// What holding together works with.
pub struct HoldParts {
    /// Which process this is.
    pub identity: Identity,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The fleet as every reader of the process sees it.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// What is seen of the processes.
    pub seen: Seen,
    /// The clusters, whose agents show fences.
    pub shard: Arc<Shard>,
    /// The fleet's secrets, with the mark.
    pub keyring: Arc<Keyring>,
    /// Whether the fleet holds.
    pub hold: Hold,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Keeps the hold of this process and that of the others the same.
pub struct HoldKeeper {
    parts: HoldParts,
    suspicious: watch::Receiver<Option<Fence>>,
    /// The greatest era number that was known while the fleet held.
    era: Option<u64>,
    /// The fence that the store was asked about last.
    judged: Option<Fence>,
}

impl HoldKeeper {
    /// Makes the keeper.
    #[must_use]
    pub fn new(parts: HoldParts) -> Self {
        let suspicious = parts.shard.suspicious();
        Self { parts, suspicious, era: None, judged: None }
    }

    /// Keeps them the same until dropped.
    pub async fn run(mut self) {
        let mut held = self.parts.hold.subscribe();
        loop {
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "cannot tell the other processes of the hold, or look into it");
                sleep(RETRY).await;
                continue;
            }
            tokio::select! {
                biased;
                changed = held.changed() => if changed.is_err() { return },
                changed = self.parts.seen.changed() => if changed.is_err() { return },
                changed = self.parts.fleet.changed() => if changed.is_err() { return },
                changed = self.suspicious.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let told = self.parts.seen.borrow_and_update().hold.clone();
        let present = self.parts.fleet.borrow_and_update().era().map_or(0, |record| record.era.number);
        if let Some(known) = self.era
            && present > known
            && self.is_recovered().await
        {
            self.era = None;
            self.parts.hold.release();
        }
        // What was told in an era before is over, whether or not it is seen to be gone yet.
        let told = told.filter(|told| present <= told.era);
        if let Some(told) = &told {
            self.parts.hold.engage(told.reason);
        }
        self.look_into_suspicion().await?;
        let Some(reason) = self.parts.hold.reason() else { return Ok(()) };
        // Whatever era is known of: a store of an older one that is put in its place is no recovery.
        let marked = self.parts.keyring.mark().mark().map_or(0, |mark| mark.era.number);
        let known = [present, marked, told.as_ref().map_or(0, |told| told.era)].into_iter().max().unwrap_or(0);
        let known = *self.era.get_or_insert(known);
        if told.is_none() {
            self.tell(reason, known).await?;
        }
        Ok(())
    }

    /// Tells whether the store of a greater era is as far as the mark beside it says.
    async fn is_recovered(&self) -> bool {
        if let Err(error) = self.parts.keyring.refresh_mark().await {
            tracing::warn!(%error, "cannot read the mark yet, the fleet holds on");
            return false;
        }
        let fleet = self.parts.fleet.borrow();
        let store = fleet.era().map(|record| (record.era, fleet.position()));
        hold::at_start(self.parts.keyring.mark().mark(), store) == hold::Start::Continue
    }

    async fn tell(&self, reason: hold::HoldReason, era: u64) -> Result<(), StoreError> {
        let told = ToldHold {
            reason,
            era,
            by: self.parts.identity.name.clone(),
            since: self.parts.clock.now(),
            shown: self.parts.shard.newest_shown_fence(),
        };
        let value = serde_json::to_vec(&told).expect("a reason is JSON");
        // What is left of an era before, of a process that was late, stands in nobody's way.
        let unchanged = match self.parts.store.get(keys::HOLD.as_bytes()).await? {
            None => Compare::Absent(keys::HOLD.into()),
            Some(entry) => Compare::ModifiedAt(keys::HOLD.into(), entry.modified),
        };
        let writes = vec![Write::put(keys::HOLD, value)];
        match self.parts.store.transact(Transaction { compares: vec![unchanged], writes }).await? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict => {
                let problem = "another process told of a hold at the same time".to_owned();
                Err(StoreError::Unavailable { doing: "write the hold to", problem })
            }
        }
    }

    /// Asks the store whether it has reached a fence that the view has not.
    async fn look_into_suspicion(&mut self) -> Result<(), StoreError> {
        let suspicious = *self.suspicious.borrow_and_update();
        let Some(shown) = suspicious.filter(|shown| self.judged != Some(*shown)) else { return Ok(()) };
        let position = keys::read_position(self.parts.store.as_ref()).await?;
        let era = self.parts.store.get(keys::ERA.as_bytes()).await?;
        let era = era.as_ref().map(keys::decode_entry).transpose()?;
        let Some(Record::Change(change)) = era else { return Ok(()) };
        let starling_hub_core::change::Change::PutEra(record) = *change else { return Ok(()) };
        if let Some(reason) = hold::at_fence(record.era, position.unwrap_or_default(), &shown) {
            self.parts.hold.engage(reason);
        }
        self.judged = Some(shown);
        Ok(())
    }
}
