//! `cargo xtask`: builds, starts, tests and measures Starling.
//!
//! Owns the order in which things are built and started. Does not own any of Starling's behaviour: it runs the same programs
//! that people run.

mod bench;
mod build;
mod chaos;
mod codegen;
mod crds;
mod demo;
mod images;
mod loadtest;
mod simulate;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, starts, tests and measures Starling.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a hub with an example fleet of simulated clusters, and real ones if asked.
    Demo(demo::DemoArguments),
    /// Runs every test: rules, lints, unit, simulation, api, end to end on real parts.
    Test(test::TestArguments),
    /// Runs a hub and three agents over a simulated network, many times, and checks what must always hold.
    Simulate(simulate::SimulateArguments),
    /// Kills, pauses and cuts off hubs and members of etcd under a simulated fleet, and checks what must hold after each fault.
    Chaos(chaos::ChaosArguments),
    /// Measures a hub with 1,000 simulated clusters against a bare gRPC floor, and an agent on a real cluster.
    Bench(bench::BenchArguments),
    /// Builds everything at full speed and runs a load test, such as `cargo xtask loadtest run loadtest/scenarios/numbers.toml`.
    Loadtest(loadtest::LoadtestArguments),
    /// Builds static programs and an OCI image of each, without a container engine.
    Images(images::ImagesArguments),
    /// Generates the committed code of the protos anew.
    Codegen,
    /// Generates the custom resource definitions of the chart anew.
    Crds,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Chaos(arguments) => chaos::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Loadtest(arguments) => loadtest::run(&arguments),
        Command::Images(arguments) => images::run(&arguments),
        Command::Codegen => codegen::run(),
        Command::Crds => crds::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
