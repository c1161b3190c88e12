//! Deletions under our finalizer: what each comes to, once, however often it is asked.

use rstest::rstest;
use starling_model::ErrorCode;

use super::kubernetes::{Api, WEB};
use crate::records::{Absence, ClusterStage, ProposalKind};
use crate::resources::{InputKey, Kind};
use crate::steward::{Answer, Approve, Delete, Evidence, Join, Request, SourceDeletion};
use crate::testing::{TO_PROD, assignment, cluster, key, workspace};

const CONFIRMED: Evidence = Evidence::Confirmed;

fn removed(api: &Api) -> usize {
    api.hub.plans().values().filter(|plan| !plan.tombstones.is_empty()).count()
}

fn edge(index: usize) -> InputKey {
    key(Kind::ManagedCluster, "dev", &format!("edge-{index:03}"))
}

/// Lets a cluster's agent join, so that it can be asked to let go.
fn join(api: &mut Api, name: &str) {
    let adopt = crate::steward::Adopt {
        workspace: "dev".into(),
        name: name.into(),
        labels: std::collections::BTreeMap::new(),
        expires: starling_model::Millis(api.hub.now.0 + 60_000),
        file: String::new(),
    };
    let Ok(Answer::Adopted(adopted)) = api.hub.ask(&Request::Adopt(adopt)) else { panic!("not adopted") };
    let join = Join {
        token: adopted.token,
        key: starling_model::Digest::default(),
        fingerprint: String::new(),
        cluster_name: String::new(),
    };
    api.hub.ask(&Request::Join(join)).expect("it joins");
}

#[test]
fn a_deleted_assignment_goes_within_the_budget_and_the_same_again_is_nothing() {
    let mut api = Api::deployed(3);
    assert_eq!(api.delete(&WEB(), CONFIRMED), SourceDeletion::Removed);
    assert_eq!((removed(&api), api.hub.fleet.tombstones().count()), (3, 1));
    // The hub was killed before it let the finalizer go: the object is told again, and judged again.
    let position = api.hub.fleet.position();
    assert_eq!(api.delete(&WEB(), CONFIRMED), SourceDeletion::Settled);
    assert_eq!(api.hub.fleet.position(), position);
    api.vanish(&WEB());
    assert!(api.hub.fleet.deleted(&WEB()).is_none() && api.hub.fleet.problems().is_empty());
    api.put(&assignment("web", TO_PROD));
    assert_eq!(removed(&api), 0, "an entry wins over the tombstone");
}

#[test]
fn beyond_the_budget_it_waits_whole_and_whoever_makes_it_again_has_it_again() {
    let mut api = Api::deployed(20);
    let (plans, uid) = (api.hub.plans(), api.hub.assignment("web").record.uid);
    assert_eq!(api.delete(&WEB(), CONFIRMED), SourceDeletion::Proposed);
    api.vanish(&WEB());
    assert_eq!((removed(&api), api.hub.fleet.proposals().count()), (0, 1));
    api.put(&assignment("web", TO_PROD));
    assert_eq!(api.hub.assignment("web").record.uid, uid);
    assert_eq!((api.hub.plans(), api.hub.fleet.proposals().count()), (plans, 0));
    // And again, this time approved.
    assert_eq!(api.delete(&WEB(), CONFIRMED), SourceDeletion::Proposed);
    let proposal = api.hub.fleet.proposals().next().expect("a proposal").id;
    let short = api.hub.ask(&Request::Approve(Approve { proposal, count: 19 })).expect_err("one more counts");
    assert_eq!(short.code, ErrorCode::ApprovalRequired);
    api.hub.ask(&Request::Approve(Approve { proposal, count: 20 })).expect("it is approved");
    assert_eq!(removed(&api), 20);
}

/// Selects the first clusters of [`deployed_with_first`].
const NARROW: &str = "  version: 1.0.0\n  clusterSelector: {matchLabels: {env: prod, ring: first}}";

fn deployed_with_first(clusters: usize, first: usize) -> Api {
    let mut api = Api::deployed(clusters);
    for index in 0..first {
        api.put(&cluster(&format!("edge-{index:03}"), "env: prod, ring: first"));
    }
    api
}

