//! `starling-loadtest`: simulated fleets, and measurements with them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use starling_loadtest::drive;
use starling_loadtest::fleet::{FleetOptions, SimulatedFleet};
use starling_loadtest::floor;
use starling_loadtest::grow::{self, GrowOptions};
use starling_loadtest::observe::{self, ObserveOptions};
use starling_loadtest::report::{self, CompareOptions};
use starling_loadtest::run::{self, RunOptions};
use starling_loadtest::storm;
use starling_loadtest::truth;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Thousands of agents in one process make and free small things all the time; what the system's allocator takes for that would be
/// missing from the hub, which shares the machine.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One cluster in this many has an object that fails, so that there is something to find.
const FAILING_STRIDE: usize = 20;

/// Simulated fleets over the real protocol, and measurements with them.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Adopts and runs simulated clusters until SIGTERM; one in twenty has an object of its own that fails.
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
        /// No object fails; SIGUSR1 begins a storm in which ten of each cluster fail and succeed in turn, and ends it again.
        #[arg(long)]
        all_ready: bool,
        /// A file that always says what the clusters themselves hold, to compare with what the hub believes.
        #[arg(long)]
        truth: Option<PathBuf>,
    },
    /// Carries a scenario out and writes a report; fails if a threshold of the scenario does not hold.
    Run(RunOptions),
    /// Runs a scenario with more and more clusters, and tells what breaks first: at how many, and which part of the hub had the most
    /// of its time then.
    Grow(GrowOptions),
    /// Shows what became better and worse from one run to another.
    Compare(CompareOptions),
    /// One of the processes that run the clusters of a run.
    #[command(hide = true)]
    Drive,
    /// Prints a line whenever the hub's answer about one object changes.
    Observe(ObserveOptions),
    /// Measures bare gRPC over mutual TLS alone, without any hub; prints one JSON line of figures.
    Floor {
        /// How many connections.
        #[arg(long, default_value_t = 1000)]
        connections: u32,
        /// Statuses in the snapshot of each.
        #[arg(long, default_value_t = 40)]
        objects: u32,
    },
    /// The bare gRPC server that a measurement starts beside itself.
    #[command(hide = true)]
    FloorServer {
        /// The folder of its certificates.
        #[arg(long)]
        certificates: PathBuf,
    },
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::parse();
    match raise_file_limit().and_then(|()| obey(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn obey(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Fleet { clusters, objects, config, all_ready, truth } => {
            let options = FleetOptions::plain(clusters, objects);
            let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
            let started = SimulatedFleet::start(&config, &options);
            let mut fleet = tokio::select! {
                fleet = started => fleet?,
                _ = terminate.recv() => return Ok(()),
            };
            let told = truth.map(|file| truth::tell(file, fleet.clusters.clone()));
            let told = told.map(|telling| tokio_util::task::AbortOnDropHandle::new(tokio::spawn(telling)));
            if all_ready {
                weather(&fleet, &mut terminate).await?;
            } else {
                for cluster in fleet.clusters.iter().step_by(FAILING_STRIDE) {
                    cluster.touch_background(0, false);
                }
                terminate.recv().await;
            }
            fleet.stop_agents().await;
            drop(told);
            Ok(())
        }
        Command::Run(options) => {
            if run::run(&options).await? {
                return Ok(());
            }
            bail!("a threshold of the scenario does not hold")
        }
        Command::Grow(options) => grow::grow(&options).await,
        Command::Compare(options) => report::compare(&options),
        Command::Drive => drive::run().await,
        Command::Observe(options) => observe::run(options).await,
        Command::Floor { connections, objects } => {
            let step = run::floor_alone(connections, objects).await?;
            println!("{}", report::step_line(&step));
            Ok(())
        }
        Command::FloorServer { certificates } => floor::serve(&certificates).await,
    }
}

/// Lets a storm begin and end at each SIGUSR1, until SIGTERM.
async fn weather(fleet: &SimulatedFleet, terminate: &mut Signal) -> Result<()> {
    let mut toggle = signal(SignalKind::user_defined1()).context("listen for SIGUSR1")?;
    let mut stormy = false;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = toggle.recv() => stormy = !stormy,
            () = storm::storm(&fleet.clusters), if stormy => {}
        }
        if !stormy {
            storm::calm(&fleet.clusters);
        }
    }
}

/// Every connection is an open file, and the usual limit is 1,024.
fn raise_file_limit() -> Result<()> {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
    setrlimit(Resource::Nofile, raised).context("raise the limit of open files")
}
