//! The figures in rows, as every kind of report shows them.

use super::results::{Results, StepResult, Verdict};
use crate::scenario::Threshold;

/// A table with a heading.
pub(super) struct Table {
    pub(super) title: String,
    /// The first is the heading of the columns where a table has one.
    pub(super) rows: Vec<Vec<String>>,
}

/// Says which hub it was: its version, and how many processes where these were several.
pub(super) fn hub(results: &Results) -> String {
    match results.scenario.hub.processes {
        1 => results.hub_version.clone(),
        several => format!("{} in {several} processes over etcd", results.hub_version),
    }
}

/// Returns a table of each step: its latencies, then its figures.
pub(super) fn steps(results: &Results) -> Vec<Table> {
    results.steps.iter().chain(&results.beside).map(step).collect()
}

fn step(step: &StepResult) -> Table {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, latency) in &step.latencies {
        let quantiles = latency.quantiles().map(|(label, value)| format!("{label} {} ms", number(value)));
        let max = latency.max_ms().map(|max| format!("max {} ms", number(max)));
        let samples = format!("{} samples", latency.samples());
        rows.push([name.clone()].into_iter().chain(quantiles).chain(max).chain([samples]).collect());
    }
    for (name, value) in &step.figures {
        rows.push(vec![name.clone(), shown(name, *value)]);
    }
    let length = step.ended_seconds - step.began_seconds;
    let kind = if step.kind == step.name { String::new() } else { format!(" ({})", step.kind) };
    Table { title: format!("{}{kind}, {} s", step.name, number(length)), rows }
}

/// Returns one line of what became of a threshold.
pub(super) fn verdict(verdict: &Verdict) -> String {
    let Verdict { figure, threshold, value, holds } = verdict;
    let word = if *holds { "ok      " } else { "FAILED  " };
    let value = value.map_or_else(|| "not measured".to_owned(), |value| shown(figure, value));
    format!("{word} {figure}: {value}, {} wanted", wanted(figure, threshold))
}

/// Shows what a figure has to be, in the units of the figure.
pub(super) fn wanted(figure: &str, threshold: &Threshold) -> String {
    match (threshold.min, threshold.max) {
        (Some(min), Some(max)) => format!("{} to {}", shown(figure, min), shown(figure, max)),
        (Some(min), None) => format!("at least {}", shown(figure, min)),
        (None, Some(max)) => format!("at most {}", shown(figure, max)),
        (None, None) => "anything".to_owned(),
    }
}

/// Shows a figure by what its name says it is.
pub(super) fn shown(name: &str, value: f64) -> String {
    if name.contains(".ratio.") {
        return format!("{} x", number(value));
    }
    if name.ends_with("bytes-per-cluster") {
        return format!("{} KiB", number(value / 1024.0));
    }
    if name.ends_with("-bytes") {
        return format!("{} MiB", number(value / f64::from(1 << 20)));
    }
    if name.ends_with("-seconds") {
        return format!("{} s", number(value));
    }
    if name.contains("-ms.") || name.contains("-ms-") {
        return format!("{} ms", number(value));
    }
    number(value)
}

/// Shows a number with as many digits as say something.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 1000.0 => 0,
        medium if medium >= 10.0 => 1,
        small if small >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Keeps the digits of a figure that say something, for programs.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
