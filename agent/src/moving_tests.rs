//! Agents that move between the processes of one hub.

use std::sync::Arc;
use std::time::Duration;

use starling_model::session::{AgentMessage, BatchKind, HubMessage, Lease, StatusBatch, Welcome};
use starling_model::{Health, Object, ObjectKey, Value};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::ClusterApi;
use crate::config::{AgentConfig, TokenSource};
use crate::identity::IdentityPlace;
use crate::testing::{FakeCluster, FakeHub, HubConnection, Routes, TOKEN, flux_status, ports, welcome};

const LEASE: Duration = Duration::from_secs(15);

/// A cluster whose agent knows one process, and another process.
struct Rig {
    cluster: Arc<FakeCluster>,
    home: FakeHub,
    other: FakeHub,
    shutdown: CancellationToken,
    agent: JoinHandle<anyhow::Result<()>>,
}

impl Rig {
    fn start() -> Self {
        let (home, to_home) = FakeHub::start();
        let (other, to_other) = home.start_another();
        let cluster = Arc::new(FakeCluster::new());
        let config = AgentConfig {
            hub: "hub.test:8443".to_owned(),
            fleet: "demo".to_owned(),
            trust_pem: home.trust_pem.clone(),
            token: TokenSource::Text(TOKEN.to_owned()),
            cluster_name: String::new(),
            identity: IdentityPlace::Secret("identity".to_owned()),
            version: "0.1.0".to_owned(),
        };
        let shutdown = CancellationToken::new();
        let ports = ports(Routes(vec![("hub.test:8443", to_home), ("hub.test:9443", to_other)]));
        let api: Arc<dyn ClusterApi> = Arc::clone(&cluster) as _;
        let agent = tokio::spawn(crate::run(config, api, ports, shutdown.clone()));
        Self { cluster, home, other, shutdown, agent }
    }

    async fn create(&self, name: &str) {
        let metadata = Value::map([("name", Value::from(name)), ("namespace", Value::from("apps"))]);
        let document = Value::map([
            ("apiVersion", Value::from("helm.toolkit.fluxcd.io/v2")),
            ("kind", Value::from("HelmRelease")),
            ("metadata", metadata),
            ("spec", Value::map([("interval", Value::from("5m"))])),
            ("status", flux_status("False", "chart not found", 1)),
        ]);
        let object = Object::new(document).unwrap();
        self.cluster.create(object.document()).await.unwrap();
        self.set_status(name, "False", "chart not found");
    }

