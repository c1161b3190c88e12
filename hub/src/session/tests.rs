//! Sessions over the real gRPC stack, in one process and without TLS.

mod support;

use std::sync::Arc;
use std::time::Duration;

use starling_hub_core::enrolment::CredentialRefusal;
use starling_hub_core::hold::HoldReason;
use starling_hub_core::index::Filter;
use starling_hub_core::session::standing::InstallStanding;
use starling_hub_core::steward::Request;
use starling_model::plan::Render;
use starling_model::session::{
    AgentMessage, BatchKind, Command, CommandResult, CommandVerb, Desired, DesiredAction, DesiredEntry, Heartbeat,
    Held, HubMessage, Receipt, Welcome,
};
use starling_model::{Health, Position, Uid, install};
use support::{Agent, CLUSTER, Hub, SECOND, applied, batch, hello, snapshot, status, status_of};

fn receipt(desired: &Desired) -> AgentMessage {
    AgentMessage::Receipt(Receipt { fence: desired.fence, plan_digest: desired.plan_digest, refused: None })
}

async fn begin(hub: &Hub, instance: u8) -> (Agent, Welcome, Box<Desired>) {
    let mut agent = hub.dial(CLUSTER).await;
    agent.say(AgentMessage::Hello(Box::new(hello(instance)))).await;
    let HubMessage::Welcome(welcome) = agent.hear().await else { panic!("Welcome comes first") };
    let HubMessage::Desired(desired) = agent.hear().await else { panic!("the plan comes second") };
    (agent, welcome, desired)
}

#[tokio::test]
async fn a_cluster_becomes_live_and_ready() {
    let hub = Hub::start();
    let (mut agent, welcome, desired) = begin(&hub, 1).await;
    assert!(!welcome.status_known && !welcome.lease.is_zero() && welcome.hold_reason.is_none());
    assert!(!desired.unchanged && desired.entries.is_empty() && desired.tombstones.is_empty());
    assert_eq!(hub.standing(), (true, false, false));
    agent.say(receipt(&desired)).await;
    let healths = [Health::Ready, Health::Failing];
    agent.say(batch(1, BatchKind::SnapshotStart, vec![status("a", healths[0])])).await;
    agent.say(batch(2, BatchKind::SnapshotEnd, vec![status("b", healths[1])])).await;
    hub.until(|hub| hub.standing() == (true, true, true)).await;
    let page = hub.shard.query(&Filter::default(), None, 10);
    assert_eq!(page.objects.iter().map(|found| found.status.health).collect::<Vec<_>>(), healths);
    assert!(hub.shard.heard(&CLUSTER).is_some());
}

#[tokio::test]
async fn a_heartbeat_is_answered_with_a_lease() {
    let hub = Hub::start();
    let (mut agent, ..) = begin(&hub, 1).await;
    agent.say(AgentMessage::Heartbeat(Heartbeat { sequence: 7, dropped: 3 })).await;
    let HubMessage::Lease(lease) = agent.hear().await else { panic!("a lease answers") };
    assert!(lease.heartbeat == 7 && !lease.lease.is_zero());
    assert_eq!(hub.shard.view(&CLUSTER).unwrap().dropped, 3);
}

#[tokio::test]
async fn a_gap_is_healed_by_a_snapshot() {
    let hub = Hub::start();
    let (mut agent, ..) = begin(&hub, 1).await;
    agent.say(batch(1, BatchKind::SnapshotWhole, vec![status("a", Health::Ready)])).await;
    agent.say(batch(3, BatchKind::Delta, vec![status("b", Health::Ready)])).await;
    assert!(matches!(agent.hear().await, HubMessage::Resync(_)));
    agent.say(batch(4, BatchKind::SnapshotWhole, vec![status("c", Health::Ready)])).await;
    hub.until(|hub| hub.names() == ["c"]).await;
}

#[tokio::test]
async fn a_reconnecting_agent_is_sent_what_differs_alone() {
    let hub = Hub::start();
    let (mut agent, _, desired) = begin(&hub, 1).await;
    agent.say(receipt(&desired)).await;
    agent.say(batch(1, BatchKind::SnapshotWhole, vec![status("a", Health::Ready)])).await;
    hub.until(|hub| hub.standing().1).await;
    let mut again = hello(1);
    again.plan_digest = Some(desired.plan_digest);
    again.installs_digest = install::installs_digest(std::iter::empty());
    again.kinds = hub.shard.index.read(&CLUSTER).kind_digests(&CLUSTER);
    let mut second = hub.dial(CLUSTER).await;
    second.say(AgentMessage::Hello(Box::new(again))).await;
    let HubMessage::Welcome(welcome) = second.hear().await else { panic!("Welcome comes first") };
    assert!(welcome.status_known);
    let HubMessage::Desired(same) = second.hear().await else { panic!("the position comes second") };
    assert!(same.unchanged && same.plan_digest == desired.plan_digest);
    assert_eq!(hub.standing(), (true, true, true));
    assert_eq!(agent.end().await.code(), tonic::Code::Aborted);
}

