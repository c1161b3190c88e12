//! What became better and worse from one run to another.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::results::Results;
use super::{read, tables};

/// What is compared.
#[derive(Clone, Debug, Args)]
pub struct CompareOptions {
    /// The run before: its folder, or its results.json.
    before: PathBuf,
    /// The run after.
    after: PathBuf,
    /// Leaves out figures that differ by less than this many percent.
    #[arg(long, default_value_t = 5.0)]
    percent: f64,
    /// Prints one line of JSON instead of a table.
    #[arg(short, long)]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// One JSON object on one line.
    Json,
}

/// One figure of both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) figure: String,
    pub(super) before: f64,
    pub(super) after: f64,
    /// After by before; `None` where there was nothing before.
    pub(super) ratio: Option<f64>,
}

/// Reads both and prints the difference.
///
/// # Errors
/// One cannot be read.
pub fn compare(options: &CompareOptions) -> Result<()> {
    let (before, after) = (read(&options.before)?, read(&options.after)?);
    let differences = differences(&before, &after, options.percent);
    match options.output {
        Some(Output::Json) => println!("{}", serde_json::to_string(&differences).context("write the figures")?),
        None => print(&before, &after, &differences, options.percent),
    }
    Ok(())
}

fn print(before: &Results, after: &Results, differences: &[Difference], percent: f64) {
    for caution in cautions(before, after) {
        println!("note: {caution}");
    }
    for Difference { figure, before, after, ratio } in differences {
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2} x"));
        let (before, after) = (tables::shown(figure, *before), tables::shown(figure, *after));
        println!("{figure:<44} {before:>14} -> {after:>14}  {ratio}");
    }
    if differences.is_empty() {
        println!("nothing differs by {percent} % or more");
    }
}

/// Says why figures of two runs may not be comparable.
pub(super) fn cautions(before: &Results, after: &Results) -> Vec<String> {
    let mut cautions = Vec::new();
    let mut note = |what: &str, one: String, other: String| {
        if one != other {
            cautions.push(format!("the runs differ in {what}: {one} and {other}"));
        }
    };
    note("the scenario", before.scenario.name.clone(), after.scenario.name.clone());
    note("the seed", before.scenario.seed.to_string(), after.scenario.seed.to_string());
    note("the clusters", before.clusters.to_string(), after.clusters.to_string());
    note("the hub's processes", before.scenario.hub.processes.to_string(), after.scenario.hub.processes.to_string());
    note("the processors", before.machine.cpus.to_string(), after.machine.cpus.to_string());
    let vanished: Vec<&str> =
        before.figures.keys().filter(|name| !after.figures.contains_key(*name)).map(String::as_str).collect();
    note("the kernel", before.machine.kernel.clone(), after.machine.kernel.clone());
    if !vanished.is_empty() {
        cautions.push(format!("the second has not: {}", vanished.join(", ")));
    }
    cautions
}

/// Returns the figures that both have and that differ by so much or more.
pub(super) fn differences(before: &Results, after: &Results, percent: f64) -> Vec<Difference> {
    let names: BTreeSet<&String> = before.figures.keys().filter(|name| after.figures.contains_key(*name)).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let (before, after) = (before.figures[name], after.figures[name]);
            let differs = (after - before).abs() * 100.0 >= percent * before.abs() && before != after;
            let ratio = (before != 0.0).then(|| tables::rounded(after / before));
            differs.then(|| Difference { figure: name.clone(), before, after, ratio })
        })
        .collect()
}
