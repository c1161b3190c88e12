use std::collections::{BTreeMap, BTreeSet};

use starling_model::{ClusterId, Facts, Health, Uid};

use super::super::*;
use crate::change::Change;
use crate::fleet::Problem;
use crate::index::HealthCounts;
use crate::records::{ClusterRecord, ClusterStage};
use crate::resources::status::{
    ACCEPTED, AssignmentStatus, CONNECTED, ClusterStatus, Condition, ConditionStatus, READY, REMOVAL_WAITS,
};
use crate::resources::{InputKey, Kind};
use crate::testing::{self, Hub, TO_PROD, assignment, cluster, key};

/// What judges, beside the fleet.
#[derive(Default)]
struct Told {
    untaken: Untaken,
    hold: Option<&'static str>,
    heard: BTreeMap<ClusterId, HeardCluster>,
    tallies: BTreeMap<Uid, Tally>,
    starting: bool,
}

fn judge(hub: &Hub, told: &Told, key: &InputKey, seen: &Sighting) -> Status {
    let counts = Counts::of(&hub.fleet);
    let judge = Judge {
        fleet: &hub.fleet,
        counts: &counts,
        untaken: &told.untaken,
        hold: told.hold,
        heard: &told.heard,
        tallies: &told.tallies,
        settled: !told.starting,
        now: hub.now,
    };
    judge.status(key, seen)
}

/// The resource as the fleet has it, without a status.
fn taken(hub: &Hub, key: &InputKey) -> Sighting {
    let digest = hub.fleet.input(key).expect("the fleet has it").digest;
    Sighting { object: "one".into(), version: 1, generation: 4, document: Ok(digest), status: Status::empty(key.kind) }
}

fn condition<'a>(status: &'a Status, kind: &str) -> (ConditionStatus, &'a str, &'a str) {
    let Condition { status, reason, message, .. } = status.condition(kind).expect("the condition is there");
    (*status, reason, message)
}

fn edge() -> InputKey {
    key(Kind::ManagedCluster, "dev", "edge")
}

fn with_edge() -> Hub {
    let mut hub = Hub::new();
    hub.write("edge.yaml", &cluster("edge", "env: prod"));
    hub.sync();
    hub
}

/// The identity that the cluster got when it joined.
fn joined(hub: &Hub) -> Change {
    Change::PutCluster(ClusterRecord {
        id: hub.id("edge"),
        name: None,
        keys: Vec::new(),
        revoked_keys: BTreeSet::new(),
        fingerprint: String::new(),
        joined: hub.now,
        era: 1,
        joined_with: None,
        stage: ClusterStage::Attached,
    })
}

fn live(hub: &Hub, installs: u32, installs_ready: u32) -> BTreeMap<ClusterId, HeardCluster> {
    let mut health = HealthCounts::default();
    health.add(Health::Ready);
    let standing = ClusterStanding {
        live: true,
        ready: installs == installs_ready,
        installs,
        installs_ready,
        ..ClusterStanding::default()
    };
    let heard = HeardCluster {
        connected: true,
        last_seen: hub.now,
        agent_version: "0.1.0".into(),
        facts: Arc::new(Facts { nodes: 3, ..testing::facts() }),
        standing,
        health,
        ..HeardCluster::default()
    };
    [(hub.id("edge"), heard)].into()
}

#[test]
fn what_the_fleet_has_is_accepted_with_the_generation_that_was_seen() {
    let hub = with_edge();
    let key = key(Kind::Workspace, "", "dev");
    let status = judge(&hub, &Told::default(), &key, &taken(&hub, &key));
    let accepted = status.condition(ACCEPTED).expect("it is judged");
    assert_eq!((accepted.status, accepted.observed_generation), (ConditionStatus::True, Some(4)));
    let Status::Workspace(workspace) = status else { panic!("it is of its kind") };
    assert_eq!((workspace.clusters, workspace.observed_generation), (Some(1), Some(4)));
    assert_eq!(workspace.uid, hub.fleet.input(&key).expect("it is there").uid.to_string());
}

#[test]
fn what_the_hub_has_not_come_to_says_nothing_new() {
    let hub = with_edge();
    let other = hub.fleet.input(&key(Kind::Workspace, "", "dev")).expect("it is there").digest;
    let seen = Sighting { document: Ok(other), ..taken(&hub, &edge()) };
    assert_eq!(judge(&hub, &Told::default(), &edge(), &seen), seen.status);
    let holds = Told { hold: Some("the store was lost"), ..Told::default() };
    let status = judge(&hub, &holds, &edge(), &seen);
    assert_eq!(condition(&status, ACCEPTED), (ConditionStatus::Unknown, "FleetHolds", "the store was lost"));
}

