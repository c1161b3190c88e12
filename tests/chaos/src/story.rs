//! The run itself: fault after fault, each with a change of the fleet meanwhile, and what must hold after each.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use starling_harness::logs::unexpected_errors;
use starling_harness::{CommandLine, StarlingPrograms};
use starling_realparts::wait_for;

use crate::bed::Bed;
use crate::changes::World;
use crate::counters::Counters;
use crate::fault::Fault;
use crate::report::{Report, Survived};
use crate::schedule::Schedule;
use crate::watch::Watch;
use crate::{ChaosOptions, Length, inject, outside};

/// How long nothing is done to see what a quiet fleet costs.
const QUIET: Duration = Duration::from_secs(10);

/// How long the ring may take to be as it was: a hub joins after 3 s, and its clusters follow.
const SETTLES: Duration = Duration::from_secs(20);

/// Sessions that end for reasons of their own, for each cluster.
const SLACK: f64 = 0.1;

/// ERROR lines that a fault explains, by a part of their text.
const EXPECTED_ERRORS: [&str; 0] = [];

/// Starts everything, lets the faults come, and tells what was survived; a violation is part of the report and ends the run.
///
/// # Errors
/// The parts cannot be started.
pub fn run(programs: &StarlingPrograms, options: &ChaosOptions, progress: &dyn Fn(&str)) -> Result<Report> {
    if let Length::Time(_, words) = &options.length {
        // A round has each kind of fault.
        let faults: Vec<Fault> = schedule(options).take(Schedule::ROUND).collect();
        let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
        ensure!(
            faults.iter().any(|fault| has_all(fault, words)),
            "no fault has all of {words:?} in its description; this seed begins with: {}",
            all.join("; ")
        );
    }
    let started = Instant::now();
    let mut bed = Bed::start(programs, options)?;
    let mut world = World::start(&bed.hubs.options().directory(), options.seed)?;
    let mut report = Report {
        seed: options.seed,
        hubs: options.hubs,
        clusters: options.clusters,
        started_seconds: 0.0,
        steady_etcd_writes_per_second: 0.0,
        survived: Vec::new(),
        violation: None,
        replay: replay(options),
    };
    wait_well(&bed, &world, options.bound, progress)?;
    report.started_seconds = started.elapsed().as_secs_f64();
    progress(&format!("all {} clusters are served after {:.1} s", options.clusters, report.started_seconds));
    let before = Counters::read(&bed)?;
    std::thread::sleep(QUIET);
    let quiet = Counters::read(&bed)?.since(&before);
    report.steady_etcd_writes_per_second = quiet.etcd_writes as f64 / QUIET.as_secs_f64();

    let begun = Instant::now();
    let is_over = |count: usize| match &options.length {
        Length::Time(time, _) => begun.elapsed() >= *time,
        Length::Faults(faults) => count >= faults.len(),
    };
    let faults: Box<dyn Iterator<Item = Fault>> = match &options.length {
        Length::Time(_, words) => Box::new(schedule(options).filter(|fault| has_all(fault, words))),
        Length::Faults(faults) => Box::new(faults.clone().into_iter()),
    };
    for fault in faults {
        if is_over(report.survived.len()) {
            break;
        }
        match survive(&mut bed, &mut world, &fault, options.bound, progress) {
            Ok(survived) => report.survived.push(survived),
            Err(violation) => {
                let logs = bed.hubs.options().logs();
                report.violation = Some(format!("{fault}: {violation:#} (logs in {})", logs.display()));
                break;
            }
        }
    }
    Ok(report)
}

fn schedule(options: &ChaosOptions) -> Schedule {
    Schedule::new(options.seed, options.hubs, options.network, options.clocks)
}

fn has_all(fault: &Fault, words: &[String]) -> bool {
    let description = fault.to_string();
    words.iter().all(|word| description.contains(word.as_str()))
}

