//! What is timed with the alternative, and how far it is taken.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::{sleep, timeout};

use super::{Driver, QUIET, add, end, order_all, shares, start_drivers, timed};
use crate::alternative::{
    AlternativeOrder, Caller, Connection, Limits, MakeOrder, Programs, Servers, Stop, WORKS, change_patch,
    objects_limit, work_path,
};
use crate::drive::{Moment, Order};
use crate::fixture::OBJECTS_OF_AN_ASSIGNMENT;
use crate::fleet;
use crate::latency::Latency;
use crate::report::results::{Results, StepResult, Stopped};
use crate::run::machine;
use crate::run::process::resident_bytes;
use crate::scenario::{ALTERNATIVE, AlternativeSpec, Scenario};

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long nothing but leases is renewed.
const IDLE: Duration = Duration::from_secs(20);

/// How long statuses are written at full speed.
const STORM: Duration = Duration::from_secs(10);

/// Changes to one, and to all.
const ROUNDS: (u64, u64) = (30, 3);

/// Statuses that are looked for in answers.
const VISIBLE: u32 = 100;

/// Pages, and lists of everything, that are asked for.
const QUESTIONS: (u32, u32) = (100, 5);

/// Flux objects of a page.
const PAGE: usize = 100;

/// The wait between changes.
const PAUSE: Duration = Duration::from_millis(100);

/// Works that are changed at the same time, and connections of whoever changes them.
const CHANGING: (usize, usize) = (64, 4);

/// Added to what an order may take, so that the driver is the first to give up and says what is missing.
const MARGIN: Duration = Duration::from_secs(5);

/// The alternative at one size.
struct Alternative<'a> {
    scenario: &'a Scenario,
    limits: Limits,
    clusters: u32,
    servers: Servers,
    processes: Arc<Mutex<Vec<u32>>>,
    drivers: Vec<Driver>,
    controllers: Vec<Connection>,
    changes: u64,
}

/// Takes it to growing sizes until it stops, each from nothing.
pub(super) async fn grow(
    results: &mut Results,
    scenario: &Scenario,
    spec: &AlternativeSpec,
    programs: &Programs,
    folder: &Path,
) -> Result<()> {
    let began = Instant::now();
    let limits = Limits {
        patience: Duration::from_secs(spec.patience_seconds),
        memory: spec.memory_mib.map_or(machine().memory_bytes / 2, |mebibytes| mebibytes << 20),
        whole: Duration::from_secs(spec.seconds),
    };
    let sizes = spec.sizes(results.clusters);
    let cut = (0..sizes.last().copied().unwrap_or_default())
        .filter(|number| objects_of(scenario, *number) > objects_limit())
        .count();
    if cut > 0 {
        let limit = objects_limit();
        results.notes.push(format!(
            "the alternative: {cut} clusters have more statuses than one object of an API server can hold, and write {limit}"
        ));
    }
    for (index, clusters) in sizes.iter().copied().enumerate() {
        let name = format!("{ALTERNATIVE}-{clusters}");
        let mut step = StepResult { name, kind: ALTERNATIVE.into(), ..StepResult::default() };
        step.began_seconds = began.elapsed().as_secs_f64();
        let folder = folder.join(clusters.to_string());
        let stopped = at_size(scenario, clusters, programs, &folder, limits, began, &mut step).await?;
        step.ended_seconds = began.elapsed().as_secs_f64();
        results.beside.push(step);
        if let Some(stop) = stopped {
            if index == 0 && matches!(stop, Stop::Failed { .. }) {
                bail!("the alternative at its smallest size, {clusters} clusters: {stop}; see {}", folder.display());
            }
            results.stopped = Some(Stopped { clusters, why: stop.to_string(), is_limit: stop.is_limit() });
            break;
        }
    }
    Ok(())
}

fn objects_of(scenario: &Scenario, number: u32) -> usize {
    (scenario.fleet.draw(scenario.seed, number).objects + OBJECTS_OF_AN_ASSIGNMENT) as usize
}

