use starling_model::ErrorCode;

use crate::resources::{InputKey, Kind};
use crate::steward::{Answer, ApplyResources, Delete, Deletion, Refusal, Request};
use crate::testing::{Hub, TO_PROD, assignment, cluster_in, key, workspace, yaml};

fn web() -> InputKey {
    key(Kind::AddonAssignment, "dev", "web")
}

fn delete(hub: &mut Hub, key: InputKey, approved_count: Option<u64>) -> Result<Deletion, Refusal> {
    match hub.ask(&Request::Delete(Delete { key, approved_count }))? {
        Answer::Deletion(deletion) => Ok(deletion),
        other => panic!("a deletion answers otherwise: {other:?}"),
    }
}

fn deployed(clusters: usize) -> Hub {
    let mut hub = Hub::new();
    hub.add_clusters(clusters);
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    hub.hear_all();
    hub
}

#[test]
fn a_deletion_shows_its_count_and_happens_when_it_is_approved() {
    let mut hub = deployed(12);
    let uid = hub.assignment("web").record.uid;
    let position = hub.fleet.position();
    let shown = delete(&mut hub, web(), None).expect("a count");
    assert_eq!((shown.installs, shown.unheard, shown.deleted, shown.uid), (12, 0, false, Some(uid)));
    assert_eq!(hub.fleet.position(), position, "asking writes nothing");
    let refusal = delete(&mut hub, web(), Some(11)).expect_err("less was approved");
    assert_eq!(refusal.code, ErrorCode::ApprovalRequired);
    assert!(refusal.message.contains("--approve 12"), "{refusal}");
    let deleted = delete(&mut hub, web(), Some(12)).expect("it is approved");
    assert_eq!((deleted.deleted, deleted.remove), (true, Some(("web.yaml".to_owned(), web()))));
    for plan in hub.plans().values() {
        assert_eq!((plan.entries.len(), plan.tombstones.len()), (0, 1));
        assert_eq!(plan.tombstones[0].assignment, uid);
        assert_eq!(plan.tombstones[0].minted.1, hub.fleet.position());
    }
    assert_eq!(hub.fleet.spent().count(), 0, "an approved removal is no charge to the budget");
}

#[test]
fn what_was_deleted_does_not_come_back_while_its_document_is_still_there() {
    let mut hub = deployed(2);
    let old = hub.assignment("web").record.uid;
    delete(&mut hub, web(), Some(2)).expect("deleted");
    hub.sync();
    hub.write("moved.yaml", &assignment("web", TO_PROD));
    hub.files.remove("web.yaml");
    hub.sync();
    assert!(hub.fleet.assignment_named("dev", "web").is_none());
    assert!(hub.fleet.problems()[0].next.contains("remove the document"), "{:?}", hub.fleet.problems());
    // The document is changed: somebody means it.
    hub.write("moved.yaml", &assignment("web", &TO_PROD.replace("1.0.0", "2.0.0")));
    hub.sync();
    assert_ne!(hub.assignment("web").record.uid, old);
    assert_eq!(hub.fleet.problems(), []);
    for plan in hub.plans().values() {
        assert_eq!((plan.entries.len(), plan.tombstones.len()), (1, 0), "the new incarnation takes the install over");
    }
}

#[test]
fn what_was_deleted_comes_back_when_its_document_went_and_came_or_is_applied() {
    let mut hub = deployed(2);
    delete(&mut hub, web(), Some(2)).expect("deleted");
    hub.files.remove("web.yaml");
    hub.sync();
    assert_eq!(hub.fleet.all_deleted().count(), 0);
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    assert!(hub.fleet.assignment_named("dev", "web").is_some());
    hub.hear_all();
    delete(&mut hub, web(), Some(2)).expect("deleted");
    let resources = vec![yaml(&assignment("web", TO_PROD))];
    hub.ask(&Request::ApplyResources(ApplyResources { resources, dry_run: false })).expect("applied");
    hub.sync();
    assert!(hub.fleet.assignment_named("dev", "web").is_some());
}

#[test]
fn a_cluster_that_was_not_heard_counts_as_holding() {
    let mut hub = deployed(5);
    let (silent, empty) = (hub.id("edge-001"), hub.id("edge-002"));
    hub.heard.0.remove(&silent);
    hub.heard.0.insert(empty, std::collections::BTreeSet::new());
    let shown = delete(&mut hub, web(), None).expect("a count");
    assert_eq!((shown.installs, shown.unheard), (4, 1));
    assert!(shown.examples.iter().all(|name| name.namespace == "dev"));
}

