//! The index against a naive model, and its bounds.

use std::collections::BTreeMap;

use proptest::prelude::*;
use starling_model::{Health, InstallState, Position, health};

use super::*;

const CLUSTERS: u8 = 3;

fn cluster(number: u8) -> ClusterId {
    ClusterId([number; 16])
}

fn status(kind: u8, name: u8, health: Health, text: u8) -> ObjectStatus {
    let group = if kind == 0 { "helm.toolkit.fluxcd.io" } else { "kustomize.toolkit.fluxcd.io" };
    ObjectStatus {
        key: ObjectKey::new(
            group,
            if kind == 0 { "HelmRelease" } else { "Kustomization" },
            "apps",
            &format!("n{name}"),
        ),
        health,
        reason: String::new(),
        message: format!("message {text}"),
        revision: format!("1.0.{text}"),
        generation: u64::from(text),
        assignment: (!name.is_multiple_of(3)).then_some(Uid([name % 3; 16])),
    }
}

fn report(name: u8, text: u8) -> InstallReport {
    InstallReport {
        install: InstallKey::new("starling-addons", format!("n{name}")),
        assignment: Uid([name; 16]),
        assignment_name: format!("team/n{name}"),
        render: Digest([text; 32]),
        revision: Digest([text; 32]),
        recorded: (1, Position(u64::from(text))),
        state: InstallState::Applied,
        message: String::new(),
        drift_repairs: 0,
        last_drift: format!("drift {text}"),
    }
}

/// The same picture, kept in the plainest way.
#[derive(Default)]
struct Naive {
    objects: BTreeMap<ClusterId, BTreeMap<ObjectKey, (ObjectStatus, Millis)>>,
    installs: BTreeMap<ClusterId, BTreeMap<InstallKey, InstallReport>>,
    snapshots: BTreeMap<ClusterId, (Vec<ObjectKey>, Vec<InstallKey>)>,
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u8),
    Finish(u8),
    Upsert(u8, ObjectStatus),
    Remove(u8, ObjectKey),
    Report(u8, InstallReport),
    RemoveInstall(u8, InstallKey),
    Drop(u8),
}

impl Naive {
    fn apply(&mut self, step: &Step, now: Millis) {
        match step {
            Step::Begin(id) => {
                self.snapshots.insert(cluster(*id), Default::default());
            }
            Step::Finish(id) => {
                let Some((keys, installs)) = self.snapshots.remove(&cluster(*id)) else { return };
                self.objects.entry(cluster(*id)).or_default().retain(|key, _| keys.contains(key));
                self.installs.entry(cluster(*id)).or_default().retain(|key, _| installs.contains(key));
            }
            Step::Upsert(id, status) => {
                let objects = self.objects.entry(cluster(*id)).or_default();
                let since = objects.get(&status.key).filter(|(old, _)| old.health == status.health);
                let since = since.map_or(now, |(_, since)| *since);
                objects.insert(status.key.clone(), (status.clone(), since));
                if let Some((keys, _)) = self.snapshots.get_mut(&cluster(*id)) {
                    keys.push(status.key.clone());
                }
            }
            Step::Remove(id, key) => {
                self.objects.entry(cluster(*id)).or_default().remove(key);
            }
            Step::Report(id, report) => {
                self.installs.entry(cluster(*id)).or_default().insert(report.install.clone(), report.clone());
                if let Some((_, installs)) = self.snapshots.get_mut(&cluster(*id)) {
                    installs.push(report.install.clone());
                }
            }
            Step::RemoveInstall(id, install) => {
                self.installs.entry(cluster(*id)).or_default().remove(install);
            }
            Step::Drop(id) => {
                self.objects.remove(&cluster(*id));
                self.installs.remove(&cluster(*id));
                self.snapshots.remove(&cluster(*id));
            }
        }
    }

    fn matching(&self, filter: &Filter) -> Vec<Found> {
        let in_filter = |id: &ClusterId| filter.clusters.as_ref().is_none_or(|ids| ids.contains(id));
        let wanted = |wanted: &Option<String>, text: &String| wanted.as_ref().is_none_or(|wanted| wanted == text);
        let clusters = self.objects.iter().filter(|(id, _)| in_filter(id));
        clusters
            .flat_map(|(id, objects)| objects.values().map(|(status, since)| (*id, status, *since)))
            .filter(|(_, status, _)| {
                filter.health.contains(status.health)
                    && wanted(&filter.kind, &status.key.kind)
                    && wanted(&filter.name, &status.key.name)
                    && filter.assignment.is_none_or(|uid| status.assignment == Some(uid))
            })
            .filter(|(id, status, _)| {
                filter.visible.as_ref().is_none_or(|visible| {
                    let is_of_seen = status.assignment.is_some_and(|uid| visible.assignments.contains(&uid));
                    visible.clusters.contains(id) || is_of_seen
                })
            })
            .map(|(cluster, status, since)| Found { cluster, status: status.clone(), since })
            .collect()
    }
}

