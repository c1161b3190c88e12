//! What a scenario and the command line say of the hub, put together: its programs, and how it starts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, getrlimit};

use super::{HubUnderTest, etcd, files};
use crate::run::RunOptions;
use crate::run::profiling::Profiling;
use crate::scenario::Scenario;

/// Starts the hub that the scenario describes.
pub(in crate::run) async fn start(
    scenario: &Scenario,
    clusters: u32,
    options: &RunOptions,
    profiling: &Profiling,
    folder: &Path,
) -> Result<HubUnderTest> {
    let (program, processes) = (profiling.around(&hub_program(options)?)?, scenario.hub.processes);
    if processes > 1 && (options.profile || options.profile_memory) {
        bail!(
            "only a hub of one process is profiled: set hub.processes to 1, or leave --profile and --profile-memory out"
        );
    }
    let etcd = match processes {
        1 => None,
        _ => Some(etcd::program(options.etcd.as_deref())?),
    };
    let is_one_away = scenario.steps.iter().any(|step| step.action.needs_several_processes());
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    files::check(clusters.into(), processes, is_one_away.into(), files)?;
    HubUnderTest::start(&program, folder, processes, etcd.as_deref()).await
}

/// Finds the hub's program.
fn hub_program(options: &RunOptions) -> Result<PathBuf> {
    if let Some(program) = &options.hub {
        return Ok(program.clone());
    }
    let own = std::env::current_exe().context("find this program")?;
    let beside = own.with_file_name("starling-hub");
    ensure!(
        beside.exists(),
        "there is no starling-hub beside this program: say where it is with --hub, or test a hub that is there with --target"
    );
    Ok(beside)
}