#[tokio::test]
async fn a_position_alone_waits_for_the_next_heartbeat() {
    let hub = Hub::start();
    let (mut agent, _, first) = begin(&hub, 1).await;
    agent.say(receipt(&first)).await;
    hub.move_to(Position(99)).await;
    agent.say(AgentMessage::Heartbeat(Heartbeat { sequence: 1, dropped: 0 })).await;
    assert!(matches!(agent.hear().await, HubMessage::Lease(_)));
    let HubMessage::Desired(desired) = agent.hear().await else { panic!("the position follows") };
    assert!(desired.unchanged && desired.fence.position == Position(99));
}

#[tokio::test]
async fn the_incumbent_stays_while_it_responds() {
    let hub = Hub::start();
    let (mut agent, ..) = begin(&hub, 1).await;
    let mut newcomer = hub.dial(CLUSTER).await;
    newcomer.say(AgentMessage::Hello(Box::new(hello(2)))).await;
    let refused = newcomer.end().await;
    assert!(refused.metadata().contains_key(super::RETRY_AFTER), "{refused:?}");
    assert!(hub.shard.view(&CLUSTER).unwrap().problem.is_some());
    hub.clock.advance(Duration::from_secs(16));
    hub.until(|hub| !hub.shard.lend().lease.is_zero()).await;
    let mut newcomer = hub.dial(CLUSTER).await;
    newcomer.say(AgentMessage::Hello(Box::new(hello(2)))).await;
    assert!(matches!(newcomer.hear().await, HubMessage::Welcome(_)));
    assert_eq!(agent.end().await.code(), tonic::Code::Aborted);
}

#[tokio::test]
async fn revocation_ends_a_live_session_at_once() {
    let hub = Hub::start();
    let (mut agent, ..) = begin(&hub, 1).await;
    hub.revoke();
    let status = agent.end().await;
    assert_eq!(status.message(), CredentialRefusal::ClusterRevoked.to_string());
    hub.until(|hub| !hub.standing().0).await;
}

#[tokio::test]
async fn while_the_fleet_holds_nothing_moves_and_status_is_served() {
    let hub = Hub::start();
    hub.hold.engage(HoldReason::StoreEmpty);
    let mut agent = hub.dial(CLUSTER).await;
    agent.say(AgentMessage::Hello(Box::new(hello(1)))).await;
    let HubMessage::Welcome(welcome) = agent.hear().await else { panic!("Welcome comes first") };
    assert!(welcome.lease.is_zero() && welcome.hold_reason.is_some());
    agent.say(batch(1, BatchKind::SnapshotWhole, vec![status("a", Health::Ready)])).await;
    agent.say(AgentMessage::Heartbeat(Heartbeat { sequence: 1, dropped: 0 })).await;
    // Nothing comes before the lease, and the lease is none.
    let HubMessage::Lease(lease) = agent.hear().await else { panic!("no plan is sent") };
    assert!(lease.lease.is_zero() && lease.hold_reason.is_some());
    hub.until(|hub| hub.names() == ["a"]).await;
}

#[tokio::test]
async fn a_genuine_fence_beyond_the_store_holds_the_fleet() {
    let hub = Hub::start();
    let mut forged = hello(1);
    forged.newest_fence = Some(hub.forged_fence(Position(1000)));
    let mut agent = hub.dial(CLUSTER).await;
    agent.say(AgentMessage::Hello(Box::new(forged))).await;
    agent.hear().await;
    assert!(hub.hold.reason().is_none() && hub.shard.newest_shown_fence().is_none());
    drop(agent);
    hub.until(|hub| !hub.standing().0).await;
    let mut ahead = hello(1);
    ahead.newest_fence = Some(hub.fence(Position(1000)));
    let mut agent = hub.dial(CLUSTER).await;
    agent.say(AgentMessage::Hello(Box::new(ahead))).await;
    agent.hear().await;
    assert!(matches!(hub.hold.reason(), Some(HoldReason::BehindFence { .. })));
    assert_eq!(hub.shard.newest_shown_fence(), Some(hub.fence(Position(1000))));
}

