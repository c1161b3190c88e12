//! What the tasks of one agent share: the core's state machines behind one lock, and the bells that wake a task.
//!
//! The lock is held for a decision, never across IO. Every collection in here is bounded by the core's own bounds.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ClientConfig;
use starling_agent_core::inventory::Inventory;
use starling_agent_core::session::Session;
use starling_agent_core::status_book::StatusBook;
use starling_model::{Digest, Facts, Fence, InstallKey, Limits, Millis, ObjectKey};
use tokio::sync::Notify;

use crate::metrics::Metrics;
use crate::standby::Leadership;

/// The shared state and its bells.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Rings when the session has something to look at: statuses, credentials, another inventory.
    pub(crate) session_bell: Notify,
    /// Rings when the applier has something to look at: a plan, a lease, a hint.
    pub(crate) applier_bell: Notify,
    /// Rings when the identity has something to look at: new authorities, a refusal.
    pub(crate) identity_bell: Notify,
    /// Where everything is counted.
    pub(crate) metrics: Metrics,
    /// Whether this is the active agent of its cluster.
    pub(crate) leadership: Leadership,
}

/// The state behind the lock.
pub(crate) struct State {
    /// The session's state machine; driven by the session task.
    pub(crate) session: Session,
    /// What is reported.
    pub(crate) book: StatusBook,
    /// The inventory as it was last stored or read.
    pub(crate) inventory: Arc<Inventory>,
    /// What the watch saw of objects that are held.
    pub(crate) hints: Hints,
    /// The trace that the newest plan belongs to, with the digest of that plan.
    pub(crate) plan_trace: Option<(Digest, String)>,
    /// The fence under which the plan at hand was last confirmed.
    pub(crate) advanced: Option<Fence>,
    /// True when the inventory was stored or read, and the session has not heard of it.
    pub(crate) inventory_changed: bool,
    /// True once the inventory was read.
    pub(crate) inventory_is_read: bool,
    /// True once every kind was listed for the first time.
    pub(crate) kinds_are_listed: bool,
    /// How to dial; `None` while there is no identity.
    pub(crate) credentials: Option<Credentials>,
    /// True when there is another certificate, and the session has not heard of it.
    pub(crate) identity_changed: bool,
    /// Authorities that the hub announced and that are not stored yet.
    pub(crate) announced_trust: Option<Vec<u8>>,
    /// True when the hub did not take the identity.
    pub(crate) identity_is_refused: bool,
}

/// What a connection is made with.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// Shows the identity, trusts the pinned authorities.
    pub(crate) tls: Arc<ClientConfig>,
    /// When the certificate ends (wall time).
    pub(crate) not_after: Millis,
    /// Counts the certificates of this process.
    pub(crate) generation: u64,
}

/// What the watch saw of objects that are held, or that were removed and came back. Bounded by the inventory.
#[derive(Default)]
pub(crate) struct Hints {
    /// Installs to look at.
    pub(crate) installs: BTreeSet<InstallKey>,
    /// Objects that may have been created late.
    pub(crate) late: BTreeSet<ObjectKey>,
}

impl Shared {
    /// Makes the state of an agent that has just started.
    pub(crate) fn new(hub: String, facts: Facts, metrics: Metrics, leadership: Leadership) -> Self {
        let inventory = Inventory::default();
        let session = Session::new(hub, facts.digest(), &inventory);
        let state = State {
            session,
            book: StatusBook::new(Limits::DEFAULT, facts),
            inventory: Arc::new(inventory),
            hints: Hints::default(),
            plan_trace: None,
            advanced: None,
            inventory_changed: false,
            inventory_is_read: false,
            kinds_are_listed: false,
            credentials: None,
            identity_changed: false,
            announced_trust: None,
            identity_is_refused: false,
        };
        Self {
            state: Mutex::new(state),
            session_bell: Notify::new(),
            applier_bell: Notify::new(),
            identity_bell: Notify::new(),
            metrics,
            leadership,
        }
    }

    /// Locks the state, for a decision.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether the agent may begin what the hub asks for: the hub lends a lease, and this agent is the active one.
    pub(crate) fn lease_is_live(&self, uptime: Millis) -> bool {
        self.leadership.holds(uptime) && self.state().session.lease_is_live(uptime)
    }

    /// Takes over an inventory that was stored or read.
    pub(crate) fn adopt(&self, inventory: &Arc<Inventory>) {
        let mut state = self.state();
        state.session.observe_inventory(inventory);
        state.book.set_installs(inventory.reports());
        state.inventory = Arc::clone(inventory);
        state.inventory_changed = true;
        state.inventory_is_read = true;
        drop(state);
        self.session_bell.notify_one();
    }

    /// Tells whether the session may begin: what Hello tells is known, and there is something to dial with.
    pub(crate) fn may_begin(&self) -> bool {
        let state = self.state();
        state.inventory_is_read && state.kinds_are_listed && state.credentials.is_some()
    }
}
