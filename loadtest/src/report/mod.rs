//! Reports of runs: raw data, Markdown, a page that needs nothing else, and the difference between two runs.
//!
//! Owns how results are shown and stored. Does not own what is measured ([`crate::run`]).

mod beside;
mod compare;
mod html;
mod markdown;
mod plot;
pub mod results;
mod tables;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

pub use compare::{CompareOptions, compare};
use results::{FORMAT, Results, StepResult, Verdict};

/// The file of the raw data.
const RAW: &str = "results.json";

/// Writes `results.json`, `report.md` and `report.html` into a folder.
///
/// # Errors
/// A file cannot be written.
pub fn write(results: &Results, folder: &Path) -> Result<()> {
    let raw = serde_json::to_string(results).context("write the raw data")?;
    let html = html::page(results).context("draw the report")?;
    let markdown = markdown::report(results).context("write the report")?;
    for (name, text) in [(RAW, raw), ("report.md", markdown), ("report.html", html)] {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// Reads the raw data of a run: its folder, or the file itself.
///
/// # Errors
/// It cannot be read, or is of a format that this build does not know.
pub fn read(place: &Path) -> Result<Results> {
    let file = if place.is_dir() { place.join(RAW) } else { place.to_owned() };
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let results: Results =
        serde_json::from_str(&text).with_context(|| format!("{} is not what a run writes", file.display()))?;
    let format = results.format;
    ensure!(format == FORMAT, "{} has format {format}, and this build reads {FORMAT}", file.display());
    Ok(results)
}

/// Returns the figures as one object: what `-o json` prints.
#[must_use]
pub fn line(results: &Results) -> Value {
    let figures: Map<String, Value> =
        results.figures.iter().map(|(name, value)| (name.clone(), tables::rounded(*value).into())).collect();
    let failed: Vec<Value> = results.failed().iter().map(|verdict| verdict.figure.clone().into()).collect();
    let mut line = Map::new();
    line.insert("scenario".into(), results.scenario.name.clone().into());
    line.insert("seed".into(), results.scenario.seed.into());
    line.insert("clusters".into(), results.clusters.into());
    line.insert("passed".into(), results.passed().into());
    line.insert("failed".into(), failed.into());
    line.insert("defects".into(), results.defects.clone().into());
    line.insert("notes".into(), results.notes.clone().into());
    line.insert("figures".into(), figures.into());
    line.into()
}

/// Returns the figures of one step alone, on one line of JSON.
#[must_use]
pub fn step_line(step: &StepResult) -> Value {
    step.named_figures().map(|(name, value)| (name, tables::rounded(value).into())).collect::<Map<_, _>>().into()
}

/// Returns what people are told on the terminal when a run has ended.
#[must_use]
pub fn summary(results: &Results) -> String {
    let mut text = String::new();
    for table in tables::steps(results) {
        // Text is written to memory, which does not fail.
        let _ = writeln!(text, "{}", table.title);
        for row in &table.rows {
            let _ = writeln!(text, "  {:<32} {}", row[0], row[1..].join("  "));
        }
    }
    text.push_str(&beside::text(results));
    for verdict in &results.verdicts {
        let _ = writeln!(text, "{}", tables::verdict(verdict));
    }
    for defect in &results.defects {
        let _ = writeln!(text, "FAILED   {defect}");
    }
    for note in &results.notes {
        let _ = writeln!(text, "note     {note}");
    }
    text
}

/// Returns one line of what became of a threshold.
#[must_use]
pub(crate) fn verdict(verdict: &Verdict) -> String {
    tables::verdict(verdict)
}

#[cfg(test)]
mod tests;
