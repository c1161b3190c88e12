//! What happens in a scenario, drawn from its seed: what people change, what clusters do, what breaks. Pure; the driver carries it out.

use std::time::Duration;

use crate::documents::{SLOTS, TIERS, VERSIONS, Wanted};
use crate::random::Random;
use crate::world::AGENTS;

/// How long a scenario is disturbed.
pub(crate) const DISTURBED: Duration = Duration::from_secs(150);

/// Something that happens. Clusters, assignments and versions are given by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An assignment is written, new or changed.
    Assign(usize, Wanted),
    /// An assignment is deleted, with the approval of whoever does it.
    Delete(usize),
    /// The file of an assignment vanishes, or returns.
    Vanish(usize, bool),
    /// The file of an assignment cannot be read, or can.
    Garble(usize, bool),
    /// The whole directory looks empty, or does not.
    Empty(bool),
    /// An assignment is paused, or goes on.
    Pause(usize, bool),
    /// A cluster gets the label of another tier.
    Relabel(usize, usize),
    /// A cluster is detached with all that it holds, with the approval of whoever does it.
    Leave(usize),
    /// Everything that waits is approved.
    Approve,
    /// An object that is there without Starling changes.
    Churn(usize, u32, bool),
    /// Flux fails with an install, or no longer.
    Fail(usize, usize, bool),
    /// Somebody edits an applied object, chosen by the number.
    Edit(usize, u64),
    /// Somebody deletes an applied object, chosen by the number.
    DeleteByHand(usize, u64),
    /// Everything between hub and agent is lost.
    Partition(usize),
    /// Everything from the agent to the hub is lost.
    PartitionTowardsHub(usize),
    /// Nothing is lost any more.
    Repair(usize),
    /// Everything between hub and agent waits.
    Hold(usize),
    /// What waited goes on.
    Release(usize),
    /// The agent's process dies.
    CrashAgent(usize),
    /// It starts again.
    StartAgent(usize),
    /// The agent's machine sleeps for so long.
    Suspend(usize, Duration),
    /// Whatever a cluster's agent asks of the API server stays where it is, or goes on.
    Stall(usize, bool),
    /// A second agent of the first cluster starts.
    StartTwin,
    /// The process of that one dies.
    CrashTwin,
    /// The hub's process dies.
    CrashHub,
    /// It starts again.
    StartHub,
    /// The hub's store is empty when it starts again.
    LoseStore,
    /// Somebody copies the store.
    BackUp,
    /// The hub has the copy of its store when it starts again.
    Restore,
    /// The cluster's API server does not answer, or does.
    ApiServer(usize, bool),
    /// The cluster's API server loses answers, or does not.
    Flaky(usize, bool),
}

/// Writes the scenario of a seed, in order of time.
pub(crate) fn script(seed: u64) -> Vec<(Duration, Step)> {
    let mut script = Script { draws: Random::new(seed, 2), steps: Vec::new(), reserved: 0 };
    script.changes();
    script.twin();
    script.faults();
    script.leave();
    script.steps.sort_by_key(|(at, _)| *at);
    script.steps.into_iter().map(|(at, step)| (Duration::from_millis(at), step)).collect()
}

/// Returns what is assigned before anything is disturbed.
pub(crate) fn beginning(seed: u64) -> Vec<(usize, Wanted)> {
    let mut script = Script { draws: Random::new(seed, 3), steps: Vec::new(), reserved: 0 };
    (0..3).map(|slot| (slot, script.wanted())).collect()
}

struct Script {
    draws: Random,
    steps: Vec<(u64, Step)>,
    /// Until when the link of the first cluster is spoken for.
    reserved: u64,
}

impl Script {
    /// What people and clusters do.
    fn changes(&mut self) {
        let mut at = 0;
        while at < disturbed() {
            at += self.draws.within(200..3_000);
            let slot = self.draws.index(SLOTS.len());
            let cluster = self.draws.index(AGENTS.len());
            let lasts = self.draws.within(2_000..30_000);
            let number = self.draws.next();
            let wanted = self.wanted();
            match self.draws.within(0..100) {
                0..20 => self.add(at, Step::Assign(slot, wanted)),
                20..30 => self.add(at, Step::Delete(slot)),
                30..38 => self.between(at, lasts, Step::Vanish(slot, true), Step::Vanish(slot, false)),
                38..42 => self.between(at, lasts, Step::Garble(slot, true), Step::Garble(slot, false)),
                42..46 => self.between(at, lasts, Step::Empty(true), Step::Empty(false)),
                46..50 => self.between(at, lasts, Step::Pause(slot, true), Step::Pause(slot, false)),
                50..58 => {
                    let tier = self.draws.index(TIERS.len());
                    self.add(at, Step::Relabel(cluster, tier));
                }
                58..62 => self.add(at, Step::Approve),
                62..80 => {
                    let (index, ready) = (self.draws.within(0..6), self.draws.chance(70));
                    self.add(at, Step::Churn(cluster, u32::try_from(index).expect("small"), ready));
                }
                80..88 => self.between(at, lasts, Step::Fail(cluster, slot, true), Step::Fail(cluster, slot, false)),
                88..94 => self.add(at, Step::Edit(cluster, number)),
                _ => self.add(at, Step::DeleteByHand(cluster, number)),
            }
        }
    }