/// Deletes the assignment with a hub that was started anew and heard nobody, and tells how many installs wait and how many go.
fn delete_unheard(api: &mut Api) -> (SourceDeletion, u64, usize) {
    api.hub.heard.0.clear();
    let outcome = api.delete(&WEB(), CONFIRMED);
    api.vanish(&WEB());
    let fleet = &api.hub.fleet;
    let waits =
        fleet.proposals().map(|proposal| crate::deletion::proposed(fleet, &api.hub.heard, proposal).count()).sum();
    (outcome, waits, removed(api))
}

#[rstest]
#[case::planned("1.0.0")]
#[case::blocked("9.0.0")]
fn made_again_narrower_it_leaves_the_other_clusters_waiting(#[case] version: &str) {
    let mut api = deployed_with_first(50, 3);
    assert_eq!(api.delete(&WEB(), CONFIRMED), SourceDeletion::Proposed);
    api.vanish(&WEB());
    api.put(&assignment("web", &NARROW.replace("1.0.0", version)));
    let waiting: Vec<_> = api.hub.fleet.proposals().cloned().collect();
    assert_eq!((waiting.len(), waiting[0].clusters.0.len()), (1, 47));
    assert_eq!(waiting[0].kind, ProposalKind::Deselect);
    assert!(api.hub.plans().values().all(|plan| plan.entries.len() == 1 && plan.tombstones.is_empty()));
    assert_eq!(delete_unheard(&mut api), (SourceDeletion::Proposed, 50, 0));
}

#[test]
fn narrowed_after_it_was_made_again_blocked_the_other_clusters_wait() {
    let mut api = deployed_with_first(50, 3);
    assert_eq!(api.delete(&WEB(), CONFIRMED), SourceDeletion::Proposed);
    api.vanish(&WEB());
    api.put(&assignment("web", &TO_PROD.replace("1.0.0", "9.0.0")));
    assert_eq!(api.hub.fleet.proposals().count(), 0, "all are selected again");
    api.put(&assignment("web", &NARROW.replace("1.0.0", "9.0.0")));
    assert_eq!(api.hub.fleet.proposals().map(|proposal| proposal.clusters.0.len()).sum::<usize>(), 47);
    assert_eq!(delete_unheard(&mut api), (SourceDeletion::Proposed, 50, 0));
}

#[rstest]
#[case(Absence::NamespaceTerminating)]
#[case(Absence::NamespaceMissing)]
#[case(Absence::KindTerminating)]
#[case(Absence::KindMissing)]
fn what_went_with_something_else_stays_and_says_why(#[case] absence: Absence) {
    let mut api = Api::deployed(3);
    let plans = api.hub.plans();
    assert_eq!(api.delete(&WEB(), Evidence::Denied(absence)), SourceDeletion::Kept(absence));
    assert_eq!(api.delete(&WEB(), CONFIRMED), SourceDeletion::Kept(absence), "what was denied once stays denied");
    api.vanish(&WEB());
    assert_eq!((api.hub.plans(), removed(&api)), (plans.clone(), 0));
    let problems = api.hub.fleet.problems();
    assert!(problems[0].message.contains("no evidence"), "{problems:?}");
    api.put(&assignment("web", TO_PROD));
    assert_eq!((api.hub.plans(), api.hub.fleet.problems()), (plans, vec![]));
}

#[test]
fn evidence_is_of_the_very_object_that_was_copied() {
    let mut api = Api::deployed(3);
    assert_eq!(api.delete_object(&WEB(), "another", CONFIRMED), SourceDeletion::Settled);
    assert_eq!((removed(&api), api.hub.fleet.assignments().count()), (0, 1));
}

#[test]
fn an_addon_in_use_goes_and_what_is_installed_stays() {
    let mut api = Api::deployed(2);
    let addon = key(Kind::Addon, "starling-platform", "podinfo");
    assert_eq!(api.delete(&addon, CONFIRMED), SourceDeletion::Removed);
    assert_eq!(removed(&api), 0);
    assert!(api.hub.assignment("web").record.revision.is_some());
    assert!(api.hub.fleet.problems().iter().any(|problem| problem.key == WEB() && problem.message.contains("podinfo")));
}

