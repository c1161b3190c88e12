//! The steps of a scenario: what is done, one after another.

use serde::{Deserialize, Serialize};

use super::Range;
use super::range::Bounds;

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
    pub(super) fn ranges(&self) -> Vec<Bounds> {
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
