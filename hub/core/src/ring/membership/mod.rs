//! How hub processes come into the ring and go out of it.
//!
//! Owns the rules and the timers behind them. Does not own seeing who is there (the shell watches the member keys) nor the
//! record (the steward commits it). A new steward begins a new [`Membership`] from the record and loses only timers, so that
//! a takeover delays a change and never makes one.
//!
//! **How often a cluster moves when all processes are restarted one after the other.** A process that stops gracefully is
//! *draining* and leaves at once: each of its clusters moves to another member while the old one still answers. It is back
//! under its name some seconds later and joins after [`JOIN_AFTER`]: the very same clusters move back, because placement
//! depends on names alone. That is twice, and nobody else's clusters move, provided that the next process is stopped only
//! after this one is in the ring again; else a cluster that went to the next one goes on to a third. So a hub is ready when it
//! is a member, and a rolling update waits for that. A process that dies and is back within [`SETTLE`] moves nothing.

mod notes;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use starling_model::{Millis, Uid};

use super::{MEMBERS_LIMIT, RingMember, RingRecord};

pub use notes::{Cause, MemberChange, Note};
use seen::Seen;

/// How long a process must have been there without interruption before it joins; an empty ring is joined at once.
pub const JOIN_AFTER: Duration = Duration::from_secs(3);

/// How long others must have been there to join together with one that is due, so that processes which start together make
/// one change.
pub const JOIN_TOGETHER: Duration = Duration::from_secs(1);

/// How long a member must be gone before it is removed: longer than a quick restart.
pub const SETTLE: Duration = Duration::from_secs(5);

/// The same when more than a third of the members, and at least two, are gone at once: that is rather a fault between them and
/// the store than their end, and moving most of the fleet onto the rest would make it worse.
pub const SETTLE_MANY: Duration = Duration::from_secs(30);

/// The shortest time between two changes of the record.
pub const BATCH: Duration = Duration::from_secs(2);

/// How often a process may leave within [`FLAP_WINDOW`] before it is held down.
pub const FLAPS: usize = 3;

/// The time over which departures are counted, and after which a member is trusted again.
pub const FLAP_WINDOW: Duration = Duration::from_secs(600);

/// How long a process that is held down must be there without interruption before it joins; doubled with each further departure.
pub const HOLD_FIRST: Duration = Duration::from_secs(120);

/// The longest of these.
pub const HOLD_LONGEST: Duration = Duration::from_secs(900);

/// How late an observation may come after [`Observation::wake`]; beyond, this process stood still, what it believes to see may be
/// as old, and timers begin anew.
pub const LATE: Duration = Duration::from_secs(5);

/// A process that is there, as its live member key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The process's name.
    pub name: String,
    /// Which start of the process this is.
    pub incarnation: Uid,
    /// Where it is reached.
    pub address: String,
    /// How much it takes.
    pub weight: u32,
    /// It is stopping and gives away what it has.
    pub draining: bool,
}

/// What an observation leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The record to commit; `None` if nothing changes.
    pub next: Option<RingRecord>,
    /// What it changes and why, by name; empty without it.
    pub changes: Vec<MemberChange>,
    /// When to observe again even if nothing happens; in the time base of the observation's uptime.
    pub wake: Option<Millis>,
    /// What waits, for people.
    pub notes: Vec<Note>,
}

/// The steward's memory of who came and went.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    seen: BTreeMap<String, Seen>,
    /// The record of the last observation: its epoch and names.
    known: Option<(u64, BTreeSet<String>)>,
    /// When the record was last seen to change.
    changed: Option<Millis>,
    wake: Option<Millis>,
}

/// What one observation looks at.
struct Scene<'a> {
    record: &'a RingRecord,
    /// Who is there and may be a member.
    present: BTreeMap<&'a str, &'a Presence>,
    uptime: Millis,
}

/// Who leaves now, and who will unless they come back.
#[derive(Default)]
struct Leavers<'a> {
    now: BTreeMap<&'a str, Cause>,
    /// Names, with when they leave and whether they have longer because many were gone at once.
    later: Vec<(&'a str, Millis, bool)>,
}

