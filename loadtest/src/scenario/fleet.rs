//! The simulated clusters of a scenario, and how each of them is drawn.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::range::Bounds;
use super::{Range, ScenarioError};

/// Clusters of one driver process unless the scenario says otherwise: each needs an open file, and a process may have 20,000.
const CLUSTERS_PER_DRIVER: u64 = 5_000;

/// Clusters of one driver process at most.
const CLUSTERS_PER_DRIVER_LIMIT: u64 = 15_000;

/// The longest latency: with more, a connection's first round trips take longer than a hub waits for them.
const LATENCY_MS_LIMIT: u64 = 2000;

/// The slowest reader: with less, it has not read the hub's certificate when the hub gives up.
const BYTES_PER_SECOND_LEAST: u64 = 1000;

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
    /// How long every byte is on its way between a cluster and its hub, in each direction, in milliseconds; drawn for each cluster.
    #[serde(default = "none")]
    pub latency_ms: Range,
    /// Clusters that read slowly.
    #[serde(default)]
    pub slow: Slow,
    /// Statuses that change in each cluster in a minute, at random times, until the end; drawn for each.
    #[serde(default = "none")]
    pub churn_per_minute: Range,
    /// Assignments besides the two that are changed, each of an addon of its own; drawn once.
    #[serde(default = "none")]
    pub addons: Range,
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

/// Clusters that read what the hub says slowly.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Slow {
    /// How many of a thousand.
    pub per_mille: u64,
    /// How much each reads a second.
    pub bytes_per_second: Range,
}

/// Some clusters of a fleet: which, comes from a seed and their numbers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Share {
    /// How many of a thousand.
    pub per_mille: u64,
    /// What they are drawn from.
    pub seed: u64,
}

/// One cluster as it was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawnCluster {
    /// Flux objects that are there without Starling.
    pub objects: u32,
    /// How long Flux takes to reconcile an object, in milliseconds.
    pub settle_ms: u64,
    /// One of its objects fails.
    pub failing: bool,
    /// How long every byte is on its way, in milliseconds.
    pub latency_ms: u64,
    /// How much it reads a second; `None` is as much as it can.
    pub bytes_per_second: Option<u64>,
    /// Statuses that change in a minute.
    pub churn_per_minute: u64,
}

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
            latency_ms: none(),
            slow: Slow::default(),
            churn_per_minute: none(),
            addons: none(),
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
        let mut random = of_cluster(seed, number);
        let one_of_thousand = Range::Between([0, 999]);
        let is_heavy = one_of_thousand.draw(&mut random) < self.heavy.per_mille;
        let failing = one_of_thousand.draw(&mut random) < self.failing_per_mille;
        let objects = if is_heavy { self.heavy.objects } else { self.objects };
        let objects = u32::try_from(objects.draw(&mut random)).unwrap_or(u32::MAX);
        let settle_ms = self.settle_ms.draw(&mut random);
        let latency_ms = self.latency_ms.draw(&mut random);
        let is_slow = one_of_thousand.draw(&mut random) < self.slow.per_mille;
        let bytes_per_second = is_slow.then(|| self.slow.bytes_per_second.draw(&mut random));
        let churn_per_minute = self.churn_per_minute.draw(&mut random);
        DrawnCluster { objects, settle_ms, failing, latency_ms, bytes_per_second, churn_per_minute }
    }

    /// Returns each range with its bounds.
    pub(super) fn ranges(&self) -> Vec<Bounds> {
        vec![
            ("fleet.clusters", self.clusters, 1, 1_000_000),
            ("fleet.objects", self.objects, 1, 10_000),
            ("fleet.settle-ms", self.settle_ms, 0, 600_000),
            ("fleet.heavy.objects", self.heavy.objects, 1, 10_000),
            ("fleet.latency-ms", self.latency_ms, 0, LATENCY_MS_LIMIT),
            ("fleet.slow.bytes-per-second", self.slow.bytes_per_second, BYTES_PER_SECOND_LEAST, 1_000_000_000),
            ("fleet.churn-per-minute", self.churn_per_minute, 0, 6000),
            ("fleet.addons", self.addons, 0, 500),
        ]
    }

    /// Checks what is no range.
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        let wrong = |text: String| Err(ScenarioError(text));
        for (name, share) in [("failing-per-mille", self.failing_per_mille), ("heavy.per-mille", self.heavy.per_mille)]
        {
            if share > 1000 {
                return wrong(format!("fleet.{name}: {share} of a thousand cannot be"));
            }
        }
        let drivers = self.drivers(self.clusters.high());
        if drivers == 0 || self.clusters.high().div_ceil(drivers) > CLUSTERS_PER_DRIVER_LIMIT {
            return wrong(format!(
                "fleet.drivers: {drivers} for {} clusters; a process runs 1 to {CLUSTERS_PER_DRIVER_LIMIT}",
                self.clusters.high()
            ));
        }
        Ok(())
    }
}

impl Share {
    /// Tells whether a cluster is one of them.
    #[must_use]
    pub fn has(self, number: u32) -> bool {
        Range::Between([0, 999]).draw(&mut of_cluster(self.seed, number)) < self.per_mille
    }
}

/// Returns the random numbers of one cluster.
fn of_cluster(seed: u64, number: u32) -> StdRng {
    StdRng::seed_from_u64(seed ^ (u64::from(number) + 1).wrapping_mul(0xD134_2543_DE82_EF95))
}

impl Default for Slow {
    fn default() -> Self {
        Self { per_mille: 0, bytes_per_second: Range::One(8000) }
    }
}

impl Default for Heavy {
    fn default() -> Self {
        Self { per_mille: 0, objects: Range::One(2000) }
    }
}

fn none() -> Range {
    Range::One(0)
}

fn forty() -> Range {
    Range::One(38)
}

fn settle() -> Range {
    Range::One(300)
}
