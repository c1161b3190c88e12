//! One simulated cluster of the alternative: a connection of its own, a watch on its work, and its status.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::sleep;

use super::documents::{self, number_of};
use super::http::{Caller, Connection};
use crate::drive::Moment;
use crate::fleet;

/// The waits before it connects again: the first, and the longest.
const RETRIES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A simulated cluster.
pub(super) struct Cluster {
    pub(super) name: String,
    objects: usize,
    caller: Caller,
    seen: Mutex<Seen>,
    /// What it writes with; nothing while it is not connected.
    connection: AsyncMutex<Option<Connection>>,
}

/// What it saw and did last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// The watch that it has began with an event then.
    pub(super) watching: Option<Moment>,
    /// The newest change of its work, and when it arrived.
    pub(super) change: u64,
    pub(super) received: Option<Moment>,
    /// When its status with that change was stored.
    pub(super) acknowledged: Option<Moment>,
    /// Statuses that it wrote.
    sequence: u64,
}

impl Cluster {
    pub(super) fn new(number: u32, objects: u32, caller: Caller) -> Self {
        let objects = (objects as usize).min(documents::objects_limit());
        Self { name: fleet::name(number), objects, caller, seen: Mutex::default(), connection: AsyncMutex::default() }
    }

    pub(super) fn seen(&self) -> Seen {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stays connected and watches, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        let mut wait = RETRIES.0;
        loop {
            let began = Moment::now();
            if let Err(error) = self.watch().await {
                tracing::debug!(cluster = %self.name, error = format!("{error:#}"), "the watch ended");
            }
            *self.connection.lock().await = None;
            let watching = std::mem::take(&mut self.lock().watching);
            // One that was there for a while begins anew with the shortest wait.
            wait = if watching.is_some_and(|at| at > began) { RETRIES.0 } else { (wait * 2).min(RETRIES.1) };
            sleep(wait).await;
        }
    }

    async fn watch(&self) -> Result<()> {
        let connection = self.caller.connect().await?;
        *self.connection.lock().await = Some(connection.clone());
        let mut events = connection.watch(&documents::watch_path(&self.name)).await?;
        while let Some(event) = events.next().await? {
            let now = Moment::now();
            let change = number_of(&event, "change").context("an event without a change")?;
            let is_news = {
                let mut seen = self.lock();
                seen.watching.get_or_insert(now);
                let is_news = change > seen.change;
                if is_news {
                    (seen.change, seen.received, seen.acknowledged) = (change, Some(now), None);
                }
                is_news
            };
            if is_news {
                self.write_status().await?;
                self.lock().acknowledged = Some(Moment::now());
            }
        }
        Ok(())
    }

    /// Writes its status anew; returns the number that it carries.
    pub(super) async fn write_status(&self) -> Result<u64> {
        let (change, sequence) = {
            let mut seen = self.lock();
            seen.sequence += 1;
            (seen.change, seen.sequence)
        };
        let patch = documents::status_patch(self.objects, change, sequence);
        self.connected().await?.patch(&documents::status_path(&self.name), patch).await?;
        Ok(sequence)
    }

    /// Renews its lease.
    pub(super) async fn renew(&self) -> Result<()> {
        let path = format!("{}/alive", documents::leases_path(&self.name));
        let patch = documents::lease_patch(&self.name, jiff::Timestamp::now());
        self.connected().await?.patch(&path, patch).await.map(drop)
    }

    async fn connected(&self) -> Result<Connection> {
        self.connection.lock().await.clone().context("a cluster is not connected")
    }
}
