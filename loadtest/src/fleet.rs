//! Many simulated clusters in one process: adopted through the admin API as a person would, each with an agent of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::StreamExt;
use futures::stream;
use starling_agent::config::{AgentConfig, TokenSource};
use starling_agent::identity::IdentityPlace;
use starling_agent::ports::Ports;
use starling_cli::client::{Client, connect};
use starling_proto::v1::{AdoptRequest, AdoptResponse};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::{SimulatedApi, SimulatedCluster, SimulatedOptions};
use crate::fixture::WHOLE_FLEET;
use crate::scenario::FleetSpec;

/// Adoptions under way at the same time.
const ADOPTIONS: usize = 32;

/// The deadline of one admin call: many adoptions queue for one steward.
const CALL: Duration = Duration::from_secs(60);

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The number of the first.
    pub first: u32,
    /// How many clusters.
    pub clusters: u32,
    /// What each is drawn from; how many it says there are does not count here.
    pub shape: FleetSpec,
    /// What is drawn comes from this.
    pub seed: u64,
    /// The workspaces, in which the clusters take turns.
    pub workspaces: Vec<String>,
    /// Gives the clusters labels as those of the example fleet have.
    pub labelled: bool,
    /// A further label, by name and value, of cluster 0 alone.
    pub probe_label: Option<(&'static str, &'static str)>,
}

impl FleetOptions {
    /// Describes clusters that are all alike, in the two workspaces of the example fleet.
    #[must_use]
    pub fn plain(clusters: u32, objects: u32) -> Self {
        let shape = FleetSpec::plain(clusters.into(), objects.into());
        let workspaces = WHOLE_FLEET.workspaces.iter().map(|name| (*name).to_owned()).collect();
        Self { first: 0, clusters, shape, seed: 1, workspaces, labelled: true, probe_label: None }
    }
}

/// A running fleet.
pub struct SimulatedFleet {
    /// The clusters, in the order of their numbers.
    pub clusters: Vec<Arc<SimulatedCluster>>,
    joins: Vec<Join>,
    agents: JoinSet<()>,
    stop: CancellationToken,
}

/// What an agent needs to find its hub.
#[derive(Clone)]
struct Join {
    number: u32,
    adopted: AdoptResponse,
}

impl SimulatedFleet {
    /// Adopts clusters and starts their agents; returns when all are started, not when they are live.
    ///
    /// # Errors
    /// The hub cannot be reached or refuses an adoption.
    pub async fn start(context_file: &Path, options: &FleetOptions) -> Result<Self> {
        let hub = connect(context_file, CALL).await.map_err(|failure| anyhow!("{failure}"))?;
        let mut fleet =
            Self { clusters: Vec::new(), joins: Vec::new(), agents: JoinSet::new(), stop: CancellationToken::new() };
        let adoptions =
            (options.first..options.first + options.clusters).map(|number| adopt(hub.clone(), number, options));
        let mut adopted = stream::iter(adoptions).buffered(ADOPTIONS);
        while let Some(adoption) = adopted.next().await {
            let join = adoption?;
            let drawn = options.shape.draw(options.seed, join.number);
            let cluster = SimulatedCluster::new(SimulatedOptions {
                name: name(join.number),
                background_objects: drawn.objects,
                settle: Duration::from_millis(drawn.settle_ms),
                kubernetes_version: "v1.35.4".into(),
            });
            if drawn.failing {
                cluster.touch_background(0, false);
            }
            fleet.clusters.push(cluster);
            fleet.joins.push(join);
            fleet.run_agent(fleet.clusters.len() - 1);
        }
        Ok(fleet)
    }

    /// Stops every agent and waits for them; the clusters stay as they are.
    pub async fn stop_agents(&mut self) {
        self.stop.cancel();
        while self.agents.join_next().await.is_some() {}
        self.stop = CancellationToken::new();
    }

    /// Starts an agent in every cluster, which finds its identity and inventory there.
    pub fn start_agents(&mut self) {
        for index in 0..self.clusters.len() {
            self.run_agent(index);
        }
    }

    fn run_agent(&mut self, index: usize) {
        let Join { number, adopted } = self.joins[index].clone();
        let config = AgentConfig {
            hub: adopted.agent_address,
            fleet: adopted.fleet,
            trust_pem: adopted.trust_pem,
            token: TokenSource::Text(adopted.token),
            cluster_name: String::new(),
            identity: IdentityPlace::Secret("starling-agent-identity".into()),
            version: concat!(env!("CARGO_PKG_VERSION"), "-simulated").into(),
        };
        let cluster = Arc::new(SimulatedApi(Arc::clone(&self.clusters[index])));
        let stop = self.stop.child_token();
        self.agents.spawn(async move {
            if let Err(error) = starling_agent::run(config, cluster, Ports::system(), stop).await {
                tracing::error!(cluster = %name(number), error = format!("{error:#}"), "the agent ended");
            }
        });
    }
}

/// The name of a simulated cluster.
#[must_use]
pub fn name(number: u32) -> String {
    format!("sim-{number:05}")
}

async fn adopt(hub: Client, number: u32, options: &FleetOptions) -> Result<Join> {
    let request = AdoptRequest {
        workspace: options.workspaces[number as usize % options.workspaces.len()].clone(),
        name: name(number),
        labels: labels(number, options),
        token_seconds: 0,
    };
    let adopted = hub
        .call(request, |mut client, request| async move { client.adopt(request).await })
        .await
        .map_err(|failure| anyhow!("{failure}"))
        .with_context(|| format!("adopt {}", name(number)))?;
    Ok(Join { number, adopted })
}

/// Labels that selectors of the example fleet can tell apart; without them, no selector by labels of anybody else's matches.
fn labels(number: u32, options: &FleetOptions) -> BTreeMap<String, String> {
    let pick = |values: &[&'static str], stride: u32| values[(number / stride) as usize % values.len()];
    let own = [
        ("env", pick(&["prod", "staging", "dev"], 2)),
        ("tier", pick(&["edge", "core"], 4)),
        ("region", pick(&["eu", "us", "ap"], 8)),
    ];
    let probe = options.probe_label.filter(|_| number == 0);
    let own = own.into_iter().filter(|_| options.labelled);
    own.chain(probe).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
