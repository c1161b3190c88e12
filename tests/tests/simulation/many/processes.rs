//! Whoever runs the hub's processes: starts those that ended, stops them in order, and restarts all of them one after another.

use std::time::Duration;

use super::oracle::Oracle;
use super::world::{FROM_THE_BEGINNING, HUBS, Many};

/// How long it takes until a process that ended is started again.
const AGAIN: Duration = Duration::from_millis(1_500);

/// How long a restart waits for one process to be back before it goes on.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to become of the processes.
pub(crate) struct Processes {
    processes: Vec<Process>,
    rolling: Option<Rolling>,
    /// A restart of all that nothing else disturbed, and how often each cluster had moved before it.
    pub(crate) rolled: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Process {
    /// It should run.
    wanted: bool,
    /// It died and is not to be started yet.
    down: bool,
    /// It was asked to end, and did not yet.
    leaving: bool,
    again_at: Option<Duration>,
}

struct Rolling {
    number: usize,
    /// It was asked to end.
    asked: bool,
    /// It ended.
    ended: bool,
    since: Duration,
}

impl Processes {
    /// Begins with those that run from the beginning.
    pub(crate) fn new(count: usize) -> Self {
        let process = |number| Process { wanted: number < FROM_THE_BEGINNING, ..Process::default() };
        Self { processes: (0..count).map(process).collect(), rolling: None, rolled: 0 }
    }

    /// Returns the names of the processes that should run.
    pub(crate) fn wanted_names(&self, many: &Many) -> Vec<&'static str> {
        let wanted = many.machines.iter().zip(&self.processes).take(HUBS.len());
        wanted.filter(|(_, process)| process.wanted).map(|(machine, _)| machine.name).collect()
    }

    /// Tells whether any process that should run does not, other than in order.
    pub(crate) fn is_any_down(&self) -> bool {
        self.processes.iter().any(|process| process.wanted && process.down)
    }

    /// Starts a process at a time, or again.
    pub(crate) fn again_at(&mut self, number: usize, at: Duration) {
        let process = &mut self.processes[number];
        (process.down, process.again_at) = (false, Some(at));
    }

    /// Keeps a process that died from being started.
    pub(crate) fn stays_down(&mut self, number: usize) {
        self.processes[number].down = true;
    }

    /// Runs a further process.
    pub(crate) fn runs(&mut self, number: usize, now: Duration) {
        self.processes[number].wanted = true;
        self.again_at(number, now);
    }

    /// Runs a process no longer, which died.
    pub(crate) fn is_gone(&mut self, number: usize) {
        self.processes[number] = Process::default();
    }

    /// Asks a process to end in order.
    pub(crate) fn leaves(&mut self, many: &Many, number: usize, comes_back: bool) {
        self.processes[number].leaving = true;
        self.processes[number].wanted = comes_back;
        many.machines[number].leaving.send_replace(true);
    }

    /// Restarts all of them, one after another.
    pub(crate) fn roll(&mut self) {
        self.rolling = Some(Rolling { number: 0, asked: false, ended: false, since: Duration::ZERO });
    }

    /// Runs what should run, as soon as it is possible.
    pub(crate) fn calm(&mut self) {
        for process in &mut self.processes {
            if process.down {
                (process.down, process.again_at) = (false, Some(Duration::ZERO));
            }
        }
    }

    /// Does what is due.
    pub(crate) fn look(&mut self, sim: &mut turmoil::Sim<'static>, many: &Many, oracle: &Oracle, now: Duration) {
        for (machine, process) in many.machines.iter().zip(&mut self.processes) {
            if sim.is_host_running(machine.host) {
                continue;
            }
            process.leaving = false;
            if !process.wanted || process.down {
                continue;
            }
            if now >= *process.again_at.get_or_insert(now + AGAIN) {
                process.again_at = None;
                sim.bounce(machine.host);
            }
        }
        self.look_at_rolling(many, oracle, now);
    }

    fn look_at_rolling(&mut self, many: &Many, oracle: &Oracle, now: Duration) {
        let Some(rolling) = &mut self.rolling else { return };
        let number = rolling.number;
        if !rolling.asked {
            (rolling.asked, rolling.ended, rolling.since) = (true, false, now);
            self.leaves(many, number, true);
            return;
        }
        if !rolling.ended {
            rolling.ended = !self.processes[number].leaving;
            return;
        }
        let name = many.machines[number].name;
        let is_member = oracle.fleet.ring().is_some_and(|ring| ring.member(name).is_some());
        let is_back = many.machines[number].live().is_some() && is_member && oracle.members.contains(name);
        if !is_back && now < rolling.since + PATIENCE {
            return;
        }
        if number + 1 == FROM_THE_BEGINNING {
            self.rolling = None;
            self.rolled += 1;
        } else {
            (rolling.number, rolling.asked) = (number + 1, false);
        }
    }
}
