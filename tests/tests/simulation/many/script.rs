//! What happens in a scenario with several hub processes, drawn from its seed. Pure; the driver carries it out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::{AGENTS, FROM_THE_BEGINNING, HUBS};
use crate::documents::{SLOTS, TIERS, VERSIONS, Wanted};
use crate::random::Random;
use crate::script::Step;

/// How long a scenario is disturbed.
pub(crate) const DISTURBED: Duration = Duration::from_secs(45);

/// A direction in which everything is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Both.
    Both,
    /// From the process to the other.
    Out,
    /// From the other to the process.
    In,
}

/// What a process is cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Other {
    /// The store.
    Etcd,
    /// Another process, by number.
    Hub(usize),
    /// A cluster's agent, by number.
    Agent(usize),
}

/// Something that happens. Processes, clusters, assignments and versions are given by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// What people and clusters do, and what happens to agents.
    Step(Step),
    /// A process dies.
    Crash(usize),
    /// It may be started again.
    Start(usize),
    /// The process that decides dies in the middle of its next write, which is carried out, or not.
    KillSteward(bool),
    /// A process is stopped: nothing leaves it, nothing arrives, its clock stands.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// Everything between a process and another is lost.
    Cut(usize, Other, Way),
    /// Nothing of it is any more.
    Mend(usize, Other),
    /// A process's lease ends in etcd.
    EndLease(usize),
    /// A process's watch tells late, in milliseconds; zero is in time.
    Lag(usize, u64),
    /// etcd takes so long for each request at most, in milliseconds; zero is no time.
    Slow(u64),
    /// etcd has a majority of its members, or not.
    Majority(bool),
    /// etcd's process runs, or not.
    Etcd(bool),
    /// etcd loses so many answers, and carries so many transactions out late, in percent.
    Lossy(u64, u64),
    /// Somebody backs etcd up.
    BackUp,
    /// etcd comes back with the backup; true if under another identity.
    Restore(bool),
    /// etcd forgets what was.
    Compact,
    /// Another process with the name of the first starts, or dies.
    Namesake(bool),
    /// A process ends in order; true if it is started again after that.
    Leave(usize, bool),
    /// A further process starts.
    ScaleOut,
    /// Each process ends in order, is started again and is waited for, one after another.
    Rolling,
    /// Every cluster is to be shown by every process that runs.
    StillShown,
}

/// What mostly happens in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Anything,
    Calm,
    Processes,
    Network,
    Store,
}

/// Writes the scenario of a seed, in order of time.
pub(crate) fn script(seed: u64) -> Vec<(Duration, Event)> {
    let mut draws = Random::new(seed, 70);
    let mood = match draws.within(0..10) {
        0 => Mood::Calm,
        1..3 => Mood::Processes,
        3..5 => Mood::Network,
        5..7 => Mood::Store,
        _ => Mood::Anything,
    };
    let mut script = Script { draws, steps: Vec::new(), busy: BTreeMap::new() };
    script.changes(mood);
    script.agents(mood);
    script.planned(mood);
    if mood != Mood::Calm {
        script.faults(mood);
    }
    script.steps.sort_by_key(|(at, _)| *at);
    script.steps.into_iter().map(|(at, event)| (Duration::from_millis(at), event)).collect()
}

/// Returns what is assigned before anything is disturbed.
pub(crate) fn beginning(seed: u64) -> Vec<(usize, Wanted)> {
    let mut script = Script { draws: Random::new(seed, 71), steps: Vec::new(), busy: BTreeMap::new() };
    (0..2).map(|slot| (slot, script.wanted())).collect()
}

/// Returns by how much the clock on the wall of each process's machine is ahead.
pub(crate) fn clocks(seed: u64) -> Vec<Duration> {
    let mut draws = Random::new(seed, 72);
    let most = if draws.chance(25) { 3_600_000 } else { 30_000 };
    (0..=HUBS.len()).map(|_| Duration::from_millis(draws.within(0..most))).collect()
}

/// Tells whether the processes pass streams on instead of sending agents elsewhere.
pub(crate) fn forwards(seed: u64) -> bool {
    Random::new(seed, 73).chance(15)
}

