use starling_model::session::DesiredAction;
use starling_model::{Position, labels};

use super::*;
use crate::testing::{
    SOURCE, entry, fence, holding, install, object, parked, release_key, render, source_key, tombstone, uid,
};

fn remove(inventory: &mut Inventory, id: u8, position: u64) {
    let plan = parked(fence(position), Vec::new(), vec![tombstone(id, "podinfo", uid(1), position)]);
    let intent = crate::intent::intend(inventory, &plan);
    inventory.commit(&intent).unwrap();
}

#[test]
fn an_install_is_applied_once_its_own_render_is_written() {
    let mut inventory = holding("podinfo", uid(1), 4);
    let name = install("podinfo");
    let digest = inventory.installs()[&name].render.digest;
    assert!(inventory.complete(&name, Outcome::Written(release_key("podinfo"), "u-1".into())));
    assert!(!inventory.complete(&name, Outcome::Written(release_key("podinfo"), "u-1".into())));
    assert!(!inventory.complete(&name, Outcome::Applied(Digest([3; 32]))), "an older intent's word");
    assert!(inventory.complete(&name, Outcome::Rejected(digest, "x".repeat(5000))));
    let report = inventory.reports().next().unwrap();
    assert_eq!(report.state, InstallState::Rejected);
    assert!(report.message.len() <= NOTE_BYTES);
    assert!(inventory.open_intent().is_some(), "what was rejected is tried again");
    assert!(inventory.complete(&name, Outcome::Applied(digest)));
    assert!(!inventory.complete(&name, Outcome::Applied(digest)));
    assert_eq!(inventory.open_intent(), None);
    let report = inventory.reports().next().unwrap();
    assert_eq!((report.state, report.message.as_str()), (InstallState::Applied, ""));
    assert!(inventory.complete(&name, Outcome::Repaired("HelmRelease podinfo: spec.interval".into())));
    let report = inventory.reports().next().unwrap();
    assert_eq!((report.drift_repairs, report.last_drift.as_str()), (1, "HelmRelease podinfo: spec.interval"));
}

#[test]
fn a_removal_ends_when_its_last_object_is_gone_and_is_remembered() {
    let mut inventory = holding("podinfo", uid(1), 4);
    let name = install("podinfo");
    inventory.complete(&name, Outcome::Written(release_key("podinfo"), "u-1".into()));
    assert!(!inventory.complete(&name, Outcome::Gone(release_key("podinfo"))), "nothing is being removed");
    remove(&mut inventory, 1, 5);
    assert!(inventory.wanted_by(&release_key("podinfo")).is_none());
    assert!(inventory.complete(&name, Outcome::Gone(release_key("podinfo"))));
    assert!(inventory.installs().contains_key(&name));
    assert!(inventory.complete(&name, Outcome::Gone(source_key("HelmRepository", "podinfo"))));
    assert!(inventory.installs().is_empty() && inventory.open_intent().is_none());
    let buried = inventory.buried().next().unwrap();
    assert_eq!(buried.objects[&release_key("podinfo")], Some("u-1".to_owned()));
    assert_eq!(buried.objects.len(), 2);
}

#[test]
fn what_cannot_be_removed_is_reported_until_it_can() {
    let mut inventory = holding("podinfo", uid(1), 4);
    let name = install("podinfo");
    let said = |inventory: &Inventory| inventory.reports().next().map(|report| (report.state, report.message));
    assert!(!inventory.complete(&name, Outcome::Stuck("forbidden".into())), "nothing is being removed");
    remove(&mut inventory, 1, 5);
    assert!(inventory.complete(&name, Outcome::Stuck("forbidden".into())));
    assert!(!inventory.complete(&name, Outcome::Stuck("forbidden".into())), "once is enough");
    assert_eq!(said(&inventory), Some((InstallState::Removing, "forbidden".to_owned())));
    assert!(inventory.complete(&name, Outcome::Stuck(String::new())));
    assert_eq!(said(&inventory), Some((InstallState::Removing, String::new())));
}

