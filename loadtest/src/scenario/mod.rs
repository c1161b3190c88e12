//! What a load test does, as a TOML file says it: a fleet, steps one after another, and what the figures have to be.
//!
//! Owns the format and its checks. Every range is drawn from the scenario's seed, so that a run can be repeated.

mod range;

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

pub use range::Range;

/// Clusters of one driver process unless the scenario says otherwise: each needs an open file, and a process may have 20,000.
const CLUSTERS_PER_DRIVER: u64 = 5_000;

/// Clusters of one driver process at most.
const CLUSTERS_PER_DRIVER_LIMIT: u64 = 15_000;

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
    /// Questions that are asked all the time.
    #[serde(default)]
    pub probes: Probes,
    /// What is done, in order. A run begins with the fleet being adopted, which is the step `start`, and ends with every object
    /// being compared, which is `end`.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
    /// What figures have to be, by `step.figure`.
    #[serde(default)]
    pub thresholds: BTreeMap<String, Threshold>,
}

/// The simulated clusters.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FleetSpec {
    /// How many.
    pub clusters: Range,
    /// Processes that run them; by default one for each 5,000 clusters.
    #[serde(default)]
    pub drivers: Option<u64>,
    /// Flux objects of each cluster that are there without Starling; drawn for each.
    #[serde(default = "forty")]
    pub objects: Range,
    /// The heavy tail.
    #[serde(default)]
    pub heavy: Heavy,
    /// How long Flux takes to reconcile an object, in milliseconds; drawn for each cluster.
    #[serde(default = "settle")]
    pub settle_ms: Range,
    /// Clusters of a thousand of which one object fails.
    #[serde(default)]
    pub failing_per_mille: u64,
}

/// Clusters with many more objects than the others.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Heavy {
    /// How many of a thousand.
    pub per_mille: u64,
    /// Flux objects of each.
    pub objects: Range,
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

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Step {
    /// What its figures are called by; its kind unless given.
    #[serde(default)]
    pub name: Option<String>,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Nothing but the probes.
    Steady {
        /// For so long.
        seconds: Range,
    },
    /// Changes what every cluster is assigned.
    Change {
        /// How often, one after another.
        rounds: Range,
    },
    /// Changes what one cluster is assigned.
    ChangeOne {
        /// How often, one after another.
        rounds: Range,
    },
    /// Changes statuses everywhere.
    Storm {
        /// For so long.
        seconds: Range,
        /// Changes a second in the whole fleet.
        per_second: Range,
    },
    /// All agents stop, and start again at once.
    Reconnect {
        /// How long they are away.
        away_seconds: Range,
    },
    /// The hub is killed and started again; not where the hub was there already.
    KillHub {
        /// How long it is away.
        away_seconds: Range,
    },
    /// The hub is stopped as an upgrade does, and started again; not where the hub was there already.
    RestartHub {
        /// How long it is away.
        away_seconds: Range,
    },
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Threshold {
    /// Not less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Not more than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// What is wrong with a scenario, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScenarioError(String);

/// One cluster as it was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawnCluster {
    /// Flux objects that are there without Starling.
    pub objects: u32,
    /// How long Flux takes to reconcile an object, in milliseconds.
    pub settle_ms: u64,
    /// One of its objects fails.
    pub failing: bool,
}

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
        let fleet = &self.fleet;
        let mut ranges = vec![
            ("fleet.clusters", fleet.clusters, 1, 1_000_000),
            ("fleet.objects", fleet.objects, 1, 10_000),
            ("fleet.settle-ms", fleet.settle_ms, 0, 600_000),
            ("fleet.heavy.objects", fleet.heavy.objects, 1, 10_000),
            ("probes.statuses-per-second", Range::One(self.probes.statuses_per_second), 0, 1000),
            ("probes.queries-per-second", Range::One(self.probes.queries_per_second), 0, 1000),
        ];
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
        for (name, share) in
            [("failing-per-mille", fleet.failing_per_mille), ("heavy.per-mille", fleet.heavy.per_mille)]
        {
            if share > 1000 {
                return wrong(format!("fleet.{name}: {share} of a thousand cannot be"));
            }
        }
        let drivers = fleet.drivers(fleet.clusters.high());
        if drivers == 0 || fleet.clusters.high().div_ceil(drivers) > CLUSTERS_PER_DRIVER_LIMIT {
            return wrong(format!(
                "fleet.drivers: {drivers} for {} clusters; a process runs 1 to {CLUSTERS_PER_DRIVER_LIMIT}",
                fleet.clusters.high()
            ));
        }
        let mut names = BTreeSet::new();
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
}

