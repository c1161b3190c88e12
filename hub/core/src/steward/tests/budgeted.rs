use starling_model::{Action, ErrorCode, KeepReason};

use crate::records::{ProposalKind, ProposalRecord};
use crate::steward::{Answer, Approve, Refusal, Request};
use crate::testing::{Hub, TO_PROD, assignment, cluster};

fn deployed(clusters: usize) -> Hub {
    let mut hub = Hub::new();
    hub.add_clusters(clusters);
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    hub.hear_all();
    hub
}

fn relabel(hub: &mut Hub, clusters: std::ops::Range<usize>, label: &str) {
    for index in clusters {
        let name = format!("edge-{index:03}");
        hub.write(&format!("clusters/{name}.yaml"), &cluster(&name, &format!("env: {label}")));
    }
    hub.sync();
}

fn removed(hub: &Hub) -> usize {
    hub.plans().values().filter(|plan| !plan.tombstones.is_empty()).count()
}

fn waiting(hub: &Hub) -> Vec<ProposalRecord> {
    hub.fleet.proposals().map(|proposal| (**proposal).clone()).collect()
}

fn approve(hub: &mut Hub, count: u64) -> Result<u64, Refusal> {
    let proposal = waiting(hub)[0].id;
    match hub.ask(&Request::Approve(Approve { proposal, count }))? {
        Answer::Approved { installs } => Ok(installs),
        other => panic!("an approval answers otherwise: {other:?}"),
    }
}

#[test]
fn a_few_relabelled_clusters_lose_their_install_at_once() {
    let mut hub = deployed(20);
    relabel(&mut hub, 0..3, "dev");
    assert_eq!((removed(&hub), waiting(&hub).len()), (3, 0));
    relabel(&mut hub, 3..4, "dev");
    assert_eq!((removed(&hub), waiting(&hub).len()), (3, 1), "in however many steps");
    hub.hear_all();
    hub.pass_a_day();
    relabel(&mut hub, 4..5, "dev");
    assert_eq!((removed(&hub), waiting(&hub).len()), (4, 1));
}

#[test]
fn a_mistaken_selector_waits_whole_and_is_withdrawn_when_it_is_corrected() {
    let mut hub = deployed(20);
    let plans = hub.plans();
    hub.write("web.yaml", &assignment("web", &TO_PROD.replace("prod", "prd")));
    hub.sync();
    assert_eq!(removed(&hub), 0);
    let proposals = waiting(&hub);
    assert_eq!((proposals.len(), proposals[0].clusters.0.len()), (1, 20));
    assert!(proposals[0].reason.contains("20 installs"), "{}", proposals[0].reason);
    for plan in hub.plans().values() {
        let keep = Action::Keep(KeepReason::RemovalAwaitsApproval(proposals[0].id));
        assert_eq!((plan.entries.len(), &plan.entries[0].action), (1, &keep));
    }
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    assert_eq!(waiting(&hub), []);
    assert_eq!(hub.plans(), plans);
}

#[test]
fn an_approval_names_the_count_and_is_void_if_it_grew() {
    let mut hub = deployed(20);
    hub.heard.0.insert(hub.id("edge-007"), std::collections::BTreeSet::new());
    hub.write("web.yaml", &assignment("web", &TO_PROD.replace("prod", "none")));
    hub.sync();
    hub.heard.0.remove(&hub.id("edge-007"));
    let refusal = approve(&mut hub, 19).expect_err("one more counts now");
    assert_eq!(refusal.code, ErrorCode::ApprovalRequired);
    assert_eq!(approve(&mut hub, 20), Ok(20));
    assert_eq!((removed(&hub), waiting(&hub).len()), (20, 0));
    assert_eq!(hub.fleet.spent().count(), 0);
    let tombstone = hub.fleet.tombstones().next().expect("a tombstone");
    assert_eq!(tombstone.approved_by.as_deref(), Some("tester"));
}

#[test]
fn a_cluster_selected_again_leaves_the_proposal() {
    let mut hub = deployed(20);
    relabel(&mut hub, 0..8, "dev");
    assert_eq!(waiting(&hub)[0].clusters.0.len(), 8);
    relabel(&mut hub, 0..2, "prod");
    assert_eq!(waiting(&hub)[0].clusters.0.len(), 6);
    relabel(&mut hub, 8..10, "dev");
    assert_eq!(waiting(&hub).len(), 1, "two more are within the budget");
    assert_eq!(removed(&hub), 2);
}

