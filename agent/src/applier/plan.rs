//! From the newest plan to a stored intent; and what follows of a detachment and of late creations.

use std::collections::BTreeSet;
use std::sync::Arc;

use starling_agent_core::intent::intend;
use starling_agent_core::inventory::Late;
use starling_agent_core::reconcile::Purpose;
use starling_model::{Fence, InstallKey};
use tracing::Instrument as _;

use super::object::{self, ObjectError, Removed};
use super::stored::Stored;
use super::traced::Applying;
use super::{Applier, LOOK_AGAIN, Reload};
use crate::cluster::ResourceRef;

impl Applier {
    /// Stores the intent of the newest plan, under a live lease that is checked before and after.
    pub(super) async fn take_plan(&mut self, stored: &mut Stored) -> Result<(), Reload> {
        if !self.lease_is_live() {
            return Ok(());
        }
        self.confirm();
        let (parked, confirmed) = {
            let mut state = self.shared.state();
            let is_committed = state.session.plan_digest() == stored.inventory().plan_digest();
            (state.session.parked().cloned(), state.advanced.take().filter(|_| is_committed))
        };
        if let Some(fence) = confirmed {
            self.advance(stored, &fence).await?;
        }
        let Some(parked) = parked.filter(|parked| self.handled != Some(parked.plan_digest)) else { return Ok(()) };
        let intent = intend(stored.inventory(), &parked);
        let mut next = (**stored.inventory()).clone();
        if !intent.needs_commit(&next) {
            stored.note(|inventory| inventory.advance(&intent.fence));
            self.handled = Some(parked.plan_digest);
            return Ok(());
        }
        if let Err(error) = next.commit(&intent) {
            tracing::warn!(%error, fence = %parked.fence.stamp(), "the plan is not acted on");
            self.handled = Some(parked.plan_digest);
            return Ok(());
        }
        // Before it is stored: storing may fail and yet have happened.
        let writes = intent.writes.iter().map(|write| &write.install);
        let removals = intent.removals.iter().map(|tombstone| &tombstone.install);
        self.unconfirmed.extend(writes.chain(removals).cloned());
        self.held_back = intent.detach.map(|_| intent.fence);
        self.detaching = None;
        let span = self.trace_plan(&parked, intent.writes.len(), intent.removals.len());
        stored.swap(next).instrument(span.clone()).await?;
        self.applying = Applying::new(span, self.unconfirmed.clone());
        self.shared.adopt(stored.inventory());
        self.handled = Some(parked.plan_digest);
        tracing::info!(
            fence = %intent.fence.stamp(),
            writes = intent.writes.len(),
            removals = intent.removals.len(),
            detach = intent.detach.is_some(),
            "intent stored"
        );
        if self.lease_is_live() {
            self.confirm();
        } else {
            tracing::info!("the command lease ended meanwhile; the intent waits for the next");
        }
        Ok(())
    }

    /// Takes over that the committed plan was confirmed under a newer fence: only another era is worth a write.
    async fn advance(&self, stored: &mut Stored, fence: &Fence) -> Result<(), Reload> {
        if !stored.inventory().begins_era(fence) {
            stored.note(|inventory| inventory.advance(fence));
            return Ok(());
        }
        let mut next = (**stored.inventory()).clone();
        next.advance(fence);
        stored.swap(next).await?;
        self.shared.adopt(stored.inventory());
        Ok(())
    }

    /// Lets stored intents begin.
    fn confirm(&mut self) {
        let now = self.uptime();
        let installs: BTreeSet<InstallKey> = std::mem::take(&mut self.unconfirmed);
        for install in &installs {
            self.agenda.forgive(install);
            self.agenda.mark(install, Purpose::Write, now);
        }
        if let Some(fence) = self.held_back.take() {
            self.detaching = Some((fence, now));
        }
    }

    fn lease_is_live(&self) -> bool {
        self.shared.lease_is_live(self.uptime())
    }

    /// Takes the stamps off everything that a detached cluster keeps, so that another fleet can adopt it.
    pub(super) async fn detach(&mut self, stored: &Stored) {
        let now = self.uptime();
        let Some((fence, _)) = self.detaching.filter(|(_, at)| *at <= now) else { return };
        for held in stored.inventory().installs().values() {
            for key in held.objects.keys() {
                if let Err(error @ ObjectError::Unavailable(_)) = object::unstamp(&*self.cluster, key).await {
                    tracing::warn!(%error, object = %key, "cannot leave an object to itself, trying again");
                    self.detaching = Some((fence, now.plus(LOOK_AGAIN)));
                    return;
                }
            }
        }
        tracing::info!(fence = %fence.stamp(), "detached: everything is left where it is");
        self.detaching = None;
        let mut state = self.shared.state();
        state.session.observe_left(fence);
        state.inventory_changed = true;
        drop(state);
        self.shared.session_bell.notify_one();
    }

    /// Removes objects again that were created late, by an agent that was paused while a tombstone was carried out.
    pub(super) async fn remove_late(&mut self, stored: &Stored) {
        let now = self.uptime();
        if self.late.1.is_none_or(|at| at > now) {
            return;
        }
        self.late.1 = None;
        let inventory = Arc::clone(stored.inventory());
        let Some(fence) = inventory.acting_fence().filter(|_| inventory.detached().is_none()) else { return };
        for key in std::mem::take(&mut self.late.0) {
            let outcome = match object::read(&*self.cluster, &ResourceRef::any_version(key.clone())).await {
                Err(error) => Err(error),
                Ok(live) => match live.as_ref().and_then(|live| inventory.late_creation(live)) {
                    None => Ok(Removed::Gone),
                    Some(Late { install, owners }) => {
                        tracing::info!(object = %key, "removing an object that was created after its removal");
                        object::remove(&*self.cluster, &key, &owners, &install.name, &fence).await
                    }
                },
            };
            match outcome {
                Ok(Removed::Gone | Removed::Wait) => {}
                Err(error) => {
                    tracing::warn!(%error, object = %key, "cannot remove a late object, trying again");
                    self.late.0.insert(key);
                    self.late.1 = Some(now.plus(LOOK_AGAIN));
                }
            }
        }
    }
}
