//! What the store went through, revision by revision: who wrote, in whose name, and what the fleet was at each position.
//!
//! Follows etcd itself, with nothing of the hub's in between but the meaning of keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::PbKeyValue;
use starling_hub::member::{Claim, ToldHold};
use starling_hub::store::keys::{self, Record};
use starling_hub::store::{Event, KeyValue, Revision};
use starling_hub_core::fleet::Fleet;
use starling_hub_core::planner;
use starling_hub_core::ring::RingRecord;
use starling_model::{ClusterId, Digest, Facts, Position};

use super::world::Many;
use crate::etcd::{Commit, Journal, PREFIX, State};
use crate::world::FLEET;

/// The type of an event that deletes.
const DELETED: i32 = 1;

/// What is known of the store.
pub(crate) struct Oracle {
    clusters: Vec<ClusterId>,
    /// The fleet as the store has it.
    pub(crate) fleet: Fleet,
    /// Who decides, as the store has it.
    pub(crate) steward: Option<Claim>,
    /// Why the fleet holds, as the store has it.
    pub(crate) hold: Option<ToldHold>,
    /// The processes that have a seat.
    pub(crate) members: BTreeSet<String>,
    /// Where the process that took the seat of each name last is dialled.
    pub(crate) seats: BTreeMap<String, String>,
    replaced: bool,
    robbed: Option<String>,
    /// Each ring record since when it is there.
    rings: Vec<Ring>,
    /// The digests of the clusters' plans at each position; several after a restore.
    plans: BTreeMap<Position, BTreeSet<Vec<Digest>>>,
    /// The placements at each epoch; several after a restore.
    placements: BTreeMap<u64, BTreeSet<Vec<String>>>,
    /// How often each cluster got another owner.
    pub(crate) moves: Vec<u64>,
    /// How often the store was restored.
    pub(crate) restores: u64,
    /// How many decisions were committed.
    pub(crate) decisions: u64,
    /// How many revisions there were.
    pub(crate) revisions: u64,
}

/// A ring record, and what it came to.
struct Ring {
    since: Duration,
    record: Arc<RingRecord>,
    /// Each cluster's owner.
    owners: Vec<String>,
}

impl Oracle {
    /// Begins with an empty store.
    pub(crate) fn new(many: &Many) -> Self {
        let clusters: Vec<ClusterId> = many.world.clusters.iter().map(|managed| managed.id).collect();
        Self {
            fleet: Fleet::new(FLEET),
            steward: None,
            hold: None,
            members: BTreeSet::new(),
            seats: BTreeMap::new(),
            replaced: false,
            robbed: None,
            rings: Vec::new(),
            plans: BTreeMap::new(),
            placements: BTreeMap::new(),
            moves: vec![0; clusters.len()],
            restores: 0,
            decisions: 0,
            revisions: 0,
            clusters,
        }
    }

    /// Takes in what happened to the store; something must be wrong if this fails.
    pub(crate) fn follow(&mut self, many: &Many, now: Duration) -> Result<(), String> {
        for entry in many.etcd.take_journal() {
            match entry {
                Journal::Commit(commit) => self.take(many, &commit)?,
                Journal::Restored(state) => self.begin_anew(many, &state, now)?,
            }
        }
        Ok(())
    }

    /// Tells whether these are the clusters' plans at a position.
    pub(crate) fn has_plans(&self, fleet: &Fleet) -> bool {
        self.plans.get(&fleet.position()).is_some_and(|plans| plans.contains(&self.plans_of(fleet)))
    }

    /// Tells whether this is the placement at its epoch.
    pub(crate) fn has_placement(&self, fleet: &Fleet) -> bool {
        let Some(ring) = fleet.ring() else { return true };
        self.placements.get(&ring.epoch).is_some_and(|known| known.contains(&self.owners_of(fleet)))
    }

    /// Returns until when a process was an owner of a cluster, as far as the store tells; `None` if it never was.
    pub(crate) fn owned_until(&self, cluster: ClusterId, name: &str, now: Duration) -> Option<Duration> {
        let number = self.clusters.iter().position(|id| *id == cluster)?;
        let ends = self.rings.iter().skip(1).map(|ring| ring.since).chain([now]);
        let owned = self.rings.iter().zip(ends).filter(|(ring, _)| ring.owners[number] == name);
        owned.last().map(|(_, end)| end)
    }

