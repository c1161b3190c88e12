//! A hub in Kubernetes mode: how much it writes to its API server while clusters join, while nothing happens, and in a storm of
//! statuses.
//!
//! Read from both ends: the hub's own counter, and the API server's, which nobody else uses meanwhile.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use starling_harness::{Hub, HubOptions, KubernetesSource, SYSTEM_NAMESPACE, StarlingPrograms};
use starling_realparts::{ApiServer, Etcd, Launch, Process, Program, Programs, wait_for};

use super::PATIENCE;
use crate::build;

/// How long everybody may take to join, and statuses to be written.
const LONG_ENOUGH: Duration = Duration::from_secs(1200);

/// How long the steady state and the storm are watched.
const WATCHED: Duration = Duration::from_secs(60);

/// How long nothing may have been written when a phase counts as over.
const QUIET: Duration = Duration::from_secs(8);

/// Flux objects of each cluster without Starling.
const OBJECTS: &str = "40";

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct KubernetesFigures {
    clusters: u32,
    /// From the objects of all clusters being applied until their statuses are written.
    applied: Phase,
    /// From the first agent until all clusters are ready and their statuses are written.
    joined: Phase,
    /// From the first agent until all clusters are ready for whoever asks the hub.
    ready_seconds: f64,
    steady: Phase,
    storm: Phase,
    /// From the end of the storm until the statuses are written.
    calmed: Phase,
}

/// What was written in a time.
#[derive(Clone, Copy, Debug, Serialize)]
struct Phase {
    seconds: f64,
    /// Statuses, by the hub's counter.
    hub_status_writes: u64,
    /// Writes of statuses that the API server served.
    api_status_writes: u64,
    /// Other writes of our resources that the API server served: those of the measurement itself, and finalizers.
    api_other_writes: u64,
}

/// Counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    hub_status_writes: u64,
    pending: u64,
    api_status_writes: u64,
    api_other_writes: u64,
}

struct Bed {
    // Dropped in this order: clients before the servers that they would complain about.
    hub: Hub,
    server: ApiServer,
    _etcd: Etcd,
}

/// Starts everything, measures, and stops it in order.
pub(super) fn measure(programs: &StarlingPrograms, folder: &Path, clusters: u32) -> Result<KubernetesFigures> {
    eprintln!("measuring: {clusters} clusters of a hub in Kubernetes mode");
    let bed = Bed::start(programs, folder)?;
    let began = bed.begin()?;
    bed.apply(clusters)?;
    let applied = bed.until_quiet(began)?;

    let began = bed.begin()?;
    let fleet = Launch::new("fleet", &programs.path("starling-loadtest"), folder)
        .args(["fleet", "--clusters", &clusters.to_string(), "--objects", OBJECTS, "--all-ready", "--config"])
        .arg(bed.hub.context_file());
    let fleet = Process::start(fleet)?;
    wait_for("every cluster to be ready", LONG_ENOUGH, || {
        fleet.check_running().map_err(|error| error.to_string())?;
        let status = bed.hub.status().map_err(|error| error.to_string())?;
        if status.ready == u64::from(clusters) { Ok(()) } else { Err(format!("{} are ready", status.ready)) }
    })?;
    let ready_seconds = began.0.elapsed().as_secs_f64();
    let joined = bed.until_quiet(began)?;

    let began = bed.begin()?;
    sleep(WATCHED);
    let steady = bed.since(began)?;
    let began = bed.begin()?;
    let agents = fleet.id().context("the fleet ended")?;
    toggle_storm(agents)?;
    sleep(WATCHED);
    let storm = bed.since(began)?;
    let began = bed.begin()?;
    toggle_storm(agents)?;
    let calmed = bed.until_quiet(began)?;
    fleet.terminate(PATIENCE)?;
    bed.hub.stop(PATIENCE)?;
    Ok(KubernetesFigures { clusters, applied, joined, ready_seconds, steady, storm, calmed })
}

