//! One real cluster with real Flux: what an idle agent costs, and how soon the hub shows what Flux says.
//!
//! Two watchers stand side by side: kubectl, which watches the API server, and a query of the hub that is asked again and
//! again. A Kustomization is made to fail and to succeed in turn; timed is the difference between the two watchers.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use starling_harness::{Agent, Hub, HubOptions, InstalledBy, StarlingPrograms};
use starling_realparts::{ClusterOptions, Etcd, GitServer, ManagedCluster, Program, Programs, wait_for};

use super::PATIENCE;
use super::watcher::Watcher;
use crate::build;

/// Times that Flux's word is changed.
const CHANGES: usize = 20;

/// How long the agent is left alone before, and while its CPU time is read.
const SETTLE: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(30);

/// How long Flux may take over one change, and a cluster to come live.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// The Kustomization that is watched, and its namespace.
const NAME: &str = "observed";
const NAMESPACE: &str = "bench";

/// What kubectl prints of each event: the generation, and the Ready condition with the generation that it is about.
const COLUMNS: &str = "jsonpath={.metadata.generation}{\" \"}{.status.conditions[?(@.type==\"Ready\")].status}{\" \"}\
    {.status.conditions[?(@.type==\"Ready\")].observedGeneration}{\"\\n\"}";

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct RealFigures {
    /// Resident memory of the idle agent.
    agent_rss_bytes: u64,
    /// Of one core, in thousandths.
    agent_idle_milli_cpu: f64,
    /// From kubectl's watch to a query of the hub.
    flux_to_visible: Difference,
}

/// Differences in milliseconds; negative where the hub was first.
#[derive(Debug, Serialize)]
struct Difference {
    samples: usize,
    median_ms: f64,
    min_ms: f64,
    max_ms: f64,
}

/// A cluster with its agent, and the hub that it belongs to.
struct Real {
    // Dropped in this order: clients before the servers that they would complain about.
    agent: Agent,
    hub: Hub,
    cluster: ManagedCluster,
    git: GitServer,
    parts: Programs,
    _etcd: Etcd,
}

/// Starts everything, measures, and stops it in order.
pub(super) fn measure(programs: &StarlingPrograms, folder: &Path) -> Result<RealFigures> {
    eprintln!("measuring: an agent on a real cluster");
    let real = Real::start(programs, folder)?;
    let (agent_rss_bytes, agent_idle_milli_cpu) = real.idle()?;
    let flux_to_visible = real.flux_to_visible()?;
    real.agent.process().terminate(PATIENCE)?;
    real.hub.stop(PATIENCE)?;
    Ok(RealFigures { agent_rss_bytes, agent_idle_milli_cpu, flux_to_visible })
}

impl Real {
    fn start(programs: &StarlingPrograms, folder: &Path) -> Result<Self> {
        let parts = Programs::ensure(&Program::CLUSTER)?;
        let hub = start_hub(programs, folder)?;
        let workspaces = build::root().join("examples/fleet/workspaces.yaml");
        fs::copy(&workspaces, hub.options().directory.join("workspaces.yaml"))
            .with_context(|| format!("copy {}", workspaces.display()))?;
        let etcd = Etcd::start(&parts, &folder.join("etcd"))?;
        let cluster = ManagedCluster::start(&parts, &etcd, folder, "real-1", &ClusterOptions::default())?;
        let git = GitServer::start(&folder.join("git"))?;
        wait_for("the hub to take the workspaces", LONG_ENOUGH, || {
            let printed = hub.starling(&["adopt", "cluster", cluster.name(), "--workspace", "retail"]);
            printed.map_err(|error| error.to_string()).and_then(|printed| match printed.code {
                0 => Ok(()),
                _ => Err(printed.stderr),
            })
        })?;
        let agent = Agent::join(&hub, &cluster, &InstalledBy::Manifest, "retail", &[])?;
        let real = Self { agent, hub, cluster, git, parts, _etcd: etcd };
        real.make_kustomization()?;
        wait_for("the cluster to be live", LONG_ENOUGH, || {
            real.agent.process().check_running().map_err(|error| error.to_string())?;
            match real.hub.status().map_err(|error| error.to_string())?.live {
                0 => Err(real.agent.process().log_tail()),
                _ => Ok(()),
            }
        })?;
        Ok(real)
    }

