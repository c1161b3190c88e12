//! A hub that is only sessions, and an agent that is only messages.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use starling_hub_core::change::Change;
use starling_hub_core::fleet::Fleet;
use starling_hub_core::records::{ClusterRecord, ClusterStage, EraRecord, InputRecord};
use starling_hub_core::resources::{ClusterSpec, ManagedCluster, Metadata, Resource};
use starling_hub_core::steward::{Refusal, Request};
use starling_model::session::{AgentMessage, BatchKind, Hello, HubMessage, StatusBatch};
use starling_model::{
    ClusterId, Digest, Era, Facts, Fence, FleetKey, Health, Limits, Millis, ObjectKey, ObjectStatus, Position,
    ResourceName, Uid,
};
use starling_proto::v1;
use starling_proto::v1::session_service_client::SessionServiceClient;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Endpoint, Server};
use tonic::{Status, Streaming};

use crate::ports::Clock;
use crate::session::{Reports, Sessions};
use crate::shard::{Shard, ShardParts, WholeHub};
use crate::steward::Hold;
use crate::tls::{CertifiedCluster, PeerIdentity};

pub(super) const CLUSTER: ClusterId = ClusterId([7; 16]);
const KEY: Digest = Digest([8; 32]);
const ERA: Era = Era { number: 1, id: Uid([1; 16]) };

/// A clock that moves when it is told to.
#[derive(Debug)]
pub(super) struct ManualClock(AtomicU64);

#[derive(Default)]
struct Reported(Mutex<Vec<Request>>);

pub(super) struct Hub {
    pub(super) shard: Arc<Shard>,
    pub(super) sessions: Sessions,
    pub(super) hold: Hold,
    pub(super) clock: Arc<ManualClock>,
    fleet: watch::Sender<Arc<Fleet>>,
    reported: Arc<Reported>,
    planner: CancellationToken,
}

pub(super) struct Agent {
    outgoing: mpsc::Sender<v1::ConnectRequest>,
    incoming: Streaming<v1::ConnectResponse>,
}

impl ManualClock {
    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(1_800_000_000_000 + self.0.load(Ordering::SeqCst))
    }

    fn uptime(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Reports for Reported {
    async fn report(&self, _actor: &str, request: Request) -> Result<(), Refusal> {
        self.0.lock().unwrap().push(request);
        Ok(())
    }
}

impl Hub {
    pub(super) fn start() -> Self {
        let clock = Arc::new(ManualClock(AtomicU64::new(1_000_000)));
        let hold = Hold::new(None);
        let (fleet, followed) = watch::channel(Arc::new(first_fleet()));
        let shard = Shard::new(ShardParts {
            fleet: followed,
            fleet_key: key(),
            hold: hold.clone(),
            lease: Arc::new(WholeHub),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            limits: Limits::DEFAULT,
            hub: "hub".into(),
        });
        let planner = CancellationToken::new();
        tokio::spawn(Arc::clone(&shard).run_planner(planner.clone()));
        let reported = Arc::new(Reported::default());
        let sessions = Sessions::new(Arc::clone(&shard), Arc::clone(&reported) as Arc<dyn Reports>);
        Self { shard, sessions, hold, clock, fleet, reported, planner }
    }

    /// Opens a stream as a cluster whose certificate is valid.
    pub(super) async fn dial(&self, cluster: ClusterId) -> Agent {
        self.until(|hub| !hub.shard.lend().lease.is_zero() || hub.hold.reason().is_some()).await;
        let (near, far) = tokio::io::duplex(64 * 1024);
        let peer = CertifiedCluster { cluster, key: KEY, expires: Millis(u64::MAX) };
        let service =
            InterceptedService::new(self.sessions.clone().into_server(), move |mut request: tonic::Request<()>| {
                request.extensions_mut().insert(PeerIdentity::Valid(peer));
                Ok(request)
            });
        let accepted = tokio_stream::once(Ok::<_, std::io::Error>(far));
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(accepted));
        let mut near = Some(near);
        let connector = tower::service_fn(move |_| {
            let near = near.take().map(TokioIo::new).ok_or_else(|| std::io::Error::other("dialled once"));
            async move { near }
        });
        let channel = Endpoint::from_static("http://hub").connect_with_connector(connector).await.unwrap();
        let (outgoing, messages) = mpsc::channel(8);
        let response = SessionServiceClient::new(channel).connect(ReceiverStream::new(messages)).await.unwrap();
        Agent { outgoing, incoming: response.into_inner() }
    }

    /// Waits for something that sessions bring about.
    pub(super) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if condition(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it did not come about in five seconds");
    }

    /// Returns whether the cluster is connected, live and ready.
    pub(super) fn standing(&self) -> (bool, bool, bool) {
        let overview = self.shard.overview();
        (overview.connected > 0, overview.live > 0, overview.ready > 0)
    }

    pub(super) fn names(&self) -> Vec<String> {
        let page = self.shard.query(&Default::default(), None, 100);
        page.objects.into_iter().map(|found| found.status.key.name).collect()
    }

    pub(super) fn reported(&self) -> Vec<Request> {
        self.reported.0.lock().unwrap().clone()
    }

    pub(super) fn fence(&self, position: Position) -> Fence {
        key().fence(ERA, position)
    }

    pub(super) fn forged_fence(&self, position: Position) -> Fence {
        FleetKey::new([9; 32]).fence(ERA, position)
    }

    /// Publishes a position that changes nothing, and waits until it was planned.
    pub(super) async fn move_to(&self, position: Position) {
        let changes = *self.shard.changes().borrow();
        self.publish(position, None);
        self.until(|hub| *hub.shard.changes().borrow() > changes).await;
    }

    pub(super) async fn revoke(&self) {
        self.publish(Position(20), Some(Change::PutInput(cluster_input(true))));
    }

    fn publish(&self, position: Position, change: Option<Change>) {
        let mut fleet = Fleet::clone(&self.fleet.borrow());
        change.iter().for_each(|change| fleet.apply(change));
        fleet.set_position(position);
        self.fleet.send_replace(Arc::new(fleet));
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.planner.cancel();
    }
}

