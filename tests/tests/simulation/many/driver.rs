//! Runs one simulation of several hub processes: carries out the scenario of its seed, and checks after each step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use starling_hub::shard::Routing;
use starling_model::sabotage::{self, Guard};

use super::invariants::{Counts, Invariants};
use super::machines;
use super::oracle::Oracle;
use super::processes::Processes;
use super::script::{Event, Other, Way, beginning, clocks, forwards, script};
use super::settled::settled;
use super::world::{AGENTS, FROM_THE_BEGINNING, HUBS, Many, NAMESAKE};
use crate::changes;
use crate::documents::SLOTS;
use crate::driver::Failure;
use crate::etcd::{ETCD, State};
use crate::logs;
use crate::ports::EPOCH;
use crate::random::Random;
use crate::script::Step;
use crate::trace;
use crate::world::{Decides, Wish};

/// The length of a step of simulated time, in which no message is delivered.
const TICK: Duration = Duration::from_millis(20);

/// How often the delay of each link is drawn anew.
const LATENCY: Duration = Duration::from_millis(1_000);

/// How long the fleet may take to be live and ready at first.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);

/// How long everything may take to be as people want it, once nothing is disturbed any more.
const SETTLES_WITHIN: Duration = Duration::from_secs(400);

/// How long it must stay so.
const STAYS: Duration = Duration::from_secs(5);

/// How often it is looked at while it settles.
const LOOK: Duration = Duration::from_millis(500);

/// How long after a fault its consequences may still be felt.
const AFTERMATH: Duration = Duration::from_secs(40);

/// What came of a simulation.
pub(crate) struct Outcome {
    /// What happened.
    pub(crate) events: Vec<trace::Event>,
    /// What was checked.
    pub(crate) counts: Counts,
    /// How long it was, in simulated time.
    pub(crate) simulated: Duration,
    /// How often the store was recovered.
    pub(crate) recoveries: u64,
    /// How many faults there were.
    pub(crate) faults: u64,
    /// How often a cluster got another owner.
    pub(crate) moves: u64,
    /// How often an agent opened a connection.
    pub(crate) handshakes: u64,
    /// The most of them for one cluster.
    pub(crate) most_handshakes: u64,
    /// What did not hold.
    pub(crate) failure: Option<Failure>,
}

/// Runs a simulation to its end or to the first thing that does not hold, with a guard broken or none.
pub(crate) fn simulate(seed: u64, broken: Option<Guard>) -> Outcome {
    simulate_script(seed, broken, script(seed))
}

/// Runs a simulation with another script than the seed's own.
pub(crate) fn simulate_script(seed: u64, broken: Option<Guard>, script: Vec<(Duration, Event)>) -> Outcome {
    logs::collected(|| {
        let mut driver = Driver::new(seed, broken);
        let failed = driver.run(script).err();
        let failure = failed.map(|what| Failure { at: driver.now(), what });
        let dialled = driver.many.world.clusters.iter().map(|managed| managed.machine.link.dialled());
        Outcome {
            counts: driver.invariants.counts,
            simulated: driver.now(),
            recoveries: driver.many.world.people().recoveries,
            faults: driver.faults,
            moves: driver.oracle.moves.iter().sum(),
            handshakes: dialled.clone().sum(),
            most_handshakes: dialled.max().unwrap_or(0),
            failure,
            events: driver.many.world.trace.take(),
        }
    })
}

