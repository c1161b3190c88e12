//! The faults that real processes meet, each with how long it lasts.

use std::fmt;
use std::time::Duration;

/// Seconds of a hub's own lease.
pub(crate) const LEASE_SECONDS: u64 = 15;

/// A fault; hubs and members of etcd are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A hub is killed with SIGKILL and started again after a while.
    HubKilled {
        /// Which.
        hub: usize,
        /// For how long.
        seconds: u64,
    },
    /// A hub is stopped in its tracks, as a paused virtual machine.
    HubPaused {
        /// Which.
        hub: usize,
        /// For how long.
        seconds: u64,
    },
    /// A hub does not reach etcd, while agents and the other hubs reach it.
    HubCutFromEtcd {
        /// Which.
        hub: usize,
        /// For how long.
        seconds: u64,
    },
    /// Agents do not reach a hub, which reaches etcd and the other hubs.
    HubCutFromAgents {
        /// Which.
        hub: usize,
        /// For how long.
        seconds: u64,
    },
    /// A hub and the other hubs do not reach each other, while agents and etcd reach all of them.
    HubCutFromHubs {
        /// Which.
        hub: usize,
        /// For how long.
        seconds: u64,
    },
    /// One member of etcd is killed; the others are a majority.
    EtcdMemberKilled {
        /// Which.
        member: usize,
        /// For how long.
        seconds: u64,
    },
    /// All members of etcd but one are killed.
    EtcdMajorityLost {
        /// The one that stays.
        survivor: usize,
        /// For how long.
        seconds: u64,
    },
    /// A hub's clock is wrong.
    ClockSkewed {
        /// Which.
        hub: usize,
        /// By how many seconds.
        by: i64,
        /// For how long.
        seconds: u64,
    },
    /// Every hub is stopped in order and started again, one after the other.
    RollingRestart,
    /// One hub more joins, and leaves again in order.
    ScaledOutAndBack {
        /// For how long it stays.
        seconds: u64,
    },
}

impl Fault {
    /// How long it lasts from its beginning; nothing where carrying it out is all.
    pub(crate) fn lasts(&self) -> Duration {
        match self {
            Self::RollingRestart => Duration::ZERO,
            Self::HubKilled { seconds, .. }
            | Self::HubPaused { seconds, .. }
            | Self::HubCutFromEtcd { seconds, .. }
            | Self::HubCutFromAgents { seconds, .. }
            | Self::HubCutFromHubs { seconds, .. }
            | Self::EtcdMemberKilled { seconds, .. }
            | Self::EtcdMajorityLost { seconds, .. }
            | Self::ClockSkewed { seconds, .. }
            | Self::ScaledOutAndBack { seconds } => Duration::from_secs(*seconds),
        }
    }

    /// The hub that it happens to, which is then not asked how the fleet is.
    pub(crate) fn victim(&self) -> Option<usize> {
        match self {
            Self::HubKilled { hub, .. }
            | Self::HubPaused { hub, .. }
            | Self::HubCutFromEtcd { hub, .. }
            | Self::HubCutFromAgents { hub, .. }
            | Self::HubCutFromHubs { hub, .. }
            | Self::ClockSkewed { hub, .. } => Some(*hub),
            Self::EtcdMemberKilled { .. }
            | Self::EtcdMajorityLost { .. }
            | Self::RollingRestart
            | Self::ScaledOutAndBack { .. } => None,
        }
    }

    /// Tells whether hubs must have a network of their own for it.
    pub(crate) fn needs_network(&self) -> bool {
        match self {
            Self::HubCutFromEtcd { .. } | Self::HubCutFromAgents { .. } | Self::HubCutFromHubs { .. } => true,
            Self::HubKilled { .. }
            | Self::HubPaused { .. }
            | Self::EtcdMemberKilled { .. }
            | Self::EtcdMajorityLost { .. }
            | Self::ClockSkewed { .. }
            | Self::RollingRestart
            | Self::ScaledOutAndBack { .. } => false,
        }
    }

    /// Tells whether hubs must have clocks of their own for it.
    pub(crate) fn needs_clocks(&self) -> bool {
        matches!(self, Self::ClockSkewed { .. })
    }

    /// How many sessions may be opened because of it, for each cluster; `share` is the part of the fleet that the victim owns, or
    /// that a hub owns in the mean where there is no victim.
    ///
    /// Whoever loses its hub comes back to it, or goes to others and returns when the hub is a member again.
    pub(crate) fn sessions_at_most(&self, share: f64, hubs: usize) -> f64 {
        match self {
            Self::HubKilled { .. } | Self::HubCutFromAgents { .. } => 2.0 * share,
            // What is shorter than the lease passes without a move.
            Self::HubPaused { seconds, .. } | Self::HubCutFromEtcd { seconds, .. } if *seconds < LEASE_SECONDS => 0.0,
            Self::HubPaused { .. } | Self::HubCutFromEtcd { .. } => 2.0 * share,
            Self::HubCutFromHubs { .. }
            | Self::ClockSkewed { .. }
            | Self::EtcdMemberKilled { .. }
            | Self::EtcdMajorityLost { .. } => 0.0,
            // Every hub goes in turn, and has then besides its own what others handed over.
            Self::RollingRestart => 2.0 * share * hubs as f64,
            Self::ScaledOutAndBack { .. } => 2.0 * 1.25 / (hubs + 1) as f64,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HubKilled { hub, seconds } => write!(f, "hub-{} killed for {seconds} s", hub + 1),
            Self::HubPaused { hub, seconds } => write!(f, "hub-{} paused for {seconds} s", hub + 1),
            Self::HubCutFromEtcd { hub, seconds } => write!(f, "hub-{} cut off from etcd for {seconds} s", hub + 1),
            Self::HubCutFromAgents { hub, seconds } => write!(f, "hub-{} cut off from agents for {seconds} s", hub + 1),
            Self::HubCutFromHubs { hub, seconds } => {
                write!(f, "hub-{} cut off from the other hubs for {seconds} s", hub + 1)
            }
            Self::EtcdMemberKilled { member, seconds } => write!(f, "etcd-{} killed for {seconds} s", member + 1),
            Self::EtcdMajorityLost { survivor, seconds } => {
                write!(f, "all of etcd but etcd-{} killed for {seconds} s", survivor + 1)
            }
            Self::ClockSkewed { hub, by, seconds } => {
                write!(f, "clock of hub-{} wrong by {by:+} s for {seconds} s", hub + 1)
            }
            Self::RollingRestart => f.write_str("rolling restart of all hubs"),
            Self::ScaledOutAndBack { seconds } => write!(f, "one hub more for {seconds} s"),
        }
    }
}
