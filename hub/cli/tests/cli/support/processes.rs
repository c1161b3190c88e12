//! The script of the hub's processes.

use starling_proto::v1::{ListShardsResponse, Shard, SimulateShardsRequest, SimulateShardsResponse, SimulatedShard};
use tonic::{Code, Status};

use super::fake::refusal;

fn shard(name: &str, state: &str) -> Shard {
    let shard = Shard {
        name: name.into(),
        address: format!("{name}.hub:8443"),
        weight: 100,
        state: state.into(),
        clusters_owned: 2,
        ..Shard::default()
    };
    if state == "not-answering" {
        return shard;
    }
    Shard {
        clusters_connected: 2,
        objects: 80,
        cpu_millis: 130,
        resident_bytes: 81 << 20,
        version: "0.1.0".into(),
        since_millis: 1_795_243_800_000,
        ..shard
    }
}

/// Lists one process, or three of which one does not answer.
pub(super) fn listed(is_many: bool) -> ListShardsResponse {
    if !is_many {
        return ListShardsResponse {
            shards: vec![shard("hub", "serving")],
            clusters: 3,
            note: "this hub is one process, which serves every cluster".into(),
            ..ListShardsResponse::default()
        };
    }
    let first = Shard { steward: true, incarnation: vec![0xab; 16], clusters_moving: 1, ..shard("hub-0", "serving") };
    ListShardsResponse {
        shards: vec![first, shard("hub-1", "not-answering"), shard("hub-2", "joining")],
        epoch: 4,
        clusters: 6,
        moving: 1,
        reasons: vec!["hub-2 is there and joins in 2 s".into()],
        ..ListShardsResponse::default()
    }
}

/// Simulates over `hub-0` and `hub-1`, of which the second may leave.
pub(super) fn simulated(request: &SimulateShardsRequest) -> Result<SimulateShardsResponse, Status> {
    if request.remove.iter().any(|name| name != "hub-1") {
        let message = "there is no hub process hub-9: there are hub-0, hub-1";
        return Err(refusal(Code::InvalidArgument, "invalid-request", message));
    }
    let shard = |name: &str, before, after, change: &str| SimulatedShard {
        name: name.into(),
        clusters_before: before,
        clusters_after: after,
        change: change.into(),
    };
    let mut shards = vec![shard("hub-0", 510, 520, "stays"), shard("hub-1", 490, 0, "leaves")];
    shards.extend((0..request.add).map(|_| shard("new-1", 0, 480, "joins")));
    Ok(SimulateShardsResponse {
        shards,
        clusters: 1000,
        moved: 550,
        ideal: 500,
        largest_before: 1.02,
        largest_after: 1.04,
    })
}
