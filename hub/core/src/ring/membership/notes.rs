//! Why the ring changes, and what waits, for people.

use std::fmt;
use std::time::Duration;

use crate::ring::{MEMBERS_LIMIT, RingError, RingMember};

/// One member that joins, leaves or is another process now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// Its name.
    pub name: String,
    /// Why.
    pub cause: Cause,
}

/// Why a member joins, leaves or changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It joins an empty ring.
    First,
    /// It joins: it has been there for so long.
    Stable(Duration),
    /// It leaves: it has been gone for so long.
    Gone(Duration),
    /// It leaves: it gives away what it has.
    Draining,
    /// It stays: another process of its name is there.
    Restarted,
    /// It stays, at another address.
    Readdressed,
    /// It stays, with another weight.
    Reweighed {
        /// The weight before.
        from: u32,
        /// The weight now.
        to: u32,
    },
}

/// What waits or cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A process joins if it stays.
    Joining {
        /// Which.
        name: String,
        /// In how long.
        within: Duration,
    },
    /// A process came and went too often and joins only after a longer time.
    HeldDown {
        /// Which.
        name: String,
        /// In how long.
        within: Duration,
    },
    /// A member is gone and leaves unless it comes back.
    Leaving {
        /// Which.
        name: String,
        /// In how long.
        within: Duration,
        /// It has longer, because many are gone at once.
        many: bool,
    },
    /// A change waits so that others can go with it.
    Batched(MemberChange),
    /// A member is gone or draining and stays, because nobody else serves.
    Last {
        /// Which.
        name: String,
    },
    /// A process cannot join, because the ring is full.
    Full {
        /// Which.
        name: String,
    },
    /// A process cannot join, because its member key is wrong.
    Invalid(RingError),
    /// Nobody is there.
    Nobody,
}

impl Cause {
    /// Returns why a member that stays changes; `None` if it does not.
    pub(super) fn of_update(before: &RingMember, after: &RingMember) -> Option<Self> {
        if before.weight != after.weight {
            return Some(Self::Reweighed { from: before.weight, to: after.weight });
        }
        if before.incarnation != after.incarnation {
            return Some(Self::Restarted);
        }
        (before.address != after.address).then_some(Self::Readdressed)
    }

    /// Returns what the member does.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::First | Self::Stable(_) => "joined",
            Self::Gone(_) | Self::Draining => "left",
            Self::Restarted | Self::Readdressed | Self::Reweighed { .. } => "changed",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("the ring was empty"),
            Self::Stable(there) => write!(f, "it has been there for {}", seconds(*there)),
            Self::Gone(gone) => write!(f, "it has been gone for {}", seconds(*gone)),
            Self::Draining => f.write_str("it is draining"),
            Self::Restarted => f.write_str("it was started anew"),
            Self::Readdressed => f.write_str("it has another address"),
            Self::Reweighed { from, to } => write!(f, "its weight went from {from} to {to}"),
        }
    }
}

impl fmt::Display for MemberChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.name, self.cause.verb(), self.cause)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joining { name, within } => write!(f, "{name} is there and joins in {}", seconds(*within)),
            Self::HeldDown { name, within } => {
                write!(f, "{name} came and went too often and joins in {} if it stays", seconds(*within))
            }
            Self::Leaving { name, within, many: false } => {
                write!(f, "{name} is gone and leaves in {}", seconds(*within))
            }
            Self::Leaving { name, within, many: true } => {
                write!(f, "{name} is gone with many others and leaves in {}", seconds(*within))
            }
            Self::Batched(change) => write!(f, "{}: {}; its change waits for others", change.name, change.cause),
            Self::Last { name } => write!(f, "{name} is gone or draining and stays a member: nobody else serves"),
            Self::Full { name } => {
                write!(f, "{name} cannot join: the ring has {MEMBERS_LIMIT} members, the most it can")
            }
            Self::Invalid(error) => write!(f, "a hub process cannot join: {error}"),
            Self::Nobody => f.write_str("no hub process is seen: the ring stays as it is"),
        }
    }
}

/// Prints a duration in whole seconds, rounded up.
fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_millis().div_ceil(1000))
}