    /// Makes a Kustomization from a Git repository, and waits until it is Ready.
    fn make_kustomization(&self) -> Result<()> {
        let config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: observed, namespace: default}\n";
        let kustomization = "resources: [config-map.yaml]\n";
        let files = [("good/config-map.yaml", config_map), ("good/kustomization.yaml", kustomization)];
        self.git.commit("observed", "Add what is observed", &files)?;
        self.cluster.apply_yaml(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n---\n\
             apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\n\
             metadata: {{name: {NAME}, namespace: {NAMESPACE}}}\n\
             spec: {{url: {url:?}, interval: 1h, ref: {{branch: main}}}}\n---\n\
             apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n\
             metadata: {{name: {NAME}, namespace: {NAMESPACE}}}\n\
             spec: {{sourceRef: {{kind: GitRepository, name: {NAME}}}, path: ./good, prune: true, interval: 1h}}\n",
            url = self.git.url("observed"),
        ))?;
        Ok(self.cluster.admin().wait_ready("kustomization", NAMESPACE, NAME, LONG_ENOUGH)?)
    }

    /// Returns the agent's memory in bytes, and its CPU time in thousandths of a core.
    fn idle(&self) -> Result<(u64, f64)> {
        sleep(SETTLE);
        let process = self.agent.process().id().context("the agent ended")?;
        let (began, before) = (Instant::now(), cpu_time(process)?);
        sleep(IDLE);
        let used = cpu_time(process)?.saturating_sub(before);
        Ok((self.agent.process().resident_bytes()?, 1000.0 * used.as_secs_f64() / began.elapsed().as_secs_f64()))
    }

    fn flux_to_visible(&self) -> Result<Difference> {
        let mut kubectl = Command::new(self.parts.path(Program::Kubectl)?);
        kubectl.arg("--kubeconfig").arg(self.cluster.kubeconfig());
        kubectl.args(["get", "kustomization", NAME, "-n", NAMESPACE, "--watch", "-o", COLUMNS]);
        let flux = Watcher::start("kubectl", &mut kubectl)?;
        let mut observe = Command::new(self.hub.programs().path("starling-loadtest"));
        observe.arg("observe").arg("--config").arg(self.hub.context_file());
        observe.args(["--cluster", self.cluster.name(), "--kind", "Kustomization"]);
        observe.args(["--namespace", NAMESPACE, "--name", NAME]);
        let hub = Watcher::start("starling-loadtest observe", &mut observe)?;
        let mut differences = Vec::with_capacity(CHANGES);
        for number in 0..CHANGES {
            let fails = number % 2 == 0;
            let generation = self.change_path(if fails { "./missing" } else { "./good" })?;
            let said = flux.wait_for(LONG_ENOUGH, |line| {
                line == format!("{generation} {} {generation}", if fails { "False" } else { "True" })
            })?;
            let shown = hub.wait_for(LONG_ENOUGH, |line| {
                let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { return false };
                let is_as_said = match line["health"].as_str() {
                    Some("failing" | "failing-retrying" | "stalled") => fails,
                    Some("ready") => !fails,
                    _ => false,
                };
                is_as_said && line["generation"] == generation
            })?;
            let (ahead, behind) = (said.saturating_duration_since(shown), shown.saturating_duration_since(said));
            differences.push((behind.as_secs_f64() - ahead.as_secs_f64()) * 1000.0);
        }
        Difference::of(&mut differences)
    }

    /// Changes the Kustomization's path; returns its new generation.
    fn change_path(&self, path: &str) -> Result<u64> {
        let patch = serde_json::json!({ "spec": { "path": path } }).to_string();
        let patched = self.cluster.kubectl(&[
            "patch",
            "kustomization",
            NAME,
            "-n",
            NAMESPACE,
            "--type",
            "merge",
            "--patch",
            &patch,
            "-o",
            "jsonpath={.metadata.generation}",
        ])?;
        patched.trim().parse().with_context(|| format!("read the generation {patched:?}"))
    }
}

/// Starts a hub over an empty directory.
fn start_hub(programs: &StarlingPrograms, folder: &Path) -> Result<Hub> {
    let options = HubOptions::below(folder, "bench");
    fs::create_dir_all(&options.directory).context("make the fleet's directory")?;
    Hub::start(programs, &options)
}

/// Returns the CPU time of a process to the nanosecond: the kernel's usual count has hundredths of a second, and an idle
/// agent uses less than one in the time that it is watched. Threads that ended meanwhile are left out.
fn cpu_time(process: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task")).context("list the agent's threads")? {
        let path = thread.context("list the agent's threads")?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let first = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
        nanoseconds += first.with_context(|| format!("{} is odd", path.display()))?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

impl Difference {
    fn of(samples: &mut [f64]) -> Result<Self> {
        samples.sort_by(f64::total_cmp);
        let [min_ms, .., max_ms] = *samples else { bail!("two changes at least are timed") };
        Ok(Self { samples: samples.len(), median_ms: samples[samples.len() / 2], min_ms, max_ms })
    }
}

impl fmt::Display for RealFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { samples, median_ms, min_ms, max_ms } = self.flux_to_visible;
        let mebibytes = self.agent_rss_bytes as f64 / f64::from(1 << 20);
        writeln!(f, "one real cluster")?;
        writeln!(f, "  {:<36} {mebibytes:.1} MiB", "agent memory, idle")?;
        writeln!(f, "  {:<36} {:.2} mCPU", "agent CPU, idle", self.agent_idle_milli_cpu)?;
        let visible = format!("median {median_ms:.1} ms ({min_ms:.1} to {max_ms:.1}, {samples} changes)");
        writeln!(f, "  {:<36} {visible}", "Flux said so -> visible in a query")
    }
}