fn apply(index: &mut StatusIndex, snapshots: &mut BTreeMap<u8, ()>, step: &Step, now: Millis) {
    let limits = Limits::DEFAULT;
    match step {
        Step::Begin(id) => {
            index.begin_snapshot(cluster(*id));
            snapshots.insert(*id, ());
        }
        // As the session does, a snapshot ends only when it began.
        Step::Finish(id) => {
            if snapshots.remove(id).is_some() {
                index.finish_snapshot(cluster(*id));
            }
        }
        Step::Upsert(id, status) => {
            index.upsert(cluster(*id), status, &limits, now);
        }
        Step::Remove(id, key) => {
            index.remove(cluster(*id), key);
        }
        Step::Report(id, report) => {
            index.report_install(cluster(*id), report, &limits);
        }
        Step::RemoveInstall(id, install) => {
            index.remove_install(cluster(*id), install);
        }
        Step::Drop(id) => {
            index.drop_cluster(&cluster(*id));
            snapshots.remove(id);
        }
    }
}

fn any_status() -> impl Strategy<Value = ObjectStatus> {
    (0..2u8, 0..6u8, prop::sample::select(&Health::ALL[..]), 0..4u8)
        .prop_map(|(kind, name, health, text)| status(kind, name, health, text))
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..CLUSTERS).prop_map(Step::Begin),
        1 => (0..CLUSTERS).prop_map(Step::Finish),
        8 => (0..CLUSTERS, any_status()).prop_map(|(id, status)| Step::Upsert(id, status)),
        2 => (0..CLUSTERS, any_status()).prop_map(|(id, status)| Step::Remove(id, status.key)),
        3 => (0..CLUSTERS, 0..4u8, 0..3u8).prop_map(|(id, name, text)| Step::Report(id, report(name, text))),
        1 => (0..CLUSTERS, 0..4u8).prop_map(|(id, name)| Step::RemoveInstall(id, report(name, 0).install)),
        1 => (0..CLUSTERS).prop_map(Step::Drop),
    ]
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let health = prop::collection::vec(prop::sample::select(&Health::ALL[..]), 1..8);
    (
        prop::option::of(prop::collection::btree_set((0..CLUSTERS).prop_map(cluster), 0..3)),
        prop::option::of(health.prop_map(HealthSet::from_iter)),
        prop::option::of(Just("HelmRelease".to_owned())),
        prop::option::of((0..7u8).prop_map(|name| format!("n{name}"))),
        prop::option::of((0..4u8).prop_map(|uid| Uid([uid; 16]))),
        prop::option::of(any_visible()),
    )
        .prop_map(|(clusters, health, kind, name, assignment, visible)| Filter {
            clusters,
            health: health.unwrap_or(HealthSet::ALL),
            kind,
            name,
            assignment,
            visible,
            ..Filter::default()
        })
}

fn any_visible() -> impl Strategy<Value = Visible> {
    (
        prop::collection::btree_set((0..CLUSTERS).prop_map(cluster), 0..3),
        prop::collection::btree_set((0..4u8).prop_map(|uid| Uid([uid; 16])), 0..3),
    )
        .prop_map(|(clusters, assignments)| Visible { clusters, assignments })
}

proptest! {
    #[test]
    fn the_index_equals_the_naive_model(
        steps in prop::collection::vec(any_step(), 0..120),
        filter in any_filter(),
        size in 1..5usize,
    ) {
        let (mut index, mut naive, mut snapshots) = (StatusIndex::default(), Naive::default(), BTreeMap::new());
        for (time, step) in steps.iter().enumerate() {
            let now = Millis(time as u64);
            naive.apply(step, now);
            apply(&mut index, &mut snapshots, step, now);
        }
        let expected = naive.matching(&filter);
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = index.query(&filter, after.as_ref(), size);
            prop_assert_eq!(page.total as usize, expected.len());
            prop_assert!(page.objects.len() <= size);
            after = page.next();
            pages.extend(page.objects);
            let Some(cursor) = &after else { break };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        }
        prop_assert_eq!(pages, expected);
        check_counts(&index, &naive)?;
        for number in 0..CLUSTERS {
            index.drop_cluster(&cluster(number));
        }
        prop_assert_eq!(index.texts(), (0, 0));
        prop_assert!(index.counts().is_empty() && index.shared.assignments.is_empty());
    }
}

