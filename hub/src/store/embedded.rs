//! A store of one process over a medium: calls off the runtime where the medium blocks, events for watchers, leases.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use starling_model::Millis;
use tokio::sync::watch;

use super::feed::{Feed, Reader};
use super::lease::Leases;
use super::medium::{self, Applied, Medium};
use super::{KeyValue, LeaseId, Outcome, Range, Revision, Store, StoreError, Transaction, Watch, Watched};
use crate::ports::Clock;

/// A store that one process has to itself.
pub struct Embedded<M> {
    shared: Arc<Shared<M>>,
}

struct Shared<M> {
    state: Mutex<State<M>>,
    feed: Arc<Feed>,
    next_expiry: watch::Sender<Option<Millis>>,
    clock: Arc<dyn Clock>,
}

struct State<M> {
    medium: M,
    leases: Leases,
}

struct Watcher<M> {
    shared: Arc<Shared<M>>,
    reader: Reader,
    next_expiry: watch::Receiver<Option<Millis>>,
}

#[expect(private_bounds, reason = "a medium is the store's own business")]
impl<M: Medium> Embedded<M> {
    /// Wraps a medium whose present revision is given and which holds no key of a lease.
    pub(super) fn new(medium: M, revision: Revision, clock: Arc<dyn Clock>) -> Self {
        let state = Mutex::new(State { medium, leases: Leases::default() });
        let shared = Shared { state, feed: Feed::new(revision), next_expiry: watch::Sender::new(None), clock };
        Self { shared: Arc::new(shared) }
    }
}

#[async_trait]
impl<M: Medium> Store for Embedded<M> {
    async fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, StoreError> {
        let key = key.to_vec();
        run(&self.shared, move |shared| shared.swept()?.medium.get(&key)).await
    }

    async fn range(&self, prefix: &[u8]) -> Result<Range, StoreError> {
        let prefix = prefix.to_vec();
        run(&self.shared, move |shared| shared.swept()?.medium.range(&prefix)).await
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, StoreError> {
        transaction.check()?;
        run(&self.shared, move |shared| {
            let mut state = shared.swept()?;
            state.leases.check(&transaction)?;
            let applied = state.medium.change(&mut |records, at| medium::apply(&transaction, records, at))?;
            Ok(match applied {
                Applied::Conflict => Outcome::Conflict,
                Applied::Unchanged(revision) => Outcome::Committed(revision),
                Applied::Changed(revision, events) => {
                    state.leases.bind(&transaction);
                    shared.feed.publish(revision, events);
                    Outcome::Committed(revision)
                }
            })
        })
        .await
    }

    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        let reader = self.shared.feed.reader(prefix, after);
        let next_expiry = self.shared.next_expiry.subscribe();
        Ok(Box::new(Watcher { shared: Arc::clone(&self.shared), reader, next_expiry }))
    }

    async fn grant(&self, time_to_live: Duration) -> Result<LeaseId, StoreError> {
        run(&self.shared, move |shared| {
            let mut state = shared.swept()?;
            let lease = state.leases.grant(time_to_live, shared.clock.uptime());
            shared.announce_expiry(&state);
            Ok(lease)
        })
        .await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        run(&self.shared, move |shared| {
            let mut state = shared.swept()?;
            state.leases.keep_alive(lease, shared.clock.uptime())?;
            shared.announce_expiry(&state);
            Ok(())
        })
        .await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        run(&self.shared, move |shared| {
            let mut state = shared.swept()?;
            shared.end(&mut state, lease)?;
            shared.announce_expiry(&state);
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl<M: Medium> Watch for Watcher<M> {
    async fn next(&mut self) -> Result<Watched, StoreError> {
        loop {
            if let Some(watched) = self.reader.poll() {
                return Ok(watched);
            }
            let next_expiry = *self.next_expiry.borrow_and_update();
            let wait = next_expiry.map(|expiry| expiry.since(self.shared.clock.uptime()));
            tokio::select! {
                biased;
                () = self.reader.changed() => {}
                // The sender is in what this watcher holds itself.
                _ = self.next_expiry.changed() => {}
                () = sleep_or_never(wait) => run(&self.shared, |shared| shared.swept().map(drop)).await?,
            }
        }
    }
}

impl<M: Medium> Shared<M> {
    /// Locks the state and ends the leases whose time is over, so that no call sees their keys.
    fn swept(&self) -> Result<MutexGuard<'_, State<M>>, StoreError> {
        let mut state = self.state.lock().expect("no holder of the store panics");
        let expired = state.leases.expired(self.clock.uptime());
        if !expired.is_empty() {
            for lease in expired {
                self.end(&mut state, lease)?;
            }
            self.announce_expiry(&state);
        }
        Ok(state)
    }

    fn end(&self, state: &mut State<M>, lease: LeaseId) -> Result<(), StoreError> {
        let keys = state.leases.keys(lease);
        let applied = state.medium.change(&mut |records, _| medium::end_lease(lease, &keys, records))?;
        state.leases.forget(lease);
        if let Applied::Changed(revision, events) = applied {
            self.feed.publish(revision, events);
        }
        Ok(())
    }

    fn announce_expiry(&self, state: &State<M>) {
        self.next_expiry.send_replace(state.leases.next_expiry());
    }
}

async fn run<M: Medium, T: Send + 'static>(
    shared: &Arc<Shared<M>>,
    work: impl FnOnce(&Shared<M>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    if !M::BLOCKS {
        return work(shared);
    }
    let shared = Arc::clone(shared);
    let done = tokio::task::spawn_blocking(move || work(&shared)).await;
    done.map_err(|error| StoreError::Unavailable { doing: "use", problem: error.to_string() })?
}

async fn sleep_or_never(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
