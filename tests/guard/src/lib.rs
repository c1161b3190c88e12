//! The hub's hot paths with fixed inputs, so that their instructions can be counted and compared with what was committed.
//!
//! Owns the inputs, and what of each path is counted. Does not own the counting (valgrind's callgrind does that, see
//! `tests/counts`) nor the paths themselves: they are the functions that the hub calls. Nothing here reads a clock, draws a number
//! or starts a thread, so that the same build counts the same. Where a path ends in the hub's shell, which counts nothing
//! without its runtime, its nearest pure part is taken, and the path says so.

mod fleet;
mod paths;
mod statuses;

use std::hint::black_box;

pub use paths::{PATHS, RATIOS};

/// A path that is counted.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Its name in the file of counts.
    pub name: &'static str,
    /// What is counted, and with what.
    pub what: &'static str,
    /// Makes the inputs, and passes once through [`counted`].
    pub run: fn(),
}

/// What a path may cost as a multiple of another, in the same run.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// The path.
    pub of: &'static str,
    /// What it is compared with.
    pub to: &'static str,
    /// The largest ratio that passes.
    pub at_most: f64,
    /// What it shows.
    pub shows: &'static str,
}

/// Bytes of an allocation that makes the system's allocator put in order what the inputs left behind.
const LARGE: usize = 100 << 10;

/// How often, since each time it looks at ten thousand pieces at most.
const TIMES: usize = 64;

/// Runs what is to be counted.
pub fn counted<T>(work: impl FnOnce() -> T) -> T {
    // Or the first allocation that is not small would pay for everything that was freed before, which grows with the inputs.
    for _ in 0..TIMES {
        drop(black_box(Vec::<u8>::with_capacity(black_box(LARGE))));
    }
    passage(work)
}

/// Instructions count between entering this function and leaving it, so it must stay one of its own, under this name.
#[inline(never)]
fn passage<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}
