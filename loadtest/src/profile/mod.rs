//! Where the hub's time and memory go: CPU samples and live allocations, each attributed to one part of the hub.
//!
//! Owns the parts ([`parts`]), taking samples ([`perf`], [`heap`]), and what a report shows of them. Does not own when that happens
//! ([`crate::run`]). The hub is the one that people run: nothing of it is built or behaves otherwise.

pub(crate) mod heap;
mod parts;
pub(crate) mod perf;
mod shown;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use inferno::flamegraph;
use serde::{Deserialize, Serialize};

use parts::Parts;
pub(crate) use shown::{html, markdown};

/// Where the hub's CPU time went during one step.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct StepProfile {
    /// The step.
    pub step: String,
    /// How many samples it stands on.
    pub samples: u64,
    /// Seconds of one processor, by part.
    pub cpu_seconds: BTreeMap<String, f64>,
    /// The folded stacks, a file beside the results.
    pub stacks: String,
    /// The flame graph of them.
    pub flames: String,
}

/// What the hub's live allocations were for at the end of `start`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct HeapProfile {
    /// Clusters that were there.
    pub clusters: u32,
    /// Bytes, by part; what the allocator itself adds is not in it.
    pub bytes: BTreeMap<String, f64>,
    /// The folded stacks, a file beside the results.
    pub stacks: String,
    /// The flame graph of them.
    pub flames: String,
}

impl StepProfile {
    /// Returns the part that took the most time, with its share.
    #[must_use]
    pub fn dearest(&self) -> Option<(&str, f64)> {
        let all: f64 = self.cpu_seconds.values().sum();
        let dearest = self.cpu_seconds.iter().max_by(|one, other| one.1.total_cmp(other.1))?;
        Some((dearest.0, dearest.1 / all))
    }
}

/// Files that perf wrote during one step, one for each process that the hub had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) step: String,
    pub(crate) files: Vec<PathBuf>,
}

/// Attributes what was recorded of a step; what perf wrote is removed, and its folded stacks and flame graph are kept beside it. `None` if
/// nothing was sampled, because the hub hardly ran in the step.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn attribute(recorded: &Recorded, folder: &Path) -> Result<Option<StepProfile>> {
    let mut folded = String::new();
    for file in &recorded.files {
        folded.push_str(&perf::fold(file)?);
        fs::remove_file(file).with_context(|| format!("remove {}", file.display()))?;
    }
    if folded.is_empty() {
        return Ok(None);
    }
    let counts = Parts::table()?.add_up(&folded)?;
    let samples = counts.values().sum::<f64>() as u64;
    let cpu_seconds = counts.into_iter().map(|(part, count)| (part, count / f64::from(perf::HERTZ))).collect();
    let title = format!("CPU time of the hub in step {}", recorded.step);
    let (stacks, flames) = keep(folder, &file_name(&recorded.step), &title, "samples", &folded)?;
    Ok(Some(StepProfile { step: recorded.step.clone(), samples, cpu_seconds, stacks, flames }))
}

/// Attributes live allocations: folded stacks with bytes.
fn attribute_heap(folded: &str, clusters: u32, folder: &Path) -> Result<HeapProfile> {
    let bytes = Parts::table()?.add_up(folded)?;
    let (stacks, flames) = keep(folder, "heap", "Memory of the hub at the end of start", "bytes", folded)?;
    Ok(HeapProfile { clusters, bytes, stacks, flames })
}

/// Returns what the files of a step's profile are called, without their endings.
pub(crate) fn file_name(step: &str) -> String {
    let name: String = step.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("cpu-{name}")
}

/// Keeps folded stacks with a flame graph of them; returns the names of both files.
fn keep(folder: &Path, name: &str, title: &str, unit: &str, folded: &str) -> Result<(String, String)> {
    let (stacks, flames) = (format!("{name}.folded"), format!("{name}.svg"));
    fs::write(folder.join(&stacks), folded).with_context(|| format!("write {stacks}"))?;
    let mut options = flamegraph::Options::default();
    title.clone_into(&mut options.title);
    unit.clone_into(&mut options.count_name);
    let mut picture = Vec::new();
    if folded.trim().is_empty() {
        return Err(anyhow!("nothing was recorded for {name}: the hub did not run, or the step was too short"));
    }
    flamegraph::from_lines(&mut options, folded.lines(), &mut picture).with_context(|| format!("draw {flames}"))?;
    fs::write(folder.join(&flames), picture).with_context(|| format!("write {flames}"))?;
    Ok((stacks, flames))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearest_part_is_named_with_its_share() {
        let cpu_seconds = BTreeMap::from([("plan".to_owned(), 3.0), ("index".to_owned(), 1.0)]);
        let profile = StepProfile { cpu_seconds, ..StepProfile::default() };
        assert_eq!(profile.dearest(), Some(("plan", 0.75)));
        assert_eq!(StepProfile::default().dearest(), None);
    }

    #[test]
    fn stacks_are_kept_with_a_flame_graph_that_needs_nothing_else() {
        let folder = tempfile::tempdir().expect("make a folder");
        let folded = "hub;starling_hub_core::planner::plan 300\nhub;redb::commit 100\n";
        let profile = attribute_heap(folded, 10, folder.path()).expect("attribute");
        assert_eq!(profile.bytes, BTreeMap::from([("plan".to_owned(), 300.0), ("store".to_owned(), 100.0)]));
        let flames = fs::read_to_string(folder.path().join(&profile.flames)).expect("read the flame graph");
        assert!(flames.contains("planner::plan") && !flames.contains("src="));
        assert!(attribute_heap("", 10, folder.path()).is_err(), "nothing is no profile");
    }
}
