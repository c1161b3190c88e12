//! When the alternative has stopped: it took too long, too much memory, or failed.

use std::fmt;
use std::time::Duration;

/// What it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How long one thing that concerns every cluster may take.
    pub(crate) patience: Duration,
    /// Resident memory of its processes together, in bytes.
    pub(crate) memory: u64,
    /// How long all sizes may take together.
    pub(crate) whole: Duration,
}

/// Why it was not taken further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Something that concerns every cluster took too long.
    TooLong {
        what: String,
        patience: Duration,
    },
    TooMuchMemory {
        resident: u64,
        limit: u64,
    },
    Failed {
        what: String,
        why: String,
    },
    /// Not its limit: the scenario allows no more time.
    OutOfTime {
        limit: Duration,
    },
}

impl Limits {
    /// Tells whether the memory in use, or the time for all sizes, is too much.
    pub(crate) fn exceeded(&self, resident: u64, whole: Duration) -> Option<Stop> {
        if resident > self.memory {
            return Some(Stop::TooMuchMemory { resident, limit: self.memory });
        }
        (whole > self.whole).then_some(Stop::OutOfTime { limit: self.whole })
    }
}

impl Stop {
    /// Tells whether it is the alternative that can do no more.
    pub(crate) fn is_limit(&self) -> bool {
        !matches!(self, Self::OutOfTime { .. })
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: &u64| bytes >> 20;
        match self {
            Self::TooLong { what, patience } => write!(f, "{what} took longer than {} s", patience.as_secs()),
            Self::TooMuchMemory { resident, limit } => {
                write!(
                    f,
                    "its processes took {} MiB of memory, and {} are allowed",
                    mebibytes(resident),
                    mebibytes(limit)
                )
            }
            Self::Failed { what, why } => write!(f, "{what} failed: {why}"),
            Self::OutOfTime { limit } => {
                write!(f, "the {} s that the scenario allows were used up", limit.as_secs())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stops_where_it_takes_too_much() {
        let limits = Limits { patience: Duration::from_secs(60), memory: 8 << 30, whole: Duration::from_secs(600) };
        assert_eq!(limits.exceeded(8 << 30, Duration::from_secs(600)), None);
        let memory = limits.exceeded((8 << 30) + (1 << 20), Duration::ZERO).expect("too much memory");
        assert_eq!(memory.to_string(), "its processes took 8193 MiB of memory, and 8192 are allowed");
        let time = limits.exceeded(0, Duration::from_secs(601)).expect("out of time");
        assert_eq!(time.to_string(), "the 600 s that the scenario allows were used up");
        assert!(memory.is_limit() && !time.is_limit());
    }
}
