//! `cargo xtask demo`: a hub of one process or several, an example fleet, simulated clusters, and real ones if asked.

mod bed;
mod fleet;
mod real;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};
use starling_harness::{StarlingPrograms, Status};
use starling_realparts::{Launch, Process};

use crate::build;
use bed::Bed;
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
    /// How many hub processes; more than one share the clusters over an etcd.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    shards: u16,
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
    sources.write_fleet(&Bed::directory(folder.path()))?;
    let started = Instant::now();
    let mut bed = Bed::start(&programs, folder.path(), usize::from(arguments.shards))?;
    let simulated = (arguments.clusters > 0).then(|| simulate(&bed, arguments.clusters));
    let simulated = simulated.transpose()?;
    let real = RealClusters::start(folder.path(), bed.any(), arguments.real)?;
    // When this fails, everything is killed where it stands.
    watch(arguments, &mut bed, simulated.as_ref(), started, &stop)?;
    if let Some(simulated) = &simulated {
        simulated.terminate(PATIENCE)?;
    }
    real.stop(PATIENCE)?;
    bed.stop(PATIENCE)
}

/// Starts the process that holds the simulated clusters.
fn simulate(bed: &Bed, clusters: u32) -> Result<Process> {
    let hub = bed.any();
    let launch = Launch::new("simulated-clusters", &hub.programs().path("starling-loadtest"), &hub.options().logs)
        .args(["fleet", "--clusters", &clusters.to_string(), "--config"])
        .arg(hub.context_file());
    Process::start(launch).context("start the simulated clusters")
}

fn watch(
    arguments: &DemoArguments,
    bed: &mut Bed,
    simulated: Option<&Process>,
    started: Instant,
    stop: &AtomicBool,
) -> Result<()> {
    let wanted = u64::from(arguments.clusters) + u64::from(arguments.real);
    let mut shown = String::new();
    let mut complete = false;
    while !stop.load(Ordering::Relaxed) {
        if let Some(simulated) = simulated {
            simulated.check_running()?;
        }
        if let Some(status) = bed.status()? {
            let shards = bed.shards().map(Result::unwrap_or_default);
            // Processes that are still joining would get their clusters a few seconds later.
            let is_settled = shards.as_ref().is_none_or(|shards| {
                shards.len() == bed.all().len() && shards.iter().all(starling_harness::Shard::is_settled)
            });
            let line = words::progress(&status, shards.as_deref());
            if line != shown {
                eprintln!("{:6.1} s  {line}", started.elapsed().as_secs_f64());
                shown = line;
            }
            let is_ready = status.clusters >= wanted && status.live >= wanted && status.ready >= wanted;
            if !complete && is_ready && is_settled {
                complete = true;
                if arguments.once {
                    return report(arguments, bed, &status, started.elapsed().as_secs_f64());
                }
                eprintln!("{}", words::what_to_try(bed));
            }
        }
        if arguments.once && started.elapsed() > Duration::from_secs(arguments.timeout) {
            bail!("not every cluster was ready within {} s: {shown}\n{}", arguments.timeout, bed.log_tails());
        }
        std::thread::sleep(LOOK);
    }
    eprintln!("stopping");
    if arguments.once && !complete {
        bail!("stopped before every cluster was ready: {shown}");
    }
    Ok(())
}

fn report(arguments: &DemoArguments, bed: &Bed, status: &Status, seconds: f64) -> Result<()> {
    let Some(Output::Json) = arguments.output else {
        eprintln!("all {} clusters are live and ready after {seconds:.1} s", status.clusters);
        return Ok(());
    };
    let (mut memory, mut processor) = (0, 0.0);
    for hub in bed.all() {
        memory += hub.process().resident_bytes()?;
        processor += hub.process().cpu_seconds()?;
    }
    let mut line = serde_json::json!({
        "clusters": status.clusters,
        "live": status.live,
        "ready": status.ready,
        "seconds": (seconds * 1000.0).round() / 1000.0,
        "hub_rss_bytes": memory,
        "hub_cpu_seconds": processor,
    });
    if let Some(shards) = bed.shards().transpose()? {
        line["shards"] = shards.len().into();
        line["clusters_by_shard"] = shards.iter().map(|shard| (shard.name.clone(), shard.clusters_owned)).collect();
        line["largest_over_mean"] = words::largest_over_mean(&shards).into();
    }
    println!("{line}");
    Ok(())
}
