//! `starling-loadtest run`: carries a scenario out, from an empty fleet to a report.
//!
//! Owns the order of things: the hub, the drivers, the steps, and what is read meanwhile. The clusters run in driver processes
//! ([`crate::drive`]), so that this one has time to measure; the report is [`crate::report`]'s.

mod beside;
mod coming;
mod drivers;
mod hostile;
mod hub;
mod live;
mod metrics;
mod options;
mod probes;
pub(crate) mod process;
mod profiling;
mod sampler;
mod shards;
mod steps;
mod totals;
mod truth;
mod usage;
mod wire;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use self::drivers::{Driver, order_all, shares, start_drivers};
use self::hub::HubUnderTest;
pub use self::options::RunOptions;
use self::options::{Output, read_scenario};
use self::probes::{Booked, ProbeLog};
use self::profiling::Profiling;
use self::sampler::Samples;
use crate::alternative::Programs;
use crate::drive::{Answer, Order, StartOrder};
use crate::fixture::OWN_WORKSPACE;
use crate::fleet;
use crate::hostile as hostile_peers;
use crate::report;
use crate::report::results::{FORMAT, Machine, Results, StepResult};
use crate::scenario::{END, HUB, START, Scenario};

pub use self::beside::floor_alone;

/// How long what is under way at the end may take.
const DRAINS_WITHIN: Duration = Duration::from_secs(90);

/// Agents that are named where they ended by themselves.
const NAMED: usize = 5;

/// Quiet time after the fleet is there, before memory is read.
const QUIET: Duration = Duration::from_secs(3);

/// What the number of addons is drawn from, besides the seed; steps have the small numbers.
const CATALOGUE: u64 = u64::MAX;

/// A run under way.
struct Run {
    scenario: Scenario,
    hub: Arc<HubUnderTest>,
    drivers: Arc<Vec<Driver>>,
    /// Addons of the catalogue, each with an assignment.
    addons: u32,
    /// How many clusters are in the fleet now.
    clusters: u32,
    /// How many there ever were: the number of the next one that joins.
    ever: u32,
    began: Instant,
    samples: Samples,
    probes: ProbeLog,
    live: live::LiveView,
    /// What the probes say of each step, in order.
    booked: Vec<Booked>,
    /// What is wrong with the hub or the run: it has failed.
    defects: Vec<String>,
    /// What limits the figures.
    notes: Vec<String>,
    /// Changes made so far, so that each is another one.
    changes: u64,
    /// Clusters that hostile peers pretended to be, and that are not forgotten yet.
    wild: u32,
    /// The workspace is the run's own: what is in it may be removed.
    is_workspace_ours: bool,
    /// Where the hub's time and memory go, if that was asked for.
    profiling: Profiling,
}

/// Runs a scenario and writes its report; returns whether every threshold holds.
///
/// # Errors
/// The scenario is wrong, the hub cannot be reached or does not get where it should, a driver fails, or a folder cannot be written.
pub async fn run(options: &RunOptions) -> Result<bool> {
    let results = run_and_report(options).await?;
    match options.output {
        Some(Output::Json) => {
            println!("{}", serde_json::to_string(&report::line(&results)).context("write the figures")?);
        }
        None => {}
    }
    Ok(results.passed())
}

