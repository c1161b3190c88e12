//! Proves the whole stack: one cluster with Flux, a chart over HTTP, a chart in an OCI registry and a Kustomization from
//! Git, all Ready; then upgrade, a broken chart, kill -9 and restart of every part. Prints how long each took.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use starling_realparts::{
    ClusterOptions, Etcd, ExampleChart, FluxParts, GitServer, HelmRepository, ManagedCluster, OciRegistry, Program,
    Programs,
};

const TIMEOUT: Duration = Duration::from_secs(60);
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let folder = tempfile::tempdir()?;
    let outcome = run(folder.path());
    if outcome.is_err() {
        eprintln!("logs are kept in {}", folder.keep().display());
    }
    outcome
}

fn run(folder: &Path) -> Outcome {
    let clock = Clock::start();
    let programs = Programs::ensure(&[Program::CLUSTER.as_slice(), &[Program::NotificationController]].concat())?;
    clock.lap("programs ensured", Instant::now());

    let began = Instant::now();
    let etcd = Etcd::start(&programs, &folder.join("etcd"))?;
    clock.lap("etcd ready", began);

    let began = Instant::now();
    let options = ClusterOptions { flux: FluxParts::WithNotification, ..ClusterOptions::default() };
    let cluster = ManagedCluster::start(&programs, &etcd, folder, "first", &options)?;
    clock.lap("cluster with Flux ready", began);

    let began = Instant::now();
    let sources = Sources::start(&programs, folder)?;
    sources.publish(&ExampleChart::podinfo_lite("1.0.0"))?;
    sources.git.commit("apps", "first", &[("app/kustomization.yaml", KUSTOMIZE), ("app/config.yaml", CONFIG)])?;
    clock.lap("sources served", began);

    let began = Instant::now();
    cluster.apply_yaml(&sources.manifests("1.0.0"))?;
    wait_all_ready(&cluster)?;
    clock.lap("Helm, OCI and Git ready after apply", began);
    expect_data(&cluster, "from-http-podinfo-lite", "version", "1.0.0")?;
    expect_data(&cluster, "from-oci-podinfo-lite", "version", "1.0.0")?;
    expect_data(&cluster, "from-git", "message", "hello")?;

    let began = Instant::now();
    sources.publish(&ExampleChart::podinfo_lite("1.1.0"))?;
    cluster.apply_yaml(&sources.manifests("1.1.0"))?;
    reconcile_http_source(&cluster)?;
    expect_data(&cluster, "from-http-podinfo-lite", "version", "1.1.0")?;
    expect_data(&cluster, "from-oci-podinfo-lite", "version", "1.1.0")?;
    clock.lap("both charts upgraded", began);

    let began = Instant::now();
    sources.publish(&ExampleChart::podinfo_lite("1.2.0").broken())?;
    cluster.apply_yaml(&sources.manifests("1.2.0"))?;
    reconcile_http_source(&cluster)?;
    for release in ["from-http", "from-oci"] {
        cluster.wait_for("a failure that names the broken chart", TIMEOUT, || {
            let found = cluster.admin().get_json(&["-n", "default", "helmrelease", release])?;
            let text = found["status"]["conditions"].to_string();
            if text.contains("podinfo-lite 1.2.0 is broken") { Ok(()) } else { Err(text) }
        })?;
    }
    clock.lap("broken charts reported by Flux", began);

    let began = Instant::now();
    cluster.api_server().kill9()?;
    cluster.api_server().restart()?;
    clock.lap("API server killed and ready again", began);
    let began = Instant::now();
    cluster.flux().kill9()?;
    cluster.flux().restart()?;
    clock.lap("Flux killed and ready again", began);
    let began = Instant::now();
    etcd.kill9()?;
    etcd.restart()?;
    clock.lap("etcd killed and ready again", began);

    let began = Instant::now();
    sources.publish(&ExampleChart::podinfo_lite("1.3.0"))?;
    cluster.apply_yaml(&sources.manifests("1.3.0"))?;
    reconcile_http_source(&cluster)?;
    wait_all_ready(&cluster)?;
    expect_data(&cluster, "from-http-podinfo-lite", "version", "1.3.0")?;
    clock.lap("repaired after the restarts", began);

    let began = Instant::now();
    let token_file = folder.join("service-account.kubeconfig");
    cluster.kubectl(&["create", "serviceaccount", "reader", "-n", "default"])?;
    cluster.service_account_kubeconfig(&token_file, "default", "reader")?;
    let second = ManagedCluster::start(&programs, &etcd, folder, "second", &ClusterOptions::default())?;
    clock.lap("a second cluster on the same etcd", began);
    assert!(second.kubectl(&["get", "helmreleases", "-A", "-o", "name"])?.is_empty(), "clusters share nothing");
    print_memory(&cluster, &etcd)
}

struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn lap(&self, what: &str, began: Instant) {
        let (lap, total) = (began.elapsed().as_secs_f64(), self.0.elapsed().as_secs_f64());
        println!("{lap:7.2} s  (at {total:7.2} s)  {what}");
    }
}

struct Sources {
    http: HelmRepository,
    oci: OciRegistry,
    git: GitServer,
}

impl Sources {
    fn start(programs: &Programs, folder: &Path) -> Outcome<Self> {
        Ok(Self {
            http: HelmRepository::start(programs, &folder.join("http"))?,
            oci: OciRegistry::start(programs, &folder.join("oci"))?,
            git: GitServer::start(&folder.join("git"))?,
        })
    }

    fn publish(&self, chart: &ExampleChart) -> Outcome {
        self.http.publish(chart)?;
        self.oci.push(chart)?;
        Ok(())
    }

    fn manifests(&self, version: &str) -> String {
        let chart = ExampleChart::podinfo_lite(version);
        MANIFESTS
            .replace("HTTP_URL", &self.http.url())
            .replace("OCI_URL", &self.oci.chart_url(&chart))
            .replace("GIT_URL", &self.git.url("apps"))
            .replace("VERSION", version)
    }
}

fn wait_all_ready(cluster: &ManagedCluster) -> Outcome {
    for (kind, name) in [("helmrelease", "from-http"), ("helmrelease", "from-oci"), ("kustomization", "from-git")] {
        cluster.admin().wait_ready(kind, "default", name, TIMEOUT)?;
    }
    Ok(())
}

fn expect_data(cluster: &ManagedCluster, config_map: &str, key: &str, expected: &str) -> Outcome {
    cluster.wait_for(&format!("{config_map} with {key} {expected}"), TIMEOUT, || {
        let found = cluster.admin().get_json(&["-n", "default", "configmap", config_map])?;
        if found["data"][key] == expected { Ok(()) } else { Err(found["data"].to_string()) }
    })?;
    Ok(())
}

/// Asks source-controller to read the repository's index now rather than at its interval.
fn reconcile_http_source(cluster: &ManagedCluster) -> Outcome {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let annotation = format!("reconcile.fluxcd.io/requestedAt={now}");
    cluster.kubectl(&["annotate", "--overwrite", "-n", "default", "helmrepository/http", &annotation])?;
    Ok(())
}

fn print_memory(cluster: &ManagedCluster, etcd: &Etcd) -> Outcome {
    let flux = [
        Program::SourceController,
        Program::KustomizeController,
        Program::HelmController,
        Program::NotificationController,
    ];
    let mut processes = vec![etcd.process(), cluster.api_server().process(), cluster.controller_manager().process()];
    for program in flux {
        processes.push(cluster.flux().process(program)?);
    }
    for process in processes {
        let mebibytes = process.resident_bytes()? >> 20;
        println!("{mebibytes:5} MiB {:6.1} CPU s  {}", process.cpu_seconds()?, process.name());
    }
    Ok(())
}

const KUSTOMIZE: &str = "resources:\n  - config.yaml\n";
const CONFIG: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: from-git
data:
  message: hello
";
const MANIFESTS: &str = "\
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: { name: http, namespace: default }
spec: { interval: 1h, url: 'HTTP_URL' }
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: { name: from-http, namespace: default }
spec:
  interval: 1h
  chart:
    spec:
      chart: podinfo-lite
      version: VERSION
      interval: 1h
      sourceRef: { kind: HelmRepository, name: http }
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: { name: oci, namespace: default }
spec:
  interval: 1h
  url: 'OCI_URL'
  insecure: true
  ref: { tag: VERSION }
  layerSelector: { mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip, operation: copy }
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: { name: from-oci, namespace: default }
spec:
  interval: 1h
  chartRef: { kind: OCIRepository, name: oci }
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: { name: git, namespace: default }
spec: { interval: 1h, url: 'GIT_URL', ref: { branch: main } }
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: { name: from-git, namespace: default }
spec:
  interval: 1h
  path: ./app
  prune: true
  targetNamespace: default
  sourceRef: { kind: GitRepository, name: git }
";
