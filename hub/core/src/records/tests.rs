use proptest::prelude::*;

use super::*;
use crate::testing::Hub;

proptest! {
    #[test]
    fn a_set_of_clusters_round_trips(ids in prop::collection::btree_set(any::<[u8; 16]>(), 0..50)) {
        let set: ClusterSet = ids.into_iter().map(ClusterId).collect();
        let json = serde_json::to_string(&set).expect("a set is written");
        prop_assert_eq!(serde_json::from_str::<ClusterSet>(&json).expect("and read"), set);
    }
}

#[test]
fn the_largest_record_stays_below_the_store_s_limit() {
    let cluster = |index: usize| {
        let mut id = [0xff; 16];
        id[..8].copy_from_slice(&index.to_be_bytes());
        ClusterId(id)
    };
    let set: ClusterSet = (0..CLUSTERS_PER_RECORD).map(cluster).collect();
    assert!(serde_json::to_vec(&set).expect("a set is written").len() < 500 * 1024);
}

#[test]
fn records_round_trip_as_json() {
    let mut hub = Hub::new();
    hub.add_clusters(1);
    hub.write("a.yaml", &crate::testing::assignment("web", crate::testing::TO_PROD));
    hub.sync();
    for record in hub.fleet.inputs() {
        let json = serde_json::to_vec(&**record).expect("a record is written");
        assert_eq!(serde_json::from_slice::<InputRecord>(&json).expect("and read"), **record);
    }
    for record in hub.fleet.revisions() {
        let json = serde_json::to_vec(&**record).expect("a record is written");
        assert_eq!(serde_json::from_slice::<RevisionRecord>(&json).expect("and read"), **record);
    }
    let assignment = hub.assignment("web").record;
    let json = serde_json::to_vec(&*assignment).expect("a record is written");
    assert_eq!(serde_json::from_slice::<AssignmentRecord>(&json).expect("and read"), *assignment);
}
