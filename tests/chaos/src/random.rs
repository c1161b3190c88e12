//! Numbers from a seed. An own generator, because a seed that once failed must mean the same for ever.

use std::ops::Range;

/// A stream of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Begins the numbered stream of a seed; streams of one seed have nothing in common.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixer = Self(seed);
        let mixed = mixer.next();
        Self(mixed ^ Self(stream).next())
    }

    /// Returns the next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number of a range that is not empty.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// Returns an index below `count`, which is not zero.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        let drawn = self.next() % count as u64;
        usize::try_from(drawn).expect("less than a usize")
    }

    /// Puts things into an order of its own.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for end in (1..things.len()).rev() {
            let drawn = self.index(end + 1);
            things.swap(end, drawn);
        }
    }
}