impl Membership {
    /// Looks at the record and at who is there, and tells what to do.
    ///
    /// It is called when either changes, and at the latest at [`Observation::wake`]. A record that it returns is committed
    /// before the next call, or else is returned again.
    pub fn observe(&mut self, record: &RingRecord, present: &[Presence], uptime: Millis) -> Observation {
        let mut observation = Observation::default();
        let scene = Scene { record, present: members_to_be(present, &mut observation.notes), uptime };
        if self.wake.is_some_and(|wake| uptime > wake.plus(LATE)) {
            self.seen.values_mut().for_each(|seen| seen.begin_anew(uptime));
        }
        self.note_record(record, uptime);
        self.note_presence(&scene);
        if scene.present.is_empty() {
            observation.notes.push(Note::Nobody);
        } else {
            self.decide(&scene, &mut observation);
        }
        self.wake = observation.wake;
        observation
    }

    /// Remembers who joined and left since the last observation.
    fn note_record(&mut self, record: &RingRecord, uptime: Millis) {
        let names: BTreeSet<String> = record.members.iter().map(|member| member.name.clone()).collect();
        if let Some((epoch, before)) = &self.known {
            if *epoch != record.epoch {
                self.changed = Some(uptime);
            }
            for left in before.difference(&names) {
                self.seen.entry(left.clone()).or_default().left(uptime);
            }
        }
        for name in &names {
            self.seen.entry(name.clone()).or_default().is_member(uptime);
        }
        self.known = Some((record.epoch, names));
    }

    /// Remembers who is there and who is not.
    fn note_presence(&mut self, scene: &Scene<'_>) {
        for (name, presence) in &scene.present {
            self.seen.entry((*name).to_owned()).or_default().is_present(presence, scene.uptime);
        }
        for (name, seen) in &mut self.seen {
            if !scene.present.contains_key(name.as_str()) {
                // Where nobody is there the store lost all leases, and nobody counts as gone.
                seen.is_absent(scene.uptime, !scene.present.is_empty());
            }
        }
        let is_gone =
            |seen: &BTreeMap<String, Seen>, name: &str| seen.get(name).is_some_and(|seen| seen.gone().is_some());
        let members = &scene.record.members;
        let gone: Vec<&str> =
            members.iter().map(|member| member.name.as_str()).filter(|name| is_gone(&self.seen, name)).collect();
        if gone.len() >= 2 && gone.len() * 3 > members.len() {
            for name in gone {
                self.seen.entry(name.to_owned()).or_default().is_gone_with_many();
            }
        }
        self.seen.retain(|name, seen| scene.record.member(name).is_some() || !seen.is_forgettable(scene.uptime));
    }

    fn decide(&self, scene: &Scene<'_>, observation: &mut Observation) {
        let joiners = self.joiners(scene, observation);
        let mut leavers = self.leavers(scene);
        let remains =
            |member: &RingMember| scene.serves(&member.name) && !leavers.now.contains_key(member.name.as_str());
        if joiners.is_empty() && !scene.record.members.iter().any(remains) {
            // Nobody would be left that serves, so nobody leaves.
            let last = leavers.now.keys().chain(leavers.later.iter().map(|(name, ..)| name));
            observation.notes.extend(last.map(|name| Note::Last { name: (*name).to_owned() }));
            leavers = Leavers::default();
        }
        for (name, at, many) in leavers.later {
            let within = at.since(scene.uptime);
            observation.notes.push(Note::Leaving { name: name.to_owned(), within, many });
            observation.wake_at(at);
        }
        let mut members = BTreeMap::new();
        for member in &scene.record.members {
            let name = member.name.as_str();
            if let Some(cause) = leavers.now.remove(name) {
                observation.change(name, cause);
                continue;
            }
            let updated = scene.present.get(name).map_or_else(|| member.clone(), |presence| member_of(presence));
            if let Some(cause) = Cause::of_update(member, &updated) {
                observation.change(name, cause);
            }
            members.insert(name, updated);
        }
        for (presence, cause) in joiners {
            if members.len() < MEMBERS_LIMIT {
                members.insert(&presence.name, member_of(presence));
                observation.change(&presence.name, cause);
            } else {
                observation.notes.push(Note::Full { name: presence.name.clone() });
            }
        }
        self.batch(scene, members.into_values().collect(), observation);
    }