    /// In some scenarios the agent of the first cluster is paused in the middle of whatever it does, another takes its place,
    /// and then it goes on.
    fn twin(&mut self) {
        if !self.draws.chance(30) {
            return;
        }
        let at = self.draws.within(5_000..40_000);
        let (begins, lasts) = (at + self.draws.within(0..10_000), self.draws.within(20_000..60_000));
        self.reserved = begins + lasts;
        self.between(at, lasts, Step::Stall(0, true), Step::Stall(0, false));
        self.between(at, lasts, Step::Hold(0), Step::Release(0));
        self.add(begins, Step::StartTwin);
        let both = self.draws.within(1_000..30_000);
        self.add(at + lasts + both, Step::CrashTwin);
    }

    /// What breaks, each with its end. One thing at a time breaks a link, a process or an API server; others may break meanwhile.
    fn faults(&mut self) {
        let mut at = 2_000;
        let (mut links, mut agents, mut servers, mut hub) = ([self.reserved, 0, 0], [0; 3], [0; 3], 0);
        let mut losses = u64::from(self.draws.chance(50));
        let backed_up = self.draws.within(1_000..disturbed() / 2);
        self.add(backed_up, Step::BackUp);
        while at < disturbed() {
            at += self.draws.within(1_000..9_000);
            let lasts = self.draws.within(100..12_000);
            let end = at + lasts;
            let which = self.draws.index(AGENTS.len());
            match self.draws.within(0..100) {
                0..12 if links[which] < at => {
                    links[which] = end;
                    self.between(at, lasts, Step::Partition(which), Step::Repair(which));
                }
                12..20 if links[which] < at => {
                    links[which] = end;
                    self.between(at, lasts, Step::PartitionTowardsHub(which), Step::Repair(which));
                }
                20..32 if links[which] < at => {
                    links[which] = end;
                    self.between(at, lasts, Step::Hold(which), Step::Release(which));
                }
                32..52 if agents[which] < at => {
                    agents[which] = end;
                    self.between(at, lasts, Step::CrashAgent(which), Step::StartAgent(which));
                }
                52..62 if links[which] < at => {
                    // While a machine sleeps nothing leaves it and nothing arrives.
                    links[which] = at + 300;
                    let sleep = Duration::from_millis(self.draws.within(1_000..90_000));
                    self.between(at, 200, Step::Hold(which), Step::Release(which));
                    self.add(at + 100, Step::Suspend(which, sleep));
                }
                62..74 if hub < at => {
                    hub = end;
                    self.between(at, lasts, Step::CrashHub, Step::StartHub);
                }
                74..80 if hub < at && losses > 0 && at > backed_up => {
                    hub = end;
                    losses -= 1;
                    self.between(at, lasts, Step::CrashHub, Step::StartHub);
                    let other = if self.draws.chance(50) { Step::LoseStore } else { Step::Restore };
                    self.add(at + 50, other);
                }
                80..90 if servers[which] < at => {
                    servers[which] = end;
                    self.between(at, lasts, Step::ApiServer(which, false), Step::ApiServer(which, true));
                }
                90.. if servers[which] < at => {
                    servers[which] = end;
                    self.between(at, lasts, Step::Flaky(which, true), Step::Flaky(which, false));
                }
                _ => {}
            }
        }
    }

    /// In some scenarios the last cluster leaves, and is adopted again in the end.
    fn leave(&mut self) {
        if self.draws.chance(40) {
            let at = self.draws.within(10_000..disturbed());
            self.add(at, Step::Leave(AGENTS.len() - 1));
        }
    }

    fn wanted(&mut self) -> Wanted {
        let tier = self.draws.chance(60).then(|| self.draws.index(TIERS.len()));
        Wanted { version: self.draws.index(VERSIONS), tier, value: self.draws.within(0..1_000) }
    }

    fn add(&mut self, at: u64, step: Step) {
        self.steps.push((at, step));
    }

    fn between(&mut self, at: u64, lasts: u64, begin: Step, end: Step) {
        self.add(at, begin);
        self.add(at + lasts, end);
    }
}

fn disturbed() -> u64 {
    u64::try_from(DISTURBED.as_millis()).expect("minutes")
}
