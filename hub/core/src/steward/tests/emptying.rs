use std::collections::BTreeSet;

use starling_model::{Digest, ErrorCode, InstallKey, Uid};

use crate::records::{ClusterStage, ProposalKind};
use crate::steward::{Answer, Approve, Detach, DetachStage, Recover, Refusal, Request, SeeCluster};
use crate::testing::{FLEET, Hub, TO_PROD, addon, assignment, cluster, cluster_in, workspace};

const NAME: &str = "edge-000";

/// Clusters with two addons each, all of which have joined.
fn deployed(clusters: usize) -> Hub {
    let mut hub = Hub::new();
    hub.write("base.yaml", &[workspace("dev"), addon("podinfo"), addon("other")].join("\n---\n"));
    hub.add_clusters(clusters);
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.write("base-addon.yaml", &assignment("base", TO_PROD).replace("name: podinfo", "name: other"));
    hub.sync();
    hub.hear_all();
    for number in 0..clusters {
        let id = hub.id(&format!("edge-{number:03}"));
        let see = SeeCluster { cluster: id, key: Digest([1; 32]), fingerprint: format!("kube-system-{number}") };
        hub.ask(&Request::SeeCluster(see)).expect("seen");
    }
    hub
}

fn request(delete: bool, approved_count: Option<u64>) -> Detach {
    Detach { workspace: "dev".into(), name: NAME.into(), forget: false, delete, approved_count }
}

fn detach(hub: &mut Hub, delete: bool, approved_count: Option<u64>) -> Result<DetachStage, Refusal> {
    stage(hub.ask(&Request::Detach(request(delete, approved_count))))
}

fn stage(answer: Result<Answer, Refusal>) -> Result<DetachStage, Refusal> {
    match answer? {
        Answer::Detached { stage, .. } => Ok(stage),
        other => panic!("a detachment answers otherwise: {other:?}"),
    }
}

fn emptied(hub: &mut Hub) -> Result<DetachStage, Refusal> {
    let id = hub.id(NAME);
    stage(hub.ask(&Request::Emptied(id)))
}

fn acknowledged(hub: &mut Hub) -> Result<DetachStage, Refusal> {
    let id = hub.id(NAME);
    stage(hub.ask(&Request::DetachAcknowledged(id)))
}