    /// Makes the record of the changes, or lets them wait for others.
    fn batch(&self, scene: &Scene<'_>, members: Vec<RingMember>, observation: &mut Observation) {
        if observation.changes.is_empty() {
            return;
        }
        let possible = self.changed.map_or(scene.uptime, |changed| changed.plus(BATCH));
        if scene.uptime < possible {
            let waiting = std::mem::take(&mut observation.changes);
            observation.notes.extend(waiting.into_iter().map(Note::Batched));
            return observation.wake_at(possible);
        }
        observation.changes.sort_by(|one, other| one.name.cmp(&other.name));
        observation.next = Some(RingRecord { epoch: scene.record.epoch.saturating_add(1), members });
        observation.wake_at(scene.uptime.plus(BATCH));
    }

    /// Returns who leaves, as if there were always somebody left.
    fn leavers<'a>(&self, scene: &Scene<'a>) -> Leavers<'a> {
        let mut leavers = Leavers::default();
        for member in &scene.record.members {
            let Some(seen) = self.seen.get(&member.name) else { continue };
            if seen.is_draining() {
                leavers.now.insert(&member.name, Cause::Draining);
            } else if let Some(gone) = seen.gone() {
                let due = gone.since.plus(if gone.with_many { SETTLE_MANY } else { SETTLE });
                if scene.uptime < due {
                    leavers.later.push((&member.name, due, gone.with_many));
                } else {
                    leavers.now.insert(&member.name, Cause::Gone(scene.uptime.since(gone.since)));
                }
            }
        }
        leavers
    }

    /// Returns who joins, longest there first, and notes who will.
    fn joiners<'a>(&self, scene: &Scene<'a>, observation: &mut Observation) -> Vec<(&'a Presence, Cause)> {
        let mut waiting: Vec<(Millis, &Presence, &Seen)> = scene
            .present
            .values()
            .filter(|presence| scene.record.member(&presence.name).is_none() && !presence.draining)
            .filter_map(|presence| {
                let seen = self.seen.get(&presence.name)?;
                Some((seen.present_since()?, *presence, seen))
            })
            .collect();
        waiting.sort_by_key(|(since, presence, _)| (*since, &presence.name));
        let is_first = scene.record.members.is_empty();
        let due = |since: Millis, seen: &Seen| since.plus(seen.held().unwrap_or(JOIN_AFTER));
        let any_due = waiting.iter().any(|(since, _, seen)| scene.uptime >= due(*since, seen));
        let mut joiners = Vec::new();
        for (since, presence, seen) in waiting {
            let (due, there) = (due(since, seen), scene.uptime.since(since));
            let goes_along = any_due && seen.held().is_none() && there >= JOIN_TOGETHER;
            if is_first {
                joiners.push((presence, Cause::First));
            } else if scene.uptime >= due || goes_along {
                joiners.push((presence, Cause::Stable(there)));
            } else {
                let (name, within) = (presence.name.clone(), due.since(scene.uptime));
                let is_held = seen.held().is_some();
                observation.notes.push(if is_held {
                    Note::HeldDown { name, within }
                } else {
                    Note::Joining { name, within }
                });
                observation.wake_at(due);
            }
        }
        joiners
    }
}

impl Scene<'_> {
    /// Tells whether a process is there to stay.
    fn serves(&self, name: &str) -> bool {
        self.present.get(name).is_some_and(|presence| !presence.draining)
    }
}

impl Observation {
    fn change(&mut self, name: &str, cause: Cause) {
        self.changes.push(MemberChange { name: name.to_owned(), cause });
    }

    fn wake_at(&mut self, at: Millis) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Returns who is there by name, without those that no ring may have.
fn members_to_be<'a>(present: &'a [Presence], notes: &mut Vec<Note>) -> BTreeMap<&'a str, &'a Presence> {
    let mut members = BTreeMap::new();
    for presence in present {
        match member_of(presence).check() {
            Ok(()) => drop(members.insert(presence.name.as_str(), presence)),
            Err(error) => notes.push(Note::Invalid(error)),
        }
    }
    members
}

fn member_of(presence: &Presence) -> RingMember {
    RingMember {
        name: presence.name.clone(),
        incarnation: presence.incarnation,
        address: presence.address.clone(),
        weight: presence.weight,
    }
}

#[cfg(test)]
mod tests;
