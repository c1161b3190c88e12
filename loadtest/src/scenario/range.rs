//! A number, or a range that one is drawn from.

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

/// A number as it is written in a scenario: `40`, or `[20, 60]` with both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Range {
    /// Always this.
    One(u64),
    /// Drawn from between these, both included.
    Between([u64; 2]),
}

/// A range with its name and with what it has to be between, both included.
pub(super) type Bounds = (&'static str, Range, u64, u64);

impl Range {
    /// Draws a number.
    pub fn draw(self, random: &mut StdRng) -> u64 {
        match self {
            Self::One(number) => number,
            Self::Between([low, high]) => random.random_range(low..=high),
        }
    }

    /// Returns the smallest number that can be drawn.
    #[must_use]
    pub fn low(self) -> u64 {
        match self {
            Self::One(number) | Self::Between([number, _]) => number,
        }
    }

    /// Returns the largest number that can be drawn.
    #[must_use]
    pub fn high(self) -> u64 {
        match self {
            Self::One(number) | Self::Between([_, number]) => number,
        }
    }
}
