//! Objects of a Kubernetes API: what comes, changes, vanishes and moves; nothing of it removes anything.

use proptest::prelude::*;

use super::kubernetes::{Api, WEB};
use crate::records::Absence;
use crate::resources::Kind;
use crate::steward::{Evidence, Request, SourceDeletion, SyncObjects};
use crate::testing::{TO_PROD, assignment, cluster, cluster_in, key, workspace};

#[test]
fn a_change_is_taken_and_the_same_again_changes_nothing() {
    let mut api = Api::deployed(2);
    let position = api.hub.fleet.position();
    api.tell(&assignment("web", TO_PROD));
    assert_eq!(api.hub.fleet.position(), position);
    api.put(&assignment("web", &TO_PROD.replace("1.0.0", "2.0.0")));
    assert_eq!(api.hub.assignment("web").document().spec.version, "2.0.0");
    assert_eq!(api.hub.assignment("web").input.origin.as_ref().map(|origin| origin.generation), Some(2));
}

#[test]
fn an_object_that_vanished_stays_and_is_shown_and_is_the_same_when_it_is_back() {
    let mut api = Api::deployed(3);
    let (plans, uid) = (api.hub.plans(), api.hub.assignment("web").record.uid);
    api.vanish(&WEB());
    assert_eq!(api.hub.plans(), plans);
    let problems = api.hub.fleet.problems_of(&WEB());
    assert!(problems[0].message.contains("object is not there"), "{problems:?}");
    api.put(&assignment("web", TO_PROD));
    assert_eq!(api.hub.assignment("web").record.uid, uid);
    assert_eq!((api.hub.plans(), api.hub.fleet.problems()), (plans, vec![]));
}

#[test]
fn a_cluster_moves_by_its_identity_in_either_order() {
    for old_goes_first in [false, true] {
        let mut api = Api::deployed(2);
        api.put(&workspace("ops"));
        let (id, old) = (api.hub.id("edge-000"), key(Kind::ManagedCluster, "dev", "edge-000"));
        let moved = cluster_in("ops", "edge-000", "env: prod", &format!("{{id: {id}}}"));
        if old_goes_first {
            api.vanish(&old);
            api.put(&moved);
        } else {
            api.put(&moved);
            assert_eq!(api.hub.fleet.cluster(id).expect("a cluster").name().namespace, "dev");
            assert_eq!(api.delete(&old, Evidence::Confirmed), SourceDeletion::Removed);
            api.vanish(&old);
        }
        assert_eq!(api.hub.fleet.cluster(id).expect("a cluster").name().namespace, "ops");
        assert!(api.hub.fleet.input(&old).is_none() && api.hub.fleet.deleted(&old).is_none());
        assert!(api.hub.fleet.is_attached(id));
    }
}

#[test]
fn another_identity_under_a_known_name_is_refused_with_what_to_do() {
    let mut api = Api::deployed(1);
    let text = "{id: 11111111-1111-4111-8111-111111111111}";
    let synced = api.tell(&cluster_in("dev", "edge-000", "env: prod", text));
    assert!(synced.problems[0].problem.message.contains("immutable"), "{synced:?}");
}

#[test]
fn a_resource_of_a_directory_becomes_an_objects_without_a_change_of_plans() {
    let mut api = Api::new();
    api.hub.write("web.yaml", &[cluster("edge-000", "env: prod"), assignment("web", TO_PROD)].join("\n---\n"));
    api.hub.sync();
    let plans = api.hub.plans();
    for text in [cluster("edge-000", "env: prod"), assignment("web", TO_PROD)] {
        api.put(&text);
    }
    assert_eq!(api.hub.plans(), plans);
    assert!(api.hub.assignment("web").input.origin.is_some());
}

#[test]
fn an_empty_request_commits_nothing() {
    let mut api = Api::new();
    let decision = api.hub.decide(&Request::SyncObjects(SyncObjects::default())).expect("it is granted");
    assert_eq!(decision.changes, []);
}

/// Something that happens to an object, none of which is evidence.
#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Vanish(usize),
    Denied(usize, Absence),
    CreateAgain(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let absence = prop_oneof![
        Just(Absence::NamespaceTerminating),
        Just(Absence::NamespaceMissing),
        Just(Absence::KindTerminating),
        Just(Absence::KindMissing),
    ];
    prop_oneof![
        (0_usize..7).prop_map(Step::Put),
        (0_usize..7).prop_map(Step::Vanish),
        ((0_usize..7), absence).prop_map(|(index, absence)| Step::Denied(index, absence)),
        (0_usize..7).prop_map(Step::CreateAgain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_but_evidence_removes_anything(steps in prop::collection::vec(step(), 1..40)) {
        let mut api = Api::deployed(3);
        let documents: Vec<String> = [workspace("dev"), crate::testing::addon("podinfo"), assignment("web", TO_PROD)]
            .into_iter()
            .chain((0..3).map(|index| cluster(&format!("edge-{index:03}"), "env: prod")))
            .chain([workspace("ops")])
            .collect();
        let plans = api.hub.plans();
        for step in steps {
            match step {
                Step::Put(index) => drop(api.put(&documents[index])),
                Step::Vanish(index) => api.vanish(&crate::testing::yaml(&documents[index]).key()),
                Step::Denied(index, absence) => {
                    let key = crate::testing::yaml(&documents[index]).key();
                    api.delete(&key, Evidence::Denied(absence));
                    api.vanish(&key);
                }
                Step::CreateAgain(index) => {
                    api.vanish(&crate::testing::yaml(&documents[index]).key());
                    api.create_again(&documents[index]);
                }
            }
            prop_assert_eq!(api.hub.fleet.tombstones().count(), 0);
            prop_assert_eq!(api.hub.fleet.proposals().count(), 0);
            prop_assert_eq!(&api.hub.plans(), &plans);
        }
    }
}