#[test]
fn a_late_creation_of_a_paused_agent_is_recognised() {
    let mut inventory = holding("podinfo", uid(1), 4);
    remove(&mut inventory, 1, 6);
    let created = |assignment, stamp: &str| {
        let mut document = object(crate::testing::HELM, "HelmRelease", "podinfo", assignment, "{}").document().clone();
        document
            .merge(&Value::map([("metadata", Value::map([("annotations", Value::map([(labels::FENCE, stamp)]))]))]));
        document
    };
    assert!(inventory.late_creation(&created(uid(1), "1.4")).is_none(), "it is still being removed");
    inventory.complete(&install("podinfo"), Outcome::Gone(release_key("podinfo")));
    assert!(inventory.late_creation(&created(uid(1), "1.4")).is_some());
    assert!(inventory.late_creation(&created(uid(1), "1.6")).is_none(), "written by somebody who knew");
    assert!(inventory.late_creation(&created(uid(2), "1.4")).is_none(), "of another assignment");
}

#[test]
fn a_late_creation_of_what_was_retired_is_recognised() {
    let mut inventory = holding("podinfo", uid(1), 4);
    let (name, old) = (install("podinfo"), source_key("HelmRepository", "podinfo"));
    let next = render("podinfo", uid(1), "OCIRepository", "2", vec![old.clone()]);
    let plan = parked(fence(6), vec![entry("podinfo", uid(1), DesiredAction::Render(next))], Vec::new());
    let intent = crate::intent::intend(&inventory, &plan);
    inventory.commit(&intent).unwrap();
    let created = |assignment, stamp: &str| {
        let mut document = object(SOURCE, "HelmRepository", "podinfo", assignment, "{}").document().clone();
        let annotations = Value::map([(labels::FENCE, stamp)]);
        document.merge(&Value::map([("metadata", Value::map([("annotations", annotations)]))]));
        document
    };
    assert!(inventory.late_creation(&created(uid(1), "1.4")).is_none(), "it is still being retired");
    assert!(inventory.complete(&name, Outcome::Retired(old)));
    let late = inventory.late_creation(&created(uid(1), "1.4")).unwrap();
    assert_eq!((late.install, late.owners), (name, BTreeSet::from([uid(1)])));
    assert!(inventory.late_creation(&created(uid(1), "1.6")).is_none(), "written by somebody who knew");
    assert!(inventory.late_creation(&created(uid(2), "1.4")).is_none(), "of another assignment");
    let stored = inventory.to_records();
    assert_eq!(Inventory::from_records(&stored.head, &stored.bodies).unwrap().inventory, inventory);
    remove(&mut inventory, 1, 7);
    for key in [release_key("podinfo"), source_key("OCIRepository", "podinfo")] {
        inventory.complete(&install("podinfo"), Outcome::Gone(key));
    }
    assert!(inventory.installs().is_empty());
    assert!(inventory.late_creation(&created(uid(1), "1.4")).is_some(), "the install's end does not forget it");
}

#[test]
fn only_so_many_tombstones_are_remembered_and_the_rest_is_counted() {
    let mut inventory = Inventory::default();
    for round in 0..(BURIED_MAXIMUM as u64 + 3) {
        let mut held = holding("podinfo", uid(1), 2 * round + 1);
        inventory.installs.append(&mut held.installs);
        remove(&mut inventory, 1, 2 * round + 2);
        for key in [release_key("podinfo"), source_key("HelmRepository", "podinfo")] {
            inventory.complete(&install("podinfo"), Outcome::Gone(key));
        }
        assert!(inventory.installs().is_empty());
    }
    assert_eq!((inventory.buried().count(), inventory.buried_forgotten()), (BURIED_MAXIMUM, 3));
    assert_eq!(inventory.buried().next().unwrap().tombstone.minted, (1, Position(8)));
}