/// Runs a scenario and writes its report; returns what was measured.
pub(crate) async fn run_and_report(options: &RunOptions) -> Result<Results> {
    let scenario = read_scenario(options)?;
    if options.target.is_some()
        && let Some(step) = scenario.steps.iter().find(|step| step.action.needs_own_hub())
    {
        bail!(
            "step {}: the run may only do that to a hub that it started itself: leave --target out",
            step.action.kind()
        );
    }
    ensure!(
        options.target.is_none() || scenario.hub.processes == 1,
        "[hub] of the scenario says how many processes the run starts, and it starts none with --target: take the section away"
    );
    ensure!(
        options.target.is_none() || scenario.compare.is_empty(),
        "section compare: it compares on one machine, and the hub of --target may be on another: leave one of both out"
    );
    let find = |_| Programs::find(options.etcd.as_deref().unwrap_or(Path::new("etcd")), &options.kube_apiserver);
    let programs = scenario.compare.alternative.as_ref().map(find).transpose()?;
    let began_at = jiff::Timestamp::now();
    let out = options.out.clone().unwrap_or_else(|| {
        PathBuf::from("loadtest-results").join(format!("{}-{}", scenario.name, began_at.strftime("%Y%m%d-%H%M%S")))
    });
    std::fs::create_dir_all(&out).with_context(|| format!("make {}", out.display()))?;
    let (mut results, mut outcome) = carry_out(scenario, options, &out, began_at.to_string()).await?;
    if outcome.is_ok() {
        let comparing = beside::measure(&mut results, programs.as_ref(), &out);
        outcome = unless_stopped(comparing).await;
    }
    results.judge();
    if let Err(error) = &outcome {
        results.defects.push(format!("the run broke off: {error:#}"));
    }
    report::write(&results, &out)?;
    // What was measured until then is kept, and the reason is the outcome.
    outcome.with_context(|| format!("the run broke off; what was measured is in {}", out.display()))?;
    eprint!("{}", report::summary(&results));
    eprintln!("report: {}", out.join("report.html").display());
    Ok(results)
}

/// Does it all; returns what was measured, whole or until it broke off.
async fn carry_out(
    scenario: Scenario,
    options: &RunOptions,
    out: &Path,
    began: String,
) -> Result<(Results, Result<()>)> {
    let clusters = u32::try_from(scenario.fleet.clusters.draw(&mut scenario.random(0))).context("count clusters")?;
    let profiling = Profiling::new(options.profile, options.profile_memory, out)?;
    let hub = match &options.target {
        Some(config) => HubUnderTest::there(config, options.metrics.clone()).await?,
        None => {
            let folder = std::path::absolute(out.join("hub")).context("name the hub's folder")?;
            ensure!(!folder.exists(), "{} is there already: choose another --out", folder.display());
            hub::start(&scenario, clusters, options, &profiling, &folder).await?
        }
    };
    let hub = Arc::new(hub);
    let status = hub.status().await?;
    ensure!(
        status.source != "kubernetes",
        "this hub takes its resources from Kubernetes, where a run cannot make any: test one that reads a directory"
    );
    sampler::counters(&hub).await.context("read the hub's counters: correct --metrics, or leave it out")?;
    let addons = scenario.fleet.addons.draw(&mut scenario.random(CATALOGUE));
    let addons = u32::try_from(addons).context("count addons")?;
    let drivers = Arc::new(start_drivers(&scenario, clusters)?);
    let mut run = Run {
        scenario,
        hub: Arc::clone(&hub),
        drivers,
        addons,
        clusters: 0,
        ever: 0,
        began: Instant::now(),
        samples: Samples::default(),
        probes: ProbeLog::default(),
        live: live::LiveView::new(std::io::stderr().is_terminal()),
        booked: Vec::new(),
        defects: Vec::new(),
        notes: Vec::new(),
        changes: 0,
        wild: 0,
        is_workspace_ours: false,
        profiling,
    };
    let mut steps = Vec::new();
    let outcome = unless_stopped(run.steps(clusters, &mut steps)).await;
    run.live.end();
    run.put_down_probes(&mut steps);
    let mut results = Results {
        format: FORMAT,
        scenario: run.scenario.clone(),
        began,
        machine: machine(),
        hub_version: status.version,
        clusters,
        drivers: run.drivers.len() as u32,
        steps,
        samples: run.samples.all(),
        profiles: Vec::new(),
        heap: None,
        beside: Vec::new(),
        stopped: None,
        figures: BTreeMap::new(),
        verdicts: Vec::new(),
        defects: std::mem::take(&mut run.defects),
        notes: std::mem::take(&mut run.notes),
    };
    drop(hub);
    run.whole_run(&mut results.figures);
    let profiling = std::mem::take(&mut run.profiling);
    if let Err(error) = run.clean_up(&mut results.defects).await {
        results.defects.push(format!("something may be left behind: {error:#}"));
    }
    profiling.finish(&mut results);
    Ok((results, outcome))
}