fn check_counts(index: &StatusIndex, naive: &Naive) -> Result<(), TestCaseError> {
    let mut fleet = HealthCounts::default();
    for number in 0..CLUSTERS {
        let id = cluster(number);
        let objects: Vec<_> = naive.objects.get(&id).into_iter().flat_map(BTreeMap::values).collect();
        let mut counts = HealthCounts::default();
        objects.iter().for_each(|(status, _)| counts.add(status.health));
        prop_assert_eq!(index.cluster_counts(&id), counts);
        fleet.add_all(&counts);
        let installs: Vec<_> = naive.installs.get(&id).into_iter().flat_map(BTreeMap::values).cloned().collect();
        prop_assert_eq!(index.installs(&id).collect::<Vec<_>>(), installs.clone());
        prop_assert_eq!(index.installs_digest(&id), install::installs_digest(installs.iter()));
        for kind in index.kind_digests(&id) {
            let of_kind = objects.iter().map(|(status, _)| status).filter(|status| status.key.kind == kind.kind);
            prop_assert_eq!(kind.digest, health::kind_digest(of_kind));
        }
    }
    prop_assert_eq!(index.counts(), fleet);
    for uid in (0..3).map(|number| Uid([number; 16])) {
        let filter = Filter { assignment: Some(uid), ..Filter::default() };
        prop_assert_eq!(index.assignment_counts(&uid).total() as usize, naive.matching(&filter).len());
    }
    Ok(())
}

#[test]
fn what_is_beyond_a_limit_is_refused_and_counted() {
    let limits = Limits { objects: 2, ..Limits::DEFAULT };
    let mut index = StatusIndex::default();
    let mut outcome = |name: u8| index.upsert(cluster(1), &status(0, name, Health::Ready, 0), &limits, Millis(1));
    assert_eq!(
        [1, 2, 3, 2].map(&mut outcome),
        [Outcome::Changed, Outcome::Changed, Outcome::Refused, Outcome::Unchanged]
    );
    assert_eq!((index.refused(&cluster(1)), index.counts().total()), (1, 2));
}

#[test]
fn names_that_no_api_server_accepts_are_refused() {
    let mut index = StatusIndex::default();
    for key in [
        ObjectKey::new("g", "Kind.x", "a", "b"),
        ObjectKey::new("g", "", "a", "b"),
        ObjectKey::new("g", "Kind", "a/b", "c"),
        ObjectKey::new("g", "Kind", "a", &"x".repeat(254)),
    ] {
        let status = ObjectStatus { key, ..status(0, 1, Health::Ready, 0) };
        assert_eq!(index.upsert(cluster(1), &status, &Limits::DEFAULT, Millis(1)), Outcome::Refused);
    }
}

#[test]
fn long_texts_are_cut() {
    let limits = Limits::DEFAULT;
    let mut index = StatusIndex::default();
    let long = ObjectStatus { message: "x".repeat(5000), ..status(0, 1, Health::Failing, 0) };
    index.upsert(cluster(1), &long, &limits, Millis(1));
    let found = index.object(&cluster(1), &long.key).unwrap();
    assert!(found.status.message.len() <= limits.text_bytes as usize && found.status.message.ends_with('…'));
    assert_eq!(index.upsert(cluster(1), &long, &limits, Millis(2)), Outcome::Unchanged);
}

#[test]
fn since_moves_with_the_health_alone() {
    let (mut index, limits) = (StatusIndex::default(), Limits::DEFAULT);
    for (time, health, text) in [(1, Health::Failing, 0), (2, Health::Failing, 1), (3, Health::Ready, 1)] {
        index.upsert(cluster(1), &status(0, 1, health, text), &limits, Millis(time));
        let since = index.object(&cluster(1), &status(0, 1, health, text).key).unwrap().since;
        assert_eq!(since, Millis(if time == 3 { 3 } else { 1 }));
    }
}

#[test]
fn the_worst_object_of_each_assignment_speaks_for_it() {
    let mut index = StatusIndex::default();
    for (name, health) in
        [(1, Health::Ready), (4, Health::Failing), (7, Health::Failing), (2, Health::Ready), (3, Health::Failing)]
    {
        index.upsert(cluster(1), &status(0, name, health, name), &Limits::DEFAULT, Millis(1));
    }
    let worst = index.worst_messages(&cluster(1));
    assert_eq!(worst, BTreeMap::from([(Uid([1; 16]), "message 4"), (Uid([2; 16]), "message 2")]));
    assert!(index.worst_messages(&cluster(2)).is_empty());
}
