//! Makes the cluster what the inventory says, and the inventory what the newest plan says.
//!
//! Owns the order of effects: the intent is stored before anything of it is done, everything is read again before it
//! is written, and whatever fails is tried again later. Does not own what a plan makes of an inventory nor what one
//! object needs: these are the core's. Works from the inventory in the cluster alone, without hub and lease; only a new
//! plan needs both.

mod agenda;
mod object;
mod plan;
mod stored;
mod traced;
mod turn;

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use starling_agent_core::reconcile::Purpose;
use starling_model::{Digest, Fence, InstallKey, Millis, ObjectKey};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::agenda::Agenda;
use self::object::ObjectError;
use self::stored::Stored;
use self::traced::Applying;
use crate::cluster::ClusterApi;
use crate::ports::Ports;
use crate::shared::Shared;

/// How often everything that is held is looked at, besides when the watch saw something: least and most.
const SWEEP: (Duration, Duration) = (Duration::from_secs(480), Duration::from_secs(720));

/// Waits before the inventory is read again: first and longest.
const RELOAD: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// After how long an object that is going, or late, is looked at again if the watch says nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// The applier task of one agent.
pub(crate) struct Applier {
    shared: Arc<Shared>,
    cluster: Arc<dyn ClusterApi>,
    ports: Ports,
    agenda: Agenda,
    /// The plan that was turned into an intent last.
    handled: Option<Digest>,
    /// Installs whose intent is stored, or may be, and waits for a lease.
    unconfirmed: BTreeSet<InstallKey>,
    /// The detachment that is stored, or may be, and waits for a lease.
    held_back: Option<Fence>,
    /// Objects that may have been created late, and when they are looked at.
    late: (BTreeSet<ObjectKey>, Option<Millis>),
    /// The detachment that is not carried out to its end, and when to go on with it.
    detaching: Option<(Fence, Millis)>,
    sweep_at: Millis,
    /// The trace of the newest plan that is being carried out.
    applying: Option<Applying>,
    stop: CancellationToken,
}

/// Why the inventory has to be read again.
#[derive(Debug, thiserror::Error)]
enum Reload {
    #[error("the inventory could not be stored: {0}")]
    NotStored(#[from] crate::cluster::ClusterError),
    #[error("another agent of this cluster is newer: {0}")]
    Superseded(String),
}

impl Applier {
    pub(crate) fn new(shared: Arc<Shared>, cluster: Arc<dyn ClusterApi>, ports: Ports) -> Self {
        Self {
            shared,
            cluster,
            ports,
            agenda: Agenda::default(),
            handled: None,
            unconfirmed: BTreeSet::new(),
            held_back: None,
            late: (BTreeSet::new(), None),
            detaching: None,
            sweep_at: Millis(0),
            applying: None,
            stop: CancellationToken::new(),
        }
    }

    /// Works until `stop` is cancelled; then the install that has its turn is finished, and no other one begun.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        self.stop = stop.clone();
        let mut failures = 0;
        loop {
            let Some(mut stored) = stop.run_until_cancelled(self.load()).await else { return };
            let began = self.uptime();
            if stop.run_until_cancelled(self.begin(&stored)).await.is_none() {
                return;
            }
            let Some(reload) = self.work(&mut stored).await else {
                // Where the right to act ended by the clock, the word to stop is under way.
                stop.cancelled().await;
                return;
            };
            if self.uptime().since(began) > RELOAD.1 {
                failures = 0;
            }
            tracing::warn!(reason = %reload, "reading the inventory again");
            if stop.run_until_cancelled(self.wait(RELOAD, &mut failures)).await.is_none() {
                return;
            }
        }
    }

    /// Reads the inventory, however long that takes.
    async fn load(&self) -> Stored {
        let mut failures = 0;
        loop {
            match Stored::load(Arc::clone(&self.cluster)).await {
                Ok(stored) => return stored,
                Err(error @ stored::LoadError::Cluster(_)) => {
                    tracing::warn!(%error, "cannot read the inventory, trying again");
                }
                Err(error @ stored::LoadError::Record(_)) => tracing::error!(
                    %error,
                    next = "restore the ConfigMap starling-inventory or run a newer agent; nothing is applied or removed until then",
                    "the inventory is not usable"
                ),
            }
            self.wait(RELOAD, &mut failures).await;
        }
    }

