//! Whole agents against a hub and a cluster in memory.

use std::sync::Arc;
use std::time::Duration;

use starling_model::plan::{Detach, Render, Tombstone};
use starling_model::session::{
    AgentMessage, BatchKind, Command, CommandVerb, Desired, DesiredAction, DesiredEntry, HubMessage,
};
use starling_model::{Facts, Health, InstallKey, InstallState, Object, ObjectKey, Position, Uid, Value, labels};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::cluster::ClusterApi;
use crate::config::{AgentConfig, TokenSource};
use crate::identity::IdentityPlace;
use crate::testing::{FakeCluster, FakeHub, HubConnection, PipeDialer, TOKEN, digest, fence, flux_status, ports};

const ASSIGNMENT: Uid = Uid([5; 16]);

struct Rig {
    cluster: Arc<FakeCluster>,
    hub: FakeHub,
    dialer: PipeDialer,
    shutdown: CancellationToken,
    agent: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Rig {
    fn new() -> Self {
        let (hub, dialer) = FakeHub::start();
        let cluster = Arc::new(FakeCluster::new());
        Self { cluster, hub, dialer, shutdown: CancellationToken::new(), agent: None }
    }

    fn start(&mut self, token: &str) {
        let config = AgentConfig {
            hub: "hub.test:8443".to_owned(),
            fleet: "demo".to_owned(),
            trust_pem: self.hub.trust_pem.clone(),
            token: TokenSource::Text(token.to_owned()),
            cluster_name: String::new(),
            identity: IdentityPlace::Secret("identity".to_owned()),
            version: "0.1.0".to_owned(),
        };
        self.shutdown = CancellationToken::new();
        let cluster: Arc<dyn ClusterApi> = Arc::clone(&self.cluster) as _;
        let ports = ports(PipeDialer(self.dialer.0.clone()));
        self.agent = Some(tokio::spawn(crate::run(config, cluster, ports, self.shutdown.clone())));
    }

    async fn stop(&mut self) {
        self.shutdown.cancel();
        self.agent.take().expect("the agent runs").await.expect("no panic").expect("no defect");
    }

    /// Ends the agent as a crash would.
    async fn kill(&mut self) {
        let agent = self.agent.take().expect("the agent runs");
        agent.abort();
        let _ = agent.await;
    }

    async fn facts(&self) -> Facts {
        self.cluster.facts().await.expect("the cluster answers")
    }
}

fn key(kind: &str) -> ObjectKey {
    let group = if kind == "HelmRelease" { "helm.toolkit.fluxcd.io" } else { "source.toolkit.fluxcd.io" };
    ObjectKey::new(group, kind, "addons", "podinfo")
}

fn object(kind: &str, spec: &str) -> Object {
    let key = key(kind);
    let labels = [(labels::ASSIGNMENT, ASSIGNMENT.to_string()), (labels::INSTANCE, "podinfo".to_owned())];
    let metadata = Value::map([
        ("name", Value::from("podinfo")),
        ("namespace", Value::from("addons")),
        ("labels", Value::map(labels)),
    ]);
    let document = Value::map([
        ("apiVersion", Value::from(format!("{}/v1", key.group))),
        ("kind", Value::from(kind)),
        ("metadata", metadata),
        ("spec", Value::from_json(spec.as_bytes()).unwrap()),
    ]);
    Object::new(document).unwrap()
}

fn render(spec: &str) -> Arc<Render> {
    Arc::new(Render::new(vec![object("HelmRepository", "{}"), object("HelmRelease", spec)], Vec::new()))
}

fn entry(render: &Arc<Render>) -> DesiredEntry {
    DesiredEntry {
        install: InstallKey::new("addons", "podinfo"),
        assignment: ASSIGNMENT,
        assignment_name: "platform/podinfo".to_owned(),
        revision: digest(9),
        action: DesiredAction::Render(Arc::clone(render)),
    }
}

fn desired(position: u64, facts: &Facts, entries: Vec<DesiredEntry>, tombstones: Vec<Tombstone>) -> Desired {
    Desired {
        fence: fence(position),
        plan_digest: digest(u8::try_from(position).unwrap()),
        facts: facts.digest(),
        unchanged: false,
        entries,
        tombstones,
        detach: None,
    }
}

async fn until_applied(connection: &mut HubConnection, render: &Arc<Render>) {
    connection
        .expect(|message| {
            let AgentMessage::Status(batch) = message else { return None };
            let applied = |report: &&starling_model::InstallReport| {
                report.state == InstallState::Applied && report.render == render.digest
            };
            batch.installs.iter().find(applied).map(|_| ())
        })
        .await;
}

fn spec_of(cluster: &FakeCluster, field: &str) -> Option<Value> {
    cluster.object(&key("HelmRelease"))?.at(&["spec", field]).cloned()
}

#[tokio::test(start_paused = true)]
async fn joins_connects_and_sends_a_snapshot() {
    let mut rig = Rig::new();
    rig.cluster.create(object("HelmRelease", r#"{"x":1}"#).document()).await.unwrap();
    rig.cluster.edit(&key("HelmRelease"), |object| {
        object.merge(&Value::map([("status", flux_status("False", "chart not found", 1))]));
    });
    rig.start(TOKEN);
    let mut connection = rig.hub.welcome().await;
    assert_eq!(connection.hello.fingerprint, "kube-system-uid");
    assert_eq!(connection.hello.facts.kubernetes_version, "v1.35.4");
    let batch = connection
        .expect(|message| match message {
            AgentMessage::Status(batch) => Some(batch.clone()),
            _ => None,
        })
        .await;
    assert_eq!(batch.kind, BatchKind::SnapshotWhole);
    assert_eq!((batch.objects[0].health, batch.objects[0].message.as_str()), (Health::Failing, "chart not found"));
    rig.cluster.edit(&key("HelmRelease"), |object| {
        object.merge(&Value::map([("status", flux_status("True", "installed", 1))]));
    });
    let healed = connection
        .expect(|message| match message {
            AgentMessage::Status(batch) => batch.objects.iter().find(|status| status.health == Health::Ready).cloned(),
            _ => None,
        })
        .await;
    assert_eq!(healed.message, "installed");
    assert_eq!(*rig.hub.enrolled.lock().unwrap(), ["join"]);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn applies_upgrades_and_removes_on_a_tombstone_alone() {
    let mut rig = Rig::new();
    rig.start(TOKEN);
    let facts = rig.facts().await;
    let mut connection = rig.hub.welcome().await;
    let first = render(r#"{"interval":"5m","old":true}"#);
    connection.send_desired(desired(5, &facts, vec![entry(&first)], Vec::new()));
    until_applied(&mut connection, &first).await;
    assert_eq!(spec_of(&rig.cluster, "old"), Some(Value::Bool(true)));

    let second = render(r#"{"interval":"5m"}"#);
    connection.send_desired(desired(6, &facts, vec![entry(&second)], Vec::new()));
    until_applied(&mut connection, &second).await;
    assert_eq!(spec_of(&rig.cluster, "old"), None);

    // A plan that no longer lists the install removes nothing.
    connection.send_desired(desired(7, &facts, Vec::new(), Vec::new()));
    connection.serve(Duration::from_secs(60)).await;
    assert!(rig.cluster.object(&key("HelmRelease")).is_some());

    let tombstone = Tombstone {
        id: Uid([8; 16]),
        assignment: ASSIGNMENT,
        install: InstallKey::new("addons", "podinfo"),
        minted: (1, Position(8)),
    };
    connection.send_desired(desired(8, &facts, Vec::new(), vec![tombstone]));
    connection
        .expect(|message| match message {
            AgentMessage::Status(batch) => batch.removed_installs.first().map(|_| ()),
            _ => None,
        })
        .await;
    assert!(rig.cluster.object(&key("HelmRelease")).is_none());
    assert!(rig.cluster.object(&key("HelmRepository")).is_none());
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn repairs_drift_without_a_hub_and_across_restarts() {
    let mut rig = Rig::new();
    rig.start(TOKEN);
    let facts = rig.facts().await;
    let mut connection = rig.hub.welcome().await;
    let wanted = render(r#"{"interval":"5m"}"#);
    connection.send_desired(desired(5, &facts, vec![entry(&wanted)], Vec::new()));
    until_applied(&mut connection, &wanted).await;
    rig.kill().await;
    drop(connection);

    // Nobody answers the dial from here on.
    rig.cluster.remove(&key("HelmRepository"));
    rig.start(TOKEN);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(rig.cluster.object(&key("HelmRepository")).is_some());
    rig.cluster.edit(&key("HelmRelease"), |object| {
        object.merge(&Value::from_json(br#"{"spec":{"interval":"1h"}}"#).unwrap());
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(spec_of(&rig.cluster, "interval"), Some(Value::from("5m")));

    let mut connection = rig.hub.welcome().await;
    assert_eq!(connection.hello.plan_digest, Some(digest(5)));
    assert_eq!(connection.hello.held[0].render, wanted.digest);
    let report = connection
        .expect(|message| match message {
            AgentMessage::Status(batch) => batch.installs.first().cloned(),
            _ => None,
        })
        .await;
    assert_eq!(report.drift_repairs, 2);
    assert!(report.last_drift.ends_with("spec.interval"), "{}", report.last_drift);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_object_is_reported_and_tried_again() {
    let mut rig = Rig::new();
    rig.cluster.state().refuse = Some(("HelmRelease".to_owned(), "denied by policy".to_owned()));
    rig.start(TOKEN);
    let facts = rig.facts().await;
    let mut connection = rig.hub.welcome().await;
    let wanted = render(r#"{"interval":"5m"}"#);
    connection.send_desired(desired(5, &facts, vec![entry(&wanted)], Vec::new()));
    let message = connection
        .expect(|message| match message {
            AgentMessage::Status(batch) => batch
                .installs
                .iter()
                .find(|report| report.state == InstallState::Rejected)
                .map(|report| report.message.clone()),
            _ => None,
        })
        .await;
    assert!(message.contains("denied by policy"), "{message}");
    rig.cluster.state().refuse = None;
    until_applied(&mut connection, &wanted).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_runs_once_for_each_object() {
    let mut rig = Rig::new();
    rig.cluster.create(object("HelmRelease", "{}").document()).await.unwrap();
    rig.start(TOKEN);
    let mut connection = rig.hub.welcome().await;
    let objects = vec![key("HelmRelease"), key("HelmRepository")];
    connection.send(HubMessage::Command(Command {
        id: Uid([3; 16]),
        verb: CommandVerb::Suspend,
        objects,
        token: "now".to_owned(),
    }));
    let result = connection
        .expect(|message| match message {
            AgentMessage::CommandResult(result) => Some(result.clone()),
            _ => None,
        })
        .await;
    assert_eq!(result.outcomes[0], (key("HelmRelease"), None));
    assert_eq!(result.outcomes[1].1.as_deref(), Some("not found"));
    assert_eq!(spec_of(&rig.cluster, "suspend"), Some(Value::Bool(true)));
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_tried_blindly() {
    let mut rig = Rig::new();
    rig.start("st1.demo.used");
    tokio::time::sleep(Duration::from_secs(240)).await;
    assert_eq!(*rig.hub.enrolled.lock().unwrap(), ["join"]);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_in_time_and_an_expired_one_with_proof() {
    let mut rig = Rig::new();
    *rig.hub.life.lock().unwrap() = Duration::from_secs(3600);
    rig.start(TOKEN);
    let connection = rig.hub.welcome().await;
    tokio::time::sleep(Duration::from_secs(3600 * 7 / 10 + 1)).await;
    assert_eq!(*rig.hub.enrolled.lock().unwrap(), ["join", "renew"]);
    rig.stop().await;
    drop(connection);
    tokio::time::sleep(Duration::from_secs(7200)).await;
    // The clock of the machine goes on: an agent that comes back shows an expired certificate's key.
    rig.start(TOKEN);
    let _connection = rig.hub.welcome().await;
    assert_eq!(*rig.hub.enrolled.lock().unwrap(), ["join", "renew", "renew-with-proof"]);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_is_dialled_again() {
    let mut rig = Rig::new();
    rig.start(TOKEN);
    let connection = rig.hub.welcome().await;
    connection.end(Status::unavailable("restarting"));
    let again = rig.hub.welcome().await;
    assert_eq!(again.hello.instance, connection.hello.instance);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_detached_agent_leaves_everything_and_says_so() {
    let mut rig = Rig::new();
    rig.start(TOKEN);
    let facts = rig.facts().await;
    let mut connection = rig.hub.welcome().await;
    let wanted = render("{}");
    connection.send_desired(desired(5, &facts, vec![entry(&wanted)], Vec::new()));
    until_applied(&mut connection, &wanted).await;
    let detach = Desired { detach: Some(Detach::Orphan), ..desired(6, &facts, Vec::new(), Vec::new()) };
    connection.send_desired(detach);
    let said = connection
        .expect(|message| match message {
            AgentMessage::Detached(fence) => Some(*fence),
            _ => None,
        })
        .await;
    assert_eq!(said, fence(6));
    rig.cluster.edit(&key("HelmRelease"), |object| {
        object.merge(&Value::from_json(br#"{"spec":{"interval":"1h"}}"#).unwrap());
    });
    connection.serve(Duration::from_secs(30)).await;
    assert_eq!(spec_of(&rig.cluster, "interval"), Some(Value::from("1h")));
    let stamp = rig.cluster.object(&key("HelmRelease")).unwrap();
    assert_eq!(stamp.at(&["metadata", "annotations", labels::FENCE]), None);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_waits_for_a_lease() {
    let mut rig = Rig::new();
    rig.start(TOKEN);
    let facts = rig.facts().await;
    let mut connection = rig.hub.welcome_with_lease(Duration::ZERO).await;
    let wanted = render("{}");
    connection.send_desired(desired(5, &facts, vec![entry(&wanted)], Vec::new()));
    let receipt = connection
        .expect(|message| match message {
            AgentMessage::Receipt(receipt) => Some(receipt.clone()),
            _ => None,
        })
        .await;
    assert_eq!(receipt.refused, None);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(rig.cluster.object(&key("HelmRelease")).is_none());
    // The answer to the first heartbeat lends one.
    until_applied(&mut connection, &wanted).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_was_stored_unknown_to_the_agent_still_waits_for_a_lease() {
    let mut rig = Rig::new();
    rig.start(TOKEN);
    let facts = rig.facts().await;
    rig.cluster.state().lose_answer = true;
    // Shorter than the wait before the inventory is read again.
    let mut connection = rig.hub.welcome_with_lease(Duration::from_millis(100)).await;
    let wanted = render("{}");
    connection.send_desired(desired(5, &facts, vec![entry(&wanted)], Vec::new()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(rig.cluster.state().inventory.is_some(), "the intent is stored");
    assert!(rig.cluster.object(&key("HelmRelease")).is_none());
    until_applied(&mut connection, &wanted).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn retired_objects_go_once_their_successors_are_ready() {
    let mut rig = Rig::new();
    rig.start(TOKEN);
    let facts = rig.facts().await;
    let mut connection = rig.hub.welcome().await;
    let first = render("{}");
    connection.send_desired(desired(5, &facts, vec![entry(&first)], Vec::new()));
    until_applied(&mut connection, &first).await;
    let release = vec![object("HelmRelease", r#"{"chartRef":"oci"}"#)];
    let second = Arc::new(Render::new(release, vec![key("HelmRepository")]));
    connection.send_desired(desired(6, &facts, vec![entry(&second)], Vec::new()));
    until_applied(&mut connection, &second).await;
    connection.serve(Duration::from_secs(60)).await;
    assert!(rig.cluster.object(&key("HelmRepository")).is_some());
    rig.cluster.edit(&key("HelmRelease"), |object| {
        object.merge(&Value::map([("status", flux_status("True", "installed", 1))]));
    });
    connection.serve(Duration::from_secs(5)).await;
    assert!(rig.cluster.object(&key("HelmRepository")).is_none());
    assert!(rig.cluster.object(&key("HelmRelease")).is_some());
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_creation_is_removed_again() {
    let mut rig = Rig::new();
    rig.start(TOKEN);
    let facts = rig.facts().await;
    let mut connection = rig.hub.welcome().await;
    let wanted = render("{}");
    connection.send_desired(desired(5, &facts, vec![entry(&wanted)], Vec::new()));
    until_applied(&mut connection, &wanted).await;
    let late = rig.cluster.object(&key("HelmRelease")).unwrap();
    let (assignment, install) = (ASSIGNMENT, InstallKey::new("addons", "podinfo"));
    let tombstone = Tombstone { id: Uid([8; 16]), assignment, install, minted: (1, Position(6)) };
    connection.send_desired(desired(6, &facts, Vec::new(), vec![tombstone]));
    connection
        .expect(|message| match message {
            AgentMessage::Status(batch) => batch.removed_installs.first().map(|_| ()),
            _ => None,
        })
        .await;
    // What an agent that was paused before its create does when it wakes.
    rig.cluster.create(&late).await.unwrap();
    connection.serve(Duration::from_secs(5)).await;
    assert!(rig.cluster.object(&key("HelmRelease")).is_none());
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_inventory_that_another_agent_changed_is_read_again() {
    let mut rig = Rig::new();
    rig.start(TOKEN);
    let facts = rig.facts().await;
    let mut connection = rig.hub.welcome().await;
    let first = render(r#"{"x":1}"#);
    connection.send_desired(desired(5, &facts, vec![entry(&first)], Vec::new()));
    until_applied(&mut connection, &first).await;
    rig.cluster.state().inventory.as_mut().unwrap().version = "elsewhere".to_owned();
    let second = render(r#"{"x":2}"#);
    connection.send_desired(desired(6, &facts, vec![entry(&second)], Vec::new()));
    until_applied(&mut connection, &second).await;
    assert_eq!(spec_of(&rig.cluster, "x"), Some(Value::Int(2)));
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn announced_authorities_are_kept_beside_the_identity() {
    let mut rig = Rig::new();
    rig.start(TOKEN);
    let mut connection = rig.hub.welcome().await;
    let trust = |rig: &Rig| rig.cluster.state().identity.clone().expect("joined").trust_pem;
    let before = trust(&rig);
    connection.send(HubMessage::TrustBundle(b"not PEM at all".to_vec()));
    connection.serve(Duration::from_secs(1)).await;
    assert_eq!(trust(&rig), before);
    let both = [before.as_bytes(), before.as_bytes()].concat();
    connection.send(HubMessage::TrustBundle(both.clone()));
    connection.serve(Duration::from_secs(1)).await;
    assert_eq!(trust(&rig).into_bytes(), both);
    rig.stop().await;
}