/// The step in which the fleet is adopted.
pub const START: &str = "start";

/// The step in which everything is compared.
pub const END: &str = "end";

/// What figures of the whole run are called by.
pub const HUB: &str = "hub";

impl FleetSpec {
    /// Describes clusters that are all alike.
    #[must_use]
    pub fn plain(clusters: u64, objects: u64) -> Self {
        Self {
            clusters: Range::One(clusters),
            drivers: None,
            objects: Range::One(objects),
            heavy: Heavy::default(),
            settle_ms: settle(),
            failing_per_mille: 0,
        }
    }

    /// Returns how many processes run this many clusters.
    #[must_use]
    pub fn drivers(&self, clusters: u64) -> u64 {
        self.drivers.unwrap_or_else(|| clusters.div_ceil(CLUSTERS_PER_DRIVER))
    }

    /// Draws one cluster, by its number alone: whichever process runs it, it is the same.
    #[must_use]
    pub fn draw(&self, seed: u64, number: u32) -> DrawnCluster {
        let mut random = StdRng::seed_from_u64(seed ^ (u64::from(number) + 1).wrapping_mul(0xD134_2543_DE82_EF95));
        let one_of_thousand = Range::Between([0, 999]);
        let is_heavy = one_of_thousand.draw(&mut random) < self.heavy.per_mille;
        let failing = one_of_thousand.draw(&mut random) < self.failing_per_mille;
        let objects = if is_heavy { self.heavy.objects } else { self.objects };
        let objects = u32::try_from(objects.draw(&mut random)).unwrap_or(u32::MAX);
        DrawnCluster { objects, settle_ms: self.settle_ms.draw(&mut random), failing }
    }
}

impl Action {
    /// Returns the name of its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Steady { .. } => "steady",
            Self::Change { .. } => "change",
            Self::ChangeOne { .. } => "change-one",
            Self::Storm { .. } => "storm",
            Self::Reconnect { .. } => "reconnect",
            Self::KillHub { .. } => "kill-hub",
            Self::RestartHub { .. } => "restart-hub",
        }
    }

    /// Tells whether the hub's process has to be the run's own.
    #[must_use]
    pub fn needs_own_hub(&self) -> bool {
        matches!(self, Self::KillHub { .. } | Self::RestartHub { .. })
    }

    /// Returns each range with its bounds.
    fn ranges(&self) -> Vec<(&'static str, Range, u64, u64)> {
        match self {
            Self::Steady { seconds } => vec![("steady.seconds", *seconds, 1, 604_800)],
            Self::Change { rounds } | Self::ChangeOne { rounds } => vec![("rounds", *rounds, 1, 100_000)],
            Self::Storm { seconds, per_second } => {
                vec![("storm.seconds", *seconds, 1, 604_800), ("storm.per-second", *per_second, 1, 10_000_000)]
            }
            Self::Reconnect { away_seconds } | Self::KillHub { away_seconds } | Self::RestartHub { away_seconds } => {
                vec![("away-seconds", *away_seconds, 0, 86_400)]
            }
        }
    }
}

impl Threshold {
    /// Tells whether a figure is as it has to be.
    #[must_use]
    pub fn holds(&self, figure: f64) -> bool {
        self.min.is_none_or(|min| figure >= min) && self.max.is_none_or(|max| figure <= max)
    }
}

impl Default for Heavy {
    fn default() -> Self {
        Self { per_mille: 0, objects: Range::One(2000) }
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self { statuses_per_second: 5, queries_per_second: 5 }
    }
}

fn one() -> u64 {
    1
}

fn forty() -> Range {
    Range::One(38)
}

fn settle() -> Range {
    Range::One(300)
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
