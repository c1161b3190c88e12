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
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{SimulatedApi, SimulatedCluster, SimulatedOptions};
use crate::drive::Doors;
use crate::fixture::{SLOT, WHOLE_FLEET};
use crate::link::{Link, LinkOptions, Wire};
use crate::scenario::{DrawnCluster, FleetSpec};

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
    /// Where what the clusters send and receive is counted.
    pub wire: Arc<Wire>,
    /// What agents dial in place of what the hub advertises, where that is only a name.
    pub(crate) doors: Option<Doors>,
}

impl FleetOptions {
    /// Describes clusters that are all alike, in the two workspaces of the example fleet.
    #[must_use]
    pub fn plain(clusters: u32, objects: u32) -> Self {
        let shape = FleetSpec::plain(clusters.into(), objects.into());
        let workspaces = WHOLE_FLEET.workspaces.iter().map(|name| (*name).to_owned()).collect();
        Self {
            first: 0,
            clusters,
            shape,
            seed: 1,
            workspaces,
            labelled: true,
            probe_label: None,
            wire: Arc::default(),
            doors: None,
        }
    }
}

/// A running fleet.
pub struct SimulatedFleet {
    /// The clusters, in the order of their numbers.
    pub clusters: Vec<Arc<SimulatedCluster>>,
    /// What belongs to each, in the same order.
    members: Vec<Member>,
    /// Why agents of clusters that were taken out had ended before.
    ended: Vec<String>,
}

/// What belongs to a cluster besides what it holds.
struct Member {
    join: Join,
    drawn: DrawnCluster,
    link: Arc<Link>,
    /// What the link goes through.
    ports: Ports,
    stop: CancellationToken,
    /// Ends with why, where it should not have ended.
    agent: Option<AbortOnDropHandle<Option<String>>>,
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
        let mut fleet = Self { clusters: Vec::new(), members: Vec::new(), ended: Vec::new() };
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
            let link = LinkOptions {
                latency: Duration::from_millis(drawn.latency_ms),
                bytes_per_second: drawn.bytes_per_second,
            };
            let link = Link::new(link, Arc::clone(&options.wire));
            let (ports, stop) = (ports.clone(), CancellationToken::new());
            let mut member = Member { join, drawn, link, ports, stop, agent: None };
            member.run_agent(&cluster);
            fleet.clusters.push(cluster);
            fleet.members.push(member);
        }
        Ok(fleet)
    }

    /// Takes in the clusters of another fleet, whose numbers all come after those of this one.
    pub fn take_in(&mut self, other: Self) {
        self.clusters.extend(other.clusters);
        self.members.extend(other.members);
    }

    /// Takes out clusters, whose agents stop; returns what they hold.
    pub async fn take_out(&mut self, numbers: &[u32]) -> Vec<Arc<SimulatedCluster>> {
        let mut taken = Vec::new();
        for number in numbers {
            let Some(index) = self.index_of(*number) else { continue };
            taken.push(self.clusters.remove(index));
            let mut member = self.members.remove(index);
            member.stop.cancel();
            self.ended.extend(member.ended().await);
        }
        taken
    }

    /// Stops every agent and waits for them; the clusters stay as they are. Returns why agents had ended of which nobody had wanted it.
    pub async fn stop_agents(&mut self) -> Vec<String> {
        self.members.iter().for_each(|member| member.stop.cancel());
        let mut ended = std::mem::take(&mut self.ended);
        for member in &mut self.members {
            ended.extend(member.ended().await);
        }
        ended
    }

    /// Starts an agent in every cluster, which finds its identity and inventory there.
    pub fn start_agents(&mut self) {
        for (cluster, member) in self.clusters.iter().zip(&mut self.members) {
            member.run_agent(cluster);
        }
    }

    /// Returns a cluster by its number.
    #[must_use]
    pub fn cluster(&self, number: u32) -> Option<&Arc<SimulatedCluster>> {
        self.index_of(number).map(|index| &self.clusters[index])
    }

    /// Returns every cluster's number and link.
    pub fn links(&self) -> impl Iterator<Item = (u32, &Arc<Link>)> {
        self.members.iter().map(|member| (member.join.number, &member.link))
    }

    /// Returns every cluster with how many of its statuses change in a minute.
    pub fn churning(&self) -> impl Iterator<Item = (&Arc<SimulatedCluster>, u64)> {
        self.clusters.iter().zip(self.members.iter().map(|member| member.drawn.churn_per_minute))
    }

    fn index_of(&self, number: u32) -> Option<usize> {
        self.members.binary_search_by_key(&number, |member| member.join.number).ok()
    }
}