    fn take(&mut self, many: &Many, commit: &Commit) -> Result<(), String> {
        self.revisions += 1;
        let before = (self.fleet.position(), self.fleet.era().map(|record| record.era));
        let epoch = self.fleet.ring().map(|ring| ring.epoch);
        let claim = self.steward.clone();
        let (mut decided, mut writer, mut decides) = (false, None, false);
        for event in &commit.events {
            let Some(entry) = &event.kv else { continue };
            let Some(key) = entry.key.strip_prefix(PREFIX.as_bytes()) else { continue };
            if let Some(name) = key.strip_prefix(keys::WRITERS.as_bytes()) {
                writer = Some(String::from_utf8_lossy(name).into_owned());
                continue;
            }
            if key.starts_with(keys::REDO.as_bytes()) {
                return Err("the store has a transaction that is larger than this oracle follows".to_owned());
            }
            let record = keys::decode(&meaning(event.r#type, key, entry)).map_err(|error| error.to_string())?;
            match record {
                Record::Change(change) => {
                    decides = true;
                    self.fleet.apply(&change);
                }
                Record::Position(position) => {
                    decided = true;
                    self.fleet.set_position(position);
                }
                other => {
                    if let Record::Member(name, member) = &other {
                        self.seated(many, commit.at, name, member.as_ref().map(|member| member.address.as_str()));
                    }
                    self.note(other);
                }
            }
        }
        if decides && !decided {
            return Err(format!("I3: revision {} decides without a position", commit.revision));
        }
        if decided {
            let claimed = claim.as_ref().map(|claim| claim.name.as_str());
            if writer.as_deref() != claimed {
                let by = writer.unwrap_or_default();
                return Err(format!("I3: {by} wrote position {}, and {claimed:?} decides", self.fleet.position()));
            }
            self.check_decision(before, epoch)?;
            self.decided(many, commit.at, false);
        }
        Ok(())
    }

    fn check_decision(
        &self,
        (before, era): (Position, Option<starling_model::Era>),
        epoch: Option<u64>,
    ) -> Result<(), String> {
        let (after, now) = (self.fleet.position(), self.fleet.era().map(|record| record.era));
        let begins = now != era;
        if begins && era.is_some_and(|era| now.is_none_or(|now| now.number <= era.number)) {
            return Err(format!("I3: era {now:?} follows era {era:?}"));
        }
        if !begins && after.0 != before.0 + 1 {
            return Err(format!("I3: position {after} follows position {before}"));
        }
        if begins && after <= before {
            return Err(format!("I3: position {after} of a new era follows position {before}"));
        }
        let newer = self.fleet.ring().map(|ring| ring.epoch);
        if newer < epoch {
            return Err(format!("I3: epoch {newer:?} follows epoch {epoch:?}"));
        }
        Ok(())
    }

    /// Takes in the fleet of a new position.
    fn decided(&mut self, many: &Many, at: Duration, begins: bool) {
        self.decisions += 1;
        let is_news = |record: &&Arc<RingRecord>| self.rings.last().is_none_or(|last| last.record != **record);
        if let Some(record) = self.fleet.ring().filter(is_news) {
            let owners = self.owners_of(&self.fleet);
            if let Some(before) = self.rings.last() {
                for (number, (before, after)) in before.owners.iter().zip(&owners).enumerate() {
                    self.moves[number] += u64::from(before != after);
                }
            }
            let names: Vec<&str> = record.members.iter().map(|member| member.name.as_str()).collect();
            let what = format!("epoch {}: {} own {}", record.epoch, names.join(" "), owners.join(" "));
            many.world.trace.drive(at, what);
            self.placements.entry(record.epoch).or_default().insert(owners.clone());
            self.rings.push(Ring { since: at, record: Arc::clone(record), owners });
        }
        let plans = self.plans_of(&self.fleet);
        self.plans.entry(self.fleet.position()).or_default().insert(plans);
        let era = self.fleet.era().map_or(0, |record| record.era.number);
        many.world.trace.drive(at, format!("position {} of era {era}", self.fleet.position()));
        let written = |document: &_| many.world.documents().was_written(document);
        many.world.evidence().see(&self.fleet, begins, &self.clusters, written);
    }

    /// Takes in a store that has another state.
    fn begin_anew(&mut self, many: &Many, state: &State, now: Duration) -> Result<(), String> {
        self.restores += 1;
        self.fleet = Fleet::new(FLEET);
        (self.steward, self.hold, self.members) = (None, None, BTreeSet::new());
        for entry in state.entries() {
            let Some(key) = entry.key.strip_prefix(PREFIX.as_bytes()) else { continue };
            if key.starts_with(keys::WRITERS.as_bytes()) {
                continue;
            }
            match keys::decode(&meaning(0, key, entry)).map_err(|error| error.to_string())? {
                Record::Change(change) => self.fleet.apply(&change),
                Record::Position(position) => self.fleet.set_position(position),
                other => self.note(other),
            }
        }
        self.decided(many, now, true);
        Ok(())
    }

    /// Takes in that a process took its seat, or lost it.
    fn seated(&mut self, many: &Many, at: Duration, name: &str, address: Option<&str>) {
        many.world.trace.drive(at, format!("seat of {name}: {}", address.unwrap_or("gone")));
        let Some(address) = address else { return };
        let before = self.seats.insert(name.to_owned(), address.to_owned()).filter(|before| before != address);
        self.replaced |= before.is_some();
        self.robbed = self.robbed.take().or(before.filter(|_| self.members.contains(name)));
    }

    /// Returns the address of a process whose seat another one took without it being free, once.
    pub(crate) fn take_robbed(&mut self) -> Option<String> {
        self.robbed.take()
    }

    /// Tells whether another process took the seat of a name since this was asked: what the one before it had is lost.
    pub(crate) fn take_replaced(&mut self) -> bool {
        std::mem::take(&mut self.replaced)
    }

    fn note(&mut self, record: Record) {
        match record {
            Record::Member(name, Some(_)) => drop(self.members.insert(name)),
            Record::Member(name, None) => drop(self.members.remove(&name)),
            Record::Steward(steward) => self.steward = steward,
            Record::Hold(hold) => self.hold = hold,
            Record::Change(_) | Record::Position(_) | Record::Summaries(..) | Record::Other => {}
        }
    }

    fn plans_of(&self, fleet: &Fleet) -> Vec<Digest> {
        let plans = self.clusters.iter().map(|id| planner::plan(fleet, *id, &Facts::default()));
        plans.map(|plan| plan.digest()).collect()
    }

    fn owners_of(&self, fleet: &Fleet) -> Vec<String> {
        let owners = self.clusters.iter().map(|id| fleet.owner(id));
        owners.map(|owner| owner.map_or_else(String::new, |owner| owner.name.clone())).collect()
    }
}

fn meaning(kind: i32, key: &[u8], entry: &PbKeyValue) -> Event {
    if kind == DELETED {
        return Event::Delete { key: key.to_vec() };
    }
    Event::Put(KeyValue {
        key: key.to_vec(),
        value: entry.value.clone().into(),
        created: Revision(0),
        modified: Revision(0),
        lease: None,
    })
}