struct Driver {
    seed: u64,
    /// In the hosts alone: what judges them is whole.
    broken: Option<Guard>,
    sim: turmoil::Sim<'static>,
    many: Arc<Many>,
    oracle: Oracle,
    invariants: Invariants,
    processes: Processes,
    latencies: Random,
    latencies_until: Duration,
    /// What is disturbed now: of each cluster, and of everything.
    disturbed: [BTreeSet<&'static str>; AGENTS.len()],
    cut: BTreeSet<(usize, Other)>,
    paused: BTreeSet<usize>,
    store: BTreeSet<&'static str>,
    /// Until when everything counts as disturbed.
    harsh_until: Duration,
    faults: u64,
    backup: Option<State>,
    evidence_lost: bool,
}

impl Driver {
    fn new(seed: u64, broken: Option<Guard>) -> Self {
        let many = Many::new(seed, &clocks(seed));
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(UNIX_EPOCH + EPOCH)
            .simulation_duration(Duration::from_secs(24 * 3600))
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(30))
            .tcp_capacity(1_024)
            .enable_random_order()
            .build();
        let routing = if forwards(seed) { Routing::Forward } else { Routing::Redirect };
        machines::add_etcd(&mut sim, &many);
        for number in 0..many.machines.len() {
            machines::add_hub(&mut sim, &many, number, routing, seed);
        }
        for number in 0..AGENTS.len() {
            machines::add_agent(&mut sim, &many, number);
        }
        for later in &many.machines[FROM_THE_BEGINNING..] {
            sim.crash(later.host);
        }
        Self {
            seed,
            broken,
            sim,
            oracle: Oracle::new(&many),
            invariants: Invariants::new(AGENTS.len()),
            processes: Processes::new(many.machines.len()),
            many,
            latencies: Random::new(seed, 4),
            latencies_until: Duration::ZERO,
            disturbed: Default::default(),
            cut: BTreeSet::new(),
            paused: BTreeSet::new(),
            store: BTreeSet::new(),
            harsh_until: Duration::ZERO,
            faults: 0,
            backup: None,
            evidence_lost: false,
        }
    }

    fn run(&mut self, script: Vec<(Duration, Event)>) -> Result<(), String> {
        for (slot, wanted) in beginning(self.seed) {
            self.many.world.assign(&SLOTS[slot], wanted);
        }
        self.many.world.people().wishes.extend((0..AGENTS.len()).map(Wish::Adopt));
        self.until_settled("did not begin", BEGINS_WITHIN)?;
        let begun = self.now();
        for (at, event) in script {
            while self.now() < begun + at {
                self.step()?;
            }
            self.many.world.trace.drive(self.now(), format!("{event:?}"));
            if event == Event::StillShown {
                self.still_shown()?;
            } else {
                self.carry_out(event);
            }
        }
        self.many.world.trace.drive(self.now(), "nothing is disturbed any more");
        self.calm();
        self.until_settled("did not settle", SETTLES_WITHIN)
    }

