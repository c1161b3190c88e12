//! Runs one simulation: carries out the scenario of its seed between the steps of simulated time, and checks after each.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use starling_hub::store::memory::MemoryMedium;

use crate::cluster::Flaw;
use crate::documents::SLOTS;
use crate::invariants::{Counts, Invariants, settled};
use crate::ports::EPOCH;
use crate::random::Random;
use crate::script::{Step, beginning, script};
use crate::trace::Event;
use crate::world::{AGENTS, HUB, TWIN, Wish, World};
use crate::{changes, logs, machines};

/// The length of a step of simulated time, in which no message is delivered.
const TICK: Duration = Duration::from_millis(10);

/// How often the delay of each link is drawn anew. Within such a time it is the same for all messages of a link, so that the
/// order in which a crashing process closes its connections changes nothing.
const LATENCY: Duration = Duration::from_millis(500);

/// How long the fleet may take to be live and ready at first.
const BEGINS_WITHIN: Duration = Duration::from_secs(90);

/// How long everything may take to be as people want it, once nothing is disturbed any more.
const SETTLES_WITHIN: Duration = Duration::from_secs(400);

/// How long it must stay so.
const STAYS: Duration = Duration::from_secs(15);

/// How often it is looked at while it settles.
const LOOK: Duration = Duration::from_millis(500);

/// One simulation to run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    /// What everything is drawn from.
    pub(crate) seed: u64,
    /// A fault that is to be found.
    pub(crate) flaw: Flaw,
}

/// What came of a simulation.
pub(crate) struct Outcome {
    /// What happened.
    pub(crate) events: Vec<Event>,
    /// What was checked.
    pub(crate) counts: Counts,
    /// How long it was, in simulated time.
    pub(crate) simulated: Duration,
    /// How often the store was recovered.
    pub(crate) recoveries: u64,
    /// What did not hold.
    pub(crate) failure: Option<Failure>,
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// When.
    pub(crate) at: Duration,
    /// What.
    pub(crate) what: String,
}

/// Runs a simulation to its end or to the first thing that does not hold.
pub(crate) fn simulate(setup: Setup) -> Outcome {
    logs::collected(|| {
        let mut driver = Driver::new(setup);
        let failed = driver.run().err();
        let failure = failed.map(|what| Failure { at: driver.now(), what });
        Outcome {
            events: driver.world.trace.take(),
            counts: driver.invariants.counts(),
            simulated: driver.now(),
            recoveries: driver.world.people().recoveries,
            failure,
        }
    })
}

struct Driver {
    setup: Setup,
    sim: turmoil::Sim<'static>,
    world: Arc<World>,
    invariants: Invariants,
    latencies: Random,
    latencies_until: Duration,
    /// What is disturbed now, by cluster.
    disturbed: [BTreeSet<&'static str>; AGENTS.len()],
    backup: MemoryMedium,
    evidence_lost: bool,
}

impl Driver {
    fn new(setup: Setup) -> Self {
        let world = World::new(setup.seed, setup.flaw, &AGENTS);
        let mut sim = turmoil::Builder::new()
            .rng_seed(setup.seed)
            .epoch(UNIX_EPOCH + EPOCH)
            .simulation_duration(Duration::from_secs(24 * 3600))
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(40))
            .tcp_capacity(1_024)
            .enable_random_order()
            .build();
        machines::add_hub(&mut sim, &world, setup.seed);
        for number in 0..AGENTS.len() {
            machines::add_agent(&mut sim, &world, number);
        }
        machines::add_twin(&mut sim, &world);
        Self {
            setup,
            sim,
            invariants: Invariants::new(AGENTS.len()),
            world,
            latencies: Random::new(setup.seed, 4),
            latencies_until: Duration::ZERO,
            disturbed: Default::default(),
            backup: MemoryMedium::default(),
            evidence_lost: false,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        for (slot, wanted) in beginning(self.setup.seed) {
            self.world.assign(&SLOTS[slot], wanted);
        }
        self.world.people().wishes.extend((0..AGENTS.len()).map(Wish::Adopt));
        self.until_settled("did not begin", BEGINS_WITHIN)?;
        let begun = self.now();
        for (at, step) in script(self.setup.seed) {
            while self.now() < begun + at {
                self.step()?;
            }
            self.world.trace.drive(self.now(), format!("{step:?}"));
            self.carry_out(step);
        }
        self.world.trace.drive(self.now(), "nothing is disturbed any more");
        changes::calm(&self.world);
        self.until_settled("did not settle", SETTLES_WITHIN)
    }

