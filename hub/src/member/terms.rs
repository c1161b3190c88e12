//! What only the process that decides does: it reads the resources, publishes, writes statuses and keeps the ring, as long as
//! its term lasts.

use std::sync::Arc;
use std::time::Duration;

use starling_hub_core::fleet::Fleet;
use starling_hub_core::steward::Request;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{RingKeeper, RingParts, Seen, Term};
use crate::hub::until;
use crate::inputs::Source;
use crate::keyring::Keyring;
use crate::ports::Clock;
use crate::steward::{Hold, StewardHandle};
use crate::tasks::{Task, TaskDied, Tasks};

/// How long the tasks of a term may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait before the fleet is begun again after a failure.
const RETRY: Duration = Duration::from_millis(500);

/// What a term works with.
pub(crate) struct TermParts {
    /// This process's term, while it has one.
    pub(crate) term: watch::Receiver<Option<Term>>,
    /// The steward.
    pub(crate) steward: StewardHandle,
    /// Where resources come from.
    pub(crate) source: Source,
    /// The fleet as every reader of the process sees it.
    pub(crate) fleet: watch::Receiver<Arc<Fleet>>,
    /// What is seen of the processes.
    pub(crate) seen: Seen,
    /// The fleet's secrets, with the mark.
    pub(crate) keyring: Arc<Keyring>,
    /// Whether the fleet holds.
    pub(crate) hold: Hold,
    /// What time it is.
    pub(crate) clock: Arc<dyn Clock>,
}

/// Begins what belongs to each term, and ends it with the term, until dropped.
///
/// # Errors
/// A task of a term ended by itself.
pub(crate) async fn run_terms(mut parts: TermParts) -> Result<(), TaskDied> {
    loop {
        let Ok(number) = parts.term.wait_for(Option::is_some).await.map(|term| term.as_ref().map(|term| term.number))
        else {
            return Ok(());
        };
        let (tasks, mut deaths) = Tasks::new();
        let stopping = tasks.stopping();
        // Whoever drops this ends the term's tasks, too.
        let _guard = stopping.clone().drop_guard();
        let mut term = parts.term.clone();
        let over = term.wait_for(|term| term.as_ref().map(|term| term.number) != number);
        let work = async {
            parts.begin_fleet().await;
            let ring = RingKeeper::new(RingParts {
                steward: parts.steward.clone(),
                fleet: parts.fleet.clone(),
                seen: parts.seen.clone(),
                clock: Arc::clone(&parts.clock),
            });
            tasks.spawn(Task::Ring, until(stopping.clone(), ring.run()));
            parts.source.read(&tasks).await;
            deaths.next().await
        };
        tokio::select! {
            biased;
            _ = over => {}
            died = work => return Err(died),
        }
        parts.source.problems.clear();
        // Whoever decides says whether the source answers.
        parts.source.is_read_elsewhere();
        if timeout(ENDS_WITHIN, tasks.stop()).await.is_err() {
            tracing::warn!(running = ?tasks.running(), "tasks of a term that is over do not end");
        }
    }
}

impl TermParts {
    /// Begins era 1 of a fleet that has neither a store nor a mark.
    async fn begin_fleet(&self) {
        loop {
            let is_new = self.fleet.borrow().era().is_none() && self.keyring.mark().mark().is_none();
            if !is_new || self.hold.reason().is_some() {
                return;
            }
            match self.steward.submit("hub", Request::Begin).await {
                Ok(_) => return,
                Err(refusal) => tracing::info!(reason = %refusal.message, "the fleet does not begin yet"),
            }
            sleep(RETRY).await;
        }
    }
}
