//! The steward's care for the ring: from the processes that are seen to the record that says which clusters they own.
//!
//! Runs during a term and knows nothing of the one before but the record. Does not own any rule
//! (`starling_hub_core::ring::membership`).

use std::sync::Arc;
use std::time::Duration;

use starling_hub_core::fleet::Fleet;
use starling_hub_core::ring::{MemberChange, Membership, Presence, RingRecord};
use starling_hub_core::steward::{Request, UpdateRing, first_epoch};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Seen, Topology};
use crate::ports::Clock;
use crate::steward::StewardHandle;

/// How long to wait at most before it looks again, and after a failure.
const LOOK: Duration = Duration::from_secs(1);

/// What the ring is kept with.
pub struct RingParts {
    /// The way to write it.
    pub steward: StewardHandle,
    /// The fleet, which has the record.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// What is seen of the processes.
    pub seen: Seen,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Keeps the ring.
pub struct RingKeeper {
    parts: RingParts,
    membership: Membership,
}

impl RingKeeper {
    /// Begins a term's care.
    #[must_use]
    pub fn new(parts: RingParts) -> Self {
        Self { parts, membership: Membership::default() }
    }

    /// Keeps the ring until dropped.
    pub async fn run(mut self) {
        loop {
            let wake = self.look().await;
            tokio::select! {
                biased;
                changed = self.parts.seen.changed() => if changed.is_err() { return },
                () = sleep(wake) => {}
            }
        }
    }

    /// Writes the next record if it is time for one; returns when to look again.
    async fn look(&mut self) -> Duration {
        let present = presences(&self.parts.seen.borrow_and_update());
        let fleet = Arc::clone(&self.parts.fleet.borrow());
        if fleet.era().is_none() {
            return LOOK;
        }
        let mut record = fleet.ring().map(|ring| ring.as_ref().clone()).unwrap_or_default();
        if record.epoch < first_epoch(&fleet) {
            record.epoch = first_epoch(&fleet);
            if !record.members.is_empty() {
                // The same members, so that nothing moves.
                let next = RingRecord { epoch: record.epoch + 1, ..record.clone() };
                self.write(&record, next, Vec::new()).await;
                return LOOK;
            }
        }
        let uptime = self.parts.clock.uptime();
        let observed = self.membership.observe(&record, &present, uptime);
        for note in &observed.notes {
            tracing::info!(note = %note, "ring");
        }
        if let Some(next) = observed.next {
            self.write(&record, next, observed.changes).await;
        }
        observed.wake.map_or(LOOK, |wake| wake.since(uptime).min(LOOK))
    }

    async fn write(&self, before: &RingRecord, next: RingRecord, changes: Vec<MemberChange>) {
        let epoch = next.epoch;
        let update = Request::UpdateRing(UpdateRing { next, changes });
        match self.parts.steward.submit("ring", update).await {
            Ok(_) => tracing::info!(epoch, before = before.epoch, "the ring changed"),
            Err(refusal) => tracing::info!(epoch, reason = %refusal.message, "the ring was not changed, trying again"),
        }
    }
}

fn presences(topology: &Topology) -> Vec<Presence> {
    let presence = |(name, record): (&String, &super::MemberRecord)| Presence {
        name: name.clone(),
        incarnation: record.incarnation,
        address: record.address.clone(),
        weight: record.weight,
        draining: record.draining,
    };
    topology.members.iter().map(presence).collect()
}