    fn set_status(&self, name: &str, ready: &str, message: &str) {
        self.cluster.edit(&key(name), |object| {
            object.merge(&Value::map([("status", flux_status(ready, message, 1))]));
        });
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.agent.await.expect("no panic").expect("no defect");
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("helm.toolkit.fluxcd.io", "HelmRelease", "apps", name)
}

fn of_other(epoch: u64) -> Welcome {
    Welcome { hub: "hub-1".to_owned(), epoch, ..welcome(LEASE) }
}

fn redirect(address: &str, epoch: u64) -> HubMessage {
    HubMessage::Redirect { address: address.to_owned(), epoch }
}

async fn next_batch(connection: &mut HubConnection) -> StatusBatch {
    connection
        .expect(|message| match message {
            AgentMessage::Status(batch) => Some(batch.clone()),
            _ => None,
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn a_move_leaves_no_moment_without_a_session_and_no_status_behind() {
    let mut rig = Rig::start();
    for name in ["one", "two"] {
        rig.create(name).await;
    }
    let mut old = rig.home.welcome().await;
    assert_eq!(next_batch(&mut old).await.objects.len(), 2);
    old.send(redirect("hub.test:9443", 2));

    let new = rig.other.next_session().await;
    assert!(!new.hello.forward);
    assert_eq!((new.hello.newest_epoch, new.hello.kinds.len()), (2, 1));
    // The new owner takes its time: the old one goes on, and learns what changes.
    rig.set_status("one", "True", "installed");
    let delta = next_batch(&mut old).await;
    assert_eq!((delta.sequence, delta.kind, delta.objects.len()), (2, BatchKind::Delta, 1));
    old.serve(Duration::from_secs(20)).await;
    assert!(old.is_open());

    // It knows what Hello told, and yet gets the whole: the change went to the old owner alone.
    new.send(HubMessage::Welcome(Welcome { status_known: true, ..of_other(2) }));
    let mut new = new;
    let whole = next_batch(&mut new).await;
    assert_eq!((whole.sequence, whole.kind, whole.objects.len()), (1, BatchKind::SnapshotWhole, 2));
    assert_eq!(whole.objects[0].health, Health::Ready);
    let said = old.until_left().await;
    assert!(!said.iter().any(|message| matches!(message, AgentMessage::Status(_))), "{said:?}");
    rig.set_status("two", "True", "installed");
    assert_eq!(next_batch(&mut new).await.sequence, 2);
    new.serve(Duration::from_secs(60)).await;
    assert!(new.is_open());
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_target_leaves_the_session_and_asks_home_to_forward() {
    let mut rig = Rig::start();
    rig.create("one").await;
    let mut old = rig.home.welcome().await;
    assert_eq!(next_batch(&mut old).await.sequence, 1);
    old.send(redirect("dead.test:9443", 2));
    let mut forwarded = tokio::select! {
        forwarded = rig.home.next_session() => forwarded,
        () = old.serve(Duration::from_secs(60)) => panic!("the agent does not try again"),
    };
    assert!(forwarded.hello.forward);
    // Until somebody welcomes it, what changes goes where the session is, in sequence.
    rig.set_status("one", "True", "installed");
    assert_eq!(next_batch(&mut old).await.sequence, 2);
    forwarded.end(tonic::Status::unavailable("the owner is away"));
    forwarded.until_left().await;
    rig.set_status("one", "False", "broken");
    assert_eq!(next_batch(&mut old).await.sequence, 3);
    let mut forwarded = tokio::select! {
        forwarded = rig.home.welcome_with(of_other(2)) => forwarded,
        () = old.serve(Duration::from_secs(60)) => panic!("the agent does not try again"),
    };
    assert!(forwarded.hello.forward);
    assert_eq!(next_batch(&mut forwarded).await.kind, BatchKind::SnapshotWhole);
    old.until_left().await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_captive_looks_for_a_newer_ring_at_home_and_moves_there() {
    let mut rig = Rig::start();
    // Home sends the agent to a process that loses its lease after a while.
    let first = rig.home.next_session().await;
    first.send(redirect("hub.test:9443", 2));
    let mut captor = rig.other.welcome_with(of_other(2)).await;
    next_batch(&mut captor).await;
    let mut lends_nothing = async || {
        loop {
            let sequence = captor
                .expect_unanswered(|message| match message {
                    AgentMessage::Heartbeat(heartbeat) => Some(heartbeat.sequence),
                    _ => None,
                })
                .await;
            let hold_reason = Some("the process has no lease".to_owned());
            captor.send(HubMessage::Lease(Lease { heartbeat: sequence, lease: Duration::ZERO, hold_reason }));
        }
    };
    let probe = tokio::select! {
        probe = rig.home.next_session() => probe,
        () = lends_nothing() => unreachable!("it goes on for ever"),
    };
    assert_eq!((probe.hello.newest_epoch, probe.hello.forward), (2, false));
    probe.send(redirect("hub.test:9443", 2));
    // Nothing newer: it stays, and looks again minutes later, when home is the owner.
    let mut moved = tokio::select! {
        moved = rig.home.welcome_with(Welcome { epoch: 3, ..welcome(LEASE) }) => moved,
        () = lends_nothing() => unreachable!("it goes on for ever"),
    };
    assert_eq!(next_batch(&mut moved).await.kind, BatchKind::SnapshotWhole);
    captor.until_left().await;
    moved.serve(Duration::from_secs(60)).await;
    assert!(moved.is_open());
    rig.stop().await;
}