/// Hears the next plan that is not only a position.
async fn next_plan(agent: &mut Agent) -> Box<Desired> {
    loop {
        match agent.hear().await {
            HubMessage::Desired(desired) if !desired.unchanged => return desired,
            _ => {}
        }
    }
}

fn render_of(entry: &DesiredEntry) -> Arc<Render> {
    let DesiredAction::Render(render) = &entry.action else { panic!("a render is sent whole: {entry:?}") };
    Arc::clone(render)
}

#[tokio::test]
async fn a_change_is_sent_at_once_and_only_what_is_not_held() {
    let hub = Hub::start();
    let (mut agent, ..) = begin(&hub, 1).await;
    hub.assign("1.0.0");
    let desired = next_plan(&mut agent).await;
    let entry = desired.entries[0].clone();
    let render = render_of(&entry);
    agent.say(receipt(&desired)).await;
    let mut objects: Vec<_> = render.objects.iter().map(|object| status_of(object.key(), &entry)).collect();
    objects.sort_by(|one, other| one.key.cmp(&other.key));
    agent.say(snapshot(1, objects, vec![applied(&entry, render.digest)])).await;
    hub.until(|hub| hub.standing() == (true, true, true)).await;
    let installs = hub.shard.installs(&CLUSTER);
    assert_eq!(installs[0].standing, Some(InstallStanding::Ready));
    // Another addon's change finds this one held.
    hub.write("second.yaml", SECOND);
    let desired = next_plan(&mut agent).await;
    assert_eq!(desired.entries.len(), 2);
    assert_eq!(desired.entries[0].action, DesiredAction::HeldRender(render.digest));
    render_of(&desired.entries[1]);
    assert_eq!(hub.standing(), (true, false, false));
    // The new version is another render.
    hub.assign("2.0.0");
    let desired = next_plan(&mut agent).await;
    assert_ne!(render_of(&desired.entries[0]).digest, render.digest);
    assert_eq!(hub.shard.installs(&CLUSTER)[0].standing, Some(InstallStanding::Waiting));
}

#[tokio::test]
async fn a_reconnecting_agent_names_what_it_holds() {
    let hub = Hub::start();
    hub.assign("1.0.0");
    let (mut agent, _, desired) = begin(&hub, 1).await;
    let desired = if desired.entries.is_empty() { next_plan(&mut agent).await } else { desired };
    let (entry, render) = (&desired.entries[0], render_of(&desired.entries[0]));
    let mut again = hello(1);
    again.held = vec![Held { install: entry.install.clone(), assignment: entry.assignment, render: render.digest }];
    let mut second = hub.dial(CLUSTER).await;
    second.say(AgentMessage::Hello(Box::new(again))).await;
    let desired = next_plan(&mut second).await;
    assert_eq!(desired.entries[0].action, DesiredAction::HeldRender(render.digest));
}