#[test]
fn what_cannot_be_taken_says_why_and_what_was_taken_before_goes_on() {
    let hub = with_edge();
    let told = Told { heard: live(&hub, 1, 1), ..Told::default() };
    let before = judge(&hub, &told, &edge(), &taken(&hub, &edge()));
    let wrong = "spec.variables.a: a variable is a text, a number or a truth value";
    let seen = Sighting { generation: 5, document: Err(wrong.into()), status: before, ..taken(&hub, &edge()) };
    let status = judge(&hub, &told, &edge(), &seen);
    assert_eq!(condition(&status, ACCEPTED), (ConditionStatus::False, "Invalid", wrong));
    assert_eq!(condition(&status, READY).0, ConditionStatus::True);
    let generations = [ACCEPTED, READY].map(|kind| status.condition(kind).expect("it is there").observed_generation);
    assert_eq!(generations, [Some(5), Some(4)]);

    let problem = Problem::new(edge(), "another document has this name", "remove one");
    let told = Told { untaken: [(edge(), problem)].into(), ..told };
    let status = judge(&hub, &told, &edge(), &taken(&hub, &edge()));
    let message = "another document has this name; remove one";
    assert_eq!(condition(&status, ACCEPTED), (ConditionStatus::False, "NotTaken", message));
}

#[test]
fn a_resource_that_names_what_is_not_there_says_so() {
    let mut hub = with_edge();
    hub.write("web.yaml", &assignment("web", TO_PROD).replace("podinfo", "absent"));
    hub.sync();
    let key = key(Kind::AddonAssignment, "dev", "web");
    let status = judge(&hub, &Told::default(), &key, &taken(&hub, &key));
    let (accepted, reason, message) = condition(&status, ACCEPTED);
    assert_eq!((accepted, reason), (ConditionStatus::False, "AddonNotFound"));
    assert!(message.contains("absent") && message.contains("write an Addon document"), "{message}");
}

#[test]
fn a_cluster_is_told_of_from_before_it_joins_until_it_is_lost() {
    let hub = with_edge();
    let seen = taken(&hub, &edge());
    let pending = judge(&hub, &Told::default(), &edge(), &seen);
    assert_eq!(condition(&pending, CONNECTED).1, "NotJoined");

    let told = Told { heard: live(&hub, 3, 2), ..Told::default() };
    let working = judge(&hub, &told, &edge(), &seen);
    assert_eq!(condition(&working, CONNECTED).0, ConditionStatus::True);
    let not_ready = (ConditionStatus::False, "InstallsNotReady", "1 of 3 installs are not ready");
    assert_eq!(condition(&working, READY), not_ready);

    let told = Told { heard: live(&hub, 3, 3), ..Told::default() };
    let ready = judge(&hub, &told, &edge(), &Sighting { status: working, ..seen });
    let Status::ManagedCluster(status) = &ready else { panic!("it is of its kind") };
    assert_eq!((status.connection.as_str(), status.installs, status.installs_ready), ("live", Some(3), Some(3)));
    assert_eq!(status.health, [("ready".to_owned(), 1)].into());
    assert_eq!(
        status.facts.as_ref().map(|facts| (facts.kubernetes_version.as_str(), facts.nodes)),
        Some(("v1.35.4", 3))
    );
    assert_eq!(condition(&ready, READY).0, ConditionStatus::True);
}

#[test]
fn a_time_of_transition_moves_only_with_the_status() {
    let mut hub = with_edge();
    let told = Told { heard: live(&hub, 3, 1), ..Told::default() };
    let first = judge(&hub, &told, &edge(), &taken(&hub, &edge()));
    hub.pass_a_day();
    let told = Told { heard: live(&hub, 3, 2), ..Told::default() };
    let second = judge(&hub, &told, &edge(), &Sighting { status: first.clone(), ..taken(&hub, &edge()) });
    let since = |status: &Status, kind: &str| status.condition(kind).expect("it is there").last_transition_time.clone();
    assert_ne!(condition(&first, READY), condition(&second, READY));
    assert_eq!(since(&first, READY), since(&second, READY));
    let told = Told { heard: live(&hub, 3, 3), ..Told::default() };
    let third = judge(&hub, &told, &edge(), &Sighting { status: second.clone(), ..taken(&hub, &edge()) });
    assert_ne!(since(&second, READY), since(&third, READY));
    assert_eq!(since(&first, CONNECTED), since(&third, CONNECTED));
}