/// Works until Ctrl-C or SIGTERM, which are an error.
async fn unless_stopped(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    tokio::select! {
        outcome = work => outcome,
        stopped = tokio::signal::ctrl_c() => {
            stopped.context("listen for Ctrl-C").and_then(|()| bail!("stopped by its user"))
        }
        _ = terminate.recv() => Err(anyhow!("told to stop")),
    }
}

fn machine() -> Machine {
    let total = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = total.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let kibibytes: u64 = total.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    Machine { cpus, memory_bytes: kibibytes * 1024, kernel }
}

impl Run {
    /// How long the whole fleet may take: no figure, only a bound after which something is wrong.
    fn patience(&self) -> Duration {
        Duration::from_secs(120) + Duration::from_millis(100) * self.clusters
    }

    async fn steps(&mut self, clusters: u32, results: &mut Vec<StepResult>) -> Result<()> {
        let processes = self.drivers.iter().filter_map(Driver::process).collect();
        let sampling = self.samples.clone().take(Arc::clone(&self.hub), processes, self.began);
        let _sampling = AbortOnDropHandle::new(tokio::spawn(sampling));
        let names = self.scenario.step_names();
        self.step(&names[0], START, results, async |run, step| run.start(step, clusters).await).await?;
        let probing = self.probes.clone().ask(
            self.scenario.probes,
            Arc::clone(&self.hub),
            Arc::clone(&self.drivers),
            self.scenario.seed,
        );
        let mut probing = AbortOnDropHandle::new(tokio::spawn(probing));
        for (index, step) in self.scenario.steps.clone().into_iter().enumerate() {
            let name = &names[index + 1];
            self.action(name, &step.action, index as u64, results).await.with_context(|| format!("step {name}"))?;
        }
        // The last questions may still be under way; what does not end counts as lost.
        self.probes.stop();
        if tokio::time::timeout(DRAINS_WITHIN, &mut probing).await.is_err() {
            self.defects.push("questions of the probes never ended".to_owned());
        }
        drop(probing);
        order_all(&self.drivers, &Order::Calm, DRAINS_WITHIN).await?;
        self.step(&names[names.len() - 1], END, results, Self::compare).await.context("step end")
    }

    /// Adopts the fleet and waits until all of it is ready.
    async fn start(&mut self, step: &mut StepResult, clusters: u32) -> Result<()> {
        let hub = Arc::clone(&self.hub);
        let already = hub.counts().await?.clusters;
        ensure!(
            already == 0,
            "workspace {} has {already} clusters: another run goes on there, or was not cleaned up",
            OWN_WORKSPACE.workspaces[0]
        );
        self.is_workspace_ours = true;
        hub.apply(OWN_WORKSPACE.documents()).await?;
        if self.addons > 0 {
            hub.apply(OWN_WORKSPACE.catalogue(self.addons)).await?;
        }
        step.figures.insert("addons".into(), f64::from(self.addons));
        sleep(QUIET).await;
        let before = self.samples.newest_resident();
        let began = Instant::now();
        let joining = self.adopt(clusters)?;
        let (all, patience) = (u64::from(self.clusters), self.patience());
        let live = hub.wait_for("every cluster to be live", patience, |counts| counts.live == all);
        let (_, live) = futures::future::try_join(joining, live).await?;
        step.figures.insert("live-seconds".into(), live.duration_since(began).as_secs_f64());
        let ready = hub.wait_for("every cluster to be ready", patience, |counts| counts.ready == all).await?;
        step.figures.insert("ready-seconds".into(), ready.duration_since(began).as_secs_f64());
        sleep(QUIET).await;
        self.profiling.mark_heap()?;
        let after = self.samples.newest_resident();
        if let (Some(before), Some(after)) = (before, after) {
            step.figures.insert("hub-bytes-per-cluster".into(), (after - before).max(0.0) / f64::from(self.clusters));
        }
        Ok(())
    }

    /// Stops all agents. One that had ended by itself is a defect: its cluster may have been all there was to see it by.
    async fn stop_agents(&mut self, patience: Duration) -> Result<()> {
        for answer in order_all(&self.drivers, &Order::StopAgents, patience).await? {
            let Answer::Stopped { ended } = answer else { bail!("a driver does not say how its agents ended") };
            self.defects.extend(named(ended));
        }
        Ok(())
    }

