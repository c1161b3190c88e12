//! The seeds of hubs of several processes.

use std::time::{Duration, Instant};

use starling_model::Guard;

use super::driver::{Outcome, simulate, simulate_script};
use super::script::{Event, Other, Way};
use crate::script::Step;
use crate::trace;
use crate::{number, run_all, tell};

/// How many seeds one run of the tests takes.
const SEEDS: &str = "STARLING_SIM_MANY_SEEDS";

/// The first of these seeds.
const FROM: &str = "STARLING_SIM_FROM";

#[test]
fn every_seed_keeps_the_invariants() {
    let (seeds, from) = (number(SEEDS, 1_000), number(FROM, 0));
    let started = Instant::now();
    let outcomes = run_all(from..from + seeds, |seed| {
        let mut outcome = simulate(seed, None);
        tell("--many", seed, outcome.failure.as_ref(), &outcome.events);
        outcome.events = Vec::new();
        outcome
    });
    let failed: Vec<u64> =
        outcomes.iter().filter(|(_, outcome)| outcome.failure.is_some()).map(|(seed, _)| *seed).collect();
    let sum = |count: fn(&Outcome) -> u64| outcomes.iter().map(|(_, outcome)| count(outcome)).sum::<u64>();
    let simulated: Duration = outcomes.iter().map(|(_, outcome)| outcome.simulated).sum();
    println!(
        "processes=3 seeds={seeds} from={from} failed={} simulated_s={} steps={} removals={} acts={} leases={} positions={} rows={} \
         shown={} recoveries={} faults={} moves={} handshakes={} most_handshakes={} seconds={:.1}",
        failed.len(),
        simulated.as_secs(),
        sum(|outcome| outcome.counts.steps),
        sum(|outcome| outcome.counts.removals),
        sum(|outcome| outcome.counts.acts),
        sum(|outcome| outcome.counts.leases),
        sum(|outcome| outcome.counts.positions),
        sum(|outcome| outcome.counts.rows),
        sum(|outcome| outcome.counts.shown),
        sum(|outcome| outcome.recoveries),
        sum(|outcome| outcome.faults),
        sum(|outcome| outcome.moves),
        sum(|outcome| outcome.handshakes),
        outcomes.iter().map(|(_, outcome)| outcome.most_handshakes).max().unwrap_or(0),
        started.elapsed().as_secs_f64(),
    );
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

#[test]
fn a_seed_does_the_same_thing_twice() {
    let is_seeded = cfg!(tokio_unstable);
    assert!(
        is_seeded,
        "the order in which tokio wakes tasks is not seeded: unset RUSTFLAGS, which replaces the setting of .cargo/config.toml"
    );
    for seed in [1, 2] {
        let [first, second] = [(); 2].map(|()| simulate(seed, None));
        let differs = first.events.iter().zip(&second.events).position(|(first, second)| first != second);
        if let Some(at) = differs {
            let around = |events: &[trace::Event]| {
                events[at.saturating_sub(10)..=at].iter().map(|event| format!("\n  {event}")).collect::<String>()
            };
            panic!("seed {seed} differs at event {at}:{}\nthen:{}", around(&first.events), around(&second.events));
        }
        assert_eq!(first.events.len(), second.events.len(), "seed {seed} goes on longer");
        assert_eq!(first.counts, second.counts, "seed {seed}");
    }
}

#[test]
fn etcd_is_gone_for_an_hour() {
    let seconds = Duration::from_secs;
    let script = vec![
        (seconds(1), Event::Etcd(false)),
        (seconds(60), Event::StillShown),
        (seconds(600), Event::Step(Step::CrashAgent(0))),
        (seconds(610), Event::Step(Step::StartAgent(0))),
        (seconds(1_200), Event::Cut(1, Other::Hub(2), Way::Both)),
        (seconds(1_260), Event::Mend(1, Other::Hub(2))),
        (seconds(1_800), Event::Step(Step::Churn(1, 2, true))),
        (seconds(3_600), Event::StillShown),
        (seconds(3_601), Event::Etcd(true)),
    ];
    let outcome = simulate_script(7, None, script);
    tell("--many", 7, outcome.failure.as_ref(), &outcome.events);
    println!("handshakes={} most_handshakes={}", outcome.handshakes, outcome.most_handshakes);
    assert!(outcome.failure.is_none());
    // Agents look for a process that lends, every three to six minutes.
    assert!(outcome.most_handshakes <= 30, "a cluster came {} times", outcome.most_handshakes);
}

/// How many seeds a broken guard may take to be noticed; by default one that is known to notice it.
const SABOTAGE: &str = "STARLING_SIM_SABOTAGE";

/// A seed in which each guard is missed if it is broken, and what is said then.
const MISSED: [(Guard, u64, &str); Guard::ALL.len()] = [
    (Guard::Tombstone, 0, "I1: "),
    (Guard::Budget, 8, "I2: "),
    (Guard::ProcessLease, 0, "I3: hub-"),
    (Guard::Ownership, 28, "I3: hub-"),
    (Guard::Ring, 45, "I3: hub-"),
    (Guard::Claim, 34, "I3: hub-"),
    (Guard::Position, 32, "I3: position"),
    (Guard::Seat, 30, "I3: the seat"),
    (Guard::AgentLease, 0, "acts without a lease"),
    (Guard::Hold, 1, "does not hold"),
    (Guard::History, 61, "I7: "),
    (Guard::Planner, 0, "did not begin"),
    (Guard::Digests, 0, "did not begin"),
    (Guard::OneRing, 19, "blank: "),
    (Guard::Release, 45, "blank: "),
];

#[test]
fn every_broken_guard_is_missed() {
    let most = number(SABOTAGE, 0);
    let outcomes = run_all(0..MISSED.len() as u64, |place| {
        let (guard, known, says) = MISSED[usize::try_from(place).expect("few guards")];
        let from = if most == 0 { known } else { number(FROM, 0) };
        let failures = (from..from + most.max(1)).map(|seed| (seed, simulate(seed, Some(guard)).failure));
        let missed = failures.into_iter().find_map(|(seed, failure)| Some((seed, failure?.what)));
        match &missed {
            Some((seed, what)) => println!("guard={guard:?} seeds={} seed={seed} {what}", seed - from + 1),
            None => println!("guard={guard:?} not missed in {} seeds", most.max(1)),
        }
        missed.is_some_and(|(_, what)| what.contains(says))
    });
    let unnoticed: Vec<Guard> =
        MISSED.iter().zip(&outcomes).filter(|(_, (_, is_missed))| !is_missed).map(|((guard, ..), _)| *guard).collect();
    assert!(unnoticed.is_empty(), "broken, and nothing said so, or something else: {unnoticed:?}");
    let listed: Vec<Guard> = MISSED.iter().map(|(guard, ..)| *guard).collect();
    assert_eq!(listed, Guard::ALL);
}
