//! What a run takes on the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::scenario::{Range, Scenario};

/// What a run takes.
#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// The scenario.
    pub(super) file: PathBuf,
    /// The seed, instead of the scenario's own.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// How many clusters, instead of what the scenario says.
    #[arg(long)]
    pub(super) clusters: Option<u64>,
    /// Runs against a hub that is there already: the command line's configuration to reach it with. The clusters are in a workspace
    /// of their own, which is removed in the end.
    #[arg(long, value_name = "CONFIG")]
    pub(super) target: Option<PathBuf>,
    /// Where a process of that hub serves its metrics, as host:port or as the page's address; once for each process.
    #[arg(long, value_name = "ADDRESS", requires = "target")]
    pub(super) metrics: Vec<String>,
    /// The hub's program, where the run starts it itself; by default the one beside this.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "target")]
    pub(super) hub: Option<PathBuf>,
    /// etcd's program, below a hub of several processes or the API server that the scenario compares with; by default the one on PATH.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "target")]
    pub(super) etcd: Option<PathBuf>,
    /// The API server's program, where the scenario compares with the alternative; by default the one on PATH.
    #[arg(long, value_name = "PROGRAM", default_value = "kube-apiserver", conflicts_with = "target")]
    pub(super) kube_apiserver: PathBuf,
    /// Also tells where the hub's CPU time went in each step: its process is sampled by perf. Needs perf, and a hub with symbols.
    #[arg(long, conflicts_with = "target")]
    pub(super) profile: bool,
    /// Also tells what the hub's memory was for at the end of the first step: it runs under heaptrack, which makes it slow, so with
    /// few clusters. Needs heaptrack.
    #[arg(long, conflicts_with = "target")]
    pub(super) profile_memory: bool,
    /// The folder of the report and the raw data; by default `loadtest-results/<scenario>-<time>`.
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: Option<PathBuf>,
    /// Prints one line of figures on standard output in the end.
    #[arg(short, long)]
    pub(super) output: Option<Output>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Output {
    /// One JSON object on one line.
    Json,
}

impl RunOptions {
    /// Returns the same run with other clusters, into another folder, with the hub's CPU sampled.
    pub(crate) fn grown(&self, clusters: u64, out: PathBuf) -> Self {
        Self { clusters: Some(clusters), out: Some(out), profile: true, ..self.clone() }
    }

    /// Returns the folder that was asked for.
    pub(crate) fn out(&self) -> Option<&Path> {
        self.out.as_deref()
    }

    /// Tells whether a hub is tested that the run did not start.
    pub(crate) fn has_target(&self) -> bool {
        self.target.is_some()
    }
}

/// Reads the scenario, with what the command line says instead of it.
pub(super) fn read_scenario(options: &RunOptions) -> Result<Scenario> {
    let file = &options.file;
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let mut scenario = Scenario::parse(&text).with_context(|| format!("{}", file.display()))?;
    if let Some(seed) = options.seed {
        scenario.seed = seed;
    }
    if let Some(clusters) = options.clusters {
        scenario.fleet.clusters = Range::One(clusters);
        scenario = Scenario::parse(&toml::to_string(&scenario).context("write the scenario")?)?;
    }
    Ok(scenario)
}
