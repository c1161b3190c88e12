//! The process's seat: its key in the store under its lease, taken, kept, and given up.
//!
//! A refresh counts from when it was sent, and only after a linearizable read of the own key and of the position, and once the
//! planner has applied that position: a process whose watch is stuck lends nothing and, after a while, loses its seat.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use starling_hub_core::fleet::Fleet;
use starling_hub_core::hold::HoldReason;
use starling_model::{Era, Guard, Millis, Position};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::lease::ProcessLease;
use super::topology::MemberRecord;
use super::{Identity, LEASE, REFRESH};
use crate::ports::Clock;
use crate::shard::Shard;
use crate::steward::Hold;
use crate::store::{Compare, LeaseId, Outcome, Store, StoreError, Transaction, Write, keys};

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// How long a refresh waits for what it has read to be applied here.
const APPLIES_WITHIN: Duration = Duration::from_secs(2);

/// How long a process that does not follow the store keeps its seat.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);

/// How long another process of the name may go without answering before its seat is taken.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Finds out who answers at an address.
#[async_trait]
pub trait Neighbour: Send + Sync + 'static {
    /// Tells whether the process of that name and incarnation answers at its address.
    async fn answers(&self, name: &str, record: &MemberRecord) -> bool;
}

/// What a seat is kept with.
pub struct SeatParts {
    /// Which process this is.
    pub identity: Identity,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The fleet as every reader of the process sees it.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// The clusters of the process: a refresh waits for their plans.
    pub shard: Arc<Shard>,
    /// The lease that agents are lent of.
    pub lease: Arc<ProcessLease>,
    /// Whether the fleet holds.
    pub hold: Hold,
    /// Finds out whether a predecessor still answers.
    pub neighbour: Arc<dyn Neighbour>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Why a process has no seat.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// Another process of the same name answers.
    #[error(
        "another hub process is called {name:?} and answers at {address}: give each process a name of its own (--name), \
         or stop the other one"
    )]
    Taken {
        /// The name.
        name: String,
        /// Where the other one answers.
        address: String,
    },
    /// Another process says that it is at the same address.
    #[error(
        "hub process {other:?} has the address {address} as well: give each process one of its own (--own-address)"
    )]
    SharedAddress {
        /// The other one.
        other: String,
        /// The address.
        address: String,
    },
    /// The store does not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps the process's seat.
pub struct Seat {
    parts: SeatParts,
    started: Millis,
    held: Option<LeaseId>,
    draining: watch::Receiver<bool>,
    /// What the store holds says that the process leaves.
    told_draining: bool,
    /// Told each time the process takes a seat or loses it.
    seated: watch::Sender<Option<LeaseId>>,
    /// The process was told once that it has no seat.
    is_warned: bool,
    /// Uptime when the process last followed the store.
    followed: Millis,
}

impl Seat {
    /// Makes the keeper of a seat that is not taken yet; `draining` is true once the process leaves.
    #[must_use]
    pub fn new(parts: SeatParts, draining: watch::Receiver<bool>) -> Self {
        let started = parts.clock.now();
        let (seated, followed) = (watch::Sender::new(None), parts.clock.uptime());
        Self { parts, started, held: None, draining, told_draining: false, seated, is_warned: false, followed }
    }

    /// Follows the lease under which the process's keys are; `None` while it has none.
    #[must_use]
    pub fn seated(&self) -> watch::Receiver<Option<LeaseId>> {
        self.seated.subscribe()
    }

    /// Takes the seat; agents are lent nothing of it before the first refresh, which tells whether this process follows the store.
    ///
    /// # Errors
    /// See [`SeatError`].
    pub async fn take(&mut self) -> Result<(), SeatError> {
        let key = keys::member(&self.parts.identity.name);
        self.check_address().await?;
        let unchanged = match self.parts.store.get(key.as_bytes()).await? {
            None => Compare::Absent(key.clone().into()),
            Some(entry) => {
                let record = keys::decode_member(&entry.value).map_err(StoreError::from)?;
                let is_own = record.incarnation == self.parts.identity.incarnation;
                let name = &self.parts.identity.name;
                let asked = timeout(ANSWERS_WITHIN, self.parts.neighbour.answers(name, &record));
                if !is_own && asked.await.unwrap_or(false) && !Guard::Seat.is_broken() {
                    return Err(SeatError::Taken { name: name.clone(), address: record.address });
                }
                Compare::ModifiedAt(key.clone().into(), entry.modified)
            }
        };
        let lease = self.parts.store.grant(LEASE).await?;
        let transaction = Transaction { compares: vec![unchanged], writes: vec![self.write(lease)] };
        match self.parts.store.transact(transaction).await {
            Ok(Outcome::Committed(_)) => {}
            Ok(Outcome::Conflict) => {
                self.parts.store.revoke(lease).await?;
                let problem = "another process of the same name was faster".to_owned();
                return Err(StoreError::Unavailable { doing: "take a seat in", problem }.into());
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(name = %self.parts.identity.name, address = %self.parts.identity.address, "this process has its seat");
        self.held = Some(lease);
        self.told_draining = *self.draining.borrow();
        self.is_warned = false;
        self.seated.send_replace(Some(lease));
        Ok(())
    }

    /// Keeps the seat until cancelled, and takes it again when it was lost.
    pub async fn run(mut self, cancelled: CancellationToken) {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => return,
                changed = self.draining.changed() => if changed.is_err() { return },
                () = sleep_until(next) => {}
            }
            next = Instant::now() + REFRESH;
            let outcome = match self.held {
                None => {
                    let taken = self.take().await;
                    if taken.is_ok() {
                        next = Instant::now();
                    }
                    taken
                }
                Some(lease) => self.refresh(lease).await.map_err(SeatError::from),
            };
            if let Err(error) = outcome {
                self.complain(&error);
                next = Instant::now() + RETRY;
            }
        }
    }