impl Agent {
    pub(super) async fn say(&mut self, message: AgentMessage) {
        self.outgoing.send(message.into()).await.unwrap();
    }

    pub(super) async fn hear(&mut self) -> HubMessage {
        let message = tokio::time::timeout(Duration::from_secs(5), self.incoming.message()).await.expect("in time");
        message.unwrap().expect("the session goes on").try_into().unwrap()
    }

    /// Reads on to the status that ends the session.
    pub(super) async fn end(&mut self) -> Status {
        loop {
            match tokio::time::timeout(Duration::from_secs(5), self.incoming.message()).await.expect("in time") {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a session ends with a status"),
                Err(status) => return status,
            }
        }
    }
}

pub(super) fn hello(instance: u8) -> Hello {
    Hello {
        protocols: (1, 1),
        fingerprint: "kube-system".into(),
        instance: Uid([instance; 16]),
        agent_version: "test".into(),
        facts: Facts::default(),
        plan_digest: None,
        held: vec![],
        kinds: vec![],
        // Of reports that the hub does not know, so that it wants a snapshot.
        installs_digest: Digest([0xff; 32]),
        newest_fence: None,
        newest_epoch: 0,
    }
}

pub(super) fn status(name: &str, health: Health) -> ObjectStatus {
    ObjectStatus {
        key: ObjectKey::new("helm.toolkit.fluxcd.io", "HelmRelease", "apps", name),
        health,
        reason: String::new(),
        message: String::new(),
        revision: String::new(),
        generation: 1,
        assignment: None,
    }
}

pub(super) fn batch(sequence: u64, kind: BatchKind, objects: Vec<ObjectStatus>) -> AgentMessage {
    AgentMessage::Status(StatusBatch {
        sequence,
        kind,
        objects,
        removed: vec![],
        installs: vec![],
        removed_installs: vec![],
        untracked: 0,
        facts: None,
    })
}

fn key() -> FleetKey {
    FleetKey::new([3; 32])
}

fn cluster_input(revoked: bool) -> InputRecord {
    let metadata = Metadata {
        name: "edge".into(),
        namespace: "default".into(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    };
    let spec = ClusterSpec { id: Some(CLUSTER), revoked, ..ClusterSpec::default() };
    InputRecord {
        uid: Uid([2; 16]),
        resource: Resource::ManagedCluster(ManagedCluster { metadata, spec }),
        file: "clusters.yaml".into(),
        missing: None,
        digest: Digest::default(),
        since: Millis(1),
        judged: false,
    }
}

fn first_fleet() -> Fleet {
    let mut fleet = Fleet::new("test");
    fleet.apply(&Change::PutEra(EraRecord { era: ERA, began: Millis(1) }));
    fleet.apply(&Change::PutInput(cluster_input(false)));
    fleet.apply(&Change::PutCluster(ClusterRecord {
        id: CLUSTER,
        name: Some(ResourceName::new("default", "edge")),
        keys: vec![KEY],
        revoked_keys: Default::default(),
        fingerprint: "kube-system".into(),
        joined: Millis(1),
        stage: ClusterStage::Attached,
    }));
    fleet.set_position(Position(5));
    fleet
}
