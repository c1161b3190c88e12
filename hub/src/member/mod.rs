//! This process as one of several: its lease, its place among the others, and whether it decides for the fleet.
//!
//! Owns the process's own lease and key, what is seen of the other processes, who is the steward, and what begins and ends with
//! that. Does not own the ring (the steward writes it, `starling_hub_core::ring` decides) nor talking to the others
//! ([`crate::peers`]). A process that is the whole hub has none of this.

mod election;
mod hold;
mod lease;
mod ring;
mod seat;
mod terms;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use starling_model::Uid;
use tokio::sync::watch;

pub use election::{Election, ElectionParts, Term};
pub use hold::{HoldKeeper, HoldParts};
pub use lease::ProcessLease;
pub use ring::{RingKeeper, RingParts};
pub use seat::{Neighbour, Seat, SeatError, SeatParts};
pub(crate) use terms::{TermParts, run_terms};
pub use topology::{Claim, MemberRecord, ToldHold, Topology};

/// How long a process's lease lasts after it was refreshed.
pub const LEASE: Duration = Duration::from_secs(15);

/// How often it is refreshed.
pub const REFRESH: Duration = Duration::from_secs(3);

/// Which process this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name, which its place in the ring follows; the same after a restart.
    pub name: String,
    /// Random, drawn when the process started.
    pub incarnation: Uid,
    /// Where agents are sent and other processes dial, `host:port`.
    pub address: String,
    /// Its share of the clusters, relative to the others'.
    pub weight: u32,
}

impl Identity {
    /// Returns what this process writes to be the steward.
    #[must_use]
    pub fn claim(&self) -> Claim {
        Claim { name: self.name.clone(), incarnation: self.incarnation }
    }
}

/// What this process sees of the others, as it changes.
pub type Seen = watch::Receiver<Arc<Topology>>;