    /// Gives the seat up at once, so that nobody waits for the end of its lease.
    pub async fn leave(store: &dyn Store, seated: &watch::Receiver<Option<LeaseId>>) {
        let Some(lease) = *seated.borrow() else { return };
        if let Err(error) = store.revoke(lease).await {
            tracing::warn!(%error, "cannot give up the process's lease; it ends by itself");
        }
    }

    /// Refuses an address that another process has: agents and processes would go in circles.
    async fn check_address(&self) -> Result<(), SeatError> {
        let Identity { name, address, .. } = &self.parts.identity;
        for entry in self.parts.store.range(keys::member("").as_bytes()).await?.entries {
            let record = keys::decode_member(&entry.value).map_err(StoreError::from)?;
            let other = String::from_utf8_lossy(&entry.key).rsplit('/').next().unwrap_or_default().to_owned();
            if other != *name && record.address == *address {
                return Err(SeatError::SharedAddress { other, address: address.clone() });
            }
        }
        Ok(())
    }

    fn complain(&mut self, error: &SeatError) {
        let uptime = self.parts.clock.uptime();
        let has_lease = crate::shard::HubLease::remaining(self.parts.lease.as_ref(), uptime) > Duration::ZERO;
        if has_lease {
            tracing::warn!(%error, "cannot refresh the process's lease, trying again");
        } else if !self.is_warned {
            self.is_warned = true;
            tracing::warn!(%error, "the process has no lease: it decides nothing, its agents keep what they have");
        }
    }

    /// Refreshes the lease, if everything is as it should be.
    async fn refresh(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        let sent = self.parts.clock.uptime();
        let key = keys::member(&self.parts.identity.name);
        // Known before it is read: what is read is at least as new, unless the store went back.
        let known = self.known();
        let own = self.parts.store.get(key.as_bytes()).await?;
        if own.is_none_or(|entry| entry.lease != Some(lease)) {
            self.lose("its key is gone");
            return Ok(());
        }
        let position = keys::read_position(self.parts.store.as_ref()).await?;
        if let Some(reason) = went_back(position, known) {
            self.parts.hold.engage(reason);
        }
        let applies = match position {
            Some(position) => self.applies(position).await,
            None => true,
        };
        let uptime = self.parts.clock.uptime();
        if applies {
            self.followed = uptime;
        } else if uptime.since(self.followed) > FOLLOWS_WITHIN {
            // Without a refresh the lease ends, and others take over.
            tracing::warn!("this process does not follow the store, its seat is not kept");
            return Ok(());
        }
        match self.parts.store.keep_alive(lease).await {
            // A process that is late keeps its seat for a while, and lends nothing.
            Ok(()) if !applies => tracing::warn!("this process is behind the store and lends no leases"),
            Ok(()) => self.parts.lease.extend(sent.plus(LEASE)),
            Err(StoreError::LeaseEnded(_)) => {
                self.lose("its lease ended");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.tell_draining(lease).await
    }

    /// Tells the others that the process leaves, once it does.
    async fn tell_draining(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        let draining = *self.draining.borrow_and_update();
        if draining == self.told_draining {
            return Ok(());
        }
        let key = keys::member(&self.parts.identity.name);
        let transaction = Transaction { compares: vec![Compare::Exists(key.into())], writes: vec![self.write(lease)] };
        if let Outcome::Committed(_) = self.parts.store.transact(transaction).await? {
            self.told_draining = draining;
        }
        Ok(())
    }

    fn lose(&mut self, why: &str) {
        tracing::warn!(why, "this process lost its seat");
        self.held = None;
        self.parts.lease.end();
        self.seated.send_replace(None);
    }

    fn known(&self) -> Option<(Era, Position)> {
        let fleet = self.parts.fleet.borrow();
        Some((fleet.era()?.era, fleet.position()))
    }

    /// Waits until the plans of a position are out, for a time.
    async fn applies(&mut self, position: Position) -> bool {
        let deadline = Instant::now() + APPLIES_WITHIN;
        loop {
            if self.parts.shard.has_planned(position) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes the write of the process's key.
    fn write(&self, lease: LeaseId) -> Write {
        let Identity { name, incarnation, address, weight } = &self.parts.identity;
        let record = MemberRecord {
            incarnation: *incarnation,
            address: address.clone(),
            weight: *weight,
            draining: *self.draining.borrow(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
        };
        let value = serde_json::to_vec(&record).expect("a member's record is JSON");
        Write::Put { key: keys::member(name).into(), value: value.into(), lease: Some(lease) }
    }
}

/// Judges what was read of the position: less than what was known before is another store, or an older one.
fn went_back(read: Option<Position>, known: Option<(Era, Position)>) -> Option<HoldReason> {
    let (era, known) = known?;
    let store = read.unwrap_or_default();
    (store < known).then_some(HoldReason::WentBack { store, era: era.number, known })
}
