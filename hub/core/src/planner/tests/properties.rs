use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::steward::SourceFile;
use crate::testing::{Hub, assignment, assignment_in, cluster};

/// Small fleets: clusters by label, assignments by (name, label, version, instance, platform's).
#[derive(Clone, Debug)]
struct Case {
    clusters: Vec<u8>,
    assignments: Vec<(u8, u8, bool, u8, bool)>,
    removed: Vec<prop::sample::Index>,
}

fn cases() -> impl Strategy<Value = Case> {
    let one = (0_u8..4, 0_u8..3, any::<bool>(), 0_u8..3, any::<bool>());
    (
        prop::collection::vec(0_u8..3, 1..5),
        prop::collection::vec(one, 0..6),
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    )
        .prop_map(|(clusters, assignments, removed)| Case { clusters, assignments, removed })
}

fn documents(case: &Case) -> Vec<(String, String)> {
    let clusters = case.clusters.iter().enumerate().map(|(index, label)| {
        let name = format!("edge-{index:03}");
        (format!("{name}.yaml"), cluster(&name, &format!("env: e{label}")))
    });
    let mut seen = BTreeSet::new();
    let assignments = case.assignments.iter().filter_map(|(name, label, newer, instance, platform)| {
        let version = if *newer { "2.0.0" } else { "1.0.0" };
        let name = format!("a{name}");
        let namespace = if *platform { "starling-platform" } else { "dev" };
        seen.insert((namespace, name.clone())).then(|| {
            let spec = format!(
                "  version: {version}\n  instance: i{instance}\n  clusterSelector: {{matchLabels: {{env: e{label}}}}}"
            );
            (format!("{namespace}-{name}.yaml"), assignment_in(namespace, &name, &spec))
        })
    });
    clusters.chain(assignments).collect()
}

fn build(documents: &[(String, String)]) -> Hub {
    let mut hub = Hub::new();
    for (file, document) in documents {
        hub.write(file, document);
    }
    hub.sync();
    hub
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_inputs_does_not_matter(case in cases(), seed in any::<u64>()) {
        let hub = build(&documents(&case));
        let mut shuffled: Vec<_> = hub.fleet.inputs().map(|record| (**record).clone()).collect();
        let length = shuffled.len();
        for index in 0..length {
            shuffled.swap(index, usize::try_from(seed.rotate_left(index as u32) % length as u64).expect("small"));
        }
        let mut other = crate::fleet::Fleet::new(crate::testing::FLEET);
        for record in shuffled {
            other.apply(&crate::change::Change::PutInput(record));
        }
        for assignment in hub.fleet.assignments() {
            other.apply(&crate::change::Change::PutAssignment((*assignment.record).clone()));
        }
        for revision in hub.fleet.revisions() {
            other.apply(&crate::change::Change::PutRevision((**revision).clone()));
        }
        for cluster in hub.fleet.managed_clusters() {
            let facts = crate::testing::facts();
            let (one, two) =
                (super::plan(&hub.fleet, cluster.id, &facts), super::plan(&other, cluster.id, &facts));
            prop_assert_eq!(one.digest(), two.digest());
            prop_assert_eq!(one.entries, two.entries);
        }
    }

    #[test]
    fn syncing_the_same_again_writes_nothing(case in cases()) {
        let mut hub = build(&documents(&case));
        let position = hub.fleet.position();
        hub.sync();
        prop_assert_eq!(hub.fleet.position(), position);
    }

    #[test]
    fn a_plan_never_wants_and_removes_the_same_install(before in cases(), after in cases()) {
        let mut hub = build(&documents(&before));
        hub.hear_all();
        for (file, document) in documents(&after) {
            hub.write(&file, &document);
        }
        hub.sync();
        for plan in hub.plans().values() {
            let installs: BTreeSet<_> = plan.entries.iter().map(|entry| &entry.install).collect();
            prop_assert_eq!(installs.len(), plan.entries.len());
            prop_assert!(plan.tombstones.iter().all(|tombstone| !installs.contains(&tombstone.install)));
            prop_assert!(plan.entries.windows(2).all(|pair| pair[0].install < pair[1].install));
        }
    }

    #[test]
    fn what_merely_vanishes_changes_no_plan(case in cases()) {
        let mut hub = build(&documents(&case));
        let plans = hub.plans();
        let files: Vec<String> = hub.files.keys().cloned().collect();
        for index in &case.removed {
            let file = index.get(&files);
            hub.files.remove(file);
        }
        hub.sync();
        prop_assert_eq!(&hub.plans(), &plans);
        hub.files.clear();
        hub.sync();
        prop_assert_eq!(hub.plans(), plans);
    }

    #[test]
    fn what_cannot_be_read_changes_no_plan(case in cases()) {
        let mut hub = build(&documents(&case));
        let (plans, position) = (hub.plans(), hub.fleet.position());
        for file in hub.files.values_mut() {
            *file = SourceFile { documents: Vec::new(), unreadable: true }.into();
        }
        hub.sync();
        prop_assert_eq!(hub.plans(), plans);
        prop_assert_eq!(hub.fleet.position(), position, "nothing is even missing");
    }

    #[test]
    fn planning_is_the_same_twice(case in cases()) {
        let hub = build(&documents(&case));
        prop_assert_eq!(hub.plans(), hub.plans());
    }
}

#[test]
fn an_assignment_without_clusters_is_planned_nowhere() {
    let mut hub = Hub::new();
    hub.write("a.yaml", &assignment("web", crate::testing::TO_PROD));
    hub.sync();
    assert!(hub.plans().is_empty());
}