#[test]
fn after_a_restart_nothing_changes_before_clusters_could_come_back() {
    let mut hub = with_edge();
    let joined = joined(&hub);
    hub.fleet.apply(&joined);
    let told = Told { heard: live(&hub, 3, 3), ..Told::default() };
    let before = judge(&hub, &told, &edge(), &taken(&hub, &edge()));
    let seen = Sighting { status: before.clone(), ..taken(&hub, &edge()) };
    let starting = Told { starting: true, ..Told::default() };
    assert_eq!(judge(&hub, &starting, &edge(), &seen), before);

    let mut connecting = live(&hub, 3, 0);
    connecting.values_mut().for_each(|heard| heard.standing.live = false);
    let starting = Told { starting: true, heard: connecting, ..Told::default() };
    assert_eq!(judge(&hub, &starting, &edge(), &seen), before);

    let status = judge(&hub, &Told::default(), &edge(), &seen);
    let Status::ManagedCluster(lost) = &status else { panic!("it is of its kind") };
    assert_eq!((lost.installs, lost.health.len()), (Some(3), 1), "what was known last is kept");
}

#[test]
fn two_documents_of_one_cluster_do_not_both_tell_of_it() {
    let mut hub = with_edge();
    let spec = format!("{{id: {}}}", hub.id("edge"));
    hub.write("twin.yaml", &testing::cluster_in("dev", "twin", "env: prod", &spec));
    hub.sync();
    let twin = key(Kind::ManagedCluster, "dev", "twin");
    let told = Told { heard: live(&hub, 1, 1), ..Told::default() };
    let status = judge(&hub, &told, &twin, &taken(&hub, &twin));
    assert_eq!(condition(&status, ACCEPTED).1, "AlreadyManaged");
    let Status::ManagedCluster(ClusterStatus { connection, conditions, .. }) = status else { panic!("of its kind") };
    assert_eq!((connection.as_str(), conditions.len()), ("", 1));
}

#[test]
fn an_assignment_is_ready_when_every_selected_cluster_is() {
    let mut hub = with_edge();
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    let key = key(Kind::AddonAssignment, "dev", "web");
    let uid = hub.assignment("web").record.uid;
    let with = |tally: Tally| {
        let told = Told { tallies: [(uid, tally)].into(), ..Told::default() };
        judge(&hub, &told, &key, &taken(&hub, &key))
    };
    let status = with(Tally { applied: 1, ready: 1, ..Tally::default() });
    assert_eq!(condition(&status, READY), (ConditionStatus::True, "AllReady", "1 of 1 clusters are ready"));
    assert_eq!(condition(&status, REMOVAL_WAITS).0, ConditionStatus::False);
    let Status::AddonAssignment(AssignmentStatus { version, selected, applied, revision, .. }) = &status else {
        panic!("it is of its kind")
    };
    assert_eq!((version.as_str(), *selected, *applied, revision.len()), ("1.0.0", Some(1), Some(1), 12));
    assert_eq!(condition(&with(Tally { failing: 1, ..Tally::default() }), READY).1, "Failing");
    assert_eq!(condition(&with(Tally { blocked: 1, ..Tally::default() }), READY).1, "Blocked");
    assert_eq!(condition(&with(Tally::default()), READY).1, "Progressing");
}

#[test]
fn a_removal_that_waits_is_shown_on_its_assignment() {
    let mut hub = Hub::new();
    hub.add_clusters(20);
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    hub.hear_all();
    hub.write("web.yaml", &assignment("web", "  version: 1.0.0\n  clusterSelector: {matchLabels: {env: none}}"));
    hub.sync();
    let key = key(Kind::AddonAssignment, "dev", "web");
    let status = judge(&hub, &Told::default(), &key, &taken(&hub, &key));
    let (waits, reason, message) = condition(&status, REMOVAL_WAITS);
    assert_eq!((waits, reason), (ConditionStatus::True, "ApprovalNeeded"));
    assert!(message.contains("20 clusters") && message.contains("starling approve"), "{message}");
}

#[test]
fn a_status_is_read_back_as_it_was_written() {
    let hub = with_edge();
    let told = Told { heard: live(&hub, 3, 2), ..Told::default() };
    for kind in [edge(), key(Kind::Workspace, "", "dev"), key(Kind::Addon, "starling-platform", "podinfo")] {
        let status = judge(&hub, &told, &kind, &taken(&hub, &kind));
        let json = serde_json::to_value(&status).expect("it is JSON");
        assert_eq!(Status::read(kind.kind, json).expect("it is read"), status);
    }
}