fn goes(hub: &Hub) -> BTreeSet<String> {
    hub.plan(NAME).tombstones.iter().map(|tombstone| tombstone.install.name.clone()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Lets the cluster say that it holds one install more.
fn hold_more(hub: &mut Hub, name: &str) {
    let id = hub.id(NAME);
    let held = hub.heard.0.get_mut(&id).expect("it was heard");
    held.insert((InstallKey::new("starling-addons", name), Uid([9; 16])));
}

#[test]
fn a_removal_is_counted_approved_carried_out_and_ends_in_the_detachment() {
    let mut hub = deployed(3);
    let before = hub.plans();
    let id = hub.id(NAME);
    let position = hub.fleet.position();
    assert_eq!(detach(&mut hub, true, None), Ok(DetachStage::Asked { installs: 2 }));
    assert_eq!(hub.fleet.position(), position, "asking changes nothing");
    assert_eq!(detach(&mut hub, true, Some(1)).expect_err("one too few").code, ErrorCode::ApprovalRequired);
    assert_eq!(detach(&mut hub, true, Some(2)), Ok(DetachStage::Removing { installs: 2 }));
    let plan = hub.plan(NAME);
    assert_eq!((plan.entries.len(), plan.detach, goes(&hub)), (0, None, names(&["base", "web"])));
    for tombstone in hub.fleet.tombstones() {
        assert_eq!(tombstone.approved_by.as_deref(), Some("tester"));
        assert!(tombstone.reaches(id, "dev") && !tombstone.reaches(hub.id("edge-001"), "dev"));
    }
    for (cluster, plan) in hub.plans().into_iter().filter(|(cluster, _)| *cluster != id) {
        assert_eq!(plan, before[&cluster], "others keep what they have");
    }
    assert_eq!(hub.fleet.spent().count(), 0, "the approval is no matter of the budget");
    assert_eq!(detach(&mut hub, false, None), Ok(DetachStage::Removing { installs: 2 }), "it is under way");
    assert_eq!(emptied(&mut hub), Ok(DetachStage::Removing { installs: 2 }), "it still holds them");
    assert_eq!(acknowledged(&mut hub).expect_err("nobody asked it").code, ErrorCode::Conflict);
    hub.hear_all();
    assert_eq!(emptied(&mut hub), Ok(DetachStage::Requested));
    assert!(hub.plan(NAME).detach.is_some());
    assert_eq!(acknowledged(&mut hub).expect_err("too early").code, ErrorCode::Unavailable);
    hub.now = hub.now.plus(std::time::Duration::from_secs(5));
    assert_eq!(acknowledged(&mut hub), Ok(DetachStage::Acknowledged));
    assert!(hub.fleet.cluster(id).is_none());
    assert!(matches!(hub.fleet.stage(id), ClusterStage::Detached { .. }));
}

#[test]
fn it_gets_nothing_new_and_a_pause_holds_it() {
    let mut hub = deployed(3);
    detach(&mut hub, true, Some(2)).expect("begun");
    hub.write("third.yaml", &assignment("third", TO_PROD));
    hub.sync();
    assert!(hub.plan(NAME).entries.is_empty());
    assert_eq!(hub.plan("edge-001").entries.len(), 3);
    hub.write(&format!("clusters/{NAME}.yaml"), &cluster_in("dev", NAME, "env: prod", "{paused: true}"));
    hub.sync();
    assert_eq!((goes(&hub), hub.plan(NAME).entries.len()), (BTreeSet::new(), 0), "nothing moves");
    hub.write(&format!("clusters/{NAME}.yaml"), &cluster(NAME, "env: prod"));
    hub.sync();
    assert_eq!(goes(&hub).len(), 2);
}

#[test]
fn what_shows_later_waits_for_another_approval() {
    let mut hub = deployed(3);
    detach(&mut hub, true, Some(2)).expect("begun");
    hold_more(&mut hub, "surprise");
    hub.hear_all();
    assert_eq!(emptied(&mut hub), Ok(DetachStage::Removing { installs: 1 }));
    assert_eq!(goes(&hub), names(&["base", "web"]), "nobody approved the third");
    assert_eq!(detach(&mut hub, true, None), Ok(DetachStage::Asked { installs: 1 }));
    assert_eq!(detach(&mut hub, true, Some(1)), Ok(DetachStage::Removing { installs: 1 }));
    assert_eq!(goes(&hub), names(&["base", "surprise", "web"]));
    hub.hear_all();
    assert_eq!(emptied(&mut hub), Ok(DetachStage::Requested));
    hold_more(&mut hub, "late");
    assert_eq!(acknowledged(&mut hub), Ok(DetachStage::Removing { installs: 1 }), "it says so before it has gone");
    assert!(hub.plan(NAME).detach.is_none());
}

#[test]
fn a_cluster_that_is_away_waits_and_can_be_given_up() {
    let mut hub = deployed(3);
    let id = hub.id(NAME);
    hub.heard.0.remove(&id);
    assert_eq!(detach(&mut hub, true, None), Ok(DetachStage::Asked { installs: 2 }), "what it is meant to hold");
    detach(&mut hub, true, Some(2)).expect("begun");
    assert_eq!(emptied(&mut hub), Ok(DetachStage::Removing { installs: 2 }), "silence is no word");
    let both = Detach { forget: true, ..request(true, None) };
    assert_eq!(hub.ask(&Request::Detach(both)).expect_err("which?").code, ErrorCode::InvalidRequest);
    let forget = Detach { forget: true, ..request(false, None) };
    assert_eq!(stage(hub.ask(&Request::Detach(forget))), Ok(DetachStage::Forgotten));
    assert!(matches!(hub.fleet.stage(id), ClusterStage::Detached { .. }));
}

#[test]
fn a_policy_asks_for_the_count_and_one_that_never_joined_just_goes() {
    let mut hub = deployed(3);
    hub.write(&format!("clusters/{NAME}.yaml"), &cluster_in("dev", NAME, "env: prod", "{deletionPolicy: Delete}"));
    hub.write("new.yaml", &cluster_in("dev", "new", "env: prod", "{deletionPolicy: Delete}"));
    hub.sync();
    assert_eq!(detach(&mut hub, false, None), Ok(DetachStage::Asked { installs: 2 }));
    let new = Detach { name: "new".into(), ..request(false, None) };
    assert_eq!(stage(hub.ask(&Request::Detach(new))), Ok(DetachStage::Forgotten));
}

/// Commits a Tombstone document for the cluster, whose policy removes.
fn delete_by_document(hub: &mut Hub) {
    hub.write(&format!("clusters/{NAME}.yaml"), &cluster_in("dev", NAME, "env: prod", "{deletionPolicy: Delete}"));
    hub.sync();
    hub.hear_all();
    let uid = hub.fleet.cluster_named("dev", NAME).expect("a cluster").record.uid;
    hub.write(
        "gone.yaml",
        &format!(
            "apiVersion: starling.dev/v1alpha1\nkind: Tombstone\nmetadata: {{name: gone, namespace: dev}}\nspec: \
             {{kind: ManagedCluster, name: {NAME}, uid: {uid}}}"
        ),
    );
    hub.files.remove(&format!("clusters/{NAME}.yaml"));
    hub.sync();
}

#[test]
fn evidence_removes_within_the_budget_which_it_is_charged_to() {
    let mut hub = deployed(3);
    delete_by_document(&mut hub);
    assert!(matches!(hub.fleet.stage(hub.id(NAME)), ClusterStage::Removing { .. }));
    assert_eq!((goes(&hub).len(), hub.fleet.spent().count()), (2, 2));
    hub.hear_all();
    assert_eq!(emptied(&mut hub), Ok(DetachStage::Requested));
}

#[test]
fn evidence_beyond_the_budget_waits_whole_for_approval() {
    let mut hub = deployed(8);
    let id = hub.id(NAME);
    // Three installs of one addon went today.
    for number in 1..4 {
        hub.write(&format!("clusters/edge-{number:03}.yaml"), &cluster(&format!("edge-{number:03}"), "env: dev"));
    }
    hub.sync();
    hub.hear_all();
    let spent = hub.fleet.spent().count();
    delete_by_document(&mut hub);
    let proposal = hub.fleet.proposals().next().expect("it waits").clone();
    assert_eq!((proposal.kind.clone(), hub.fleet.proposals().count()), (ProposalKind::Detach, 1));
    assert!(proposal.reason.contains("deletionPolicy is Delete"), "{}", proposal.reason);
    assert!(hub.fleet.is_attached(id) && hub.fleet.spent().count() == spent, "nothing of it goes");
    assert_eq!(hub.plan(NAME).entries.len(), 2, "installs stay");
    let approve = |count| Request::Approve(Approve { proposal: proposal.id, count });
    assert_eq!(hub.ask(&approve(1)).expect_err("two would go").code, ErrorCode::ApprovalRequired);
    assert_eq!(hub.ask(&approve(2)), Ok(Answer::Approved { installs: 2 }));
    assert!(matches!(hub.fleet.stage(id), ClusterStage::Removing { .. }));
    assert_eq!((goes(&hub).len(), hub.fleet.proposals().count()), (2, 0));
}

#[test]
fn a_cluster_whose_document_is_back_is_not_proposed_any_more() {
    let mut hub = deployed(8);
    for number in 1..4 {
        hub.write(&format!("clusters/edge-{number:03}.yaml"), &cluster(&format!("edge-{number:03}"), "env: dev"));
    }
    hub.sync();
    hub.hear_all();
    delete_by_document(&mut hub);
    assert_eq!(hub.fleet.proposals().count(), 1);
    hub.sync();
    assert_eq!(hub.fleet.proposals().count(), 1, "its absence says nothing more");
    hub.write(&format!("clusters/{NAME}.yaml"), &cluster_in("dev", NAME, "env: prod", "{deletionPolicy: Delete}"));
    hub.sync();
    assert_eq!(hub.fleet.proposals().count(), 0);
    assert_eq!(hub.plan(NAME).entries.len(), 2);
}

#[test]
fn after_a_recovery_the_rest_of_the_removal_is_approved_again() {
    let mut hub = deployed(3);
    detach(&mut hub, true, Some(2)).expect("begun");
    hub.ask(&Request::Recover(Recover { fleet: FLEET.to_owned(), mark: None, shown: None })).expect("recovered");
    assert_eq!(goes(&hub), BTreeSet::new(), "tombstones of an older era do nothing");
    assert_eq!(hub.plan(NAME).entries.len(), 2, "what they named is kept");
    assert_eq!(detach(&mut hub, true, None), Ok(DetachStage::Asked { installs: 2 }));
    detach(&mut hub, true, Some(2)).expect("goes on");
    assert_eq!((goes(&hub).len(), hub.fleet.proposals().count()), (2, 0));
}

#[test]
fn a_deleted_object_empties_its_cluster_and_one_that_is_made_again_takes_it_back() {
    let mut api = super::kubernetes::Api::deployed(4);
    let document = cluster_in("dev", NAME, "env: prod", "{deletionPolicy: Delete}");
    api.put(&document);
    let id = api.hub.id(NAME);
    let see = SeeCluster { cluster: id, key: Digest([1; 32]), fingerprint: "kube-system".to_owned() };
    api.hub.ask(&Request::SeeCluster(see)).expect("seen");
    let object = crate::testing::key(crate::resources::Kind::ManagedCluster, "dev", NAME);
    api.delete(&object, crate::steward::Evidence::Confirmed);
    assert!(matches!(api.hub.fleet.stage(id), ClusterStage::Removing { .. }));
    assert_eq!((goes(&api.hub), api.hub.fleet.spent().count()), (names(&["web"]), 1));
    api.vanish(&object);
    assert_eq!(goes(&api.hub).len(), 1, "the object's end changes nothing");
    api.create_again(&document);
    assert!(api.hub.fleet.is_attached(id));
    assert_eq!((goes(&api.hub).len(), api.hub.plan(NAME).entries.len()), (0, 1), "it has its addon again");
}
