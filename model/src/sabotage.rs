//! Breaks one guard on purpose, so that the simulation can show that it notices.
//!
//! Only builds with the feature `sabotage` can do it, which the tests alone ask for; in all others every guard stands, and the
//! question costs nothing.

/// A guard that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// An agent removes only what a tombstone names (I1).
    Tombstone,
    /// A removal that nobody approved stays within the budget (I2).
    Budget,
    /// A process lends no longer than its own lease lasts (I3).
    ProcessLease,
    /// A process lends to its own clusters alone (I3).
    Ownership,
    /// A process keeps to the newest ring record (I3).
    Ring,
    /// Only the process with the claim decides (I3).
    Claim,
    /// A decision is written over the position that it was made on (I3).
    Position,
    /// A name is one process's as long as that answers (I3).
    Seat,
    /// An agent acts under a command lease alone (I3).
    AgentLease,
    /// A fleet holds whose store went back (I3).
    Hold,
    /// A view is of one history of the store (I7).
    History,
    /// Every process makes the same plan of the same position (I7).
    Planner,
    /// A picture counts as known only if the digests of both sides agree (I4).
    Digests,
    /// All processes answer by one ring, so that each cluster is told of once (I4).
    OneRing,
    /// The old owner keeps a cluster's picture until the new one has it whole (I4).
    Release,
}

impl Guard {
    /// Every guard, in order.
    pub const ALL: [Self; 15] = [
        Self::Tombstone,
        Self::Budget,
        Self::ProcessLease,
        Self::Ownership,
        Self::Ring,
        Self::Claim,
        Self::Position,
        Self::Seat,
        Self::AgentLease,
        Self::Hold,
        Self::History,
        Self::Planner,
        Self::Digests,
        Self::OneRing,
        Self::Release,
    ];

    /// Tells whether the guard is broken on this thread.
    #[must_use]
    pub fn is_broken(self) -> bool {
        #[cfg(feature = "sabotage")]
        return BROKEN.get() == Some(self);
        #[cfg(not(feature = "sabotage"))]
        false
    }
}

#[cfg(feature = "sabotage")]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Guard>> = const { std::cell::Cell::new(None) };
}

/// Runs something on this thread with a guard broken, or none.
#[cfg(feature = "sabotage")]
pub fn without<T>(guard: Option<Guard>, run: impl FnOnce() -> T) -> T {
    let before = BROKEN.replace(guard);
    let outcome = run();
    BROKEN.set(before);
    outcome
}
