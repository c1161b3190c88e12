//! `starling-loadtest`: simulated fleets, and measurements with them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use starling_loadtest::bench::{self, BenchOptions};
use starling_loadtest::fleet::{FleetOptions, SimulatedFleet};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Simulated fleets over the real protocol, and measurements with them.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Adopts and runs simulated clusters until SIGTERM.
    Fleet {
        /// How many clusters.
        #[arg(long, default_value_t = 200)]
        clusters: u32,
        /// Flux objects that each cluster has without Starling.
        #[arg(long, default_value_t = 40)]
        objects: u32,
        /// The command line's configuration that the hub wrote.
        #[arg(long)]
        config: PathBuf,
    },
    /// Measures a running hub with a simulated fleet, and a bare gRPC floor; prints one JSON line of figures.
    Bench(BenchOptions),
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Fleet { clusters, objects, config } => {
            let options =
                FleetOptions { clusters, background_objects: objects, settle: Duration::from_millis(300) };
            let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
            let started = SimulatedFleet::start(&config, &options);
            let mut fleet = tokio::select! {
                fleet = started => fleet?,
                _ = terminate.recv() => return Ok(()),
            };
            terminate.recv().await;
            fleet.stop_agents().await;
            Ok(())
        }
        Command::Bench(options) => bench::run(&options).await,
    }
}