struct Script {
    draws: Random,
    steps: Vec<(u64, Event)>,
    /// Until when something is spoken for.
    busy: BTreeMap<Busy, u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Busy {
    Process(usize),
    Link(usize, Other),
    Store,
    Requests,
    Agent(usize),
    Server(usize),
}

impl Script {
    fn changes(&mut self, mood: Mood) {
        let mut at = 0;
        while at < disturbed() {
            at += self.draws.within(300..4_000);
            let (slot, cluster) = (self.draws.index(SLOTS.len()), self.draws.index(AGENTS.len()));
            let (lasts, number) = (self.draws.within(1_000..12_000), self.draws.next());
            let wanted = self.wanted();
            let step = match self.draws.within(0..100) {
                0..24 => Step::Assign(slot, wanted),
                24..32 => Step::Delete(slot),
                32..38 => {
                    self.between(
                        at,
                        lasts,
                        Event::Step(Step::Vanish(slot, true)),
                        Event::Step(Step::Vanish(slot, false)),
                    );
                    continue;
                }
                38..42 => {
                    self.between(at, lasts, Event::Step(Step::Empty(true)), Event::Step(Step::Empty(false)));
                    continue;
                }
                42..50 => Step::Relabel(cluster, self.draws.index(TIERS.len())),
                50..54 => Step::Approve,
                54..82 => {
                    let index = u32::try_from(self.draws.within(0..6)).expect("small");
                    Step::Churn(cluster, index, self.draws.chance(70))
                }
                82..90 => {
                    self.between(
                        at,
                        lasts,
                        Event::Step(Step::Fail(cluster, slot, true)),
                        Event::Step(Step::Fail(cluster, slot, false)),
                    );
                    continue;
                }
                90..96 => Step::Edit(cluster, number),
                _ => Step::DeleteByHand(cluster, number),
            };
            if mood != Mood::Calm || self.draws.chance(50) {
                self.add(at, Event::Step(step));
            }
        }
    }

    /// What happens to agents and their clusters.
    fn agents(&mut self, mood: Mood) {
        let mut at = 1_000;
        let most = if mood == Mood::Anything { 12_000 } else { 40_000 };
        while mood != Mood::Calm && at < disturbed() {
            at += self.draws.within(2_000..most);
            let (which, lasts) = (self.draws.index(AGENTS.len()), self.draws.within(200..8_000));
            match self.draws.within(0..100) {
                0..45 if self.take(Busy::Agent(which), at, lasts) => {
                    self.between(at, lasts, Event::Step(Step::CrashAgent(which)), Event::Step(Step::StartAgent(which)));
                }
                45..60 => {
                    let sleep = Duration::from_millis(self.draws.within(1_000..60_000));
                    self.add(at, Event::Step(Step::Suspend(which, sleep)));
                }
                60..80 if self.take(Busy::Server(which), at, lasts) => {
                    let end = Event::Step(Step::ApiServer(which, true));
                    self.between(at, lasts, Event::Step(Step::ApiServer(which, false)), end);
                }
                80.. if self.take(Busy::Server(which), at, lasts) => {
                    self.between(
                        at,
                        lasts,
                        Event::Step(Step::Flaky(which, true)),
                        Event::Step(Step::Flaky(which, false)),
                    );
                }
                _ => {}
            }
        }
    }

    /// What people plan to do with the hub's processes.
    fn planned(&mut self, mood: Mood) {
        let likely = if mood == Mood::Calm { 60 } else { 12 };
        if self.draws.chance(likely) {
            self.add(1_000, Event::Rolling);
            self.busy.extend((0..HUBS.len()).map(|hub| (Busy::Process(hub), disturbed())));
            return;
        }
        if self.draws.chance(likely) {
            let at = self.draws.within(1_000..disturbed());
            self.add(at, Event::ScaleOut);
        }
        if self.draws.chance(likely / 2) {
            let (at, which) = (self.draws.within(1_000..disturbed()), self.draws.index(FROM_THE_BEGINNING));
            self.busy.insert(Busy::Process(which), u64::MAX);
            self.add(at, Event::Leave(which, false));
        }
    }

    fn faults(&mut self, mood: Mood) {
        let mut at = 0;
        let mut restores = u64::from(self.draws.chance(if mood == Mood::Store { 60 } else { 15 }));
        let backed_up = self.draws.within(0..disturbed() / 2);
        self.add(backed_up, Event::BackUp);
        while at < disturbed() {
            at += self.draws.within(300..6_000);
            let kind = match mood {
                Mood::Processes if self.draws.chance(70) => self.draws.within(0..40),
                Mood::Network if self.draws.chance(70) => self.draws.within(40..65),
                Mood::Store if self.draws.chance(70) => self.draws.within(65..100),
                _ => self.draws.within(0..100),
            };
            self.fault(at, kind, backed_up, &mut restores);
        }
    }