#[test]
fn another_instance_name_moves_a_few_at_once_and_many_when_approved() {
    let renamed = assignment("web", &format!("{TO_PROD}\n  instance: site"));
    let mut hub = deployed(3);
    hub.write("web.yaml", &renamed);
    hub.sync();
    for plan in hub.plans().values() {
        assert_eq!(plan.entries[0].install.name, "site");
        assert_eq!(plan.tombstones[0].install.name, "web");
    }
    let mut hub = deployed(20);
    let plans = hub.plans();
    hub.write("web.yaml", &renamed);
    hub.sync();
    assert_eq!(hub.plans(), plans, "it keeps the name that it has");
    assert!(matches!(waiting(&hub)[0].kind, ProposalKind::Revise(_)));
    let position = hub.fleet.position();
    hub.sync();
    assert_eq!(hub.fleet.position(), position);
    assert_eq!(approve(&mut hub, 20), Ok(20));
    for plan in hub.plans().values() {
        assert_eq!((plan.entries[0].install.name.as_str(), plan.tombstones.len()), ("site", 1));
    }
    assert_eq!(hub.fleet.revisions().count(), 1);
    hub.hear_all();
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    assert_eq!(approve(&mut hub, 20), Ok(20));
    for plan in hub.plans().values() {
        let gone: Vec<_> = plan.tombstones.iter().map(|tombstone| tombstone.install.name.as_str()).collect();
        assert_eq!((plan.entries[0].install.name.as_str(), gone), ("web", vec!["site"]));
    }
}

#[test]
fn a_waiting_revision_is_withdrawn_when_the_documents_change_back() {
    let mut hub = deployed(20);
    let plans = hub.plans();
    hub.write("web.yaml", &assignment("web", &format!("{TO_PROD}\n  targetNamespace: apps")));
    hub.sync();
    assert_eq!(waiting(&hub).len(), 1, "a release in another namespace is another release");
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    assert_eq!((waiting(&hub), hub.fleet.revisions().count()), (Vec::new(), 1));
    assert_eq!(hub.plans(), plans);
}

#[test]
fn a_tombstone_document_beyond_the_budget_waits_and_the_same_name_adopts_the_installs() {
    let mut hub = deployed(20);
    let uid = hub.assignment("web").record.uid;
    hub.files.remove("web.yaml");
    hub.write(
        "gone.yaml",
        &format!(
            "apiVersion: starling.dev/v1alpha1\nkind: Tombstone\nmetadata: {{name: gone, namespace: dev}}\nspec: \
             {{kind: AddonAssignment, name: web, uid: {uid}}}"
        ),
    );
    hub.sync();
    assert_eq!((removed(&hub), waiting(&hub)[0].kind.clone()), (0, ProposalKind::Delete));
    assert!(hub.plans().values().all(|plan| matches!(plan.entries[0].action, Action::Keep(_))));
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    for plan in hub.plans().values() {
        assert!(matches!(plan.entries[0].action, Action::Render(_)), "made again, it takes the installs over");
    }
    hub.hear_all();
    assert_eq!(approve(&mut hub, 0), Ok(0), "nobody holds the old incarnation any more");
    assert_eq!(removed(&hub), 0);
}

#[test]
fn a_detached_cluster_is_no_removal() {
    let mut hub = deployed(4);
    let detach =
        crate::steward::Detach { workspace: "dev".into(), name: "edge-000".into(), forget: true, ..Default::default() };
    hub.ask(&Request::Detach(detach)).expect("forgotten");
    assert_eq!((removed(&hub), hub.fleet.tombstones().count(), hub.fleet.spent().count()), (0, 0, 0));
}

mod any_order {
    use proptest::prelude::*;

    use super::*;
    use crate::deletion::budget::allowance;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Invariant I2: whatever people write in a day, no more than the budget goes unapproved.
        #[test]
        fn no_sequence_of_edits_removes_more_than_the_budget(
            steps in prop::collection::vec((0_usize..24, 1_usize..12, 0_u8..3, any::<bool>()), 1..12),
        ) {
            let mut hub = deployed(24);
            let mut gone = std::collections::BTreeSet::new();
            for (first, count, label, rename) in steps {
                if rename {
                    let spec = format!("{TO_PROD}\n  instance: i{label}");
                    hub.write("web.yaml", &assignment("web", &spec));
                    hub.sync();
                } else {
                    let label = ["prod", "dev", "test"][usize::from(label)];
                    relabel(&mut hub, first..(first + count).min(24), label);
                }
                for (id, plan) in hub.plans() {
                    for tombstone in plan.tombstones {
                        if hub.heard.0[&id].contains(&(tombstone.install.clone(), tombstone.assignment)) {
                            gone.insert((id, tombstone.id));
                        }
                    }
                }
                hub.hear_all();
            }
            prop_assert!(gone.len() as u64 <= allowance(24), "{gone:?}");
        }
    }
}
