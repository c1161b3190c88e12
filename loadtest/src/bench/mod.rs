//! `starling-loadtest bench`: what a running hub costs and how quick it is, with a simulated fleet and beside a bare floor.
//!
//! Owns what is measured and in which order; asserts no time. The agents run in this process, the hub and the floor's
//! server in processes of their own, all on one machine.

mod changes;
pub(crate) mod figures;
mod hub;
mod report;
mod statuses;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use tokio::time::sleep;

use crate::fixture::{OBJECTS_OF_AN_ASSIGNMENT, PROBE_LABEL, WHOLE_FLEET};
use crate::fleet::{FleetOptions, SimulatedFleet};
use crate::floor;
use figures::Rounds;
use hub::MeasuredHub;
use report::{Figures, Memory};

/// Quiet time before memory is read, so that what is under way ends.
const QUIET: Duration = Duration::from_secs(3);

/// What the measurement takes.
#[derive(Clone, Debug, Args)]
pub struct BenchOptions {
    /// The command line's configuration that the hub wrote.
    #[arg(long)]
    config: PathBuf,
    /// The process id of the hub, whose memory and CPU time are read.
    #[arg(long)]
    hub_pid: u32,
    /// How many clusters.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    clusters: u32,
    /// Flux objects of each cluster, those that Starling applies included.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(4..))]
    objects: u32,
    /// Samples of each latency.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Rounds of what concerns the whole fleet.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds over which the CPU time of an idle hub is read.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    idle_seconds: u64,
    /// Prints one line of figures on standard output besides the table on standard error.
    #[arg(short, long)]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// One JSON object on one line.
    Json,
}

/// A hub with its fleet.
struct Bench<'a> {
    options: &'a BenchOptions,
    hub: MeasuredHub,
    fleet: SimulatedFleet,
}

/// Measures and prints.
///
/// # Errors
/// The hub cannot be reached, holds, or does not get where it should within minutes.
pub async fn run(options: &BenchOptions) -> Result<()> {
    let figures = measure(options).await?;
    eprint!("{figures}");
    match options.output {
        Some(Output::Json) => println!("{}", serde_json::to_string(&figures).context("write the figures")?),
        None => {}
    }
    Ok(())
}

async fn measure(options: &BenchOptions) -> Result<Figures> {
    let hub = MeasuredHub::connect(&options.config, options.hub_pid).await?;
    let already = hub.status().await?.clusters;
    if already > 0 {
        bail!("the hub has {already} clusters already: measure a hub with an empty directory and a new state");
    }
    progress("floor");
    let floor = floor::measure(options.clusters, options.objects).await?;
    hub.apply(WHOLE_FLEET.documents()).await?;
    sleep(QUIET).await;
    let before = hub.resident_bytes()?;
    progress("enrolment");
    let began = Instant::now();
    let fleet = SimulatedFleet::start(&options.config, &fleet_options(options)).await?;
    let mut bench = Bench { options, hub, fleet };
    let live = bench.wait_until_live().await?;
    let enrol_seconds = live.duration_since(began).as_secs_f64();
    let ready_seconds = bench.wait_until_ready().await?.duration_since(began).as_secs_f64();
    sleep(QUIET).await;
    let memory = Memory::new(before, bench.hub.resident_bytes()?, options.clusters);
    progress("idle");
    let idle_cpu_percent = bench.idle_cpu().await?;
    progress("all agents away and back");
    let live_seconds = bench.reconnect().await?;
    progress("changes");
    let one = bench.changes_for_one().await?;
    let everybody = bench.changes_for_everybody().await?;
    progress("statuses");
    let statuses = bench.statuses().await?;
    bench.fleet.stop_agents().await;
    Ok(Figures {
        clusters: options.clusters,
        objects_per_cluster: options.objects,
        enrol_seconds,
        ready_seconds,
        live_seconds,
        memory,
        idle_cpu_percent,
        change_to_one: one,
        change_to_everybody: everybody,
        status: statuses,
        floor,
    })
}

fn fleet_options(options: &BenchOptions) -> FleetOptions {
    let plain = FleetOptions::plain(options.clusters, background_objects(options));
    FleetOptions { probe_label: Some(PROBE_LABEL), ..plain }
}

/// Objects of a cluster that Starling does not apply.
fn background_objects(options: &BenchOptions) -> u32 {
    options.objects - OBJECTS_OF_AN_ASSIGNMENT
}

fn progress(what: &str) {
    eprintln!("measuring: {what}");
}

impl Bench<'_> {
    /// How long the whole fleet may take: no figure, only a bound after which something is wrong.
    fn patience(&self) -> Duration {
        Duration::from_secs(120) + Duration::from_millis(100) * self.options.clusters
    }

    async fn wait_until_live(&self) -> Result<Instant> {
        let all = u64::from(self.options.clusters);
        self.hub.wait_for("every cluster to be live", self.patience(), |status| status.live == all).await
    }

    async fn wait_until_ready(&self) -> Result<Instant> {
        let all = u64::from(self.options.clusters);
        self.hub.wait_for("every cluster to be ready", self.patience(), |status| status.ready == all).await
    }

    /// Returns the CPU time of the hub with nothing but heartbeats, as a share of one core.
    async fn idle_cpu(&self) -> Result<f64> {
        let (began, before) = (Instant::now(), self.hub.cpu_time()?);
        sleep(Duration::from_secs(self.options.idle_seconds)).await;
        let used = self.hub.cpu_time()?.saturating_sub(before);
        Ok(100.0 * used.as_secs_f64() / began.elapsed().as_secs_f64())
    }

    /// Stops all agents and starts them again; times from their start until the hub counts all as live.
    async fn reconnect(&mut self) -> Result<Rounds> {
        let mut rounds = Vec::new();
        for _ in 0..self.options.rounds {
            self.fleet.stop_agents().await;
            let gone = self.hub.wait_for("every session to end", self.patience(), |status| status.live == 0);
            gone.await?;
            let began = Instant::now();
            self.fleet.start_agents();
            rounds.push(self.wait_until_live().await?.duration_since(began).as_secs_f64());
            self.wait_until_ready().await?;
            sleep(QUIET).await;
        }
        Rounds::of(&rounds).context("no round was measured")
    }
}