#[test]
fn one_record_stays_of_a_deleted_assignment() {
    let mut hub = deployed(3);
    hub.write("clusters/edge-000.yaml", &crate::testing::cluster("edge-000", "env: dev"));
    hub.sync();
    assert_eq!(hub.fleet.tombstones().count(), 1);
    delete(&mut hub, web(), Some(3)).expect("deleted");
    assert_eq!(hub.fleet.tombstones().count(), 1);
    assert_eq!(hub.fleet.revisions().count(), 0);
    assert_eq!(hub.plan("edge-000").tombstones.len(), 1);
}

#[test]
fn what_others_need_is_not_deleted_by_accident() {
    let mut hub = deployed(1);
    let refusal = delete(&mut hub, key(Kind::Workspace, "", "dev"), Some(9)).expect_err("it has members");
    assert_eq!(refusal.code, ErrorCode::Conflict);
    assert!(refusal.message.contains("1 cluster, 1 assignment"), "{refusal}");
    let refusal = delete(&mut hub, key(Kind::ManagedCluster, "dev", "edge-000"), Some(9)).expect_err("detach it");
    assert!(refusal.message.contains("starling detach cluster"), "{refusal}");
    let plans = hub.plans().into_values().map(|plan| plan.tombstones).collect::<Vec<_>>();
    let addon = delete(&mut hub, key(Kind::Addon, "starling-platform", "podinfo"), Some(0)).expect("deleted");
    assert_eq!(addon.installs, 0);
    assert_eq!(hub.plans().into_values().map(|plan| plan.tombstones).collect::<Vec<_>>(), plans);
    assert!(hub.assignment("web").record.blocked.is_some(), "what is installed stays, and the reason is shown");
    let missing = delete(&mut hub, key(Kind::Addon, "dev", "other"), None).expect_err("no such addon");
    assert_eq!(missing.code, ErrorCode::NotFound);
}

fn tombstone(uid: impl std::fmt::Display) -> String {
    format!(
        "apiVersion: starling.dev/v1alpha1\nkind: Tombstone\nmetadata: {{name: gone, namespace: dev}}\nspec: \
         {{kind: AddonAssignment, name: web, uid: {uid}}}"
    )
}

#[test]
fn a_committed_tombstone_deletes_within_the_budget_once() {
    let mut hub = deployed(3);
    let uid = hub.assignment("web").record.uid;
    hub.files.remove("web.yaml");
    hub.write("gone.yaml", &tombstone(uid));
    hub.sync();
    assert!(hub.fleet.assignment_named("dev", "web").is_none());
    assert!(hub.plans().values().all(|plan| plan.tombstones.len() == 1));
    assert_eq!(hub.fleet.spent().map(|entry| entry.installs).sum::<u64>(), 3);
    assert_eq!(hub.fleet.problems(), []);
    let position = hub.fleet.position();
    hub.sync();
    assert_eq!(hub.fleet.position(), position);
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    assert!(hub.plans().values().all(|plan| plan.entries.len() == 1), "another incarnation is not meant");
}

#[test]
fn a_tombstone_for_nobody_is_shown_and_does_nothing() {
    let mut hub = deployed(3);
    let plans = hub.plans();
    hub.write("gone.yaml", &tombstone("5492b768-9114-4db9-9df5-a271647019c9"));
    hub.sync();
    assert_eq!(hub.plans(), plans);
    let problems = hub.fleet.problems_of(&key(Kind::Tombstone, "dev", "gone"));
    assert!(problems[0].message.contains("unknown"), "{problems:?}");
}

#[test]
fn a_deletion_reaches_a_cluster_that_has_moved_away() {
    let mut hub = Hub::new();
    let spec = "{id: 5492b768-9114-4db9-9df5-a271647019c9}";
    hub.write("ops.yaml", &workspace("ops"));
    hub.write("c.yaml", &cluster_in("dev", "edge", "env: prod", spec));
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    let id = hub.id("edge");
    hub.hear_all();
    delete(&mut hub, web(), Some(1)).expect("deleted");
    let before = hub.plans()[&id].tombstones[0].minted;
    hub.write("c.yaml", &cluster_in("ops", "edge", "env: prod", spec));
    hub.sync();
    let plan = &hub.plans()[&id];
    assert_eq!(plan.tombstones.len(), 1);
    assert_eq!(plan.tombstones[0].minted, before, "a move is no new evidence");
}
