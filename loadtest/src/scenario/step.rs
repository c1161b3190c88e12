//! The steps of a scenario: what is done, one after another.

use serde::{Deserialize, Serialize};

use super::range::Bounds;
use super::{HostileCrew, Range, Which};

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
    /// Some clusters lose their connections again and again, without a word; their agents dial again by themselves.
    Flap {
        /// How many of a thousand.
        per_mille: u64,
        /// For so long.
        seconds: Range,
        /// How long until the next loss of a cluster, in milliseconds; drawn each time.
        every_ms: Range,
    },
    /// Further clusters are adopted.
    Join {
        /// How many.
        clusters: Range,
    },
    /// Clusters are detached: they keep what they have, and the hub forgets them. The first one stays.
    Leave {
        /// How many.
        clusters: Range,
    },
    /// Peers beset the hub that no agent would be; the clusters that some of them pretend to be are forgotten again.
    Hostile {
        /// For so long.
        seconds: Range,
        /// Which peers.
        crew: HostileCrew,
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
    /// One of several hub processes is killed, and started again.
    KillShard {
        /// How long it is away.
        away_seconds: Range,
        /// Which.
        #[serde(default)]
        which: Which,
    },
    /// Each of several hub processes is stopped as an upgrade does and started again, once the one before it is a member again.
    RollingRestart {
        /// How long each is away.
        away_seconds: Range,
    },
    /// One hub process more is started.
    JoinShard {},
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
            Self::Flap { .. } => "flap",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::Hostile { .. } => "hostile",
            Self::KillHub { .. } => "kill-hub",
            Self::RestartHub { .. } => "restart-hub",
            Self::KillShard { .. } => "kill-shard",
            Self::RollingRestart { .. } => "rolling-restart",
            Self::JoinShard {} => "join-shard",
        }
    }

    /// Tells whether the hub's process has to be the run's own.
    #[must_use]
    pub fn needs_own_hub(&self) -> bool {
        matches!(self, Self::KillHub { .. } | Self::RestartHub { .. }) || self.needs_several_processes()
    }

    /// Tells whether the hub has to be several processes.
    #[must_use]
    pub fn needs_several_processes(&self) -> bool {
        matches!(self, Self::KillShard { .. } | Self::RollingRestart { .. } | Self::JoinShard {})
    }

    /// Returns each range with its bounds.
    pub(super) fn ranges(&self) -> Vec<Bounds> {
        match self {
            Self::Steady { seconds } => vec![("steady.seconds", *seconds, 1, 604_800)],
            Self::Change { rounds } | Self::ChangeOne { rounds } => vec![("rounds", *rounds, 1, 100_000)],
            Self::Storm { seconds, per_second } => {
                vec![("storm.seconds", *seconds, 1, 604_800), ("storm.per-second", *per_second, 1, 10_000_000)]
            }
            Self::Flap { per_mille, seconds, every_ms } => vec![
                ("flap.per-mille", Range::One(*per_mille), 1, 1000),
                ("flap.seconds", *seconds, 1, 604_800),
                ("flap.every-ms", *every_ms, 50, 3_600_000),
            ],
            Self::Join { clusters } => vec![("join.clusters", *clusters, 1, 1_000_000)],
            Self::Leave { clusters } => vec![("leave.clusters", *clusters, 1, 1_000_000)],
            Self::Hostile { seconds, crew } => {
                let mut ranges = crew.ranges();
                ranges.push(("hostile.seconds", *seconds, 1, 604_800));
                ranges
            }
            Self::Reconnect { away_seconds }
            | Self::KillHub { away_seconds }
            | Self::RestartHub { away_seconds }
            | Self::KillShard { away_seconds, .. }
            | Self::RollingRestart { away_seconds } => vec![("away-seconds", *away_seconds, 0, 86_400)],
            Self::JoinShard {} => Vec::new(),
        }
    }
}