    /// Steps until everything is as people want it and stays so.
    fn until_settled(&mut self, what: &str, within: Duration) -> Result<(), String> {
        let end = self.now() + within;
        let (mut since, mut next) = (None, Duration::ZERO);
        loop {
            self.step()?;
            if self.now() < next {
                continue;
            }
            next = self.now() + LOOK;
            match settled(&self.world, self.evidence_lost) {
                Ok(()) if self.now() >= *since.get_or_insert(self.now()) + STAYS => return Ok(()),
                Ok(()) => {}
                Err(why) if self.now() > end => return Err(format!("{what} in {} s: {why}", within.as_secs())),
                Err(_) => since = None,
            }
        }
    }

    fn step(&mut self) -> Result<(), String> {
        if self.latencies_until <= self.now() {
            self.latencies_until = self.now() + LATENCY;
            for agent in AGENTS.into_iter().chain([TWIN]) {
                self.sim.set_link_latency(HUB, agent, Duration::from_millis(self.latencies.within(1..40)));
            }
        }
        self.sim.step().map_err(|error| format!("a process failed: {error}"))?;
        let now = self.now();
        self.world.time.set(now);
        if logs::panicked() {
            return Err("a task panicked".into());
        }
        let errors = logs::take_errors();
        if let Some(error) = errors.into_iter().find(|error| !self.is_expected(error)) {
            return Err(format!("an error was logged:{error}"));
        }
        for (cluster, what) in self.disturbed.iter().enumerate() {
            if !what.is_empty() {
                self.invariants.disturb(cluster, now);
            }
        }
        self.invariants.check(&self.world, now)
    }

    /// Tells whether a logged error is what the scenario asked for.
    fn is_expected(&self, error: &str) -> bool {
        self.evidence_lost && error.contains("the fleet holds")
    }

    fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    fn carry_out(&mut self, step: Step) {
        let now = self.now();
        if changes::carry_out(&self.world, step) {
            return;
        }
        match step {
            Step::Partition(cluster) => self.lose(cluster, |sim, agent| sim.partition(HUB, agent)),
            Step::PartitionTowardsHub(cluster) => self.lose(cluster, |sim, agent| sim.partition_oneway(agent, HUB)),
            Step::Repair(cluster) => {
                self.sim.repair(HUB, AGENTS[cluster]);
                self.invariants.partition(cluster, now);
                self.disturbed[cluster].remove("partition");
            }
            Step::Hold(cluster) => {
                self.sim.hold(HUB, AGENTS[cluster]);
                self.disturbed[cluster].insert("hold");
            }
            Step::Release(cluster) => {
                self.sim.release(HUB, AGENTS[cluster]);
                self.disturbed[cluster].remove("hold");
            }
            Step::CrashAgent(cluster) => {
                self.crash(AGENTS[cluster]);
                self.disturbed[cluster].insert("crash");
            }
            Step::StartAgent(cluster) => {
                self.sim.bounce(AGENTS[cluster]);
                self.disturbed[cluster].remove("crash");
            }
            Step::Suspend(cluster, _) => self.invariants.disturb(cluster, now),
            Step::CrashHub => {
                self.crash(HUB);
                self.world.set_live(None);
            }
            Step::StartHub => self.sim.bounce(HUB),
            Step::LoseStore => self.replace_store(MemoryMedium::default()),
            Step::BackUp => self.backup = self.world.medium().snapshot(),
            Step::Restore => self.replace_store(self.backup.snapshot()),
            Step::ApiServer(cluster, answers) => self.disturb(cluster, "api server", !answers),
            Step::Stall(cluster, stalled) => self.disturb(cluster, "stall", stalled),
            Step::StartTwin => self.disturb(0, "twin", true),
            Step::CrashTwin => {
                self.crash(TWIN);
                self.sim.bounce(TWIN);
                self.disturb(0, "twin", false);
            }
            Step::Flaky(cluster, flaky) => self.disturb(cluster, "flaky", flaky),
            other => unreachable!("{other:?} was carried out"),
        }
    }

    fn lose(&mut self, cluster: usize, partition: impl FnOnce(&turmoil::Sim<'_>, &str)) {
        partition(&self.sim, AGENTS[cluster]);
        self.invariants.partition(cluster, self.now());
        self.disturbed[cluster].insert("partition");
    }

    fn disturb(&mut self, cluster: usize, what: &'static str, disturbed: bool) {
        if disturbed {
            self.disturbed[cluster].insert(what)
        } else {
            self.disturbed[cluster].remove(what)
        };
    }

    fn crash(&mut self, host: &str) {
        let Self { sim, world, .. } = self;
        world.trace.muted(|| sim.crash(host));
    }

    fn replace_store(&mut self, store: MemoryMedium) {
        self.world.replace_store(store);
        self.evidence_lost = true;
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {:.3} s: {}", self.at.as_secs_f64(), self.what)
    }
}
