//! The hub's processes: who serves how much, what is moving, and what would move if some joined or left.

use std::collections::BTreeMap;
use std::sync::Arc;

use starling_hub_core::fleet::Fleet;
use starling_hub_core::ring::{DEFAULT_WEIGHT, RingMember, RingRecord, Simulation, balance, simulate};
use starling_model::{ClusterId, ErrorCode, Uid};
use starling_proto::v1;
use tonic::Status;

use super::error::status;
use super::{Admin, internal};
use crate::access::{Caller, Resource, Verb};
use crate::metrics::ProcessFigures;

/// What is said of a hub that has no ring.
const ONE_PROCESS: &str = "this hub is one process, which serves every cluster";

/// What is known of the hub's processes.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// The processes, by name.
    pub(super) shards: Vec<v1::Shard>,
    /// What is moving or waits, and why.
    pub(super) reasons: Vec<String>,
    /// Names of those that did not answer in time.
    pub(super) unanswered: Vec<String>,
}

impl Admin {
    pub(super) async fn tell_shards(&self, caller: &Caller) -> Result<v1::ListShardsResponse, Status> {
        self.permit(caller, Verb::List, Resource::Hubs, "", "").await?;
        let fleet = self.fleet();
        let Members { shards, reasons, unanswered } = self.members(&fleet).await;
        Ok(v1::ListShardsResponse {
            epoch: fleet.ring().map_or(0, |ring| ring.epoch),
            clusters: fleet.managed_clusters().count() as u64,
            moving: shards.iter().map(|shard| shard.clusters_moving).sum(),
            reasons,
            note: if fleet.ring().is_none() { ONE_PROCESS.to_owned() } else { String::new() },
            unanswered,
            shards,
        })
    }

    pub(super) async fn tell_simulation(
        &self,
        caller: &Caller,
        asked: v1::SimulateShardsRequest,
    ) -> Result<v1::SimulateShardsResponse, Status> {
        self.permit(caller, Verb::List, Resource::Hubs, "", "").await?;
        if asked.add == 0 && asked.remove.is_empty() {
            return Err(status(ErrorCode::InvalidRequest, "say how many hub processes join, or which leave"));
        }
        let fleet = self.fleet();
        let record = fleet.ring().map_or_else(|| Arc::new(self.ring_of_one()), Arc::clone);
        // A hundred thousand clusters take longer than a thread that serves sessions should be kept.
        let simulated = tokio::task::spawn_blocking(move || {
            let clusters: Vec<ClusterId> = fleet.managed_clusters().map(|cluster| cluster.id).collect();
            simulate(&record, asked.add as usize, &asked.remove, &clusters)
        });
        let simulated = simulated.await.map_err(|_| internal())?;
        simulated.map(tell).map_err(|error| status(ErrorCode::InvalidRequest, error.to_string()))
    }

    /// Returns what is known of the hub's processes: this one as it is, and of the others what the ring says.
    pub(super) async fn members(&self, fleet: &Fleet) -> Members {
        let (own, reasons) = self.own_shard(fleet);
        let mut members = Members { reasons, ..Members::default() };
        let owned = owned(fleet);
        for member in fleet.ring().map_or([].as_slice(), |ring| ring.members.as_slice()) {
            if member.name == own.name {
                continue;
            }
            members.unanswered.push(member.name.clone());
            members.shards.push(v1::Shard {
                name: member.name.clone(),
                address: member.address.clone(),
                weight: member.weight,
                state: "not-answering".to_owned(),
                incarnation: member.incarnation.0.to_vec(),
                clusters_owned: owned.get(&member.name).copied().unwrap_or_default(),
                ..v1::Shard::default()
            });
        }
        members.shards.push(own);
        members.shards.sort_by(|one, other| one.name.cmp(&other.name));
        members
    }

