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
use crate::drive::Doors;
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
    /// What agents dial in place of what the hub advertises, where that is only a name.
    pub(crate) doors: Option<Doors>,
}

impl FleetOptions {
    /// Describes clusters that are all alike, in the two workspaces of the example fleet.
    #[must_use]
    pub fn plain(clusters: u32, objects: u32) -> Self {
        let shape = FleetSpec::plain(clusters.into(), objects.into());
        let workspaces = WHOLE_FLEET.workspaces.iter().map(|name| (*name).to_owned()).collect();
        Self { first: 0, clusters, shape, seed: 1, workspaces, labelled: true, probe_label: None, doors: None }
    }
}

/// A running fleet.
pub struct SimulatedFleet {
    /// The clusters, in the order of their numbers.
    pub clusters: Vec<Arc<SimulatedCluster>>,
    joins: Vec<Join>,
    /// Each ends with why, where it should not have ended.
    agents: JoinSet<Option<String>>,
    ports: Ports,
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
        let ports = match options.doors.clone() {
            Some(doors) => doors.ports(Ports::system()),
            None => Ports::system(),
        };
        let (agents, stop) = (JoinSet::new(), CancellationToken::new());
        let mut fleet = Self { clusters: Vec::new(), joins: Vec::new(), agents, ports, stop };
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

    /// Stops every agent and waits for them; the clusters stay as they are. Returns why agents had ended of which nobody had wanted it.
    pub async fn stop_agents(&mut self) -> Vec<String> {
        self.stop.cancel();
        let mut ended = Vec::new();
        while let Some(agent) = self.agents.join_next().await {
            ended.extend(agent.unwrap_or_else(|error| Some(format!("an agent: {error}"))));
        }
        self.stop = CancellationToken::new();
        ended
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
        let ports = self.ports.clone();
        self.agents.spawn(async move {
            let outcome = starling_agent::run(config, cluster, ports, stop.clone()).await;
            let why = why_ended(outcome.map_err(|error| format!("{error:#}")), stop.is_cancelled())?;
            tracing::error!(cluster = %name(number), why, "the agent ended");
            Some(format!("the agent of {} ended: {why}", name(number)))
        });
    }
}

/// Returns why an agent ended; `None` for one that was told to and did so in order.
fn why_ended(outcome: Result<(), String>, is_told: bool) -> Option<String> {
    match outcome {
        Err(error) => Some(error),
        Ok(()) => (!is_told).then(|| "it stopped although nobody told it to".to_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn agents_that_ended_by_themselves_are_told_when_all_are_stopped() {
        assert_eq!(why_ended(Ok(()), true), None);
        assert_eq!(why_ended(Err("refused".into()), true).as_deref(), Some("refused"));
        assert!(why_ended(Ok(()), false).is_some_and(|why| why.contains("nobody told it to")));
        let mut fleet = SimulatedFleet {
            clusters: Vec::new(),
            joins: Vec::new(),
            agents: JoinSet::new(),
            ports: Ports::system(),
            stop: CancellationToken::new(),
        };
        let told = fleet.stop.child_token();
        fleet.agents.spawn(async move {
            told.cancelled().await;
            None
        });
        fleet.agents.spawn(async { Some("refused".to_owned()) });
        fleet.agents.spawn(async { panic!("a bug") });
        let mut ended = fleet.stop_agents().await;
        ended.sort();
        assert!(ended.len() == 2 && ended[0].contains("panicked") && ended[1] == "refused", "{ended:?}");
        assert!(fleet.stop_agents().await.is_empty(), "each is told once");
    }
}
