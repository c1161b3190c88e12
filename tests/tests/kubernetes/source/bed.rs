//! A fleet whose resources are objects.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use starling_agent::config::{AgentConfig, TokenSource};
use starling_agent::identity::IdentityPlace;
use starling_agent::ports::Ports;
use starling_harness::Hub;
use starling_loadtest::cluster::{SimulatedApi, SimulatedCluster, SimulatedOptions};
use starling_realparts::{ApiServer, ControllerManager};
use starling_tests::logs::unexpected_errors;
use starling_tests::steps::{stays, wait};
use starling_tests::views::{self, Adoption, Assignment, Item, Problem};
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bed::{HubBed, bed};

/// A workspace, and an addon that nobody has to serve: clusters in memory fetch nothing.
pub(super) const CATALOGUE: &str = "\
apiVersion: starling.dev/v1alpha1
kind: Workspace
metadata: {name: retail}
---
apiVersion: starling.dev/v1alpha1
kind: Addon
metadata: {name: web, namespace: starling-platform}
spec:
  targetNamespace: default
  versions:
    - version: 1.0.0
      source: {helmRepository: {url: 'https://charts.example.org', chart: web}}
    - version: 1.1.0
      source: {helmRepository: {url: 'https://charts.example.org', chart: web}}
";

/// The assignment of the tests, to every cluster of the workspace.
pub(super) const WEB: &str = "\
apiVersion: starling.dev/v1alpha1
kind: AddonAssignment
metadata: {name: web, namespace: retail}
spec: {addon: {name: web}, version: 1.0.0, clusterSelector: {}}
";

/// A hub over its own API server, and a fleet that joins it.
pub(super) struct Fleet {
    pub(super) hub: Hub,
    machines: Vec<(Arc<SimulatedCluster>, DropGuard)>,
    runtime: Runtime,
    // Dropped in this order: clients before their server.
    _controllers: ControllerManager,
    pub(super) server: ApiServer,
}

/// Runs a test's story on a fleet of so many clusters, on each of which the assignment is Ready; then looks through the hub's log.
pub(super) fn on_a_fleet(
    test: &str,
    clusters: usize,
    allowed: &[&str],
    story: impl FnOnce(&Fleet) -> Result<()>,
) -> Result<()> {
    let HubBed { hub, server } = bed()?.hub(test)?;
    let controllers = bed()?.controllers(test, &server)?;
    let runtime = Runtime::new().context("start the runtime of the agents")?;
    let mut fleet = Fleet { hub, machines: Vec::new(), runtime, _controllers: controllers, server };
    fleet
        .begin(clusters)
        .and_then(|()| story(&fleet))
        .and_then(|()| Ok(fleet.hub.process().check_running()?))
        .with_context(|| {
            let process = fleet.hub.process();
            format!("--- end of {}\n{}", process.log_path().display(), process.log_tail())
        })?;
    let errors = unexpected_errors(&fleet.hub.process().log_path(), allowed)?;
    ensure!(errors.is_empty(), "unexpected errors of the hub:\n{}", errors.join("\n"));
    Ok(())
}

/// Returns a ManagedCluster of the workspace.
pub(super) fn cluster(name: &str) -> String {
    format!("apiVersion: starling.dev/v1alpha1\nkind: ManagedCluster\nmetadata: {{name: {name}, namespace: retail}}\n")
}

/// Returns a cluster in memory.
pub(super) fn machine(name: &str) -> Arc<SimulatedCluster> {
    SimulatedCluster::new(SimulatedOptions {
        name: name.to_owned(),
        background_objects: 0,
        settle: Duration::from_millis(50),
        kubernetes_version: "v1.35.4".to_owned(),
    })
}

impl Fleet {
    fn begin(&mut self, clusters: usize) -> Result<()> {
        // The hub makes the namespaces that these are in.
        wait("the catalogue to be taken", || self.apply(CATALOGUE))?;
        wait("the namespace of the workspace", || self.kubectl(&["get", "namespace", "retail"]))?;
        for index in 0..clusters {
            let name = format!("edge-{index}");
            self.apply(&cluster(&name))?;
            let machine = machine(&name);
            let stop = self.join(&name, &machine)?;
            self.machines.push((machine, stop));
        }
        if clusters > 0 {
            self.apply(WEB)?;
            self.wait_ready(clusters as u64)?;
        }
        Ok(())
    }

