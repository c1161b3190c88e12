//! A bed: one hub as a process, and agents over clusters in memory in this process.

use std::fs;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use starling_agent::config::{AgentConfig, TokenSource};
use starling_agent::identity::IdentityPlace;
use starling_agent::ports::Ports;
use starling_harness::{Hub, HubOptions, StarlingPrograms};
use starling_loadtest::cluster::{SimulatedApi, SimulatedCluster, SimulatedOptions};
use starling_tests::logs::unexpected_errors;
use starling_tests::scratch::Scratch;
use starling_tests::steps::wait;
use starling_tests::views::{self, Adoption, Assignment, Cluster, Item};
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::documents::{CATALOGUE, WORKSPACE};

/// One hub.
pub(crate) struct Bed {
    pub(crate) hub: Hub,
    pub(crate) runtime: Runtime,
}

/// A running agent; dropping it stops it.
pub(crate) struct Agent {
    _stop: DropGuard,
}

/// Runs a test's story on a hub of its own, then looks through its log: only errors that hold one of the allowed texts may be
/// in there.
pub(crate) fn on_a_hub(test: &str, allowed: &[&str], story: impl FnOnce(&Bed) -> Result<()>) -> Result<()> {
    let folder = scratch()?.folder(test)?;
    let options = HubOptions::below(&folder, "api");
    for folder in [&options.directory, &options.logs] {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    fs::write(options.directory.join("catalogue.yaml"), CATALOGUE).context("write the catalogue")?;
    let hub = Hub::start(&StarlingPrograms::of_this_build()?, &options)?;
    let bed = Bed { hub, runtime: Runtime::new().context("start the runtime of the agents")? };
    // A file that was written just now is not believed at once.
    wait("the catalogue to be read", || bed.hub.ask(&["get", "addons", "web"]).map(drop))?;
    story(&bed).with_context(|| {
        let process = bed.hub.process();
        format!("--- end of {}\n{}", process.log_path().display(), process.log_tail())
    })?;
    bed.hub.process().check_running()?;
    let errors = unexpected_errors(&bed.hub.process().log_path(), allowed)?;
    ensure!(errors.is_empty(), "unexpected errors of the hub:\n{}", errors.join("\n"));
    Ok(())
}

pub(crate) fn scratch() -> Result<&'static Scratch> {
    static SCRATCH: OnceLock<Result<Scratch, String>> = OnceLock::new();
    let take = || Scratch::of_tier(env!("CARGO_TARGET_TMPDIR"), "api").map_err(|error| format!("{error:#}"));
    SCRATCH.get_or_init(take).as_ref().map_err(|error| anyhow!("{error}"))
}

/// Makes a cluster in memory without objects of its own.
pub(crate) fn cluster(name: &str) -> Arc<SimulatedCluster> {
    SimulatedCluster::new(SimulatedOptions {
        name: name.to_owned(),
        background_objects: 0,
        settle: Duration::from_millis(50),
        kubernetes_version: "v1.35.4".to_owned(),
    })
}

/// Starts an agent of a fleet, which keeps its identity in its cluster under a name.
pub(crate) fn spawn_agent(
    runtime: &Runtime,
    cluster: &Arc<SimulatedCluster>,
    adoption: &Adoption,
    (fleet, identity): (&str, &str),
    address: &str,
    ports: Ports,
) -> Agent {
    let config = AgentConfig {
        hub: address.to_owned(),
        fleet: fleet.to_owned(),
        trust_pem: adoption.trust_pem.clone().into_bytes(),
        token: TokenSource::Text(adoption.token.clone()),
        cluster_name: String::new(),
        identity: IdentityPlace::Secret(identity.to_owned()),
        version: "test".to_owned(),
    };
    launch(runtime, cluster, config, ports)
}

fn launch(runtime: &Runtime, cluster: &Arc<SimulatedCluster>, config: AgentConfig, ports: Ports) -> Agent {
    let cluster = Arc::new(SimulatedApi(Arc::clone(cluster)));
    let stop = CancellationToken::new();
    let agent = starling_agent::run(config, cluster, ports, stop.clone());
    runtime.spawn(async move { agent.await.expect("an agent ends when it is asked to") });
    Agent { _stop: stop.drop_guard() }
}