    fn fault(&mut self, at: u64, kind: u64, backed_up: u64, restores: &mut u64) {
        let hub = self.draws.index(FROM_THE_BEGINNING);
        let lasts = match self.draws.within(0..10) {
            0..5 => self.draws.within(100..4_000),
            5..9 => self.draws.within(2_000..20_000),
            _ => self.draws.within(15_000..40_000),
        };
        match kind {
            0..12 if self.take(Busy::Process(hub), at, lasts + 3_000) => {
                self.between(at, lasts, Event::Crash(hub), Event::Start(hub));
            }
            12..20 => {
                let carried_out = self.draws.chance(50);
                self.add(at, Event::KillSteward(carried_out));
            }
            20..30 if self.can_pause(hub, at, lasts) => {
                self.between(at, lasts, Event::Pause(hub), Event::Resume(hub));
            }
            30..34 if self.take(Busy::Process(hub), at, 20_000) => self.add(at, Event::Leave(hub, true)),
            34..38 => self.between(at, lasts, Event::Namesake(true), Event::Namesake(false)),
            38..65 => {
                let other = match self.draws.within(0..10) {
                    0..4 => Other::Etcd,
                    4..7 => Other::Hub((hub + 1 + self.draws.index(FROM_THE_BEGINNING - 1)) % FROM_THE_BEGINNING),
                    _ => Other::Agent(self.draws.index(AGENTS.len())),
                };
                let way = [Way::Both, Way::Both, Way::Out, Way::In][self.draws.index(4)];
                let link = match other {
                    Other::Hub(other) if other < hub => Busy::Link(other, Other::Hub(hub)),
                    other => Busy::Link(hub, other),
                };
                if self.take(link, at, lasts) {
                    self.between(at, lasts, Event::Cut(hub, other, way), Event::Mend(hub, other));
                }
            }
            65..68 => self.add(at, Event::EndLease(hub)),
            68..70 if self.take(Busy::Process(hub), at, 20_000) => self.move_to_one_behind(hub, at),
            70..76 => {
                let late = self.draws.within(200..20_000);
                self.between(at, lasts, Event::Lag(hub, late), Event::Lag(hub, 0));
            }
            76..80 if self.take(Busy::Requests, at, lasts) => {
                let slow = self.draws.within(200..3_500);
                self.between(at, lasts, Event::Slow(slow), Event::Slow(0));
            }
            80..84 if self.take(Busy::Requests, at, lasts) => {
                let (lost, late) = (self.draws.within(5..50), self.draws.within(0..25));
                self.between(at, lasts, Event::Lossy(lost, late), Event::Lossy(0, 0));
            }
            84..89 if self.take(Busy::Store, at, lasts) => {
                self.between(at, lasts, Event::Majority(false), Event::Majority(true));
            }
            89..94 if self.take(Busy::Store, at, lasts) => {
                self.between(at, lasts, Event::Etcd(false), Event::Etcd(true));
            }
            94..97 => self.add(at, Event::Compact),
            97.. if *restores > 0 && at > backed_up && self.take(Busy::Store, at, lasts.min(8_000)) => {
                *restores -= 1;
                let lasts = lasts.min(8_000);
                self.between(at, lasts, Event::Etcd(false), Event::Etcd(true));
                let as_another = self.draws.chance(50);
                self.add(at + lasts / 2, Event::Restore(as_another));
            }
            _ => {}
        }
    }

    /// A process leaves while another one hears of it late, and people go on changing things: agents come to one that is behind what they
    /// have seen.
    fn move_to_one_behind(&mut self, hub: usize, at: u64) {
        let behind = (hub + 1 + self.draws.index(FROM_THE_BEGINNING - 1)) % FROM_THE_BEGINNING;
        let late = self.draws.within(3_000..9_000);
        self.between(at, 3 * late, Event::Lag(behind, late), Event::Lag(behind, 0));
        self.add(at + 300, Event::Leave(hub, true));
        for _ in 0..3 {
            let (slot, wanted) = (self.draws.index(SLOTS.len()), self.wanted());
            let then = at + self.draws.within(600..late);
            self.add(then, Event::Step(Step::Assign(slot, wanted)));
        }
    }

    /// A process is paused on all of its links at once.
    fn can_pause(&mut self, hub: usize, at: u64, lasts: u64) -> bool {
        let hubs = (0..HUBS.len()).filter(|other| *other != hub);
        let hubs = hubs.map(|other| Busy::Link(hub.min(other), Other::Hub(hub.max(other))));
        let agents = (0..AGENTS.len()).map(|agent| Busy::Link(hub, Other::Agent(agent)));
        let all: Vec<Busy> = hubs.chain(agents).chain([Busy::Process(hub), Busy::Link(hub, Other::Etcd)]).collect();
        let is_free = all.iter().all(|busy| self.busy.get(busy).is_none_or(|until| *until < at));
        if is_free {
            self.busy.extend(all.into_iter().map(|busy| (busy, at + lasts)));
        }
        is_free
    }

    fn take(&mut self, busy: Busy, at: u64, lasts: u64) -> bool {
        let is_free = self.busy.get(&busy).is_none_or(|until| *until < at);
        if is_free {
            self.busy.insert(busy, at + lasts);
        }
        is_free
    }

    fn wanted(&mut self) -> Wanted {
        let tier = self.draws.chance(50).then(|| self.draws.index(TIERS.len()));
        Wanted { version: self.draws.index(VERSIONS), tier, value: self.draws.within(0..1_000) }
    }

    fn add(&mut self, at: u64, event: Event) {
        self.steps.push((at, event));
    }

    fn between(&mut self, at: u64, lasts: u64, begin: Event, end: Event) {
        self.add(at, begin);
        self.add(at + lasts, end);
    }
}

fn disturbed() -> u64 {
    u64::try_from(DISTURBED.as_millis()).expect("seconds")
}