    fn join(&self, name: &str, machine: &Arc<SimulatedCluster>) -> Result<DropGuard> {
        let adopt = ["adopt", "cluster", name, "--workspace", "retail"];
        let adoption: Adoption = wait("the cluster to be adopted", || self.hub.ask_json(&adopt))?;
        Ok(self.run_agent(machine, &adoption.token, &adoption.trust_pem, ""))
    }

    /// Runs an agent that joins with a token, and names its cluster where the token is a workspace's.
    pub(super) fn run_agent(
        &self,
        machine: &Arc<SimulatedCluster>,
        token: &str,
        trust_pem: &str,
        cluster_name: &str,
    ) -> DropGuard {
        let config = AgentConfig {
            hub: self.hub.address(),
            fleet: self.hub.options().fleet.clone(),
            trust_pem: trust_pem.as_bytes().to_vec(),
            token: TokenSource::Text(token.to_owned()),
            cluster_name: cluster_name.to_owned(),
            identity: IdentityPlace::Secret("identity".to_owned()),
            version: "test".to_owned(),
        };
        let api = Arc::new(SimulatedApi(Arc::clone(machine)));
        let stop = CancellationToken::new();
        let agent = starling_agent::run(config, api, Ports::system(), stop.clone());
        self.runtime.spawn(async move { agent.await.expect("an agent ends when it is asked to") });
        stop.drop_guard()
    }

    /// Runs kubectl with every right.
    pub(super) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        Ok(self.server.admin().run(arguments)?)
    }

    /// Runs kubectl with every right, with a text on its standard input.
    pub(super) fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        Ok(self.server.admin().run_with_input(arguments, input)?)
    }

    /// Applies documents.
    pub(super) fn apply(&self, documents: &str) -> Result<()> {
        Ok(self.server.admin().apply(documents)?)
    }

    /// Lists what the command line lists.
    pub(super) fn list<T: Item>(&self) -> Result<Vec<T>> {
        views::list(&self.hub, &[])
    }

    /// Returns the assignment as the command line shows it.
    pub(super) fn web(&self) -> Result<Assignment> {
        let assignments: Vec<Assignment> = self.list()?;
        assignments.into_iter().find(|assignment| assignment.name == "web").context("web is not listed")
    }

    /// Waits until the assignment is Ready on so many clusters, which are all that it selects.
    pub(super) fn wait_ready(&self, clusters: u64) -> Result<()> {
        wait(&format!("web to be ready on {clusters} clusters"), || {
            let web = self.web()?;
            let is_there = !web.source_missing;
            ensure!(
                (web.selected, web.applied, web.ready, is_there) == (clusters, clusters, clusters, true),
                "{web:?}"
            );
            Ok(())
        })
    }

    /// Waits until a resource's problem says something.
    pub(super) fn wait_problem(&self, name: &str, text: &str) -> Result<()> {
        wait(&format!("a problem of {name} that says {text:?}"), || {
            let problems: Vec<Problem> = self.list()?;
            ensure!(
                problems.iter().any(|problem| problem.name == name && problem.message.contains(text)),
                "{problems:?}"
            );
            Ok(())
        })
    }

    /// Waits until nothing is wrong.
    pub(super) fn wait_no_problem(&self) -> Result<()> {
        wait("no problem", || {
            let problems: Vec<Problem> = self.list()?;
            ensure!(problems.is_empty(), "{problems:?}");
            Ok(())
        })
    }

    /// Waits until an object is not there.
    pub(super) fn wait_gone(&self, object: &[&str]) -> Result<()> {
        wait(&format!("{object:?} to be gone"), || {
            let found = self.kubectl(&[&["get", "--ignore-not-found"], object].concat())?;
            ensure!(found.trim().is_empty(), "{found}");
            Ok(())
        })
    }

    /// Returns how many objects agents have removed.
    pub(super) fn removals(&self) -> usize {
        self.machines.iter().map(|(machine, _)| machine.removals().len()).sum()
    }

    /// Makes sure that nothing is removed for a while.
    pub(super) fn keeps_everything(&self) -> Result<()> {
        stays("what is installed", Duration::from_secs(5), || {
            ensure!(self.removals() == 0, "{} removals", self.removals());
            Ok(())
        })
    }

    /// Waits until the assignment's objects are gone from every cluster.
    pub(super) fn wait_removed(&self) -> Result<()> {
        wait("the installs to be gone", || {
            let left: usize = self.machines.iter().map(|(machine, _)| web_objects(machine)).sum();
            ensure!(left == 0, "{left} objects are left");
            Ok(())
        })
    }
}

fn web_objects(machine: &SimulatedCluster) -> usize {
    machine.objects().keys().filter(|key| key.name == "web").count()
}