impl Member {
    fn run_agent(&mut self, cluster: &Arc<SimulatedCluster>) {
        let Join { number, adopted } = self.join.clone();
        let config = AgentConfig {
            hub: adopted.agent_address,
            fleet: adopted.fleet,
            trust_pem: adopted.trust_pem,
            token: TokenSource::Text(adopted.token),
            cluster_name: String::new(),
            identity: IdentityPlace::Secret("starling-agent-identity".into()),
            version: concat!(env!("CARGO_PKG_VERSION"), "-simulated").into(),
        };
        let cluster = Arc::new(SimulatedApi(Arc::clone(cluster)));
        self.stop = CancellationToken::new();
        let (stop, ports) = (self.stop.clone(), self.link.ports(self.ports.clone()));
        self.agent = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let outcome = starling_agent::run(config, cluster, ports, stop.clone()).await;
            let why = why_ended(outcome.map_err(|error| format!("{error:#}")), stop.is_cancelled())?;
            tracing::error!(cluster = %name(number), why, "the agent ended");
            Some(format!("the agent of {} ended: {why}", name(number)))
        })));
    }

    /// Waits until the agent has ended, if one runs; returns why it had, where nobody had wanted it.
    async fn ended(&mut self) -> Option<String> {
        match self.agent.take()?.await {
            Ok(why) => why,
            Err(error) => Some(format!("the agent of {}: {error}", name(self.join.number))),
        }
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
    let mut labels: BTreeMap<String, String> =
        own.chain(probe).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if options.shape.addons.high() > 0 {
        labels.insert(SLOT.0.to_owned(), (number % SLOT.1).to_string());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn agents_that_ended_by_themselves_are_told_when_all_are_stopped() {
        assert_eq!(why_ended(Ok(()), true), None);
        assert_eq!(why_ended(Err("refused".into()), true).as_deref(), Some("refused"));
        assert!(why_ended(Ok(()), false).is_some_and(|why| why.contains("nobody told it to")));
        let shape = FleetSpec::plain(1, 1);
        let member = |number, agent| Member {
            join: Join { number, adopted: AdoptResponse::default() },
            drawn: shape.draw(1, number),
            link: Link::new(LinkOptions::default(), Arc::default()),
            ports: Ports::system(),
            stop: CancellationToken::new(),
            agent: Some(AbortOnDropHandle::new(agent)),
        };
        let mut well = member(0, tokio::spawn(async { None }));
        let told = well.stop.clone();
        well.agent = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            told.cancelled().await;
            None
        })));
        let refused = member(1, tokio::spawn(async { Some("refused".to_owned()) }));
        let broken = member(2, tokio::spawn(async { panic!("a bug") }));
        let (clusters, members) = (Vec::new(), vec![well, refused, broken]);
        let mut fleet = SimulatedFleet { clusters, members, ended: Vec::new() };
        let mut ended = fleet.stop_agents().await;
        ended.sort();
        assert!(ended.len() == 2 && ended[0] == "refused" && ended[1].contains("panicked"), "{ended:?}");
        assert!(fleet.stop_agents().await.is_empty(), "each is told once");
    }
}
