//! What a run compares the hub with, measured after it on the same machine: the bare floor, and one API server as the hub.

mod alternative;
mod floor;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::drivers::{Driver, order_all, shares, start_drivers};
use super::{DRAINS_WITHIN, QUIET};
use crate::alternative::Programs;
use crate::drive::Answer;
use crate::latency::Latency;
use crate::report::results::{Results, StepResult};
use crate::scenario::{FLOOR, FleetSpec, Scenario};

/// Measures everything that the scenario compares with; what was measured is put down whatever happens then.
pub(super) async fn measure(results: &mut Results, programs: Option<&Programs>, out: &Path) -> Result<()> {
    let (scenario, clusters) = (results.scenario.clone(), results.clusters);
    let began = Instant::now();
    if scenario.compare.floor {
        eprintln!("comparing: the floor, {clusters} connections");
        let mut step = StepResult { name: FLOOR.into(), kind: FLOOR.into(), ..StepResult::default() };
        let outcome = floor::measure(&scenario, clusters, &mut step).await;
        step.ended_seconds = began.elapsed().as_secs_f64();
        results.beside.push(step);
        outcome.context("measure the floor")?;
    }
    if let (Some(spec), Some(programs)) = (&scenario.compare.alternative, programs) {
        alternative::grow(results, &scenario, spec, programs, &out.join("alternative")).await?;
    }
    Ok(())
}

/// Measures the floor alone, with clusters that are all alike.
///
/// # Errors
/// The server does not start, or a connection fails.
pub async fn floor_alone(connections: u32, objects: u32) -> Result<StepResult> {
    let text = format!("name = \"floor\"\n[fleet]\nclusters = {connections}\n");
    let mut scenario = Scenario::parse(&text)?;
    let own = objects.saturating_sub(crate::fixture::OBJECTS_OF_AN_ASSIGNMENT);
    scenario.fleet = FleetSpec::plain(connections.into(), own.into());
    let mut step = StepResult { name: FLOOR.into(), kind: FLOOR.into(), ..StepResult::default() };
    floor::measure(&scenario, connections, &mut step).await?;
    Ok(step)
}

/// Lets drivers end.
async fn end(drivers: Vec<Driver>) -> Result<()> {
    for driver in drivers {
        driver.end().await?;
    }
    Ok(())
}

/// Adds up what drivers timed; also returns how many they missed.
fn timed(answers: Vec<Answer>) -> Result<(Latency, u64)> {
    let (mut whole, mut all_missing) = (Latency::new(), 0);
    for answer in answers {
        let Answer::Received { latency, missing } = answer else {
            anyhow::bail!("a driver does not say what it timed")
        };
        whole.add(&latency);
        all_missing += missing;
    }
    Ok((whole, all_missing))
}

fn add(step: &mut StepResult, name: &str, latency: &Latency) {
    step.latencies.entry(name.to_owned()).or_default().add(latency);
}
