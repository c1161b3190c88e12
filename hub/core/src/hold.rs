//! When a fleet holds: the store is behind what is known of it, so that it is empty or restored.
//!
//! Owns comparing the store with the mark beside it and with the fences that agents show, and where a recovery begins.
//! Does not own reading the mark or checking that a fence is genuine: the shell has done that.

use std::fmt;

use serde::{Deserialize, Serialize};
use starling_model::{Era, Fence, Position};

/// Positions are reserved in blocks of this many, before they are used.
pub const POSITION_BLOCK: u64 = 1024;

/// The high-water mark outside the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The era.
    pub era: Era,
    /// The greatest position that may have been used.
    pub reserved: Position,
}

/// How a hub starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Neither mark nor store: a new fleet, whose era 1 is to begin.
    NewFleet,
    /// The store is as far as the mark says.
    Continue,
    /// The fleet holds.
    Hold(HoldReason),
}

/// Why a fleet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldReason {
    /// There is a mark, and the store is empty.
    StoreEmpty,
    /// There is a store, and its mark is gone.
    MarkMissing,
    /// Store and mark are of different eras.
    OtherEra {
        /// The store's.
        store: u64,
        /// The mark's.
        mark: u64,
    },
    /// The store is further behind its mark than a reserved block.
    BehindMark {
        /// The store's position.
        store: Position,
        /// The reserved position.
        mark: Position,
    },
    /// An agent has seen a later position, or another era, than the store knows.
    BehindFence {
        /// The store's position.
        store: Position,
        /// The era number that was shown.
        era: u64,
        /// The position that was shown.
        shown: Position,
    },
    /// The store is at an earlier position than this process has read of it before.
    WentBack {
        /// The store's position now; zero where it is empty.
        store: Position,
        /// The era number that was known.
        era: u64,
        /// The position that was known.
        known: Position,
    },
}

/// Judges a store at start.
#[must_use]
pub fn at_start(mark: Option<Mark>, store: Option<(Era, Position)>) -> Start {
    let (mark, (era, position)) = match (mark, store) {
        (None, None) => return Start::NewFleet,
        (Some(_), None) => return Start::Hold(HoldReason::StoreEmpty),
        (None, Some(_)) => return Start::Hold(HoldReason::MarkMissing),
        (Some(mark), Some(store)) => (mark, store),
    };
    if era != mark.era {
        return Start::Hold(HoldReason::OtherEra { store: era.number, mark: mark.era.number });
    }
    if position.0 < mark.reserved.0.saturating_sub(POSITION_BLOCK) {
        return Start::Hold(HoldReason::BehindMark { store: position, mark: mark.reserved });
    }
    Start::Continue
}

/// Judges a genuine fence that an agent shows; `None` if the store has passed it.
#[must_use]
pub fn at_fence(era: Era, position: Position, shown: &Fence) -> Option<HoldReason> {
    let behind = HoldReason::BehindFence { store: position, era: shown.era.number, shown: shown.position };
    match shown.era.number.cmp(&era.number) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Greater => Some(behind),
        std::cmp::Ordering::Equal => (shown.era.id != era.id || shown.position > position).then_some(behind),
    }
}

/// Returns the era number and the first position of a recovery: beyond everything that is known of the fleet.
#[must_use]
pub fn recovery(mark: Option<Mark>, store: Option<(Era, Position)>, shown: Option<&Fence>) -> (u64, Position) {
    let mark = mark.map(|mark| (mark.era.number, mark.reserved));
    let store = store.map(|(era, position)| (era.number, position));
    let shown = shown.map(|fence| (fence.era.number, fence.position));
    let known = || [mark, store, shown].into_iter().flatten();
    let era = known().map(|(era, _)| era).max().unwrap_or(0);
    let position = known().map(|(_, position)| position.0).max().unwrap_or(0);
    (era + 1, Position(position + 1))
}

/// Tells what happened and what to run.
impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StoreEmpty => f.write_str("the store is empty, and this fleet had one before")?,
            Self::MarkMissing => f.write_str("the store's mark is missing from the keys directory")?,
            Self::OtherEra { store, mark } => {
                write!(f, "the store is of era {store}, and the fleet's mark of era {mark}")?;
            }
            Self::BehindMark { store, mark } => {
                write!(f, "the store is at position {store}, and positions up to {mark} were reserved")?;
            }
            Self::BehindFence { store, era, shown } => {
                write!(f, "an agent has seen position {shown} of era {era}, and the store is at {store}")?;
            }
            Self::WentBack { store, era, known } => {
                write!(f, "the store went back to position {store}, from position {known} of era {era}")?;
            }
        }
        f.write_str(": nothing moves until `starling store recover` is run")
    }
}

#[cfg(test)]
mod tests;
