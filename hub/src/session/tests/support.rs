//! A hub that is only sessions, and an agent that is only messages.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use starling_hub_core::change::Change;
use starling_hub_core::fleet::Fleet;
use starling_hub_core::records::{ClusterRecord, ClusterStage};
use starling_hub_core::resources::Resource;
use starling_hub_core::steward::{Context, Entropy, Recover, Refusal, Request, SourceFile, SyncInputs, decide};
use starling_model::session::{AgentMessage, BatchKind, DesiredEntry, Hello, HubMessage, StatusBatch};
use starling_model::{
    ClusterId, Digest, ErrorCode, Facts, Fence, FleetKey, Health, InstallReport, InstallState, Limits, Millis,
    ObjectKey, ObjectStatus, Position, ResourceName, Uid,
};
use starling_proto::v1;
use starling_proto::v1::session_service_client::SessionServiceClient;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Endpoint, Server};
use tonic::{Status, Streaming};

use crate::ports::Clock;
use crate::session::{Reports, Sessions};
use crate::shard::{Routing, Shard, ShardParts, WholeHub};
use crate::steward::Hold;
use crate::tls::{CertifiedCluster, PeerIdentity};

pub(super) const CLUSTER: ClusterId = ClusterId([7; 16]);
const KEY: Digest = Digest([8; 32]);

/// What every test begins with.
const BASE: &str = "
apiVersion: starling.dev/v1alpha1
kind: Workspace
metadata: {name: dev}
spec: {}
---
apiVersion: starling.dev/v1alpha1
kind: ManagedCluster
metadata: {name: edge, namespace: dev}
spec: {id: 07070707-0707-0707-0707-070707070707}
---
apiVersion: starling.dev/v1alpha1
kind: Addon
metadata: {name: podinfo, namespace: starling-platform}
spec:
  versions:
  - {version: 1.0.0, source: {helmRepository: {url: 'https://charts.example', chart: podinfo}}}
  - {version: 2.0.0, source: {helmRepository: {url: 'https://charts.example', chart: podinfo}}}
";

/// Another assignment of the same addon.
pub(super) const SECOND: &str = "
apiVersion: starling.dev/v1alpha1
kind: AddonAssignment
metadata: {name: second, namespace: dev}
spec: {addon: {name: podinfo}, version: 1.0.0, clusterSelector: {}}
";

/// A clock that moves when it is told to.
#[derive(Debug)]
pub(super) struct ManualClock(AtomicU64);

/// Bytes that differ each time.
#[derive(Default)]
struct Counter(u8);

#[derive(Clone, Default)]
struct Reported {
    asked: Arc<Mutex<Vec<Request>>>,
    refuses: Arc<AtomicBool>,
}

pub(super) struct Hub {
    pub(super) shard: Arc<Shard>,
    pub(super) sessions: Sessions,
    pub(super) hold: Hold,
    pub(super) clock: Arc<ManualClock>,
    fleet: watch::Sender<Arc<Fleet>>,
    files: Mutex<BTreeMap<String, Arc<SourceFile>>>,
    entropy: Mutex<Counter>,
    reported: Reported,
    planner: Option<JoinHandle<()>>,
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
        self.asked.lock().unwrap().push(request);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Refusal { code: ErrorCode::Unavailable, message: "not now".into(), credential: None });
        }
        Ok(())
    }
}

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 += 1;
        bytes.fill(self.0);
    }
}

impl Hub {
    pub(super) fn start() -> Self {
        let clock = Arc::new(ManualClock(AtomicU64::new(1_000_000)));
        let hold = Hold::new(None);
        let (fleet, followed) = watch::channel(Arc::new(Fleet::new("test")));
        let shard = Shard::new(ShardParts {
            traces: crate::traces::Traces::default(),
            fleet: followed,
            fleet_key: key(),
            hold: hold.clone(),
            lease: Arc::new(WholeHub),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            limits: Limits::DEFAULT,
            hub: "hub".into(),
            is_one_of_many: false,
            routing: Routing::default(),
            forwarder: None,
        });
        let reported = Reported::default();
        let sessions = Sessions::new(Arc::clone(&shard), reported.clone());
        let (files, entropy) = (Mutex::default(), Mutex::default());
        let mut hub = Self { shard, sessions, hold, clock, fleet, files, entropy, reported, planner: None };
        hub.ask(&Request::Begin);
        hub.write("base.yaml", BASE);
        hub.change(&Change::PutCluster(identity()));
        hub.planner = Some(tokio::spawn(Arc::clone(&hub.shard).run_planner()));
        hub
    }

    /// Writes a file of documents and lets the steward copy the directory.
    pub(super) fn write(&self, file: &str, documents: &str) {
        let parse = |text: &str| serde_saphyr::from_str::<Resource>(text).unwrap();
        let documents = documents.split("\n---\n").map(|text| (1, parse(text))).collect();
        let mut files = self.files.lock().unwrap();
        files.insert(file.to_owned(), SourceFile { documents, unreadable: false }.into());
        self.ask(&Request::SyncInputs(SyncInputs { files: files.clone(), ..SyncInputs::default() }));
    }

