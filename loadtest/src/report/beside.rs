//! The hub beside the floor and the alternative: which figures stand for the same, and their ratios.
//!
//! A ratio is the hub's figure by the other's, so that less than one is less than the other takes.

use std::fmt::Write as _;

use super::results::{Results, StepResult, Stopped};
use super::tables;
use crate::scenario::{ALTERNATIVE, FLOOR, START};

/// What stands for the same in all three.
struct Row {
    /// The step's kind, and its figure.
    hub: (&'static str, &'static str),
    floor: Option<&'static str>,
    alternative: Option<&'static str>,
}

/// The CPU time of one status that changes, which is read off two figures of a storm.
const CPU_PER_CHANGE: &str = "cpu-ms-per-change";

const ROWS: [Row; 20] = [
    row((START, "live-seconds"), Some("live-seconds"), Some("live-seconds")),
    row((START, "hub-bytes-per-cluster"), Some("bytes-per-cluster"), Some("bytes-per-cluster")),
    row(("steady", "hub-cpus"), Some("heartbeat-cpus"), Some("heartbeat-cpus")),
    row(("steady", "visible-ms.p50"), Some("echo-ms.p50"), Some("visible-ms.p50")),
    row(("steady", "visible-ms.p99"), Some("echo-ms.p99"), Some("visible-ms.p99")),
    row(("steady", "page-ms.p50"), None, Some("page-ms.p50")),
    row(("steady", "page-ms.p99"), None, Some("page-ms.p99")),
    row(("steady", "count-ms.p50"), None, Some("list-ms.p50")),
    row(("change-one", "received-ms.p50"), Some("one-received-ms.p50"), Some("one-received-ms.p50")),
    row(("change-one", "received-ms.p99"), Some("one-received-ms.p99"), Some("one-received-ms.p99")),
    row(("change-one", "received-ms.max"), Some("one-received-ms.max"), Some("one-received-ms.max")),
    row(("change-one", "acknowledged-ms.p50"), Some("one-acknowledged-ms.p50"), Some("one-acknowledged-ms.p50")),
    row(("change", "received-ms.p50"), Some("all-received-ms.p50"), Some("all-received-ms.p50")),
    row(("change", "received-ms.p99"), Some("all-received-ms.p99"), Some("all-received-ms.p99")),
    row(("change", "acknowledged-ms.p50"), Some("all-acknowledged-ms.p50"), Some("all-acknowledged-ms.p50")),
    row(("change", "acknowledged-ms.p99"), Some("all-acknowledged-ms.p99"), Some("all-acknowledged-ms.p99")),
    row(("storm", CPU_PER_CHANGE), Some(CPU_PER_CHANGE), Some(CPU_PER_CHANGE)),
    row(("reconnect", "live-seconds"), Some("live-seconds"), None),
    row(("kill-hub", "live-seconds"), Some("live-seconds"), Some("killed-live-seconds")),
    row(("kill-hub", "whole-seconds"), Some("live-seconds"), Some("killed-live-seconds")),
];

const fn row(hub: (&'static str, &'static str), floor: Option<&'static str>, alternative: Option<&'static str>) -> Row {
    Row { hub, floor, alternative }
}

/// The largest size that the alternative went through whole, and its figures.
fn largest(results: &Results) -> Option<(u32, &StepResult)> {
    let stopped = results.stopped.as_ref().map(|stopped| stopped.clusters);
    sizes(results).into_iter().rfind(|(clusters, _)| stopped != Some(*clusters))
}

/// The sizes at which the alternative was measured, growing.
pub(super) fn sizes(results: &Results) -> Vec<(u32, &StepResult)> {
    let size = |step: &StepResult| step.name.strip_prefix(ALTERNATIVE)?.strip_prefix('-')?.parse().ok();
    results.beside.iter().filter_map(|step| Some((size(step)?, step))).collect()
}

/// Returns a figure of a step, or what two of its figures say together.
fn figure(step: &StepResult, name: &str) -> Option<f64> {
    if let Some((_, value)) = step.named_figures().find(|(known, _)| known == name) {
        return Some(value);
    }
    let (cpus, changes) = (step.figures.get("hub-cpus")?, step.figures.get("hub-changes-per-second")?);
    (name == CPU_PER_CHANGE && *changes > 0.0).then(|| cpus * 1000.0 / changes)
}

/// A row with its values: the hub's, and each other's with its ratio.
struct Compared {
    /// `step.figure` of the hub.
    name: String,
    hub: f64,
    floor: Option<(f64, Option<f64>)>,
    alternative: Option<(f64, Option<f64>)>,
}

