//! `cargo xtask simulate`: more seeds of the simulation than the tests run, or one of them again.

use anyhow::Result;
use clap::Args;

use crate::build::{self, cargo};

/// What the simulate command takes.
#[derive(Debug, Args)]
pub(crate) struct SimulateArguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Simulates hubs of several processes over etcd, instead of one with a store of its own.
    #[arg(long)]
    many: bool,
    /// Breaks one guard of hub and agents after the other, and tells how many seeds it takes until that is noticed.
    #[arg(long, conflicts_with = "many")]
    sabotage: bool,
}

/// Simulates the seeds, and fails if an invariant did not hold in one of them.
pub(crate) fn run(arguments: &SimulateArguments) -> Result<()> {
    let (name, seeds) = if arguments.sabotage {
        ("many::tests::every_broken_guard_is_missed", "STARLING_SIM_SABOTAGE")
    } else if arguments.many {
        ("many::tests::every_seed_keeps_the_invariants", "STARLING_SIM_MANY_SEEDS")
    } else {
        ("every_seed_keeps_the_invariants", "STARLING_SIM_SEEDS")
    };
    let mut simulation = cargo();
    simulation
        .args(["test", "--quiet", "--package", "starling-tests", "--test", "simulation"])
        .args(["--", "--exact", name, "--nocapture"])
        .env(seeds, arguments.seeds.to_string())
        .env("STARLING_SIM_FROM", arguments.from.to_string());
    build::run("simulation", &mut simulation)
}
