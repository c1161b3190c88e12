//! One change of one document in a fleet of some size.

use std::collections::{BTreeMap, BTreeSet};

use starling_hub_core::fleet::{Fleet, Touched};
use starling_hub_core::planner;
use starling_hub_core::steward::{Adopt, Request, SyncObjects};
use starling_model::{Millis, Plan};

use crate::counted;
use crate::fleet::{Hub, cluster, facts, object as object_of};

/// The cluster that changes.
const CHANGED: usize = 77;

pub(super) fn object(clusters: usize) {
    let mut hub = Hub::of_objects(clusters);
    // Its number among the objects: the workspace, the addons and the assignments come first.
    let text = cluster(CHANGED, "green");
    let number = 61 + CHANGED;
    let facts = facts();
    let plans = counted(|| {
        let present = vec![object_of(&text, number, 2)];
        let before = hub.fleet.clone();
        hub.do_at_once(&Request::SyncObjects(SyncObjects { present, gone: BTreeSet::new() }));
        replan(&before, &hub.fleet, &facts)
    });
    assert_eq!(plans.len(), 1);
}

pub(super) fn file(clusters: usize) {
    change_file(clusters, Hub::rewrite_alone);
}

pub(super) fn directory(clusters: usize) {
    change_file(clusters, Hub::rewrite);
}

fn change_file(clusters: usize, rewrite: fn(&mut Hub, usize, &str) -> Request) {
    let mut hub = Hub::of_files(clusters);
    let text = cluster(CHANGED, "green");
    let facts = facts();
    let plans = counted(|| {
        let before = hub.fleet.clone();
        let request = rewrite(&mut hub, CHANGED, &text);
        hub.do_at_once(&request);
        replan(&before, &hub.fleet, &facts)
    });
    assert_eq!(plans.len(), 1);
}

pub(super) fn adopt(clusters: usize) {
    let mut hub = Hub::of_objects(clusters);
    let labels = BTreeMap::from([("tier".to_owned(), "edge".to_owned())]);
    let (workspace, name) = ("retail".to_owned(), "edge-new".to_owned());
    let file = "clusters/edge-new.yaml".to_owned();
    let request = Request::Adopt(Adopt { workspace, name, labels, expires: Millis(2_000_000), file });
    counted(|| hub.do_at_once(&request));
    assert_eq!(hub.fleet.cluster_count(), clusters + 1);
}

/// Plans the clusters whose plans can differ between two fleets, as the shard does for those that are connected.
fn replan(before: &Fleet, after: &Fleet, facts: &starling_model::Facts) -> Vec<Plan> {
    let touched = after.touched_since(before);
    let Some(Touched::Some { clusters, assignments }) = touched else { panic!("one cluster changed: {touched:?}") };
    assert!(assignments.is_empty());
    clusters.into_iter().map(|id| planner::plan(after, id, facts)).collect()
}
