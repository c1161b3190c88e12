//! The ring: which hub process serves which cluster.
//!
//! Owns the ring's record, the placement that follows from it, the rules by which members come and go, and what a change
//! would move. Does not own leases, connections or the commit of a record: the shell watches who is there and asks the
//! steward, as everybody does who writes. Placement depends on the record alone, never on who is there.

mod membership;
mod moves;
mod placement;
mod record;
#[cfg(test)]
mod testing;

pub use membership::{
    BATCH, Cause, FLAP_WINDOW, FLAPS, HOLD_FIRST, HOLD_LONGEST, JOIN_AFTER, JOIN_TOGETHER, LATE, MemberChange,
    Membership, Note, Observation, Presence, SETTLE, SETTLE_MANY,
};
pub use moves::{Balance, Moves, SimulateError, Simulation, balance, moves, simulate};
pub use placement::{POINTS_PER_WEIGHT, Placement};
pub use record::{ADDRESS_BYTES, DEFAULT_WEIGHT, MEMBERS_LIMIT, RingError, RingMember, RingRecord, WEIGHT_LIMIT};