#[test]
fn a_workspace_with_somebody_in_it_goes_with_the_last_of_them() {
    let mut api = Api::deployed(1);
    let dev = key(Kind::Workspace, "", "dev");
    assert_eq!(api.delete(&dev, CONFIRMED), SourceDeletion::Kept(Absence::InUse));
    api.vanish(&dev);
    assert!(api.hub.fleet.input(&dev).is_some());
    assert_eq!(api.delete(&WEB(), CONFIRMED), SourceDeletion::Removed);
    assert!(api.hub.fleet.input(&dev).is_some());
    assert_eq!(api.delete(&edge(0), CONFIRMED), SourceDeletion::Removed, "nobody joined as it");
    assert!(api.hub.fleet.input(&dev).is_none());
}

#[test]
fn a_workspace_that_is_made_again_stays() {
    let mut api = Api::deployed(1);
    let dev = key(Kind::Workspace, "", "dev");
    api.delete(&dev, CONFIRMED);
    api.vanish(&dev);
    api.put(&workspace("dev"));
    api.delete(&WEB(), CONFIRMED);
    api.delete(&edge(0), CONFIRMED);
    assert!(api.hub.fleet.input(&dev).is_some());
}

#[test]
fn a_deleted_cluster_is_detached_and_kept_until_its_agent_let_go() {
    let mut api = Api::deployed(2);
    join(&mut api, "edge-000");
    let id = api.hub.id("edge-000");
    assert_eq!(api.delete(&edge(0), CONFIRMED), SourceDeletion::Detaching);
    assert_eq!(api.delete(&edge(0), CONFIRMED), SourceDeletion::Detaching);
    api.vanish(&edge(0));
    assert!(!api.hub.fleet.is_attached(id) && api.hub.fleet.cluster(id).is_some());
    let answer = api.hub.ask(&Request::DetachAcknowledged(id)).expect("it let go");
    assert!(matches!(answer, Answer::Detached { remove: None, .. }), "{answer:?}");
    assert!(api.hub.fleet.cluster(id).is_none());
    assert_eq!(removed(&api), 0);
}

#[test]
fn a_cluster_that_is_made_again_in_time_is_not_detached() {
    for moves in [false, true] {
        let mut api = Api::deployed(1);
        join(&mut api, "edge-000");
        let id = api.hub.id("edge-000");
        api.delete(&edge(0), CONFIRMED);
        api.vanish(&edge(0));
        if moves {
            api.put(&workspace("ops"));
            api.put(&crate::testing::cluster_in("ops", "edge-000", "env: prod", &format!("{{id: {id}}}")));
        } else {
            api.put(&cluster("edge-000", "env: prod"));
        }
        assert!(matches!(api.hub.fleet.identity(id).expect("it joined").stage, ClusterStage::Attached));
        assert_eq!(api.hub.fleet.cluster(id).expect("it is managed").record.missing, None);
    }
}

#[test]
fn what_the_command_line_deleted_stays_deleted_until_its_object_is_gone_or_another() {
    let mut api = Api::deployed(2);
    let delete = Delete { key: WEB(), approved_count: Some(2) };
    let Ok(Answer::Deletion(deletion)) = api.hub.ask(&Request::Delete(delete)) else { panic!("not deleted") };
    assert!(deletion.deleted && deletion.remove.is_some());
    api.tell(&assignment("web", TO_PROD));
    assert!(api.hub.fleet.assignments().next().is_none());
    assert!(api.hub.fleet.problems()[0].next.contains("kubectl delete addonassignment web -n dev"));
    assert_eq!(api.delete(&WEB(), CONFIRMED), SourceDeletion::Settled);
    // It went and came again before the hub looked.
    api.create_again(&assignment("web", TO_PROD));
    assert!(api.hub.fleet.assignments().next().is_some());
}
