//! `cargo xtask chaos`: faults on real hubs, a real etcd and a simulated fleet, and a report of what was survived.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use starling_chaos::{ChaosOptions, Length, run as run_chaos};
use starling_harness::StarlingPrograms;

use crate::build;

/// What the chaos command takes.
#[derive(Debug, Args)]
pub(crate) struct ChaosArguments {
    /// For how long faults come.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// What the order of faults and changes comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many clusters to simulate.
    #[arg(long, default_value_t = 200)]
    clusters: u32,
    /// How many hub processes.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=16))]
    hubs: u16,
    /// Seconds within which all must be well again after a fault has ended.
    #[arg(long, default_value_t = 120)]
    bound: u64,
    /// Only faults whose description in the report has all these words, such as "hub killed"
    #[arg(long, value_name = "WORDS", default_value = "")]
    only: String,
    /// Leaves the faults of networks out, which need root.
    #[arg(long)]
    without_network: bool,
    /// Leaves wrong clocks out, which need Debian's faketime.
    #[arg(long)]
    without_clocks: bool,
    /// How to print the report [default: Markdown]
    #[arg(short, long)]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// One JSON object on one line of standard output.
    Json,
}

/// Lets the faults come; fails when something did not hold, with how to see it again.
pub(crate) fn run(arguments: &ChaosArguments) -> Result<()> {
    let programs = StarlingPrograms::in_folder(&build::release_programs()?);
    let folder = tempfile::Builder::new()
        .prefix("chaos-")
        .tempdir_in(build::target_folder())
        .context("make a folder for the run under target/")?;
    let options = ChaosOptions {
        folder: folder.path().to_owned(),
        seed: arguments.seed,
        length: Length::Time(
            Duration::from_secs(arguments.minutes * 60),
            arguments.only.split_whitespace().map(str::to_owned).collect(),
        ),
        clusters: arguments.clusters,
        hubs: usize::from(arguments.hubs),
        bound: Duration::from_secs(arguments.bound),
        network: !arguments.without_network,
        clocks: !arguments.without_clocks,
    };
    let outcome = run_chaos(&programs, &options, &|line| eprintln!("{line}"));
    if !matches!(&outcome, Ok(report) if report.violation.is_none()) {
        eprintln!("everything is kept in {}", folder.keep().display());
    }
    let report = outcome?;
    match arguments.output {
        Some(Output::Json) => println!("{}", report.to_json()),
        None => println!("{}", report.to_markdown()),
    }
    match report.violation {
        None => Ok(()),
        Some(violation) => bail!("{violation}\nseed {}; again: {}", report.seed, report.replay),
    }
}
