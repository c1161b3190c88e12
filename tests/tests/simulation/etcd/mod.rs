//! An etcd that is faked: its keys, revisions, watches and leases as etcd has them, behind etcd's own gRPC services, with whatever can
//! go wrong with it.
//!
//! Owns the state, which outlives the process, and the faults. Does not own its prefix nor what is under it: that is the hub's.

mod server;
mod state;
mod watching;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::proto::{PbTxnOpRequest, PbTxnRequest, PbTxnResponse};
use tokio::sync::watch;
use tonic::Status;

use crate::random::Random;

pub(crate) use server::run;
pub(crate) use state::{Commit, State};

/// The host.
pub(crate) const ETCD: &str = "etcd";

/// The port.
pub(crate) const ETCD_PORT: u16 = 2379;

/// What is put before each key.
pub(crate) const PREFIX: &str = "/starling/simulated/";

/// The faked etcd.
pub(crate) struct Etcd {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

struct Inner {
    state: State,
    faults: Faults,
    /// What happened since it was taken last.
    journal: Vec<Journal>,
    draws: Random,
    trapped: Option<String>,
}

/// What is wrong with it now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// How long each request takes, in milliseconds at most; zero is no time.
    pub(crate) slow: u64,
    /// Most of its members are away.
    pub(crate) without_majority: bool,
    /// Since when.
    pub(crate) without_majority_since: Duration,
    /// How many answers to transactions are lost after they were carried out, in percent.
    pub(crate) lost: u64,
    /// How many transactions are carried out after whoever asked has given up, in percent.
    pub(crate) late: u64,
    /// How long after a revision a host's watch tells of it.
    pub(crate) lag: BTreeMap<String, Duration>,
    /// The next transaction of a steward is never answered, and its process dies; true if it is carried out before.
    pub(crate) trap: Option<bool>,
    /// A watch leaves one revision in so many out: a flaw that must be found.
    pub(crate) skips: Option<u64>,
}

/// Something that happened to the state.
#[derive(Clone, Debug)]
pub(crate) enum Journal {
    /// A revision was made.
    Commit(Commit),
    /// It has another state altogether.
    Restored(Box<State>),
}

/// What becomes of a transaction besides.
enum Fate {
    Answered,
    Lost,
    Late(Duration),
    Trapped { carried_out: bool },
}

impl Etcd {
    /// Makes an empty one.
    pub(crate) fn new(seed: u64) -> Self {
        let mut draws = Random::new(seed, 40);
        let state = State::new(draws.next() | 1);
        let inner = Inner { state, faults: Faults::default(), journal: Vec::new(), draws, trapped: None };
        Self { inner: Mutex::new(inner), changed: watch::Sender::new(0) }
    }

    /// Changes what is wrong with it.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.inner().faults);
        self.changed.send_modify(|number| *number += 1);
    }

    /// Loses its majority, or has it again with a new leader.
    pub(crate) fn set_majority(&self, has_majority: bool, now: Duration) {
        let mut inner = self.inner();
        inner.faults.without_majority = !has_majority;
        inner.faults.without_majority_since = now;
        if has_majority {
            inner.state.renew_all(now);
        }
        drop(inner);
        self.changed.send_modify(|number| *number += 1);
    }

    /// Returns a copy of everything, as a backup has it.
    pub(crate) fn snapshot(&self) -> State {
        self.inner().state.clone()
    }

    /// Has the state of a backup; its process does not run. `as_another` if it gets another identity with it.
    pub(crate) fn restore(&self, mut state: State, as_another: bool) {
        let mut inner = self.inner();
        if as_another {
            state.set_cluster(inner.draws.next() | 1);
        }
        inner.journal.push(Journal::Restored(Box::new(state.clone())));
        inner.state = state;
    }

    /// Looks at the state.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.inner().state)
    }

    /// Takes what happened since.
    pub(crate) fn take_journal(&self) -> Vec<Journal> {
        std::mem::take(&mut self.inner().journal)
    }

    /// Returns the process whose transaction was trapped, once.
    pub(crate) fn take_trapped(&self) -> Option<String> {
        self.inner().trapped.take()
    }

    /// Ends the lease of a key, as an administrator can.
    pub(crate) fn end_lease_of(&self, key: &str, now: Duration) -> bool {
        self.change(|state| {
            let lease = state.lease_of(key.as_bytes());
            lease.is_some_and(|(lease, _)| state.revoke(lease, now))
        })
    }

    /// Forgets what was before the present.
    pub(crate) fn compact(&self) {
        self.change(|state| state.compact(state.revision));
    }

    /// Begins to lead, in a process that was started.
    fn begin(&self, now: Duration) {
        self.inner().state.renew_all(now);
    }

    fn expire(&self, now: Duration) {
        if !self.inner().faults.without_majority {
            self.change(|state| state.expire(now));
        }
    }

    fn txn(&self, request: &PbTxnRequest, now: Duration) -> Result<PbTxnResponse, Status> {
        self.change(|state| state.txn(request, now))
    }

    /// Changes the state, notes what that came to, and wakes whoever watches.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut inner = self.inner();
        let before = inner.state.revision;
        let changed = change(&mut inner.state);
        let inner = &mut *inner;
        let made = inner.state.commits.iter().rev().take_while(|commit| commit.revision > before);
        let mut made: Vec<Commit> = made.cloned().collect();
        made.reverse();
        inner.journal.extend(made.into_iter().map(Journal::Commit));
        self.changed.send_modify(|number| *number += 1);
        changed
    }

    fn fate(&self, request: &PbTxnRequest) -> Fate {
        let mut inner = self.inner();
        let puts = |name: &str| {
            let key = format!("{PREFIX}starling/v1/{name}").into_bytes();
            request.success.iter().find_map(|operation| match &operation.request {
                Some(PbTxnOpRequest::RequestPut(put)) if put.key.starts_with(&key) => {
                    Some(String::from_utf8_lossy(&put.key[key.len()..]).into_owned())
                }
                _ => None,
            })
        };
        let Some(writer) = puts("writer/") else { return Fate::Answered };
        if let Some(carried_out) = inner.faults.trap.filter(|_| puts("position").is_some()) {
            inner.faults.trap = None;
            inner.trapped = Some(writer);
            return Fate::Trapped { carried_out };
        }
        let (lost, late) = (inner.faults.lost, inner.faults.late);
        if inner.draws.chance(lost) {
            return Fate::Lost;
        }
        if inner.draws.chance(late) {
            let after = inner.draws.within(500..9_000);
            return Fate::Late(Duration::from_millis(after));
        }
        Fate::Answered
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