impl Bed {
    fn start(programs: &StarlingPrograms, folder: &Path) -> Result<Self> {
        let parts = Programs::ensure(&[Program::Etcd, Program::KubeApiserver, Program::Kubectl])?;
        let etcd = Etcd::start(&parts, &folder.join("etcd"))?;
        let server = ApiServer::start(&parts, &etcd, &folder.join("api-server"), "hub", &[])?;
        let definitions = build::root().join("charts/starling-hub/files/crds");
        let definitions = definitions.to_str().context("the checkout's path is text")?;
        server.admin().run(&["apply", "--server-side", "-f", definitions])?;
        server.admin().run(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])?;
        for namespace in [SYSTEM_NAMESPACE, "starling-platform", "retail", "factory"] {
            server.admin().run(&["create", "namespace", namespace])?;
        }
        let kubeconfig = server.admin().kubeconfig().to_owned();
        let source = KubernetesSource { hub: kubeconfig.clone(), person: kubeconfig };
        let options = HubOptions { kubernetes: Some(source), ..HubOptions::below(folder, "bench") };
        Ok(Self { hub: Hub::start(programs, &options)?, server, _etcd: etcd })
    }

    /// Applies two workspaces, an addon, an assignment for everybody, and the clusters.
    fn apply(&self, clusters: u32) -> Result<()> {
        let head = "apiVersion: starling.dev/v1alpha1\nkind:";
        let platform = "namespace: starling-platform}";
        let mut documents = vec![
            format!("{head} Workspace\nmetadata: {{name: retail}}\n"),
            format!("{head} Workspace\nmetadata: {{name: factory}}\n"),
            format!(
                "{head} Addon\nmetadata: {{name: bench, {platform}\nspec: {{versions: [{{version: 1.0.0, source: \
                 {{helmRepository: {{url: 'https://charts.example.com', chart: bench}}}}}}]}}\n"
            ),
            format!(
                "{head} AddonAssignment\nmetadata: {{name: bench, {platform}\n\
                 spec: {{addon: {{name: bench}}, version: 1.0.0, clusterSelector: {{}}}}\n"
            ),
        ];
        // The names, workspaces and labels that the simulated fleet adopts (loadtest/src/fleet.rs).
        documents.extend((0..clusters).map(|number| {
            let workspace = ["retail", "factory"][number as usize % 2];
            let env = ["prod", "staging", "dev"][number as usize / 2 % 3];
            let tier = ["edge", "core"][number as usize / 4 % 2];
            let region = ["eu", "us", "ap"][number as usize / 8 % 3];
            let labels = format!("{{env: {env}, tier: {tier}, region: {region}}}");
            format!(
                "{head} ManagedCluster\nmetadata: {{name: sim-{number:05}, namespace: {workspace}, labels: {labels}}}\n"
            )
        }));
        Ok(self.server.admin().apply(&documents.join("---\n"))?)
    }

    fn begin(&self) -> Result<(Instant, Counters)> {
        Ok((Instant::now(), self.counters()?))
    }

    fn since(&self, (began, before): (Instant, Counters)) -> Result<Phase> {
        Ok(phase(began.elapsed(), before, self.counters()?))
    }

    /// Waits until nothing waits to be written and nothing was for a while; that while does not count.
    fn until_quiet(&self, (began, before): (Instant, Counters)) -> Result<Phase> {
        let (mut last, mut changed) = (self.counters()?, Instant::now());
        loop {
            sleep(Duration::from_millis(500));
            let now = self.counters()?;
            if now != last {
                (last, changed) = (now, Instant::now());
            }
            if now.pending == 0 && changed.elapsed() > QUIET {
                return Ok(phase(changed.duration_since(began), before, last));
            }
            anyhow::ensure!(began.elapsed() < LONG_ENOUGH, "statuses are still written: {now:?}");
        }
    }

    fn counters(&self) -> Result<Counters> {
        let hub = http_get(self.hub.http_port(), "/metrics")?;
        let server = self.server.admin().run(&["get", "--raw", "/metrics"])?;
        let is_ours =
            |line: &&str| line.starts_with("apiserver_request_total{") && line.contains("group=\"starling.dev\"");
        let is_write = |line: &&str| {
            ["APPLY", "CREATE", "PATCH", "PUT", "POST", "DELETE", "UPDATE"]
                .iter()
                .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
        };
        let of_api = |is_status: bool| {
            let lines = server.lines().filter(is_ours).filter(is_write);
            let lines = lines.filter(|line| line.contains("subresource=\"status\"") == is_status);
            lines.map(value).sum()
        };
        let of_hub = |name: &str| hub.lines().filter(|line| line.starts_with(name)).map(value).sum();
        Ok(Counters {
            hub_status_writes: of_hub("starling_status_writes_total{"),
            pending: of_hub("starling_status_pending "),
            api_status_writes: of_api(true),
            api_other_writes: of_api(false),
        })
    }
}

fn phase(took: Duration, before: Counters, after: Counters) -> Phase {
    Phase {
        seconds: took.as_secs_f64(),
        hub_status_writes: after.hub_status_writes - before.hub_status_writes,
        api_status_writes: after.api_status_writes - before.api_status_writes,
        api_other_writes: after.api_other_writes - before.api_other_writes,
    }
}

/// Returns the value of a sample in the text format of metrics.
fn value(line: &str) -> u64 {
    let number = line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok());
    number.map_or(0, |number| number as u64)
}

/// Begins or ends the storm of a simulated fleet.
fn toggle_storm(process: u32) -> Result<()> {
    build::run("signal the fleet", std::process::Command::new("kill").args(["-USR1", &process.to_string()]))
}

fn http_get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("connect to the hub's web port")?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").context("ask for metrics")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("read metrics")?;
    Ok(text)
}

impl fmt::Display for KubernetesFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "writes to the API server, {} clusters", self.clusters)?;
        writeln!(f, "  {:<34} {:>9} {:>12} {:>12} {:>12}", "", "seconds", "statuses", "as the API", "other writes")?;
        for (name, phase) in [
            ("applied -> statuses written", self.applied),
            ("joined -> statuses written", self.joined),
            ("steady", self.steady),
            ("storm, 10 objects each", self.storm),
            ("after the storm", self.calmed),
        ] {
            let Phase { seconds, hub_status_writes, api_status_writes, api_other_writes } = phase;
            writeln!(
                f,
                "  {name:<34} {seconds:>9.1} {hub_status_writes:>12} {api_status_writes:>12} {api_other_writes:>12}"
            )?;
        }
        writeln!(f, "  {:<34} {:>9.1}", "joined -> every cluster ready", self.ready_seconds)
    }
}
