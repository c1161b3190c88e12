//! `cargo xtask demo`: a hub, an example fleet, simulated clusters, and real ones if asked.

mod fleet;
mod real;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};
use starling_harness::{Hub, HubOptions, StarlingPrograms, Status};
use starling_realparts::{Launch, Process};

use crate::build;
use fleet::Sources;
use real::RealClusters;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long programs may take to stop when asked.
const PATIENCE: Duration = Duration::from_secs(20);

/// The exit code of a demo that was interrupted twice.
const INTERRUPTED: i32 = 130;

/// What the demo takes.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// How many clusters to simulate.
    #[arg(long, default_value_t = 200)]
    clusters: u32,
    /// How many real API servers with real Flux to start besides.
    #[arg(long, default_value_t = 0)]
    real: u32,
    /// Stops when every cluster is live and its addons are Ready.
    #[arg(long)]
    once: bool,
    /// With `--once`, prints one line of figures.
    #[arg(short, long, requires = "once")]
    output: Option<Output>,
    /// How long `--once` waits, in seconds.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// One JSON object on one line of standard output.
    Json,
}

/// Runs the demo until Ctrl-C, or once.
pub(crate) fn run(arguments: &DemoArguments) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends everything at once: whatever was started dies with this process.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("listen for Ctrl-C")?;
    }
    let programs = StarlingPrograms::in_folder(&build::release_programs()?);
    let folder = tempfile::Builder::new()
        .prefix("demo-")
        .tempdir_in(build::target_folder())
        .context("make a folder for the demo under target/")?;
    let sources =
        if arguments.real > 0 { Sources::serve(&folder.path().join("sources"))? } else { Sources::simulated() };
    let options = HubOptions::below(folder.path(), "demo");
    sources.write_fleet(&options.directory)?;
    let started = Instant::now();
    let hub = Hub::start(&programs, &options)?;
    let simulated = (arguments.clusters > 0).then(|| simulate(&hub, arguments.clusters));
    let simulated = simulated.transpose()?;
    let real = RealClusters::start(folder.path(), &hub, arguments.real)?;
    // When this fails, everything is killed where it stands.
    watch(arguments, &hub, simulated.as_ref(), started, &stop)?;
    if let Some(simulated) = &simulated {
        simulated.terminate(PATIENCE)?;
    }
    real.stop(PATIENCE)?;
    hub.stop(PATIENCE)
}

/// Starts the process that holds the simulated clusters.
fn simulate(hub: &Hub, clusters: u32) -> Result<Process> {
    let launch = Launch::new("simulated-clusters", &hub.programs().path("starling-loadtest"), &hub.options().logs)
        .args(["fleet", "--clusters", &clusters.to_string(), "--config"])
        .arg(hub.context_file());
    Process::start(launch).context("start the simulated clusters")
}

fn watch(
    arguments: &DemoArguments,
    hub: &Hub,
    simulated: Option<&Process>,
    started: Instant,
    stop: &AtomicBool,
) -> Result<()> {
    let wanted = u64::from(arguments.clusters) + u64::from(arguments.real);
    let mut shown = String::new();
    let mut complete = false;
    while !stop.load(Ordering::Relaxed) {
        hub.process().check_running()?;
        if let Some(simulated) = simulated {
            simulated.check_running()?;
        }
        let status = hub.status()?;
        let line = format!("{} clusters, {} live, {} ready", status.clusters, status.live, status.ready);
        if line != shown {
            eprintln!("{:6.1} s  {line}", started.elapsed().as_secs_f64());
            shown = line;
        }
        if !complete && status.clusters >= wanted && status.live >= wanted && status.ready >= wanted {
            complete = true;
            let seconds = started.elapsed().as_secs_f64();
            if arguments.once {
                return report(arguments, hub, &status, seconds);
            }
            eprintln!("{}", what_to_try(hub));
        }
        if arguments.once && started.elapsed() > Duration::from_secs(arguments.timeout) {
            bail!("not every cluster was ready within {} s: {shown}\n{}", arguments.timeout, hub.process().log_tail());
        }
        std::thread::sleep(LOOK);
    }
    eprintln!("stopping");
    if arguments.once && !complete {
        bail!("stopped before every cluster was ready: {shown}");
    }
    Ok(())
}

fn report(arguments: &DemoArguments, hub: &Hub, status: &Status, seconds: f64) -> Result<()> {
    match arguments.output {
        Some(Output::Json) => {
            let line = serde_json::json!({
                "clusters": status.clusters,
                "live": status.live,
                "ready": status.ready,
                "seconds": (seconds * 1000.0).round() / 1000.0,
                "hub_rss_bytes": hub.process().resident_bytes()?,
                "hub_cpu_seconds": hub.process().cpu_seconds()?,
            });
            println!("{line}");
        }
        None => eprintln!("all {} clusters are live and ready after {seconds:.1} s", status.clusters),
    }
    Ok(())
}

/// What a newcomer can try next.
fn what_to_try(hub: &Hub) -> String {
    let cli = hub.programs().path("starling");
    let (cli, config, directory) = (cli.display(), hub.context_file(), hub.options().directory.display());
    format!(
        "\nThe fleet is up. In another terminal:\n\n  \
         alias starling='{cli} --config {}'\n  \
         starling status\n  \
         starling get clusters -l env=prod\n  \
         starling get assignments\n  \
         starling get objects --health failing,stalled\n  \
         starling describe assignment podinfo -n starling-platform\n  \
         starling delete assignment metrics -n factory\n\n\
         The hub reads {directory}: edit a file there and watch `starling get assignments --watch`.\n\
         Ctrl-C ends the demo.\n",
        config.display()
    )
}