    /// Lets every driver adopt its share of new clusters; the fleet has them from now on.
    fn adopt(&mut self, clusters: u32) -> Result<impl Future<Output = Result<()>> + use<>> {
        let shares = shares(self.ever, clusters, u32::try_from(self.drivers.len()).context("count drivers")?);
        (self.ever, self.clusters) = (self.ever + clusters, self.clusters + clusters);
        let (drivers, patience) = (Arc::clone(&self.drivers), self.patience());
        let orders = shares.iter().enumerate().map(|(number, share)| {
            Order::Start(Box::new(StartOrder {
                config: self.hub.context_file(number),
                doors: self.hub.doors(),
                first: share.start,
                clusters: share.end - share.start,
                shape: self.scenario.fleet.clone(),
                seed: self.scenario.seed,
                workspaces: OWN_WORKSPACE.workspaces.iter().map(|name| (*name).to_owned()).collect(),
            }))
        });
        let orders: Vec<_> = orders.collect();
        Ok(async move {
            let adopting = drivers.iter().zip(orders).zip(shares).map(async |((driver, order), share)| {
                driver.order(order, patience).await?;
                driver.numbers().extend(share);
                anyhow::Ok(())
            });
            futures::future::try_join_all(adopting).await.map(drop)
        })
    }

    /// Puts down what the whole run used.
    fn whole_run(&self, figures: &mut BTreeMap<String, f64>) {
        let samples = self.samples.all();
        let peak = samples.iter().filter_map(|sample| sample.hub_resident_bytes).reduce(f64::max);
        figures.extend(peak.map(|peak| (format!("{HUB}.peak-resident-bytes"), peak)));
        let counted: Vec<_> = samples.iter().map(|sample| &sample.counters).filter(|read| !read.is_empty()).collect();
        if !counted.is_empty() {
            for name in ["starling_resyncs_total", "starling_status_refused_total", "starling_sessions_throttled_total"]
            {
                let figure = name.trim_start_matches("starling_").trim_end_matches("_total").replace('_', "-");
                // A hub that was started again counts from nothing.
                let values = counted.iter().map(|read| read.get(name).copied().unwrap_or_default());
                let (total, _) = values.fold((0.0, 0.0), |(total, before), now| {
                    (total + if now >= before { now - before } else { now }, now)
                });
                figures.insert(format!("{HUB}.{figure}"), total);
            }
        }
    }

    /// Leaves nothing behind: agents stop, and of a hub that was there already what the run made goes again.
    async fn clean_up(mut self, defects: &mut Vec<String>) -> Result<()> {
        // What one of these leaves, the next ones still take away.
        let stopped = self.stop_agents(DRAINS_WITHIN).await;
        defects.append(&mut self.defects);
        let Self { hub, drivers, addons, ever, wild, is_workspace_ours, .. } = self;
        let made = (0..ever).map(fleet::name).chain((0..wild).map(hostile_peers::name)).collect();
        let mut ended = Ok(());
        for driver in sole(drivers).await.into_iter().flatten() {
            ended = ended.and(driver.end().await);
        }
        let forgotten = match hub.is_own() {
            true => match sole(hub).await {
                Some(hub) => hub.end().await,
                None => Err(anyhow!("somebody still uses the hub")),
            },
            false if is_workspace_ours => hub.forget(&OWN_WORKSPACE, made, addons).await,
            false => Ok(()),
        };
        forgotten.and(ended).and(stopped)
    }
}

/// Returns the first few of many, and how many there were beyond these.
fn named(mut all: Vec<String>) -> Vec<String> {
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    all.extend((more > 0).then(|| format!("and {more} more like these")));
    all
}

/// Takes something out of what tasks shared that are about to end.
async fn sole<T>(mut shared: Arc<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        shared = match Arc::try_unwrap(shared) {
            Ok(sole) => return Some(sole),
            Err(shared) => shared,
        };
        if began.elapsed() > QUIET {
            return None;
        }
        sleep(Duration::from_millis(10)).await;
    }
}