/// Returns every row that the hub has a figure for, in the first step of that kind, and one of the others, too.
fn compared(results: &Results) -> Vec<Compared> {
    let floor = results.beside.iter().find(|step| step.name == FLOOR);
    let alternative = largest(results).map(|(_, step)| step);
    let of = |step: Option<&StepResult>, name: Option<&str>, hub: f64| {
        let value = figure(step?, name?)?;
        Some((value, (value > 0.0).then(|| hub / value)))
    };
    let compare = |row: &Row| {
        let step = results.steps.iter().find(|step| step.kind == row.hub.0)?;
        let hub = figure(step, row.hub.1)?;
        let (floor, alternative) = (of(floor, row.floor, hub), of(alternative, row.alternative, hub));
        let is_compared = floor.is_some() || alternative.is_some();
        is_compared.then(|| Compared { name: format!("{}.{}", step.name, row.hub.1), hub, floor, alternative })
    };
    ROWS.iter().filter_map(compare).collect()
}

/// Returns what the comparison adds to the figures of a run: those of the alternative at its largest size, and all ratios, such as
/// `floor.ratio.start.live-seconds`.
pub(super) fn figures(results: &Results) -> Vec<(String, f64)> {
    let mut figures = Vec::new();
    if let Some((clusters, step)) = largest(results) {
        figures.push((format!("{ALTERNATIVE}.clusters"), f64::from(clusters)));
        figures.extend(step.named_figures().map(|(name, value)| (format!("{ALTERNATIVE}.{name}"), value)));
    }
    if let Some(stopped) = results.stopped.as_ref().filter(|stopped| stopped.is_limit) {
        figures.push((format!("{ALTERNATIVE}.stopped-at-clusters"), f64::from(stopped.clusters)));
    }
    for Compared { name, hub, floor, alternative } in compared(results) {
        if name.ends_with(CPU_PER_CHANGE) {
            figures.push((name.clone(), hub));
        }
        for (other, compared) in [(FLOOR, floor), (ALTERNATIVE, alternative)] {
            let ratio = compared.and_then(|(_, ratio)| ratio);
            figures.extend(ratio.map(|ratio| (format!("{other}.ratio.{name}"), ratio)));
        }
    }
    figures
}

/// Returns the table of the comparison, its heading first; `None` where nothing was compared.
pub(super) fn table(results: &Results) -> Option<Vec<Vec<String>>> {
    let compared = compared(results);
    if compared.is_empty() {
        return None;
    }
    let size = largest(results).map(|(clusters, _)| format!("alternative, {clusters} clusters"));
    let heading = [
        "figure".to_owned(),
        format!("hub, {} clusters", results.clusters),
        "floor".to_owned(),
        "hub / floor".to_owned(),
        size.unwrap_or_else(|| "alternative".to_owned()),
        "hub / alternative".to_owned(),
    ];
    let cells = |name: &str, other: Option<(f64, Option<f64>)>| {
        let ratio = other.and_then(|(_, ratio)| ratio).map(|ratio| format!("{} x", tables::number(ratio)));
        let value = other.map(|(value, _)| tables::shown(name, value));
        [value.unwrap_or_default(), ratio.unwrap_or_default()]
    };
    let rows = compared.iter().map(|Compared { name, hub, floor, alternative }| {
        let own = [name.clone(), tables::shown(name, *hub)];
        own.into_iter().chain(cells(name, *floor)).chain(cells(name, *alternative)).collect()
    });
    Some([heading.to_vec()].into_iter().chain(rows).collect())
}

/// Says how far the alternative went; nothing where it was not measured.
pub(super) fn sentences(results: &Results) -> Vec<String> {
    let mut sentences = Vec::new();
    match (&results.stopped, largest(results)) {
        (Some(Stopped { clusters, why, is_limit }), _) => {
            let word = if *is_limit { "stops at" } else { "was not taken to" };
            sentences.push(format!("The alternative {word} {clusters} clusters: {why}."));
        }
        (None, Some((clusters, _))) => {
            sentences.push(format!("The alternative went through everything up to {clusters} clusters."));
        }
        (None, None) => {}
    }
    if let Some((clusters, _)) = largest(results)
        && clusters < results.clusters
    {
        sentences.push(format!(
            "Its figures are those at {clusters} clusters, so that ratios of what concerns every cluster flatter it."
        ));
    }
    sentences
}

/// Writes the comparison for a terminal.
pub(super) fn text(results: &Results) -> String {
    let mut text = String::new();
    // Text is written to memory, which does not fail.
    for (index, row) in table(results).unwrap_or_default().iter().enumerate() {
        let _ = match (index, row.as_slice()) {
            (0, _) => writeln!(text, "compared: {}", row[1..].join(" | ")),
            (_, [name, values @ ..]) => writeln!(text, "  {name:<34} {}", values.join(" | ")),
            (_, []) => Ok(()),
        };
    }
    for sentence in sentences(results) {
        let _ = writeln!(text, "note     {sentence}");
    }
    text
}
