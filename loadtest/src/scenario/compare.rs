//! What a run's figures are compared with, on the same machine in the same run.

use serde::{Deserialize, Serialize};

use super::ScenarioError;

/// The name that figures of the floor begin with.
pub const FLOOR: &str = "floor";

/// The name that figures of the alternative begin with.
pub const ALTERNATIVE: &str = "alternative";

/// The most clusters that the alternative is asked for: a process that runs clusters has an open file for each.
const CLUSTERS_LIMIT: u64 = 100_000;

/// What is measured beside the hub, from the same fleet description.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Compare {
    /// Bare gRPC over mutual TLS with the same messages.
    #[serde(default)]
    pub floor: bool,
    /// One API server as the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternative: Option<AlternativeSpec>,
}

/// How far the alternative is taken.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AlternativeSpec {
    /// How many of the fleet's clusters, growing, until it stops.
    pub clusters: Vec<u64>,
    /// How long one thing that concerns every cluster may take; longer counts as stopped.
    #[serde(default = "patience")]
    pub patience_seconds: u64,
    /// Memory of its processes together that counts as stopped; half of the machine's unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// How long all sizes may take together.
    #[serde(default = "whole")]
    pub seconds: u64,
}

impl Compare {
    /// Tells whether there is nothing to compare with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns what figures of the comparison begin with.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let floor = self.floor.then_some(FLOOR);
        floor.into_iter().chain(self.alternative.as_ref().map(|_| ALTERNATIVE)).collect()
    }

    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        let wrong = |text: String| Err(ScenarioError(text));
        let Some(alternative) = &self.alternative else { return Ok(()) };
        let AlternativeSpec { clusters, patience_seconds, memory_mib, seconds } = alternative;
        if clusters.is_empty() || clusters.windows(2).any(|pair| pair[0] >= pair[1]) {
            return wrong(format!(
                "compare.alternative.clusters: {clusters:?}: name growing sizes, such as [100, 1000]"
            ));
        }
        let bounded = [
            ("clusters", clusters[0], 1, CLUSTERS_LIMIT),
            ("clusters", clusters[clusters.len() - 1], 1, CLUSTERS_LIMIT),
            ("patience-seconds", *patience_seconds, 1, 3600),
            ("memory-mib", memory_mib.unwrap_or(1024), 64, 16_777_216),
            ("seconds", *seconds, 1, 86_400),
        ];
        for (name, value, least, most) in bounded {
            if !(least..=most).contains(&value) {
                return wrong(format!("compare.alternative.{name}: {value} is not between {least} and {most}"));
            }
        }
        Ok(())
    }
}

impl AlternativeSpec {
    /// Returns the sizes for a fleet: those that are smaller than it, and it whole where a size is not.
    #[must_use]
    pub fn sizes(&self, fleet: u32) -> Vec<u32> {
        let mut sizes: Vec<u32> =
            self.clusters.iter().map(|size| u32::try_from(*size).unwrap_or(u32::MAX).min(fleet)).collect();
        sizes.dedup();
        sizes
    }
}

fn patience() -> u64 {
    120
}

fn whole() -> u64 {
    900
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;

    fn compared(compare: &str) -> Result<Scenario, String> {
        let text = format!("name = \"compared\"\n[fleet]\nclusters = 500\n[compare]\n{compare}");
        Scenario::parse(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_grow_up_to_the_fleet() {
        let scenario = compared("floor = true\nalternative = { clusters = [100, 1000, 2000] }").expect("a scenario");
        assert_eq!(scenario.compare.names(), ["floor", "alternative"]);
        let alternative = scenario.compare.alternative.expect("it is there");
        assert_eq!(alternative.sizes(500), [100, 500]);
        assert_eq!(alternative.sizes(50), [50]);
        assert_eq!(alternative.sizes(5000), [100, 1000, 2000]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |compare: &str| compared(compare).expect_err("it is wrong");
        assert!(wrong("ceiling = true").contains("unknown field"));
        assert!(wrong("alternative = { clusters = [] }").contains("name growing sizes"));
        assert!(wrong("alternative = { clusters = [100, 100] }").contains("name growing sizes"));
        assert!(wrong("alternative = { clusters = [0, 100] }").contains("0 is not between 1"));
        assert!(wrong("alternative = { clusters = [1], memory-mib = 1 }").contains("memory-mib: 1 is not between 64"));
        let step = "[[step]]\nname = \"floor\"\nkind = \"steady\"\nseconds = 1\n";
        assert!(wrong(&format!("floor = true\n{step}")).contains("two steps are called floor"));
        let threshold = "[thresholds]\n\"alternative.clusters\" = { min = 100 }\n";
        assert!(wrong(&format!("floor = true\n{threshold}")).contains("name a step"));
        assert!(compared(&format!("alternative = {{ clusters = [100] }}\n{threshold}")).is_ok());
    }
}
