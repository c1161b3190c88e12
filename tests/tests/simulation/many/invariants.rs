//! What must hold after each step over all processes of the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use starling_model::limits::COMMAND_LEASE;
use starling_model::{Millis, Position};

use super::oracle::Oracle;
use super::world::Many;
use crate::world::LiveHub;

/// How far simulated time moves between two looks, and what a request takes on its way.
const SLACK: Duration = Duration::from_millis(500);

/// How often answers are compared.
const COMPARE: Duration = Duration::from_millis(200);

/// What was checked, so that scenarios that check nothing are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Steps.
    pub(crate) steps: u64,
    /// Removals whose evidence was found.
    pub(crate) removals: u64,
    /// Plans that agents committed to under a lease.
    pub(crate) acts: u64,
    /// Leases that were lent by an owner under its own lease.
    pub(crate) leases: u64,
    /// Rows of answers that were found to have been true.
    pub(crate) rows: u64,
    /// Answers that showed a cluster that has to be shown.
    pub(crate) shown: u64,
    /// Positions of processes whose plans and placement were those of the store.
    pub(crate) positions: u64,
}

/// The invariants, and what they remember.
pub(crate) struct Invariants {
    pub(crate) counts: Counts,
    clusters: Vec<Watched>,
    hubs: BTreeMap<&'static str, Process>,
    compared: Duration,
    /// When something was last disturbed that may leave a cluster blank.
    harsh: Duration,
}

/// What is remembered of a cluster.
#[derive(Clone, Default)]
struct Watched {
    removals: usize,
    acts: usize,
    disturbed: Duration,
    /// Until when each process has lent, and the same as its own clock had it.
    lent: BTreeMap<&'static str, (Duration, Millis)>,
    /// The processes whose newest answer showed it, undisturbed.
    shown_by: BTreeSet<&'static str>,
}

/// What is remembered of a process.
#[derive(Default)]
struct Process {
    /// Which start of it.
    shard: usize,
    position: (u64, Position),
    /// Until when its own lease lasts at most, as etcd sees it.
    licence: Duration,
    answered: Duration,
}

impl Invariants {
    /// Begins with clusters of which nothing is known.
    pub(crate) fn new(clusters: usize) -> Self {
        Self {
            counts: Counts::default(),
            clusters: vec![Watched::default(); clusters],
            hubs: BTreeMap::new(),
            compared: Duration::ZERO,
            harsh: Duration::ZERO,
        }
    }

    /// Notes that a cluster, or its agent, is being disturbed.
    pub(crate) fn disturb(&mut self, cluster: usize, now: Duration) {
        self.clusters[cluster].disturbed = now;
    }

    /// Notes that something is disturbed that may leave any cluster blank.
    pub(crate) fn disturb_all(&mut self, now: Duration) {
        self.harsh = now;
        self.clusters.iter_mut().for_each(|watched| watched.shown_by.clear());
    }

    /// Checks whatever must hold at any time.
    pub(crate) fn check(&mut self, many: &Many, oracle: &Oracle, now: Duration) -> Result<(), String> {
        self.counts.steps += 1;
        if let Some(violation) = many.world.evidence().violation() {
            return Err(violation.clone());
        }
        let live = many.live();
        for (number, hub) in &live {
            self.check_process(many, oracle, *number, hub, now)?;
        }
        self.check_acts(many)?;
        if now >= self.compared + COMPARE {
            self.compared = now;
            for (number, _) in &live {
                self.check_answer(many, *number)?;
            }
        }
        Ok(())
    }