/// Lets one fault happen, and makes sure that everything is well afterwards.
fn survive(
    bed: &mut Bed,
    world: &mut World,
    fault: &Fault,
    bound: Duration,
    progress: &dyn Fn(&str),
) -> Result<Survived> {
    let before = Counters::read(bed)?;
    let share = share(bed, fault)?;
    let change = world.draw();
    progress(&format!("{fault}; meanwhile {change}"));
    let watch = Watch::start(bystander(bed, fault), bed.clusters);
    let begun = Instant::now();
    inject::begin(bed, fault).context("carry it out")?;
    world.make(&change)?;
    // It may have to wait for the fault's end: whether anybody can decide meanwhile depends on the fault.
    let _ = world.push(&bed.hubs.command_line());
    std::thread::sleep(fault.lasts().saturating_sub(begun.elapsed()));
    inject::heal(bed, fault).context("end it")?;
    let healed = Instant::now();
    let confirmed = wait_for("the change to be confirmed", bound, || {
        world.push(&bed.hubs.command_line()).map_err(|error| format!("{error:#}"))
    });
    confirmed?;
    let well = wait_well(bed, world, bound, progress);
    let recovered = healed.elapsed();
    let unserved = watch.end()?;
    for (at, said) in &unserved.said {
        progress(&format!("    {:5.1} s served: {said}", at.as_secs_f64()));
    }
    well?;
    // So that what moves back is counted with its cause. A hub that flaps is held down for minutes, which nobody waits for.
    let settling = Instant::now();
    let settled = wait_settled(bed).map(|()| settling.elapsed().as_secs_f64());

    let happened = Counters::read(bed)?.since(&before);
    let per_cluster = |count: u64| count as f64 / bed.clusters.max(1) as f64;
    let survived = Survived {
        fault: fault.to_string(),
        change: change.to_string(),
        unserved_seconds: unserved.time.as_secs_f64(),
        recovered_seconds: recovered.as_secs_f64(),
        settled_seconds: settled.as_ref().ok().copied(),
        sessions_per_cluster: per_cluster(happened.sessions),
        sessions_allowed: fault.sessions_at_most(share, bed.hubs.all().len()) + SLACK,
        redirected_per_cluster: per_cluster(happened.redirected),
        forwarded_per_cluster: per_cluster(happened.forwarded),
        handshakes_per_cluster: per_cluster(happened.handshakes),
        ended: happened.ended,
        etcd_writes: happened.etcd_writes,
    };
    progress(&told(&survived, share, settled.err()));
    outside::check_removals(&bed.truth, world)?;
    let (sessions, allowed) = (survived.sessions_per_cluster, survived.sessions_allowed);
    ensure!(sessions <= allowed, "{sessions:.2} sessions a cluster, and {allowed:.2} are enough: {:?}", survived.ended);
    check_logs(bed)?;
    Ok(survived)
}

/// What a fault took, as a line of progress.
fn told(survived: &Survived, share: f64, unsettled: Option<anyhow::Error>) -> String {
    let mut text = format!(
        "  not all served for {:.1} s, all well {:.1} s after its end, {:.2} sessions a cluster ({:.2} allowed, share {share:.2}), \
         ended {:?}",
        survived.unserved_seconds,
        survived.recovered_seconds,
        survived.sessions_per_cluster,
        survived.sessions_allowed,
        survived.ended,
    );
    match (survived.settled_seconds, unsettled) {
        (Some(seconds), _) => text.push_str(&format!(", settled {seconds:.1} s later")),
        (None, Some(error)) => text.push_str(&format!(", not settled: {error:#}")),
        (None, None) => {}
    }
    text
}

/// The part of the fleet that the victim owns; a mean hub's where there is none.
fn share(bed: &Bed, fault: &Fault) -> Result<f64> {
    let Some(victim) = fault.victim() else {
        return Ok(1.0 / bed.hubs.all().len() as f64);
    };
    let name = bed.hubs.hub(victim).name();
    let owned = bed.hubs.shards()?.into_iter().find(|shard| shard.name == name).map_or(0, |shard| shard.clusters_owned);
    Ok(owned as f64 / bed.clusters.max(1) as f64)
}

/// Asks a hub that the fault does not happen to; whichever answers where it happens to every hub.
fn bystander(bed: &Bed, fault: &Fault) -> CommandLine {
    if *fault == Fault::RollingRestart {
        return bed.hubs.command_line();
    }
    let index = usize::from(fault.victim() == Some(0) && bed.hubs.all().len() > 1);
    bed.hubs.hub(index).command_line().clone()
}

/// Waits until whatever moves because of a fault has moved.
pub(crate) fn wait_settled(bed: &Bed) -> Result<()> {
    let settled =
        wait_for("the ring to settle", SETTLES, || outside::check_settled(bed).map_err(|error| format!("{error:#}")));
    Ok(settled?)
}

fn wait_well(bed: &Bed, world: &World, bound: Duration, progress: &dyn Fn(&str)) -> Result<()> {
    let (begun, mut last) = (Instant::now(), String::new());
    let well = wait_for("everything to be well", bound, || {
        let well = outside::check_well(bed, world).map_err(|error| format!("{error:#}"));
        if let Err(missing) = &well
            && *missing != last
        {
            progress(&format!("    {:5.1} s missing: {missing}", begun.elapsed().as_secs_f64()));
            last.clone_from(missing);
        }
        well
    });
    well.map_err(|error| anyhow!("{error}"))
}

fn check_logs(bed: &Bed) -> Result<()> {
    for process in bed.processes() {
        let errors = unexpected_errors(&process.log_path(), &EXPECTED_ERRORS)?;
        ensure!(errors.is_empty(), "unexpected errors of {}:\n{}", process.name(), errors.join("\n"));
    }
    Ok(())
}

/// The command that lets the same faults come again.
fn replay(options: &ChaosOptions) -> String {
    let ChaosOptions { seed, clusters, hubs, .. } = options;
    let mut command = format!("cargo xtask chaos --seed {seed} --clusters {clusters} --hubs {hubs}");
    if let Length::Time(time, words) = &options.length {
        command.push_str(&format!(" --minutes {}", time.as_secs().div_ceil(60)));
        if !words.is_empty() {
            command.push_str(&format!(" --only '{}'", words.join(" ")));
        }
    }
    for (given, flag) in [(options.network, " --without-network"), (options.clocks, " --without-clocks")] {
        if !given {
            command.push_str(flag);
        }
    }
    command
}
