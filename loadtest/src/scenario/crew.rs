//! The peers of a step that no agent would be.

use serde::{Deserialize, Serialize};

use super::Range;
use super::range::Bounds;

/// How many of each kind; all of them at the same time, each beginning anew when the hub ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HostileCrew {
    /// TCP connections on which nothing is ever said.
    pub mute: u32,
    /// Connections that shake hands and say nothing then.
    pub silent: u32,
    /// Connections a second without a certificate or, in turn, with one of an authority that the hub does not know.
    pub strangers_per_second: u32,
    /// Clusters whose agent sends what cannot be read, comes at the wrong time or is beyond the limits.
    pub junk: u32,
    /// Clusters whose agent sends statuses as fast as the hub takes them.
    pub flooding: u32,
    /// Clusters whose agent sends a snapshot that never ends.
    pub endless: u32,
    /// Clusters whose agent claims fences that the hub never gave, another cluster's fingerprint, and what it never held.
    pub lying: u32,
    /// Clusters whose agent goes on speaking and never reads an answer.
    pub deaf: u32,
}

impl HostileCrew {
    /// Returns how many clusters it needs.
    #[must_use]
    pub fn clusters(&self) -> u32 {
        self.junk + self.flooding + self.endless + self.lying + self.deaf
    }

    /// Returns how many there are of each kind, with the most that may be.
    pub(super) fn ranges(&self) -> Vec<Bounds> {
        [
            ("crew.mute", self.mute, 5000),
            ("crew.silent", self.silent, 5000),
            ("crew.strangers-per-second", self.strangers_per_second, 1000),
            ("crew.junk", self.junk, 100),
            ("crew.flooding", self.flooding, 100),
            ("crew.endless", self.endless, 100),
            ("crew.lying", self.lying, 100),
            ("crew.deaf", self.deaf, 100),
        ]
        .map(|(name, count, most)| (name, Range::One(count.into()), 0, most))
        .into()
    }
}
