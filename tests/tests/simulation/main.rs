//! A real hub and three real agents in one deterministic process: the real gRPC and TLS over a simulated network, the clusters
//! and the store in memory, and everything that happens drawn from a seed.
//!
//! `cargo xtask simulate --seeds N --from S` runs more seeds; the same seed does the same thing again.

mod changes;
mod cluster;
mod documents;
mod driver;
mod etcd;
mod evidence;
mod invariants;
mod logs;
mod machines;
mod many;
mod people;
mod ports;
mod random;
mod script;
mod trace;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::Flaw;
use driver::{Failure, Outcome, Setup, simulate};
use trace::Event;

/// How many seeds one run of the tests takes.
const SEEDS: &str = "STARLING_SIM_SEEDS";

/// The first of these seeds.
const FROM: &str = "STARLING_SIM_FROM";

/// Prints everything that happened in a seed that fails.
const TRACE: &str = "STARLING_SIM_TRACE";

/// How much of what happened before a failure is shown.
const TAIL: usize = 60;

#[test]
fn every_seed_keeps_the_invariants() {
    let (seeds, from) = (number(SEEDS, 20), number(FROM, 0));
    let started = Instant::now();
    let outcomes = run_all(from..from + seeds, |seed| {
        let mut outcome = simulate(Setup { seed, ..Setup::default() });
        tell("--one", seed, outcome.failure.as_ref(), &outcome.events);
        outcome.events = Vec::new();
        outcome
    });
    let failed: Vec<u64> =
        outcomes.iter().filter(|(_, outcome)| outcome.failure.is_some()).map(|(seed, _)| *seed).collect();
    let sum = |count: fn(&Outcome) -> u64| outcomes.iter().map(|(_, outcome)| count(outcome)).sum::<u64>();
    let simulated: Duration = outcomes.iter().map(|(_, outcome)| outcome.simulated).sum();
    let removals = sum(|outcome| outcome.counts.removals);
    println!(
        "seeds={seeds} from={from} failed={} simulated_s={} steps={} removals={removals} rows={} equalities={} recoveries={} seconds={:.1}",
        failed.len(),
        simulated.as_secs(),
        sum(|outcome| outcome.counts.steps),
        sum(|outcome| outcome.counts.rows),
        sum(|outcome| outcome.counts.equalities),
        sum(|outcome| outcome.recoveries),
        started.elapsed().as_secs_f64(),
    );
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
    assert!(removals >= seeds && sum(|outcome| outcome.counts.equalities) >= seeds, "the scenarios checked too little");
}

#[test]
fn a_seed_does_the_same_thing_twice() {
    for seed in [1, 2, 3] {
        let [first, second] = [(); 2].map(|()| simulate(Setup { seed, ..Setup::default() }));
        let differs = first.events.iter().zip(&second.events).position(|(first, second)| first != second);
        if let Some(at) = differs {
            let around = |events: &[Event]| {
                events[at.saturating_sub(10)..=at].iter().map(|event| format!("\n  {event}")).collect::<String>()
            };
            panic!("seed {seed} differs at event {at}:{}\nthen:{}", around(&first.events), around(&second.events));
        }
        assert_eq!(first.events.len(), second.events.len(), "seed {seed} goes on longer");
        assert_eq!(first.counts, second.counts, "seed {seed}");
    }
}

#[test]
fn a_removal_that_nobody_asked_for_is_found() {
    expect_failure(Flaw::DeletesUnasked, "I1: ");
}

#[test]
fn a_tombstone_that_nobody_meant_is_found() {
    expect_failure(Flaw::DeletesUnmeant, "I1: nobody meant what tombstone");
}

#[test]
fn a_change_that_is_not_reported_is_found() {
    expect_failure(Flaw::MissesChanges, "I4: edge-1 is not what the hub shows");
}

#[test]
fn a_report_of_what_never_was_is_found() {
    expect_failure(Flaw::SeesPhantom, "I4: the hub shows of edge-1 what never was");
}

/// Runs a simulation with a planted fault, which must be found.
fn expect_failure(flaw: Flaw, what: &str) {
    let outcome = simulate(Setup { seed: 5, flaw });
    let failure = outcome.failure.expect("a planted fault is found");
    assert!(failure.what.contains(what), "{failure}");
}

/// Runs seeds on all processors.
fn run_all<T: Send>(seeds: std::ops::Range<u64>, simulate: impl Fn(u64) -> T + Sync) -> Vec<(u64, T)> {
    let next = AtomicU64::new(seeds.start);
    let outcomes = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let outcome = simulate(seed);
                    outcomes.lock().expect("no thread panics").push((seed, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no thread panicked");
    outcomes.sort_by_key(|(seed, _)| *seed);
    outcomes
}

/// Tells about a seed that failed, and how to see it again.
fn tell(which: &str, seed: u64, failure: Option<&Failure>, events: &[Event]) {
    let Some(failure) = failure else { return };
    let shown = if std::env::var_os(TRACE).is_some() { events.len() } else { TAIL };
    let tail = &events[events.len().saturating_sub(shown)..];
    let tail: String = tail.iter().map(|event| format!("\n  {event}")).collect();
    println!(
        "seed {seed} failed {failure}{tail}\nto see it again, with all that happened: {TRACE}=1 cargo xtask simulate {which} --seeds 1 --from {seed}"
    );
}

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
        Err(_) => otherwise,
    }
}