    fn check_process(
        &mut self,
        many: &Many,
        oracle: &Oracle,
        number: usize,
        hub: &LiveHub,
        now: Duration,
    ) -> Result<(), String> {
        let machine = &many.machines[number];
        let process = self.hubs.entry(machine.host).or_default();
        let shard = Arc::as_ptr(&hub.shard) as usize;
        if process.shard != shard {
            *process = Process { shard, ..Process::default() };
            self.clusters.iter_mut().for_each(|watched| {
                watched.lent.remove(machine.host);
            });
        }
        let fleet = Arc::clone(&hub.fleet.borrow());
        let position = (fleet.era().map_or(0, |record| record.era.number), fleet.position());
        if position != process.position {
            if position < process.position && hub.hold.reason().is_none() {
                return Err(format!("I3: {} went back to {position:?} and does not hold", machine.host));
            }
            process.position = position;
            if fleet.era().is_some() && !oracle.has_plans(&fleet) {
                return Err(format!("I7: {} plans otherwise at position {}", machine.host, position.1));
            }
            if !oracle.has_placement(&fleet) {
                return Err(format!("I3: {} places otherwise at {:?}", machine.host, fleet.ring()));
            }
            self.counts.positions += 1;
        }
        let key = format!("{}starling/v1/member/{}", crate::etcd::PREFIX, machine.name);
        // Of two processes with one name, the seat is one's.
        let has_seat = oracle.seats.get(machine.name).is_some_and(|address| *address == machine.address());
        if let Some((_, expires)) = many.etcd.look(|state| state.lease_of(key.as_bytes())).filter(|_| has_seat) {
            process.licence = process.licence.max(expires);
        }
        let licence = process.licence;
        let uptime = starling_hub::ports::Clock::uptime(&*machine.clock);
        for (managed, watched) in many.world.clusters.iter().zip(&mut self.clusters) {
            let Some(until) = hub.shard.lent_until(&managed.id) else { continue };
            if watched.lent.get(machine.host).is_some_and(|(_, known)| *known == until) {
                continue;
            }
            let raw = until;
            let until = now + until.since(uptime);
            watched.lent.insert(machine.host, (until, raw));
            if until > licence + SLACK {
                return Err(format!(
                    "I3: {} lends to {} until {until:?}, and its own lease ends at {licence:?}",
                    machine.host, managed.name
                ));
            }
            let owned = oracle.owned_until(managed.id, machine.name, now);
            if owned.is_none_or(|owned| until > owned + COMMAND_LEASE + SLACK) {
                return Err(format!(
                    "I3: {} lends to {} until {until:?}, and owned it until {owned:?}",
                    machine.host, managed.name
                ));
            }
            self.counts.leases += 1;
        }
        Ok(())
    }

    /// I1 and I3 at the agents: what was removed was named, and what is acted on is newer than anything before, under a lease.
    fn check_acts(&mut self, many: &Many) -> Result<(), String> {
        for (managed, watched) in many.world.clusters.iter().zip(&mut self.clusters) {
            for removal in managed.removals_from(watched.removals) {
                many.world
                    .evidence()
                    .judge(managed.id, &removal)
                    .map_err(|error| format!("{}: {error}", managed.name))?;
                watched.removals += 1;
                self.counts.removals += 1;
            }
            for act in managed.acts_from(watched.acts) {
                watched.acts += 1;
                let key = |fence: &starling_model::Fence| (fence.era.number, fence.position);
                if act.before.as_ref().map(key) > Some(key(&act.fence)) {
                    return Err(format!("I3: {} acts on an older fence: {act:?}", managed.name));
                }
                let is_in_era = act.before.is_none_or(|before| before.era.number == act.fence.era.number);
                let is_disturbed = act.at <= watched.disturbed + Duration::from_secs(1);
                let is_lent = watched.lent.values().any(|(until, _)| act.at <= *until + SLACK);
                if is_in_era && !is_disturbed && !is_lent {
                    return Err(format!("I3: {} acts without a lease: {act:?}, {:?}", managed.name, watched.lent));
                }
                self.counts.acts += 1;
            }
        }
        Ok(())
    }

    /// I4 at any time: whatever is shown was true once, is told of once, and what was shown goes on being shown.
    fn check_answer(&mut self, many: &Many, number: usize) -> Result<(), String> {
        let machine = &many.machines[number];
        let Some(answer) = machine.answer() else { return Ok(()) };
        let process = self.hubs.entry(machine.host).or_default();
        if process.answered == answer.asked {
            return Ok(());
        }
        process.answered = answer.asked;
        if let Some(twice) = &answer.twice {
            return Err(format!("I4: {} tells of {twice} twice", machine.host));
        }
        for (managed, watched) in many.world.clusters.iter().zip(&mut self.clusters) {
            let objects = answer.objects.get(&managed.id);
            for status in objects.into_iter().flat_map(BTreeMap::values) {
                if !managed.was_shown(status) {
                    return Err(format!("I4: {} shows of {} what never was: {status:?}", machine.host, managed.name));
                }
                self.counts.rows += 1;
            }
            let is_shown = objects.is_some_and(|objects| !objects.is_empty()) && answer.views.contains_key(&managed.id);
            if watched.shown_by.contains(machine.host) {
                if !is_shown {
                    return Err(format!(
                        "blank: {} does not show {} any more, without an answer of {:?}",
                        machine.host, managed.name, answer.unanswered
                    ));
                }
                self.counts.shown += 1;
            } else if is_shown && answer.asked > self.harsh.max(watched.disturbed) {
                watched.shown_by.insert(machine.host);
            }
        }
        Ok(())
    }
}