    /// Assigns a version of podinfo to every cluster.
    pub(super) fn assign(&self, version: &str) {
        let spec = format!("{{addon: {{name: podinfo}}, version: {version}, clusterSelector: {{}}}}");
        let head =
            "apiVersion: starling.dev/v1alpha1\nkind: AddonAssignment\nmetadata: {name: podinfo, namespace: dev}";
        self.write("podinfo.yaml", &format!("{head}\nspec: {spec}"));
    }

    /// Begins a new era, as after a loss of the store; the hold stays.
    pub(super) fn recover(&self) {
        self.ask(&Request::Recover(Recover { fleet: "test".into(), mark: None, shown: None }));
    }

    fn ask(&self, request: &Request) {
        let mut fleet = Fleet::clone(&self.fleet.borrow());
        let mut context = Context {
            now: self.clock.now(),
            actor: "tester".into(),
            position: Position(fleet.position().0 + 1),
            entropy: &mut *self.entropy.lock().unwrap(),
            heard: self.shard.as_ref(),
        };
        let decision = decide(&fleet, request, &mut context).unwrap();
        decision.changes.iter().for_each(|change| fleet.apply(change));
        fleet.set_position(decision.position);
        self.fleet.send_replace(Arc::new(fleet));
    }

    /// Asks the cluster's agent to let go of everything.
    pub(super) fn detach(&self) {
        self.change(&Change::PutCluster(ClusterRecord {
            stage: ClusterStage::Detaching { since: Millis(1), emptied: false },
            ..identity()
        }));
    }

    /// Lets the steward be unable to write, or able again.
    pub(super) fn refuse_reports(&self, refuses: bool) {
        self.reported.refuses.store(refuses, Ordering::SeqCst);
    }

    fn change(&self, change: &Change) {
        let mut fleet = Fleet::clone(&self.fleet.borrow());
        fleet.apply(change);
        self.fleet.send_replace(Arc::new(fleet));
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
        self.reported.asked.lock().unwrap().clone()
    }

    pub(super) fn fence(&self, position: Position) -> Fence {
        key().fence(self.fleet.borrow().era().unwrap().era, position)
    }

    pub(super) fn forged_fence(&self, position: Position) -> Fence {
        FleetKey::new([9; 32]).fence(self.fence(position).era, position)
    }

    /// Publishes a position that changes nothing, and waits until it was planned.
    pub(super) async fn move_to(&self, position: Position) {
        let changes = *self.shard.changes().borrow();
        let mut fleet = Fleet::clone(&self.fleet.borrow());
        fleet.set_position(position);
        self.fleet.send_replace(Arc::new(fleet));
        self.until(|hub| *hub.shard.changes().borrow() > changes).await;
    }

    pub(super) fn revoke(&self) {
        self.write("base.yaml", &BASE.replace("spec: {id:", "spec: {revoked: true, id:"));
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.planner.iter().for_each(JoinHandle::abort);
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
        forward: false,
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

/// The status of an object that an entry brought.
pub(super) fn status_of(key: &ObjectKey, entry: &DesiredEntry) -> ObjectStatus {
    ObjectStatus { key: key.clone(), assignment: Some(entry.assignment), ..status("", Health::Ready) }
}

pub(super) fn batch(sequence: u64, kind: BatchKind, objects: Vec<ObjectStatus>) -> AgentMessage {
    AgentMessage::Status(status_batch(sequence, kind, objects))
}

pub(super) fn snapshot(sequence: u64, objects: Vec<ObjectStatus>, installs: Vec<InstallReport>) -> AgentMessage {
    AgentMessage::Status(StatusBatch { installs, ..status_batch(sequence, BatchKind::SnapshotWhole, objects) })
}

fn status_batch(sequence: u64, kind: BatchKind, objects: Vec<ObjectStatus>) -> StatusBatch {
    StatusBatch {
        sequence,
        kind,
        objects,
        removed: vec![],
        installs: vec![],
        removed_installs: vec![],
        untracked: 0,
        facts: None,
    }
}

fn key() -> FleetKey {
    FleetKey::new([3; 32])
}

fn identity() -> ClusterRecord {
    ClusterRecord {
        id: CLUSTER,
        name: Some(ResourceName::new("dev", "edge")),
        keys: vec![KEY],
        revoked_keys: Default::default(),
        fingerprint: "kube-system".into(),
        joined: Millis(1),
        era: 1,
        joined_with: None,
        stage: ClusterStage::Attached,
    }
}

/// An agent's word about an install of the plan: all of it is written, under this render.
pub(super) fn applied(entry: &DesiredEntry, render: Digest) -> InstallReport {
    InstallReport {
        install: entry.install.clone(),
        assignment: entry.assignment,
        assignment_name: entry.assignment_name.clone(),
        render,
        revision: entry.revision,
        recorded: (1, Position(1)),
        state: InstallState::Applied,
        message: String::new(),
        drift_repairs: 0,
        last_drift: String::new(),
    }
}