    /// Returns this process as others see it, and why clusters of it are moving.
    pub(crate) fn own_shard(&self, fleet: &Fleet) -> (v1::Shard, Vec<String>) {
        let shard = &self.parts.shard;
        let name = &shard.parts.hub;
        let member = fleet.ring().and_then(|ring| ring.member(name));
        let connected = shard.connected();
        let moving = moving(fleet, name, &connected);
        let figures = ProcessFigures::read();
        let owned = match fleet.ring() {
            None => fleet.managed_clusters().count() as u64,
            Some(_) => owned(fleet).get(name).copied().unwrap_or_default(),
        };
        let told = v1::Shard {
            name: name.clone(),
            address: member.map_or_else(|| self.parts.agent_address.clone(), |member| member.address.clone()),
            weight: member.map_or(DEFAULT_WEIGHT, |member| member.weight),
            state: if fleet.ring().is_none() || member.is_some() { "serving" } else { "joining" }.to_owned(),
            steward: false,
            incarnation: member.map(|member| member.incarnation.0.to_vec()).unwrap_or_default(),
            clusters_owned: owned,
            clusters_connected: connected.len() as u64,
            clusters_moving: moving.values().sum(),
            objects: shard.objects(),
            cpu_millis: self.parts.load.cpu_millis(),
            resident_bytes: figures.and_then(|figures| figures.resident_bytes.try_into().ok()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since_millis: self.started.0,
        };
        let reason = |(owner, count): (&str, u64)| {
            let clusters = if count == 1 { "1 cluster moves".to_owned() } else { format!("{count} clusters move") };
            format!("{clusters} from {name} to {owner}, which owns them by now")
        };
        (told, moving.into_iter().map(reason).collect())
    }

    /// Returns the ring that a hub of one process stands for.
    fn ring_of_one(&self) -> RingRecord {
        let member = RingMember {
            name: self.parts.shard.parts.hub.clone(),
            incarnation: Uid([0; 16]),
            address: self.parts.agent_address.clone(),
            weight: DEFAULT_WEIGHT,
        };
        RingRecord { epoch: 0, members: vec![member] }
    }
}

/// Counts the clusters that each member owns.
fn owned(fleet: &Fleet) -> BTreeMap<String, u64> {
    let Some(placement) = fleet.placement() else { return BTreeMap::new() };
    let clusters: Vec<ClusterId> = fleet.managed_clusters().map(|cluster| cluster.id).collect();
    balance(placement, &clusters).counts
}

/// Counts the connected clusters that another process owns, by its name.
fn moving<'a>(fleet: &'a Fleet, own: &str, connected: &[ClusterId]) -> BTreeMap<&'a str, u64> {
    let mut moving = BTreeMap::new();
    for owner in connected.iter().filter_map(|cluster| fleet.owner(cluster)).filter(|owner| owner.name != own) {
        *moving.entry(owner.name.as_str()).or_default() += 1;
    }
    moving
}

fn tell(simulation: Simulation) -> v1::SimulateShardsResponse {
    let Simulation { before, after, moves, .. } = simulation;
    let mut shards: BTreeMap<&str, v1::SimulatedShard> = BTreeMap::new();
    for (name, count) in &before.counts {
        let change = if after.counts.contains_key(name) { "stays" } else { "leaves" };
        let shard = v1::SimulatedShard { clusters_before: *count, change: change.into(), ..Default::default() };
        shards.insert(name, shard);
    }
    for (name, count) in &after.counts {
        let joins = || v1::SimulatedShard { change: "joins".into(), ..Default::default() };
        shards.entry(name).or_insert_with(joins).clusters_after = *count;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count of clusters")]
    let ideal = moves.ideal.round() as u64;
    v1::SimulateShardsResponse {
        shards: shards.into_iter().map(|(name, shard)| v1::SimulatedShard { name: name.into(), ..shard }).collect(),
        clusters: moves.total,
        moved: moves.moved,
        ideal,
        largest_before: before.max_over_mean,
        largest_after: after.max_over_mean,
    }
}

#[cfg(test)]
mod tests {
    use starling_hub_core::change::Change;

    use super::*;

    fn ring(names: &[&str]) -> RingRecord {
        let member = |name: &&str| RingMember {
            name: (*name).to_owned(),
            incarnation: Uid([1; 16]),
            address: format!("{name}:8443"),
            weight: 100,
        };
        RingRecord { epoch: 7, members: names.iter().map(member).collect() }
    }

    fn clusters(count: u8) -> Vec<ClusterId> {
        (0..count).map(|number| ClusterId([number; 16])).collect()
    }

    #[test]
    fn what_another_process_owns_is_moving() {
        let mut fleet = Fleet::new("demo");
        assert!(moving(&fleet, "hub-0", &clusters(100)).is_empty(), "without a ring nothing moves");
        fleet.apply(&Change::PutRing(ring(&["hub-0", "hub-1"])));
        let of_first = moving(&fleet, "hub-0", &clusters(100));
        let of_second = moving(&fleet, "hub-1", &clusters(100));
        assert_eq!(of_first.keys().collect::<Vec<_>>(), [&"hub-1"]);
        assert_eq!(of_first["hub-1"] + of_second["hub-0"], 100);
    }

    #[test]
    fn a_simulation_names_who_stays_joins_and_leaves() {
        let simulated = simulate(&ring(&["hub-0", "hub-1"]), 1, &["hub-1".to_owned()], &clusters(200));
        let told = tell(simulated.expect("a ring of two"));
        let changes: Vec<_> = told.shards.iter().map(|shard| (shard.name.as_str(), shard.change.as_str())).collect();
        assert_eq!(changes, [("hub-0", "stays"), ("hub-1", "leaves"), ("new-1", "joins")]);
        assert_eq!((told.clusters, told.ideal), (200, 100));
        assert_eq!((told.shards[1].clusters_after, told.shards[2].clusters_before), (0, 0));
        assert_eq!(told.shards.iter().map(|shard| shard.clusters_after).sum::<u64>(), 200);
    }
}