    /// Steps until everything is as people want it and stays so.
    fn until_settled(&mut self, what: &str, within: Duration) -> Result<(), String> {
        let began = self.now();
        let end = began + within;
        let (mut since, mut next) = (None, Duration::ZERO);
        loop {
            self.step()?;
            if self.now() < next {
                continue;
            }
            next = self.now() + LOOK;
            let names = self.processes.wanted_names(&self.many);
            match settled(&self.many, &self.oracle, &names, began, self.evidence_lost) {
                Ok(()) if self.now() >= *since.get_or_insert(self.now()) + STAYS => return Ok(()),
                Ok(()) => {}
                Err(why) if self.now() > end => return Err(format!("{what} in {} s: {why}", within.as_secs())),
                Err(_) => since = None,
            }
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.draw_latencies();
        sabotage::without(self.broken, || self.sim.step()).map_err(|error| format!("a process failed: {error}"))?;
        let now = self.now();
        self.many.world.time.set(now);
        if logs::panicked() {
            return Err("a task panicked".into());
        }
        let exited = self.end_exited();
        let errors = logs::take_errors();
        // Of a process that is over, its last tasks may notice before the driver.
        let is_last = |error: &str| exited && error.contains("a background task ended");
        if let Some(error) = errors.into_iter().find(|error| !self.is_expected(error) && !is_last(error)) {
            return Err(format!("an error was logged:{error}"));
        }
        self.oracle.follow(&self.many, now)?;
        let host = self.oracle.steward.as_ref().map_or("", |claim| &claim.name);
        let shown = self.oracle.hold.as_ref().and_then(|hold| hold.shown);
        self.many.world.set_decides(Decides { host: Some(host.to_owned()), shown });
        if let Some(name) = self.many.etcd.take_trapped() {
            self.many.world.trace.drive(now, format!("{name} dies in the middle of a write"));
            if let Some(number) = HUBS.iter().position(|hub| *hub == name) {
                self.crash(number);
                self.processes.again_at(number, now + Duration::from_secs(2));
            }
        }
        self.processes.look(&mut self.sim, &self.many, &self.oracle, now);
        if let Some(address) = self.oracle.take_robbed()
            && now >= self.harsh_until
            && self.many.machines.iter().any(|machine| machine.address() == address && machine.answers())
        {
            return Err(format!("I3: the seat of the process at {address}, which runs and answers, was taken"));
        }
        let is_harsh = self.oracle.take_replaced()
            || !self.store.is_empty()
            || !self.cut.is_empty()
            || !self.paused.is_empty()
            || self.processes.is_any_down();
        if is_harsh {
            self.harsh_until = now + AFTERMATH;
        }
        if now < self.harsh_until {
            self.invariants.disturb_all(now);
        }
        for (cluster, what) in self.disturbed.iter().enumerate() {
            if !what.is_empty() {
                self.invariants.disturb(cluster, now);
            }
        }
        self.invariants.check(&self.many, &self.oracle, now)
    }

    /// Ends the processes that are over, with all of their tasks.
    fn end_exited(&mut self) -> bool {
        let mut any = false;
        for number in 0..self.many.machines.len() {
            let machine = Arc::clone(&self.many.machines[number]);
            if machine.take_exited() {
                self.crash_host(machine.host);
                any = true;
            }
        }
        any
    }

    /// Tells whether a logged error is what the scenario asked for.
    fn is_expected(&self, error: &str) -> bool {
        let holds = self.evidence_lost && error.contains("the fleet holds");
        // Somebody has to look when a decision cannot be committed, and here somebody knows why.
        let is_disturbed = self.now() < self.harsh_until + AFTERMATH && error.contains("cannot commit a decision");
        holds || is_disturbed
    }

    fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    fn draw_latencies(&mut self) {
        if self.latencies_until > self.now() {
            return;
        }
        self.latencies_until = self.now() + LATENCY;
        let hosts: Vec<&str> = self.many.machines.iter().map(|machine| machine.host).collect();
        for (number, host) in hosts.iter().enumerate() {
            for other in AGENTS.iter().chain([&ETCD]).chain(&hosts[number + 1..]) {
                let latency = Duration::from_millis(self.latencies.within(1..30));
                self.sim.set_link_latency(*host, *other, latency);
            }
        }
    }

    fn carry_out(&mut self, event: Event) {
        let now = self.now();
        self.faults +=
            u64::from(!matches!(event, Event::Step(_) | Event::Start(_) | Event::Resume(_) | Event::Mend(..)));
        match event {
            Event::Step(step) => self.carry_out_step(step),
            Event::Crash(hub) => {
                self.crash(hub);
                self.processes.stays_down(hub);
            }
            Event::Start(hub) => self.processes.again_at(hub, now),
            Event::KillSteward(carried_out) => self.many.etcd.set(|faults| faults.trap = Some(carried_out)),
            Event::Pause(hub) => {
                self.paused.insert(hub);
                self.many.machines[hub].clock.stall(true);
                let sim = &self.sim;
                self.others(hub).into_iter().for_each(|other| sim.hold(self.many.machines[hub].host, other));
            }
            Event::Resume(hub) => {
                self.paused.remove(&hub);
                self.many.machines[hub].clock.stall(false);
                let sim = &self.sim;
                self.others(hub).into_iter().for_each(|other| sim.release(self.many.machines[hub].host, other));
            }
            Event::Cut(hub, other, way) => {
                self.cut.insert((hub, other));
                let (host, other) = (self.many.machines[hub].host, self.host(other));
                match way {
                    Way::Both => self.sim.partition(host, other),
                    Way::Out => self.sim.partition_oneway(host, other),
                    Way::In => self.sim.partition_oneway(other, host),
                }
            }
            Event::Mend(hub, other) => {
                self.cut.remove(&(hub, other));
                self.sim.repair(self.many.machines[hub].host, self.host(other));
            }
            Event::EndLease(hub) => {
                let key = format!("{}starling/v1/member/{}", crate::etcd::PREFIX, HUBS[hub]);
                self.many.etcd.end_lease_of(&key, now);
            }
            Event::Lag(hub, millis) => {
                let host = self.many.machines[hub].host;
                self.many.etcd.set(|faults| {
                    match millis {
                        0 => faults.lag.remove(host),
                        millis => faults.lag.insert(host.to_owned(), Duration::from_millis(millis)),
                    };
                });
                self.disturb_store("lag", millis > 0);
            }
            Event::Slow(millis) => {
                self.many.etcd.set(|faults| faults.slow = millis);
                self.disturb_store("slow", millis > 0);
            }
            Event::Lossy(lost, late) => {
                self.many.etcd.set(|faults| (faults.lost, faults.late) = (lost, late));
                self.disturb_store("lossy", lost > 0);
            }
            Event::Majority(has_majority) => {
                self.many.etcd.set_majority(has_majority, now);
                self.disturb_store("majority", !has_majority);
            }
            Event::Etcd(runs) => {
                if runs {
                    self.sim.bounce(ETCD);
                } else {
                    self.crash_host(ETCD);
                }
                self.disturb_store("etcd", !runs);
            }
            Event::BackUp => self.backup = Some(self.many.etcd.snapshot()),
            Event::Restore(as_another) => {
                if let Some(backup) = self.backup.clone() {
                    self.many.etcd.restore(backup, as_another);
                    self.evidence_lost = true;
                }
            }
            Event::Compact => self.many.etcd.compact(),
            Event::Namesake(runs) => {
                let number = self.many.machines.len() - 1;
                if runs {
                    self.processes.runs(number, now);
                } else {
                    self.crash(number);
                    self.processes.is_gone(number);
                }
            }
            Event::Leave(hub, comes_back) => self.processes.leaves(&self.many, hub, comes_back),
            Event::ScaleOut => self.processes.runs(FROM_THE_BEGINNING, now),
            Event::Rolling => self.processes.roll(),
            Event::StillShown => unreachable!("it is looked at where it can fail"),
        }
    }

    fn carry_out_step(&mut self, step: Step) {
        if changes::carry_out(&self.many.world, step) {
            return;
        }
        match step {
            Step::CrashAgent(cluster) => {
                self.crash_host(AGENTS[cluster]);
                self.disturbed[cluster].insert("crash");
            }
            Step::StartAgent(cluster) => {
                self.sim.bounce(AGENTS[cluster]);
                self.disturbed[cluster].remove("crash");
            }
            Step::Suspend(cluster, _) => self.invariants.disturb(cluster, self.now()),
            Step::ApiServer(cluster, answers) => self.disturb(cluster, "api server", !answers),
            Step::Flaky(cluster, flaky) => self.disturb(cluster, "flaky", flaky),
            other => unreachable!("{other:?} belongs to the other scenario"),
        }
    }

    /// I6: every process that runs shows every cluster, whose agent is connected somewhere.
    fn still_shown(&self) -> Result<(), String> {
        for (number, _) in self.many.live() {
            let machine = &self.many.machines[number];
            let answer = machine.answer().ok_or_else(|| format!("I6: {} does not answer", machine.host))?;
            for managed in &self.many.world.clusters {
                let is_connected = answer.views.get(&managed.id).is_some_and(|view| view.connected);
                let has_objects = answer.objects.get(&managed.id).is_some_and(|objects| !objects.is_empty());
                if !is_connected || !has_objects {
                    return Err(format!("I6: {} does not show {} and its objects", machine.host, managed.name));
                }
            }
        }
        Ok(())
    }

    /// Ends everything that keeps the world from coming to rest.
    fn calm(&mut self) {
        self.processes.calm();
        self.many.etcd.set(|faults| faults.trap = None);
        changes::calm(&self.many.world);
    }

    fn disturb(&mut self, cluster: usize, what: &'static str, disturbed: bool) {
        if disturbed {
            self.disturbed[cluster].insert(what)
        } else {
            self.disturbed[cluster].remove(what)
        };
    }

    fn disturb_store(&mut self, what: &'static str, disturbed: bool) {
        if disturbed {
            self.store.insert(what)
        } else {
            self.store.remove(what)
        };
    }

    fn crash(&mut self, hub: usize) {
        let machine = Arc::clone(&self.many.machines[hub]);
        self.crash_host(machine.host);
        machine.set_live(None);
        self.harsh_until = self.now() + AFTERMATH;
    }

    fn crash_host(&mut self, host: &str) {
        let Self { sim, many, .. } = self;
        many.world.trace.muted(|| sim.crash(host));
    }

    fn host(&self, other: Other) -> &'static str {
        match other {
            Other::Etcd => ETCD,
            Other::Hub(hub) => self.many.machines[hub].host,
            Other::Agent(agent) => AGENTS[agent],
        }
    }

    /// Returns every host that a process talks to.
    fn others(&self, hub: usize) -> Vec<&'static str> {
        let hubs = self.many.machines.iter().map(|machine| machine.host);
        let all = hubs.chain(AGENTS).chain([ETCD]);
        all.filter(|host| *host != self.many.machines[hub].host && (hub != 0 || *host != NAMESAKE)).collect()
    }
}