#[tokio::test]
async fn a_plan_of_an_older_era_gets_no_lease() {
    let hub = Hub::start();
    let (mut agent, _, first) = begin(&hub, 1).await;
    agent.say(receipt(&first)).await;
    hub.recover();
    agent.say(AgentMessage::Heartbeat(Heartbeat { sequence: 1, dropped: 0 })).await;
    let mut arrived = false;
    loop {
        match agent.hear().await {
            HubMessage::Desired(desired) => arrived |= desired.fence.era.number == first.fence.era.number + 1,
            HubMessage::Lease(lease) if lease.lease.is_zero() => {
                assert!(lease.hold_reason.is_some());
                agent.say(AgentMessage::Heartbeat(Heartbeat { sequence: 2, dropped: 0 })).await;
            }
            HubMessage::Lease(_) => {
                assert!(arrived, "the plan of the new era comes before a lease");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    // An agent that comes back from the older era waits for the plan too.
    let mut returning = hello(1);
    returning.newest_fence = Some(first.fence);
    let mut second = hub.dial(CLUSTER).await;
    second.say(AgentMessage::Hello(Box::new(returning))).await;
    let HubMessage::Welcome(welcome) = second.hear().await else { panic!("Welcome comes first") };
    assert!(welcome.lease.is_zero() && welcome.hold_reason.is_some());
}

#[tokio::test]
async fn a_command_comes_back_with_its_result() {
    let hub = Hub::start();
    let (mut agent, ..) = begin(&hub, 1).await;
    let command = Command { id: Uid([5; 16]), verb: CommandVerb::Suspend, objects: vec![], token: String::new() };
    let shard = hub.shard.clone();
    let sent = command.clone();
    let asked = tokio::spawn(async move { shard.send_command(&CLUSTER, sent, Duration::from_secs(10)).await });
    assert_eq!(agent.hear().await, HubMessage::Command(command.clone()));
    let result = CommandResult { id: command.id, outcomes: vec![(status("a", Health::Ready).key, None)] };
    agent.say(AgentMessage::CommandResult(result.clone())).await;
    assert_eq!(asked.await.unwrap(), Ok(result));
}

#[tokio::test]
async fn an_unknown_identity_is_recorded_and_unassigned() {
    let hub = Hub::start();
    let stranger = starling_model::ClusterId([0xee; 16]);
    let mut agent = hub.dial(stranger).await;
    let mut other = hello(9);
    other.fingerprint = "another kube-system".into();
    agent.say(AgentMessage::Hello(Box::new(other))).await;
    agent.hear().await;
    let HubMessage::Desired(desired) = agent.hear().await else { panic!("an empty plan is sent") };
    assert!(desired.entries.is_empty() && desired.tombstones.is_empty());
    hub.until(|hub| hub.reported().iter().any(|request| matches!(request, Request::SeeCluster(_)))).await;
    drop(agent);
    hub.until(|hub| hub.shard.view(&stranger).is_none()).await;
}

#[tokio::test]
async fn one_cluster_under_two_names_is_served_once() {
    let hub = Hub::start();
    let (_agent, ..) = begin(&hub, 1).await;
    let mut second = hub.dial(starling_model::ClusterId([0xee; 16])).await;
    second.say(AgentMessage::Hello(Box::new(hello(2)))).await;
    assert!(second.end().await.message().contains("dev/edge"));
}

#[tokio::test]
async fn garbage_ends_the_session_alone() {
    let hub = Hub::start();
    let (mut agent, ..) = begin(&hub, 1).await;
    agent.say(AgentMessage::Hello(Box::new(hello(1)))).await;
    assert_eq!(agent.end().await.code(), tonic::Code::InvalidArgument);
    let mut early = hub.dial(CLUSTER).await;
    early.say(AgentMessage::Heartbeat(Heartbeat { sequence: 1, dropped: 0 })).await;
    assert_eq!(early.end().await.code(), tonic::Code::InvalidArgument);
    assert_eq!(hub.shard.counters().ended().get("garbled"), Some(&1));
}

#[tokio::test]
async fn draining_says_so_and_ends() {
    let hub = Hub::start();
    let (mut agent, ..) = begin(&hub, 1).await;
    let left = tokio::join!(hub.sessions.drain(Duration::from_secs(5)), async {
        assert!(matches!(agent.hear().await, HubMessage::Drain { .. }));
        assert_eq!(agent.end().await.code(), tonic::Code::Unavailable);
    });
    assert_eq!(left.0, 0);
}

#[tokio::test]
async fn an_acknowledged_detachment_is_told_again_until_the_steward_took_it() {
    let hub = Hub::start();
    hub.detach();
    let (mut agent, _, desired) = begin(&hub, 1).await;
    assert!(desired.detach.is_some());
    let told = |hub: &Hub| {
        let acknowledged = |request: &Request| matches!(request, Request::DetachAcknowledged(id) if *id == CLUSTER);
        hub.reported().iter().filter(|request| acknowledged(request)).count()
    };
    hub.refuse_reports(true);
    agent.say(AgentMessage::Heartbeat(Heartbeat { sequence: 1, dropped: 0 })).await;
    agent.say(AgentMessage::Detached(desired.fence)).await;
    hub.until(|hub| told(hub) == 1).await;
    agent.say(AgentMessage::Heartbeat(Heartbeat { sequence: 2, dropped: 0 })).await;
    hub.until(|hub| told(hub) == 2).await;
}

#[tokio::test]
async fn what_the_plan_renders_counts_as_held() {
    let hub = Hub::start();
    hub.assign("1.0.0");
    let (mut agent, _, desired) = begin(&hub, 1).await;
    agent.say(snapshot(1, vec![], vec![])).await;
    hub.until(|hub| hub.shard.heard(&CLUSTER).is_some()).await;
    let entry = &desired.entries[0];
    assert!(hub.shard.heard(&CLUSTER).unwrap().contains(&(entry.install.clone(), entry.assignment)));
}
