//! What a load test does, as a TOML file says it: a fleet, steps one after another, and what the figures have to be.
//!
//! Owns the format and its checks. Every range is drawn from the scenario's seed, so that a run can be repeated.

mod compare;
mod crew;
mod fleet;
mod hub;
mod range;
mod step;
mod threshold;

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

pub use compare::{ALTERNATIVE, AlternativeSpec, Compare, FLOOR};
pub use crew::HostileCrew;
pub use fleet::{DrawnCluster, FleetSpec, Heavy, Share, Slow};
pub use hub::{HubSpec, Which};
pub use range::Range;
pub use step::{Action, Step};
pub use threshold::Threshold;

/// A scenario.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// Its name, in reports and file names.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What everything that is drawn comes from.
    #[serde(default = "one")]
    pub seed: u64,
    /// The simulated clusters.
    pub fleet: FleetSpec,
    /// The hub, where the run starts it.
    #[serde(default)]
    pub hub: HubSpec,
    /// Questions that are asked all the time.
    #[serde(default)]
    pub probes: Probes,
    /// What is done, in order. A run begins with the fleet being adopted, which is the step `start`, and ends with every object
    /// being compared, which is `end`.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
    /// What the figures are compared with.
    #[serde(default, skip_serializing_if = "Compare::is_empty")]
    pub compare: Compare,
    /// What figures have to be, by `step.figure`.
    #[serde(default)]
    pub thresholds: BTreeMap<String, Threshold>,
}

/// Questions that are asked all the time, each at its own pace whether or not the one before was answered.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Probes {
    /// Statuses that are changed and looked for, a second.
    pub statuses_per_second: u64,
    /// Pages of objects and counts that are asked for, of each so many a second.
    pub queries_per_second: u64,
}

/// What is wrong with a scenario, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScenarioError(String);

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| ScenarioError(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Returns the random numbers of one purpose; the same for the same seed.
    #[must_use]
    pub fn random(&self, purpose: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(purpose))
    }

    /// Returns the names of the steps, in order: `start`, the scenario's own, `end`.
    #[must_use]
    pub fn step_names(&self) -> Vec<String> {
        let own = self.steps.iter().map(|step| step.name.clone().unwrap_or_else(|| step.action.kind().to_owned()));
        [START.to_owned()].into_iter().chain(own).chain([END.to_owned()]).collect()
    }

    fn check(&self) -> Result<(), ScenarioError> {
        let wrong = |text: String| Err(ScenarioError(text));
        if self.name.is_empty() || !self.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return wrong(format!("name {:?}: use letters, digits and dashes", self.name));
        }
        let mut ranges = self.fleet.ranges();
        ranges.extend([
            ("probes.statuses-per-second", Range::One(self.probes.statuses_per_second), 0, 1000),
            ("probes.queries-per-second", Range::One(self.probes.queries_per_second), 0, 1000),
        ]);
        for step in &self.steps {
            ranges.extend(step.action.ranges());
        }
        for (name, range, least, most) in ranges {
            if range.low() > range.high() {
                return wrong(format!("{name}: [{}, {}] ends before it begins", range.low(), range.high()));
            }
            if range.low() < least || range.high() > most {
                return wrong(format!(
                    "{name}: {} is not between {least} and {most}",
                    if range.low() < least { range.low() } else { range.high() }
                ));
            }
        }
        self.fleet.check()?;
        self.hub.check(&self.steps)?;
        self.check_steps()?;
        self.compare.check()?;
        let mut names: BTreeSet<String> = self.compare.names().into_iter().map(str::to_owned).collect();
        for name in self.step_names() {
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                return wrong(format!("step {name:?}: use letters, digits and dashes"));
            }
            if !names.insert(name.clone()) {
                return wrong(format!("two steps are called {name}: give one of them another `name`"));
            }
        }
        for (figure, threshold) in &self.thresholds {
            let step = figure.split('.').next().unwrap_or_default();
            if !figure.contains('.') || !(names.contains(step) || step == HUB) {
                return wrong(format!(
                    "threshold {figure}: name a step and a figure of it, such as start.live-seconds"
                ));
            }
            if threshold.min.is_none() && threshold.max.is_none() {
                return wrong(format!("threshold {figure}: give it a min or a max"));
            }
        }
        Ok(())
    }

    /// Checks what steps need of those before them, and of themselves.
    fn check_steps(&self) -> Result<(), ScenarioError> {
        let mut least = self.fleet.clusters.low();
        for step in &self.steps {
            if let Action::Join { clusters } = step.action {
                least += clusters.low();
            }
            if let Action::Leave { clusters } = step.action {
                let leaving = clusters.high();
                if leaving >= least {
                    let text = format!("leave.clusters: {leaving} of {least} clusters cannot leave: one has to stay");
                    return Err(ScenarioError(text));
                }
                least -= leaving;
            }
            if let Action::Hostile { crew, .. } = step.action
                && crew == HostileCrew::default()
            {
                return Err(ScenarioError("crew: name at least one kind of peer, such as mute = 10".into()));
            }
        }
        Ok(())
    }
}

/// The step in which the fleet is adopted.
pub const START: &str = "start";

/// The step in which everything is compared.
pub const END: &str = "end";

/// What figures of the whole run are called by.
pub const HUB: &str = "hub";

