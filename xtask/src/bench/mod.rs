//! `cargo xtask bench`: what a hub costs and how quick it is, and what an agent costs on a real cluster.
//!
//! Owns starting what is measured. The simulated fleet and the bare floor are measured by `starling-loadtest run`; the
//! agent on a real cluster here. No time is asserted: figures are printed with their spread, and as ratios in one run.

mod kubernetes;
mod real;
mod watcher;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::Value;
use starling_harness::StarlingPrograms;

use crate::build;

/// How long programs may take to stop when asked.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the measurement takes.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// How many clusters to simulate.
    #[arg(long, default_value_t = 1000)]
    clusters: u32,
    /// Leaves the real cluster out.
    #[arg(long)]
    simulated_only: bool,
    /// Measures what a hub in Kubernetes mode writes to its API server, and nothing else.
    #[arg(long)]
    kubernetes: bool,
    /// Measures programs of the dev profile, which are built sooner.
    #[arg(long)]
    unoptimized: bool,
    /// Prints one line of figures on standard output besides the tables on standard error.
    #[arg(short, long)]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// One JSON object on one line.
    Json,
}

/// Measures and prints.
pub(crate) fn run(arguments: &BenchArguments) -> Result<()> {
    let built = if arguments.unoptimized { build::dev_programs()? } else { build::release_programs()? };
    let programs = StarlingPrograms::in_folder(&built);
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(build::target_folder())
        .context("make a folder for the measurement under target/")?;
    if arguments.kubernetes {
        let figures = kubernetes::measure(&programs, &folder.path().join("kubernetes"), arguments.clusters)?;
        eprint!("{figures}");
        let line = serde_json::to_value(&figures).context("write the figures")?;
        print_line(arguments, [("kubernetes".to_owned(), line)].into_iter().collect());
        return Ok(());
    }
    let simulated = simulated(&programs, &folder.path().join("simulated"), arguments.clusters)?;
    let mut line = serde_json::Map::from_iter([("simulated".to_owned(), simulated)]);
    if !arguments.simulated_only {
        let real = real::measure(&programs, &folder.path().join("real"))?;
        eprint!("{real}");
        line.insert("real".to_owned(), serde_json::to_value(&real).context("write the figures")?);
    }
    print_line(arguments, line);
    Ok(())
}

fn print_line(arguments: &BenchArguments, line: serde_json::Map<String, Value>) {
    match arguments.output {
        Some(Output::Json) => println!("{}", Value::Object(line)),
        None => {}
    }
}

/// Carries a scenario out on a hub of its own; the tables are the load test's.
fn simulated(programs: &StarlingPrograms, folder: &Path, clusters: u32) -> Result<Value> {
    let mut bench = Command::new(programs.path("starling-loadtest"));
    bench
        .arg("run")
        .arg(build::root().join("loadtest/scenarios/bench.toml"))
        .args(["-o", "json", "--clusters", &clusters.to_string(), "--hub"])
        .arg(programs.path("starling-hub"))
        .arg("--out")
        .arg(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = bench.output().context("run starling-loadtest")?;
    ensure!(output.status.success(), "starling-loadtest ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("read the figures of starling-loadtest")
}
