//! Chaos on real processes: several hubs over a real etcd, a simulated fleet, faults of every kind, and what must hold after each.
//!
//! Owns which faults there are, in which order a seed brings them, and what is looked at from outside: every cluster is served
//! again in time, every process gives the same answer, that answer is what the clusters really hold, nothing is removed that
//! nobody deleted, and nothing stampedes. Does not own the parts ([`starling_realparts`]) nor the hub's processes
//! ([`starling_harness`]).

mod bed;
mod changes;
mod counters;
mod documents;
mod fault;
mod inject;
mod outside;
mod random;
mod report;
mod schedule;
mod story;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

pub use fault::Fault;
pub use report::{Report, Survived};
pub use story::run;

/// What a run of faults is like.
#[derive(Clone, Debug)]
pub struct ChaosOptions {
    /// The folder of everything, logs included.
    pub folder: PathBuf,
    /// What the order of faults and changes comes from.
    pub seed: u64,
    /// Which faults.
    pub length: Length,
    /// How many simulated clusters.
    pub clusters: u32,
    /// How many hub processes.
    pub hubs: usize,
    /// How long everything may take to be well again after a fault has ended.
    pub bound: Duration,
    /// Puts hubs into network namespaces, which needs root; without, the faults of networks are left out.
    pub network: bool,
    /// Gives hubs clocks that can be wrong; without, that fault is left out.
    pub clocks: bool,
}

/// Which faults a run is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Length {
    /// Those that the seed brings until this time has passed, and of these only the ones whose description has all these words.
    Time(Duration, Vec<String>),
    /// These.
    Faults(Vec<Fault>),
}
