//! What a run measured: the raw data, as it is kept in `results.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::beside;
use crate::latency::Latency;
use crate::profile::{HeapProfile, StepProfile};
use crate::scenario::{Scenario, Threshold};

/// The version of the format.
pub const FORMAT: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Results {
    /// [`FORMAT`].
    pub format: u32,
    /// What was run.
    pub scenario: Scenario,
    /// When it began, RFC 3339.
    pub began: String,
    /// Where it ran.
    pub machine: Machine,
    /// The version that the hub says it is.
    pub hub_version: String,
    /// How many clusters were drawn, and processes that ran them.
    pub clusters: u32,
    /// Driver processes.
    pub drivers: u32,
    /// The steps, in order.
    pub steps: Vec<StepResult>,
    /// What the hub was compared with: the floor, and the alternative at growing sizes. Their times are since comparing began.
    #[serde(default)]
    pub beside: Vec<StepResult>,
    /// Where the alternative was not taken further; `None` where it did everything that was asked.
    #[serde(default)]
    pub stopped: Option<Stopped>,
    /// What was used and counted, twice a second.
    pub samples: Vec<Sample>,
    /// Where the hub's CPU time went, by step, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<StepProfile>,
    /// What the hub's memory was for, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heap: Option<HeapProfile>,
    /// Every figure, by `step.figure`.
    pub figures: BTreeMap<String, f64>,
    /// What became of the thresholds.
    pub verdicts: Vec<Verdict>,
    /// What is wrong with the hub or the run, whatever the thresholds say: it has failed.
    pub defects: Vec<String>,
    /// What limits what the figures say, for people.
    pub notes: Vec<String>,
}

/// A machine.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Machine {
    /// Processors.
    pub cpus: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
}

/// Where the alternative was not taken further.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Stopped {
    /// With how many clusters.
    pub clusters: u32,
    /// Why, for people.
    pub why: String,
    /// False where the run had no more time for it.
    pub is_limit: bool,
}

/// What one step measured.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct StepResult {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// When it began and ended, in seconds since the run did.
    pub began_seconds: f64,
    /// See `began_seconds`.
    pub ended_seconds: f64,
    /// Single figures.
    pub figures: BTreeMap<String, f64>,
    /// Latencies, with every sample.
    pub latencies: BTreeMap<String, Latency>,
}

/// What was used and counted at one moment. Counters are added up over hub processes and labels.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Sample {
    /// Seconds since the run began.
    pub at_seconds: f64,
    /// CPU time of the hub's processes so far, ended ones included; `None` where it could not be read.
    pub hub_cpu_seconds: Option<f64>,
    /// Resident memory of the hub's processes.
    pub hub_resident_bytes: Option<f64>,
    /// Each process of the hub, by name; one that is down is missing.
    #[serde(default)]
    pub processes: BTreeMap<String, ProcessSample>,
    /// The etcd below the run's own hub, if there is one.
    #[serde(default)]
    pub etcd: Option<EtcdSample>,
    /// CPU time of all drivers so far.
    pub driver_cpu_seconds: f64,
    /// Resident memory of all drivers.
    pub driver_resident_bytes: f64,
    /// Counters of the hub.
    pub counters: BTreeMap<String, f64>,
}

/// What one process of the hub used, over all its starts, and has now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ProcessSample {
    /// CPU time so far.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: f64,
}

/// What the etcd below the run's own hub used and did so far; what is counted is read less often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct EtcdSample {
    /// CPU time.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: f64,
    /// Write transactions.
    pub writes: Option<f64>,
    /// How often it waited for the disk.
    pub fsyncs: Option<f64>,
    /// How long it did.
    pub fsync_seconds: Option<f64>,
}

/// What became of one threshold.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Verdict {
    /// The figure.
    pub figure: String,
    /// What it has to be.
    pub threshold: Threshold,
    /// What it is; `None` if it was not measured, which is a failure.
    pub value: Option<f64>,
    /// Whether it is as it has to be.
    pub holds: bool,
}

impl Results {
    /// Collects the figures of all steps, and judges them.
    pub(crate) fn judge(&mut self) {
        for step in self.steps.iter().chain(&self.beside) {
            self.figures.extend(step.named_figures().map(|(name, value)| (format!("{}.{name}", step.name), value)));
        }
        let compared = beside::figures(self);
        self.figures.extend(compared);
        self.verdicts = self
            .scenario
            .thresholds
            .iter()
            .map(|(figure, threshold)| {
                let value = self.figures.get(figure).copied();
                let holds = value.is_some_and(|value| threshold.holds(value));
                Verdict { figure: figure.clone(), threshold: *threshold, value, holds }
            })
            .collect();
    }

    /// Tells whether every threshold holds and nothing else is wrong.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed().is_empty() && self.defects.is_empty()
    }

    /// Returns the thresholds that do not hold.
    #[must_use]
    pub fn failed(&self) -> Vec<&Verdict> {
        self.verdicts.iter().filter(|verdict| !verdict.holds).collect()
    }
}

impl StepResult {
    /// Returns all figures, those of latencies included.
    pub(super) fn named_figures(&self) -> impl Iterator<Item = (String, f64)> {
        let latencies = self.latencies.iter().flat_map(|(name, latency)| latency_figures(name, latency));
        self.figures.iter().map(|(name, value)| (name.clone(), *value)).chain(latencies)
    }
}

/// Names the figures of latencies: `visible-ms.p99`, and so on.
fn latency_figures(name: &str, latency: &Latency) -> Vec<(String, f64)> {
    let Some(max) = latency.max_ms() else { return Vec::new() };
    let quantiles = latency.quantiles().map(|(label, value)| (format!("{name}-ms.{label}"), value));
    let rest = [(format!("{name}-ms.max"), max), (format!("{name}.samples"), latency.samples() as f64)];
    quantiles.chain(rest).collect()
}
