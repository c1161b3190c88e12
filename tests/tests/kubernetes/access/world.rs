//! A management cluster with the chart, a hub over it, three clusters in memory with their agents, and people with tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use starling_agent::cluster::ClusterApi as _;
use starling_agent::config::{AgentConfig, TokenSource};
use starling_agent::identity::IdentityPlace;
use starling_agent::ports::Ports;
use starling_harness::{Hub, ManagementCluster, StarlingPrograms};
use starling_loadtest::cluster::{SimulatedApi, SimulatedCluster, SimulatedOptions};
use starling_proto::v1;
use starling_realparts::{Etcd, FluxParts, Kubectl, Program, Programs};
use starling_tests::logs::unexpected_errors;
use starling_tests::scratch::Scratch;
use starling_tests::steps::wait;
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::{Person, Place};
use super::people::{CLUSTERS, FLEET, NAMESPACES, PEOPLE};

/// Where an agent keeps its certificate.
const IDENTITY: &str = "identity";

/// Everything of the story.
pub(super) struct World {
    agents: Vec<DropGuard>,
    pub(super) hub: Hub,
    pub(super) management: ManagementCluster,
    pub(super) place: Place,
    pub(super) clusters: BTreeMap<&'static str, Arc<SimulatedCluster>>,
    programs: Programs,
    folder: PathBuf,
    _etcd: Etcd,
    _scratch: Scratch,
}

impl World {
    /// Starts all of it, and waits until everything runs everywhere.
    pub(super) fn start() -> Result<Self> {
        let scratch = Scratch::of_tier(env!("CARGO_TARGET_TMPDIR"), "access")?;
        let folder = scratch.folder("story")?;
        let programs = Programs::ensure(&Program::CLUSTER)?;
        let etcd = Etcd::start(&programs, &folder.join("etcd"))?;
        let management = ManagementCluster::start(&programs, &etcd, &folder, "management", FluxParts::Nothing)?;
        for namespace in NAMESPACES {
            let document = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}");
            management.admin().apply(&document)?;
        }
        management.admin().apply(FLEET).context("apply the fleet")?;
        management.admin().apply(PEOPLE).context("apply the people")?;
        let options = management.hub_options(&folder.join("hub"), "access")?;
        std::fs::create_dir_all(&options.logs)?;
        let hub = Hub::start(&StarlingPrograms::of_this_build()?, &options)?;
        let place = wait("the hub to publish its address", || {
            let config = management.admin().get_json(&["-n", "starling-system", "configmap", "starling-hub"])?;
            let text = |key: &str| config["data"][key].as_str().map(str::to_owned).context(format!("no {key} yet"));
            Ok((text("address")?, text("trust.pem")?))
        });
        let (address, trust_pem) = place?;
        let place = Place { address, trust_pem, runtime: Arc::new(Runtime::new()?) };
        let (agents, clusters) = (Vec::new(), BTreeMap::new());
        let mut world =
            Self { agents, hub, management, place, clusters, programs, folder, _etcd: etcd, _scratch: scratch };
        world.adopt_all()?;
        world.wait_until_all_runs()?;
        Ok(world)
    }

    /// Returns somebody with a fresh token.
    pub(super) fn person(&self, name: &str) -> Result<Person> {
        let token = self.management.admin().create_token("people", name)?;
        Ok(Person { place: self.place.clone(), token: Some(token), certificate: None })
    }

    /// Returns somebody without a token.
    pub(super) fn nobody(&self) -> Person {
        Person { place: self.place.clone(), token: None, certificate: None }
    }

    /// Returns somebody's kubectl.
    pub(super) fn kubectl(&self, name: &str) -> Result<Kubectl> {
        let kubeconfig = self.folder.join(format!("{name}.kubeconfig"));
        self.management.cluster().service_account_kubeconfig(&kubeconfig, "people", name)?;
        Ok(Kubectl::new(self.programs.path(Program::Kubectl)?, kubeconfig))
    }

    /// Returns certificate and key of a cluster's agent, as whoever breaks into the cluster finds them.
    pub(super) fn stolen_certificate(&self, cluster: &str) -> Result<(String, String)> {
        let api = SimulatedApi(Arc::clone(self.clusters.get(cluster).context("a cluster of the story")?));
        let stored = self.place.runtime.block_on(api.load_identity(IDENTITY))?.context("the agent has joined")?;
        Ok((stored.certificate_pem, stored.key_pem))
    }

    /// Fails on errors in the hub's log but those that hold an allowed text.
    pub(super) fn check_log(&self, allowed: &[&str]) -> Result<()> {
        let errors = unexpected_errors(&self.hub.process().log_path(), allowed)?;
        ensure!(errors.is_empty(), "unexpected errors of the hub:\n{}", errors.join("\n"));
        Ok(())
    }

    fn adopt_all(&mut self) -> Result<()> {
        let platform = self.person("platform")?;
        for (workspace, name) in CLUSTERS {
            let request = v1::AdoptRequest {
                workspace: workspace.to_owned(),
                name: name.to_owned(),
                ..v1::AdoptRequest::default()
            };
            let adoption = platform
                .call(request, |mut client, request| async move { client.adopt(request).await })
                .map_err(|status| anyhow!("adopt {name}: {status}"))?;
            ensure!(!adoption.created, "{name} was there already");
            let cluster = SimulatedCluster::new(SimulatedOptions {
                name: name.to_owned(),
                background_objects: 2,
                settle: Duration::from_millis(50),
                kubernetes_version: "v1.35.4".to_owned(),
            });
            let config = AgentConfig {
                hub: self.place.address.clone(),
                fleet: "access".to_owned(),
                trust_pem: self.place.trust_pem.clone().into_bytes(),
                token: TokenSource::Text(adoption.token),
                identity: IdentityPlace::Secret(IDENTITY.to_owned()),
                version: "test".to_owned(),
                cluster_name: String::new(),
            };
            let stop = CancellationToken::new();
            let api = Arc::new(SimulatedApi(Arc::clone(&cluster)));
            let agent = starling_agent::run(config, api, Ports::system(), stop.clone());
            self.place.runtime.spawn(async move { agent.await.expect("an agent ends when it is asked to") });
            self.agents.push(stop.drop_guard());
            self.clusters.insert(name, cluster);
        }
        Ok(())
    }

    fn wait_until_all_runs(&self) -> Result<()> {
        let platform = self.person("platform")?;
        wait("everything to run", || {
            let status = platform
                .call(v1::GetStatusRequest {}, |mut client, request| async move { client.get_status(request).await })
                .map_err(|status| anyhow!("{status}"))?;
            ensure!((status.clusters, status.live, status.ready) == (3, 3, 3), "{status:?}");
            Ok(())
        })
    }
}