impl Bed {
    /// Writes a file of the hub's directory.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.hub.options().directory.join(file);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Lists what the command line lists.
    pub(crate) fn list<T: Item>(&self, selection: &[&str]) -> Result<Vec<T>> {
        views::list(&self.hub, selection)
    }

    /// Adopts a cluster.
    pub(crate) fn adopt(&self, name: &str, further: &[&str]) -> Result<Adoption> {
        let adopt = ["adopt", "cluster", name, "--workspace", WORKSPACE];
        self.hub.ask_json(&[adopt.as_slice(), further].concat())
    }

    /// Starts an agent in a cluster, which keeps its identity there under a name.
    pub(crate) fn run_agent(&self, cluster: &Arc<SimulatedCluster>, adoption: &Adoption, identity: &str) -> Agent {
        let place = (self.hub.options().fleet.as_str(), identity);
        spawn_agent(&self.runtime, cluster, adoption, place, &self.hub.address(), Ports::system())
    }

    /// Starts an agent that dials an address, over a network of its own.
    pub(crate) fn run_agent_at(
        &self,
        cluster: &Arc<SimulatedCluster>,
        adoption: &Adoption,
        address: &str,
        ports: Ports,
    ) -> Agent {
        let place = (self.hub.options().fleet.as_str(), "identity");
        spawn_agent(&self.runtime, cluster, adoption, place, address, ports)
    }

    /// Starts an agent that names its cluster, which only a workspace's token reads.
    pub(crate) fn run_agent_with(
        &self,
        cluster: &Arc<SimulatedCluster>,
        token: &str,
        trust_pem: &str,
        name: &str,
        identity: &str,
    ) -> Agent {
        let config = AgentConfig {
            hub: self.hub.address(),
            fleet: self.hub.options().fleet.clone(),
            trust_pem: trust_pem.as_bytes().to_vec(),
            token: TokenSource::Text(token.to_owned()),
            cluster_name: name.to_owned(),
            identity: IdentityPlace::Secret(identity.to_owned()),
            version: "test".to_owned(),
        };
        launch(&self.runtime, cluster, config, Ports::system())
    }

    /// Returns a cluster as the command line shows it.
    pub(crate) fn view(&self, name: &str) -> Result<Cluster> {
        let clusters: Vec<Cluster> = self.list(&[])?;
        clusters.into_iter().find(|cluster| cluster.name == name).with_context(|| format!("{name} is not listed"))
    }

    /// Waits until a cluster is live.
    pub(crate) fn wait_live(&self, name: &str) -> Result<()> {
        wait(&format!("{name} to be live"), || {
            let cluster = self.view(name)?;
            ensure!(cluster.connection == "live", "{cluster:?}");
            Ok(())
        })
    }

    /// Returns an assignment as the command line shows it.
    pub(crate) fn assignment(&self, name: &str) -> Result<Assignment> {
        let assignments: Vec<Assignment> = self.list(&[])?;
        assignments
            .into_iter()
            .find(|assignment| assignment.name == name)
            .with_context(|| format!("{name} is not listed"))
    }

    /// Waits until an assignment is Ready on so many clusters, which are all that it selects.
    pub(crate) fn wait_ready(&self, name: &str, clusters: usize) -> Result<()> {
        wait(&format!("{name} to be ready on {clusters} clusters"), || {
            let found = self.assignment(name)?;
            let clusters = clusters as u64;
            ensure!((found.selected, found.applied, found.ready) == (clusters, clusters, clusters), "{found:?}");
            Ok(())
        })
    }

    /// Returns the value of one line of the hub's metrics; zero where there is no such line.
    pub(crate) fn metric(&self, line: &str) -> Result<u64> {
        let text = crate::client::get(self.hub.http_port(), "/metrics")?;
        let value = text.lines().find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(Ok(0), |value| value.parse().with_context(|| format!("read {line} {value}")))
    }
}