impl Default for Probes {
    fn default() -> Self {
        Self { statuses_per_second: 5, queries_per_second: 5 }
    }
}

fn one() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        name = "whole"
        seed = 7
        [fleet]
        clusters = [10, 20]
        objects = [10, 40]
        heavy = { per-mille = 500, objects = 2000 }
        [[step]]
        kind = "steady"
        seconds = 5
        [[step]]
        name = "again"
        kind = "steady"
        seconds = [1, 2]
        [thresholds]
        "start.live-seconds" = { max = 3.0 }
    "#;

    #[test]
    fn what_is_drawn_comes_from_the_seed() {
        let scenario = Scenario::parse(WHOLE).expect("a scenario");
        assert_eq!(scenario.step_names(), ["start", "steady", "again", "end"]);
        let draw = |seed| (0..100).map(|number| scenario.fleet.draw(seed, number)).collect::<Vec<_>>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let heavy = draw(7).iter().filter(|cluster| cluster.objects == 2000).count();
        assert!((30..=70).contains(&heavy), "{heavy} of 100 are heavy");
        assert!(draw(7).iter().all(|cluster| cluster.objects == 2000 || (10..=40).contains(&cluster.objects)));
    }

    #[test]
    fn links_are_drawn_from_the_seed_and_move_nothing_that_was_drawn_before() {
        let plain = FleetSpec { heavy: Heavy { per_mille: 100, ..Heavy::default() }, ..FleetSpec::plain(10, 40) };
        let mut rough = plain.clone();
        rough.latency_ms = Range::Between([5, 80]);
        rough.slow = Slow { per_mille: 250, bytes_per_second: Range::Between([1000, 9000]) };
        rough.churn_per_minute = Range::Between([1, 6]);
        let draw = |fleet: &FleetSpec| (0..200).map(|number| fleet.draw(3, number)).collect::<Vec<_>>();
        let (plain, rough) = (draw(&plain), draw(&rough));
        let before = |cluster: &DrawnCluster| (cluster.objects, cluster.settle_ms, cluster.failing);
        assert!(plain.iter().map(before).eq(rough.iter().map(before)));
        assert!(plain.iter().all(|it| (it.latency_ms, it.bytes_per_second, it.churn_per_minute) == (0, None, 0)));
        assert!(rough.iter().all(|it| (5..=80).contains(&it.latency_ms) && (1..=6).contains(&it.churn_per_minute)));
        let slow: Vec<u64> = rough.iter().filter_map(|it| it.bytes_per_second).collect();
        assert!((30..=70).contains(&slow.len()), "{} of 200 are slow", slow.len());
        assert!(slow.iter().all(|pace| (1000..=9000).contains(pace)));
    }

    #[test]
    fn a_share_has_the_same_clusters_for_everybody_who_asks() {
        let of = |seed| (0..1000).filter(|number| Share { per_mille: 300, seed }.has(*number)).collect::<Vec<_>>();
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
        assert!((250..=350).contains(&of(5).len()), "{}", of(5).len());
        assert!((0..1000).all(|number| Share { per_mille: 1000, seed: 1 }.has(number)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |from: &str, to: &str| {
            let text = WHOLE.replace(from, to);
            assert_ne!(text, WHOLE);
            Scenario::parse(&text).expect_err("it is wrong").to_string()
        };
        assert!(wrong("[10, 20]", "[20, 10]").contains("ends before it begins"));
        assert!(wrong("[10, 20]", "0").contains("fleet.clusters: 0 is not between 1"));
        assert!(wrong("[10, 20]", "[10, 20]\ndrivers = 0").contains("a process runs 1 to"));
        assert!(wrong("name = \"again\"", "").contains("two steps are called steady"));
        assert!(wrong("start.live", "nowhere.live").contains("name a step"));
        assert!(wrong("max = 3.0", "").contains("give it a min or a max"));
        assert!(wrong("seconds = 5", "seconds = 5\nfast = true").contains("fast"));
        assert!(wrong("per-mille = 500", "per-mille = 1001").contains("of a thousand"));
        let slow = "[10, 20]\nslow = { per-mille = 1, bytes-per-second = 10 }";
        assert!(wrong("[10, 20]", slow).contains("fleet.slow.bytes-per-second: 10 is not between 1000"));
        let leave = "kind = \"join\"\nclusters = 3\n[[step]]\nkind = \"leave\"\nclusters = [5, 13]";
        assert!(wrong("kind = \"steady\"\n        seconds = 5", leave).contains("13 of 13 clusters cannot leave"));
        let hostile = "kind = \"hostile\"\nseconds = 5\ncrew = {}";
        assert!(wrong("kind = \"steady\"\n        seconds = 5", hostile).contains("crew: name at least one"));
    }

    #[test]
    fn the_scenarios_that_come_along_are_ones() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files: Vec<_> = std::fs::read_dir(folder).expect("list the scenarios").collect();
        assert!(files.len() >= 8);
        for file in files {
            let path = file.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("read a scenario");
            let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            assert_eq!(name, Some(scenario.name.clone()), "it is called as its file is");
            let again = Scenario::parse(&toml::to_string(&scenario).expect("written")).expect("read again");
            assert_eq!(again, scenario);
        }
    }
}