    /// Takes over what was read, and stamps what an unfinished intent names: whoever is still at it loses every
    /// precondition that it read before.
    async fn begin(&mut self, stored: &Stored) {
        let inventory = stored.inventory();
        self.shared.adopt(inventory);
        self.handled = None;
        let open = inventory.open_intent().map(|open| &open.installs);
        // What this process stored without knowing it still waits for a lease; what another one left open is finished.
        self.unconfirmed.retain(|install| open.is_some_and(|open| open.contains(install)));
        let now = self.uptime();
        self.held_back = self.held_back.filter(|fence| inventory.detached() == Some(*fence));
        self.detaching = inventory.detached().filter(|_| self.held_back.is_none()).map(|fence| (fence, now));
        if let (Some(fence), None) = (inventory.acting_fence(), inventory.detached()) {
            for key in inventory.intent_objects() {
                let mut failures = 0;
                while let Err(error @ ObjectError::Unavailable(_)) = object::stamp(&*self.cluster, &key, &fence).await {
                    tracing::warn!(%error, object = %key, "cannot stamp an object of an unfinished intent, trying again");
                    self.wait(RELOAD, &mut failures).await;
                }
            }
        }
        self.agenda.retain(|install| inventory.installs().contains_key(install));
        for install in inventory.installs().keys() {
            let is_open = open.is_some_and(|open| open.contains(install));
            self.agenda.mark(install, if is_open { Purpose::Write } else { Purpose::Repair }, now);
        }
        self.sweep_at = now.plus(self.ports.draw_wait(SWEEP.0, SWEEP.1));
    }

    /// Works until the inventory has to be read again; `None` where the agent stops.
    async fn work(&mut self, stored: &mut Stored) -> Option<Reload> {
        loop {
            if let Err(reload) = self.round(stored).await {
                return Some(reload);
            }
            if !self.may_begin() {
                return None;
            }
            let now = self.uptime();
            let wakings = [self.agenda.next(), self.late.1, self.detaching.map(|(_, at)| at), Some(self.sweep_at)];
            let waking = wakings.into_iter().flatten().min();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                () = self.shared.applier_bell.notified() => {}
                () = sleep_until(waking, now) => {}
            }
        }
    }

    /// Does what is due, as long as anything may be begun.
    async fn round(&mut self, stored: &mut Stored) -> Result<(), Reload> {
        while self.may_begin() {
            self.take_plan(stored).await?;
            self.take_hints(stored);
            if let Some((install, purpose)) = self.agenda.take(self.uptime()) {
                self.turn(stored, &install, purpose).await?;
                continue;
            }
            self.remove_late(stored).await;
            self.detach(stored).await;
            return Ok(());
        }
        Ok(())
    }

    /// Tells whether this agent is the active one and goes on: whoever was paused looks here before it does anything.
    fn may_begin(&self) -> bool {
        !self.stop.is_cancelled() && self.shared.leadership.holds(self.uptime())
    }

    fn take_hints(&mut self, stored: &Stored) {
        let now = self.uptime();
        let hints = std::mem::take(&mut self.shared.state().hints);
        for install in hints.installs {
            self.agenda.mark(&install, Purpose::Repair, now);
        }
        if !hints.late.is_empty() {
            self.late.0.extend(hints.late);
            self.late.1 = Some(now);
        }
        if now >= self.sweep_at {
            self.sweep_at = now.plus(self.ports.draw_wait(SWEEP.0, SWEEP.1));
            for install in stored.inventory().installs().keys() {
                self.agenda.mark(install, Purpose::Repair, now);
            }
        }
    }

    fn uptime(&self) -> Millis {
        self.ports.clock.uptime()
    }

    async fn wait(&self, bounds: (Duration, Duration), failures: &mut u32) {
        let longest = bounds.0.saturating_mul(1 << (*failures).min(10)).min(bounds.1);
        *failures = failures.saturating_add(1);
        sleep(self.ports.draw_wait(bounds.0 / 2, longest)).await;
    }
}

async fn sleep_until(waking: Option<Millis>, now: Millis) {
    match waking {
        Some(waking) => sleep(waking.since(now)).await,
        None => pending().await,
    }
}
