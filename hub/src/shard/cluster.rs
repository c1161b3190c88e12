//! What the process knows of one cluster besides its statuses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use starling_hub_core::session::incumbency::Incumbency;
use starling_hub_core::session::rate::Bucket;
use starling_hub_core::session::standing::{ClusterStanding, Connection, InstallStanding};
use starling_model::{ClusterId, Digest, Era, Facts, Fence, Millis, Plan, Position, Uid};

use super::mailbox::Mailbox;

/// Sessions a second that one identity may open, on average.
const OPENED_PER_SECOND: u32 = 1;

/// A plan as a session sends it.
#[derive(Debug)]
pub struct Assigned {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its digest.
    pub digest: Digest,
    /// The fence of the position that it was computed from; `None` while the store has no era.
    pub fence: Option<Fence>,
    /// The context of the trace that made it so; empty for none.
    pub trace: Arc<str>,
}

/// A cluster that opened a session since the process started.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The cluster's identity.
    pub(crate) id: ClusterId,
    last_seen: AtomicU64,
    lent_until: AtomicU64,
    /// The number of the ring that was asked for last, doubled, and one more if the cluster is this process's by it.
    owned: AtomicU64,
    state: Mutex<State>,
}

/// How far a cluster is, and the installs of its plan.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) sum: ClusterStanding,
    /// In the order of the plan, each with its assignment.
    pub(crate) installs: Box<[(Uid, InstallStanding)]>,
}

/// What changes with sessions and plans; the index's parts may be locked while this is, never the other way round.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) incumbency: Incumbency,
    pub(crate) openings: Bucket,
    /// The mailbox of the open session.
    pub(crate) session: Option<Arc<Mailbox>>,
    /// SHA-256 of the public key that the session's certificate has.
    pub(crate) key: Digest,
    pub(crate) fingerprint: String,
    pub(crate) agent_version: String,
    pub(crate) facts: Arc<Facts>,
    /// The first snapshot is indexed, or was not needed.
    pub(crate) complete: bool,
    /// The digest of the newest plan that the agent has whole.
    pub(crate) confirmed: Option<Digest>,
    pub(crate) assigned: Option<Arc<Assigned>>,
    /// The position of the fleet that the plan was last computed from.
    pub(crate) planned_at: Position,
    /// The era in which the agent's whole picture was last known.
    pub(crate) heard_in: Option<Era>,
    /// Kept until something changes that it was computed from.
    pub(crate) standing: Option<Judged>,
    /// Objects that the agent does not report because they are beyond the limit.
    pub(crate) untracked: u64,
    /// Statuses that the agent dropped.
    pub(crate) dropped: u64,
    /// What is wrong with the session, for people.
    pub(crate) problem: Option<String>,
}

impl Cluster {
    pub(crate) fn new(id: ClusterId, uptime: Millis) -> Self {
        Self {
            id,
            last_seen: AtomicU64::new(0),
            lent_until: AtomicU64::new(0),
            owned: AtomicU64::new(0),
            state: Mutex::new(State {
                incumbency: Incumbency::default(),
                openings: Bucket::new(OPENED_PER_SECOND, uptime),
                session: None,
                key: Digest::default(),
                fingerprint: String::new(),
                agent_version: String::new(),
                facts: Arc::default(),
                complete: false,
                confirmed: None,
                assigned: None,
                planned_at: Position::default(),
                heard_in: None,
                standing: None,
                untracked: 0,
                dropped: 0,
                problem: None,
            }),
        }
    }

    /// Locks the cluster; never held across an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the agent was heard at wall time `now`.
    pub(crate) fn seen(&self, now: Millis) {
        self.last_seen.fetch_max(now.0, Ordering::Relaxed);
    }

    /// Notes that the agent was lent a command lease until then, uptime.
    pub(crate) fn lent(&self, until: Millis) {
        self.lent_until.fetch_max(until.0, Ordering::Relaxed);
    }

    /// Returns until when the agent was lent a command lease, uptime; zero when never.
    pub(crate) fn lent_until(&self) -> Millis {
        Millis(self.lent_until.load(Ordering::Relaxed))
    }

    /// Tells whether the cluster is this process's by the ring of a number, which begin at 1; finds out if it was asked for another
    /// ring last.
    pub(crate) fn is_owned_by(&self, ring: u64, find: impl FnOnce() -> bool) -> bool {
        let known = self.owned.load(Ordering::Relaxed);
        if known >> 1 == ring {
            return known & 1 == 1;
        }
        let is_owned = find();
        self.owned.store(ring << 1 | u64::from(is_owned), Ordering::Relaxed);
        is_owned
    }

    /// Returns when the agent was last heard, wall time; zero when never.
    pub(crate) fn last_seen(&self) -> Millis {
        Millis(self.last_seen.load(Ordering::Relaxed))
    }
}

impl State {
    /// Returns what makes the cluster live or not.
    pub(crate) fn connection(&self) -> Connection {
        Connection { open: self.session.is_some(), complete: self.complete, confirmed: self.confirmed }
    }

    /// Tells whether the agent confirmed the newest plan and its picture is complete.
    pub(crate) fn is_live(&self) -> bool {
        let Some(assigned) = &self.assigned else { return false };
        starling_hub_core::session::standing::is_live(self.connection(), &assigned.digest)
    }
}