/// Measures one size; returns why it stopped, if it did.
async fn at_size(
    scenario: &Scenario,
    clusters: u32,
    programs: &Programs,
    folder: &Path,
    limits: Limits,
    began: Instant,
    step: &mut StepResult,
) -> Result<Option<Stop>> {
    if let Some(stop) = limits.exceeded(0, began.elapsed()) {
        return Ok(Some(stop));
    }
    let folder = std::path::absolute(folder).context("name the alternative's folder")?;
    let servers = Servers::start(programs, &folder).await?;
    let processes = Arc::new(Mutex::new(servers.processes()));
    let caller = Caller::new(servers.place())?;
    let controllers = futures::future::try_join_all((0..CHANGING.1).map(|_| caller.connect())).await?;
    let drivers = start_drivers(scenario, clusters)?;
    let mut alternative = Alternative {
        scenario,
        limits,
        clusters,
        servers,
        processes: Arc::clone(&processes),
        drivers,
        controllers,
        changes: 0,
    };
    let mut peak = 0;
    let stopped = tokio::select! {
        outcome = alternative.measure(step) => outcome.err(),
        stop = exceeded(limits, &processes, began, &mut peak) => Some(stop),
    };
    step.figures.insert("peak-resident-bytes".into(), peak as f64);
    let Alternative { servers, drivers, .. } = alternative;
    let ended = match stopped {
        // One that waits for a cluster which never gets there is killed.
        Some(_) => {
            drop(drivers);
            Ok(())
        }
        None => end(drivers).await,
    };
    servers.end().await.and(ended)?;
    Ok(stopped)
}

/// Returns once too much memory or time is used; remembers the most memory.
async fn exceeded(limits: Limits, processes: &Mutex<Vec<u32>>, began: Instant, peak: &mut u64) -> Stop {
    loop {
        let processes = processes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // One that was killed on purpose uses nothing.
        let resident: u64 = processes.into_iter().filter_map(|process| resident_bytes(process).ok()).sum();
        *peak = resident.max(*peak);
        if let Some(stop) = limits.exceeded(resident, began.elapsed()) {
            return stop;
        }
        sleep(LOOK).await;
    }
}

