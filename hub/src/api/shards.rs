//! The hub's processes: who serves how much, what is moving, and what would move if some joined or left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_hub_core::fleet::Fleet;
use starling_hub_core::ring::{DEFAULT_WEIGHT, RingMember, RingRecord, Simulation, balance, simulate};
use starling_model::{ClusterId, ErrorCode, Uid};
use starling_proto::v1;
use tonic::Status;

use super::error::status;
use super::{Admin, internal};
use crate::access::{Caller, Resource, Verb};
use crate::gather::Gathered;
use crate::member::MemberRecord;
use crate::shard::ProcessFigures;

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
            clusters: fleet.cluster_count() as u64,
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

    /// Returns what is known of the hub's processes: what each of them says, what is seen of them, and what the ring says.
    pub(super) async fn members(&self, fleet: &Fleet) -> Members {
        let Gathered { value: figures, unanswered } = self.parts.gather.processes().await;
        let seen = self.parts.seen.as_ref().map(|seen| Arc::clone(&seen.borrow())).unwrap_or_default();
        let owned = owned(fleet);
        let in_ring = fleet.ring().map_or([].as_slice(), |ring| ring.members.as_slice());
        let own = self.parts.gather.own_name();
        let mut names: BTreeSet<&str> = in_ring.iter().map(|member| member.name.as_str()).collect();
        names.extend(seen.members.keys().map(String::as_str));
        if names.is_empty() {
            names.insert(own);
        }
        let mut members = Members { unanswered: unanswered.into_iter().collect(), ..Members::default() };
        for name in names {
            let member = in_ring.iter().find(|member| member.name == name);
            let figures = figures.get(name);
            let row = Row { name, member, record: seen.members.get(name), figures };
            let mut shard = row.tell(self.parts.seen.is_some());
            shard.steward = seen.steward.as_ref().is_some_and(|claim| claim.name == name);
            shard.clusters_owned = match fleet.ring() {
                None => fleet.cluster_count() as u64,
                Some(_) => owned.get(name).copied().unwrap_or_default(),
            };
            if shard.address.is_empty() {
                shard.address.clone_from(&self.parts.agent_address);
            }
            members.reasons.extend(figures.into_iter().flat_map(|figures| row.reasons(figures)));
            members.shards.push(shard);
        }
        members
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

/// What is known of one process.
#[derive(Clone, Copy)]
struct Row<'a> {
    name: &'a str,
    /// What the ring says.
    member: Option<&'a RingMember>,
    /// What it wrote itself, under its lease; `None` while it has none.
    record: Option<&'a MemberRecord>,
    /// What it answered.
    figures: Option<&'a ProcessFigures>,
}

impl Row<'_> {
    fn tell(self, is_one_of_many: bool) -> v1::Shard {
        let Self { name, member, record, figures } = self;
        let state = match (member, record, figures) {
            (None, _, _) if !is_one_of_many => "serving",
            (_, Some(record), _) if record.draining => "draining",
            (Some(_), None, _) => "gone",
            (_, _, None) => "not-answering",
            (None, _, Some(_)) => "joining",
            (Some(_), Some(_), Some(_)) => "serving",
        };
        let address = record.map(|record| &record.address).or(member.map(|member| &member.address));
        let incarnation = record.map(|record| record.incarnation).or(member.map(|member| member.incarnation));
        let weight = record.map(|record| record.weight).or(member.map(|member| member.weight));
        let figures = figures.cloned().unwrap_or_default();
        v1::Shard {
            name: name.to_owned(),
            address: address.cloned().unwrap_or_default(),
            weight: weight.unwrap_or(DEFAULT_WEIGHT),
            state: state.to_owned(),
            incarnation: incarnation.map(|incarnation| incarnation.0.to_vec()).unwrap_or_default(),
            clusters_connected: figures.connected,
            clusters_moving: figures.moving.values().sum(),
            objects: figures.objects,
            cpu_millis: figures.load_millis,
            resident_bytes: figures.memory_bytes,
            version: figures.version,
            since_millis: record.map_or(figures.started.0, |record| record.started.0),
            ..v1::Shard::default()
        }
    }

    /// Says what moves away from the process, for people.
    fn reasons(self, figures: &ProcessFigures) -> Vec<String> {
        let from = self.name;
        let reason = |(owner, count): (&String, &u64)| {
            let clusters = if *count == 1 { "1 cluster moves".to_owned() } else { format!("{count} clusters move") };
            format!("{clusters} from {from} to {owner}, which owns them by now")
        };
        figures.moving.iter().map(reason).collect()
    }
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
    fn a_process_is_what_it_writes_and_what_it_answers() {
        let ring = ring(&["hub-0"]);
        let record = MemberRecord {
            incarnation: Uid([1; 16]),
            address: "hub-0:8443".into(),
            weight: 100,
            draining: false,
            version: String::new(),
            started: starling_model::Millis(0),
        };
        let figures = ProcessFigures { moving: [("hub-1".to_owned(), 2)].into(), ..ProcessFigures::default() };
        let row = Row { name: "hub-0", member: ring.members.first(), record: Some(&record), figures: Some(&figures) };
        let state = |row: Row<'_>| row.tell(true).state;
        assert_eq!(state(row), "serving");
        assert_eq!(state(Row { record: None, ..row }), "gone");
        assert_eq!(state(Row { figures: None, ..row }), "not-answering");
        assert_eq!(state(Row { member: None, ..row }), "joining");
        let draining = MemberRecord { draining: true, ..record.clone() };
        assert_eq!(state(Row { record: Some(&draining), ..row }), "draining");
        assert_eq!(row.reasons(&figures), ["2 clusters move from hub-0 to hub-1, which owns them by now"]);
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