impl Alternative<'_> {
    async fn measure(&mut self, step: &mut StepResult) -> Result<(), Stop> {
        self.start(step).await?;
        self.idle(step).await?;
        for _ in 0..ROUNDS.0 {
            self.change(true, step).await?;
        }
        self.reads(step).await?;
        for _ in 0..ROUNDS.1 {
            self.change(false, step).await?;
        }
        self.storm(step).await?;
        self.killed(step).await
    }

    /// Does something that concerns every cluster, for as long as patience lasts.
    async fn within<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T, Stop> {
        let Limits { patience, .. } = self.limits;
        match timeout(patience + MARGIN, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Stop::Failed { what: what.into(), why: format!("{error:#}") }),
            Err(_) => Err(Stop::TooLong { what: what.into(), patience }),
        }
    }

    async fn order(&self, what: &str, order: AlternativeOrder) -> Result<(), Stop> {
        // The wait for it has its own end.
        let order = Order::Alternative(order);
        let done = order_all(&self.drivers, &order, Duration::MAX);
        self.within(what, done).await.map(drop)
    }

    /// Gives an order that times every cluster, or the first alone; nobody may be missing.
    async fn timed(&self, what: &str, order: AlternativeOrder, first_alone: bool) -> Result<Latency, Stop> {
        let drivers = if first_alone { &self.drivers[..1] } else { &self.drivers[..] };
        let order = Order::Alternative(order);
        let done = async { timed(order_all(drivers, &order, Duration::MAX).await?) };
        let (latency, missing) = self.within(what, done).await?;
        if missing > 0 {
            let what = format!("{what} ({missing} clusters missing)");
            return Err(Stop::TooLong { what, patience: self.limits.patience });
        }
        Ok(latency)
    }

    fn usage(&self) -> Result<crate::run::process::Usage, Stop> {
        let failed = |error| Stop::Failed { what: "reading what the servers use".into(), why: format!("{error:#}") };
        self.servers.usage().map_err(failed)
    }

    /// Makes, connects and first statuses; then what it takes.
    async fn start(&self, step: &mut StepResult) -> Result<(), Stop> {
        eprintln!("comparing: the alternative, {} clusters", self.clusters);
        let before = self.usage()?.resident;
        let began = Instant::now();
        let shares = shares(0, self.clusters, self.drivers.len() as u32);
        let making = self.drivers.iter().zip(shares).map(|(driver, share)| {
            let order = AlternativeOrder::Make(Box::new(MakeOrder {
                server: self.servers.place().clone(),
                first: share.start,
                clusters: share.end - share.start,
                shape: self.scenario.fleet.clone(),
                seed: self.scenario.seed,
            }));
            driver.order(Order::Alternative(order), Duration::MAX)
        });
        // As a fleet grows by and by, patience is not asked here; the time for all sizes bounds it.
        let made = futures::future::try_join_all(making).await;
        made.map_err(|error| Stop::Failed { what: "making the objects".into(), why: format!("{error:#}") })?;
        step.figures.insert("made-seconds".into(), began.elapsed().as_secs_f64());
        let began = Instant::now();
        self.order("connecting every cluster", AlternativeOrder::Connect).await?;
        step.figures.insert("connected-seconds".into(), began.elapsed().as_secs_f64());
        self.order("a first status of every cluster", AlternativeOrder::Report).await?;
        step.figures.insert("live-seconds".into(), began.elapsed().as_secs_f64());
        sleep(QUIET).await;
        let grown = self.usage()?.resident.saturating_sub(before);
        step.figures.insert("bytes-per-cluster".into(), grown as f64 / f64::from(self.clusters));
        Ok(())
    }

    async fn idle(&self, step: &mut StepResult) -> Result<(), Stop> {
        let (began, before) = (Instant::now(), self.usage()?.cpu);
        self.order("renewing leases", AlternativeOrder::Idle { millis: IDLE.as_millis() as u64 }).await?;
        let used = self.usage()?.cpu.saturating_sub(before);
        step.figures.insert("heartbeat-cpus".into(), used.as_secs_f64() / began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Changes the works of one cluster or of all, and waits until each has acknowledged that with its status.
    async fn change(&mut self, first_alone: bool, step: &mut StepResult) -> Result<(), Stop> {
        sleep(PAUSE).await;
        self.changes += 1;
        let change = self.changes;
        let since = Moment::now();
        let count = if first_alone { 1 } else { self.clusters };
        let patching = (0..count).map(async |number| {
            let controller = &self.controllers[number as usize % self.controllers.len()];
            controller.patch(&work_path(&fleet::name(number)), change_patch(change)).await.map(drop)
        });
        let what = if first_alone { "a change to one cluster" } else { "a change to every cluster" };
        let patched = stream::iter(patching).buffer_unordered(CHANGING.0).try_collect::<()>();
        self.within(what, patched).await?;
        let patience_ms = self.limits.patience.as_millis() as u64;
        let order = |acknowledged| AlternativeOrder::Received { change, since, first_alone, acknowledged, patience_ms };
        let name = if first_alone { "one" } else { "all" };
        for (figure, acknowledged) in [("acknowledged", true), ("received", false)] {
            let latency = self.timed(what, order(acknowledged), first_alone).await?;
            add(step, &format!("{name}-{figure}"), &latency);
        }
        Ok(())
    }

    /// Asks: for a status that was just written, a page, and everything.
    async fn reads(&self, step: &mut StepResult) -> Result<(), Stop> {
        let visible = self.timed("reading statuses", AlternativeOrder::Visible { rounds: VISIBLE }, true).await?;
        add(step, "visible", &visible);
        let clusters_of_a_page = PAGE.div_ceil(objects_of(self.scenario, 0));
        let page = format!("{WORKS}?limit={clusters_of_a_page}");
        let everything = format!("{WORKS}?resourceVersion=0");
        for (name, path, times) in [("page", page, QUESTIONS.0), ("list", everything, QUESTIONS.1)] {
            for _ in 0..times {
                let began = Instant::now();
                self.within("a list", self.controllers[0].get(&path)).await?;
                let mut latency = Latency::new();
                latency.record(began.elapsed());
                add(step, name, &latency);
            }
        }
        Ok(())
    }

    async fn storm(&self, step: &mut StepResult) -> Result<(), Stop> {
        let (began, before) = (Instant::now(), self.usage()?.cpu);
        let order = AlternativeOrder::Storm { millis: STORM.as_millis() as u64 };
        let written = self.timed("statuses at full speed", order, false).await?;
        let (took, used) = (began.elapsed().as_secs_f64(), self.usage()?.cpu.saturating_sub(before));
        let count = written.samples() as f64;
        add(step, "status-written", &written);
        step.figures.insert("changes-per-second".into(), count / took);
        step.figures.insert("cpu-ms-per-change".into(), used.as_secs_f64() * 1000.0 / count.max(1.0));
        Ok(())
    }

    /// Kills the API server; times until it answers again, and until every cluster watches again.
    async fn killed(&mut self, step: &mut StepResult) -> Result<(), Stop> {
        let failed = |error| Stop::Failed { what: "starting the API server again".into(), why: format!("{error:#}") };
        let began = self.servers.kill_api().await.map_err(failed)?;
        step.figures.insert("killed-answers-seconds".into(), began.elapsed().as_secs_f64());
        *self.processes.lock().unwrap_or_else(PoisonError::into_inner) = self.servers.processes();
        let patience_ms = self.limits.patience.as_millis() as u64;
        let back = AlternativeOrder::Back { since: Moment::of(began), patience_ms };
        self.timed("every cluster watching again after a kill", back, false).await?;
        step.figures.insert("killed-live-seconds".into(), began.elapsed().as_secs_f64());
        Ok(())
    }
}
