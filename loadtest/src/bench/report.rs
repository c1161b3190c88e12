//! The figures as a whole: one JSON object for programs, one table for people.

use std::fmt;

use serde::{Serialize, Serializer};

use super::figures::{Rounds, Times};
use crate::floor::Floor;

/// Everything that was measured.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) clusters: u32,
    pub(super) objects_per_cluster: u32,
    /// From the first adoption to the last cluster being live.
    pub(super) enrol_seconds: f64,
    /// From the first adoption to the last cluster being ready.
    pub(super) ready_seconds: f64,
    /// From the agents' start to the last cluster being live.
    pub(super) live_seconds: Rounds,
    pub(super) memory: Memory,
    /// Of one core.
    pub(super) idle_cpu_percent: f64,
    pub(super) change_to_one: ChangeToOne,
    pub(super) change_to_everybody: ChangeToEverybody,
    pub(super) status: StatusTimes,
    pub(super) floor: Floor,
}

/// Resident memory of the hub.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Memory {
    before_bytes: u64,
    live_bytes: u64,
    bytes_per_cluster: f64,
}

/// A change of what one cluster is assigned.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ChangeToOne {
    /// Until the cluster stored the render.
    pub(super) received: Times,
    /// Until the hub answered the caller: checked, stored and read again. The agent does not wait for it.
    pub(super) answered: Times,
}

/// A change of what every cluster is assigned.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ChangeToEverybody {
    /// Until the last cluster stored the render.
    pub(super) all_seconds: Rounds,
    /// Until each cluster stored it.
    pub(super) each: Times,
}

/// A status of one object.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StatusTimes {
    /// Until a query answered with it.
    pub(super) visible: Times,
    /// The queries themselves.
    pub(super) query: Times,
}

/// Starling's figure by the floor's.
#[derive(Clone, Copy, Debug, Serialize)]
struct Ratios {
    live_to_connect: f64,
    memory: f64,
    change_p50_to_echo_p50: f64,
    change_p99_to_echo_p99: f64,
}

impl Memory {
    pub(super) fn new(before_bytes: u64, live_bytes: u64, clusters: u32) -> Self {
        let bytes_per_cluster = live_bytes.saturating_sub(before_bytes) as f64 / f64::from(clusters);
        Self { before_bytes, live_bytes, bytes_per_cluster }
    }
}

impl Figures {
    fn ratios(&self) -> Ratios {
        let (floor, change) = (&self.floor, &self.change_to_one.received);
        Ratios {
            live_to_connect: self.live_seconds.median / floor.connect_seconds,
            memory: self.memory.bytes_per_cluster / floor.bytes_per_connection,
            change_p50_to_echo_p50: change.p50_ms / floor.echo.p50_ms,
            change_p99_to_echo_p99: change.p99_ms / floor.echo.p99_ms,
        }
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            clusters: u32,
            objects_per_cluster: u32,
            enrol_seconds: f64,
            ready_seconds: f64,
            live_seconds: &'a Rounds,
            hub_memory: &'a Memory,
            hub_idle_cpu_percent: f64,
            change_to_one: &'a ChangeToOne,
            change_to_everybody: &'a ChangeToEverybody,
            status: &'a StatusTimes,
            floor: &'a Floor,
            ratios: Ratios,
        }
        let line = Line {
            clusters: self.clusters,
            objects_per_cluster: self.objects_per_cluster,
            enrol_seconds: self.enrol_seconds,
            ready_seconds: self.ready_seconds,
            live_seconds: &self.live_seconds,
            hub_memory: &self.memory,
            hub_idle_cpu_percent: self.idle_cpu_percent,
            change_to_one: &self.change_to_one,
            change_to_everybody: &self.change_to_everybody,
            status: &self.status,
            floor: &self.floor,
            ratios: self.ratios(),
        };
        line.serialize(serializer)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratios = self.ratios();
        let kib = |bytes: f64| format!("{:.1} KiB", bytes / 1024.0);
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let Memory { before_bytes, live_bytes, bytes_per_cluster } = self.memory;
        let rows = [
            ("adopted, joined and live", format!("{:.3} s", self.enrol_seconds)),
            ("  and its addons ready", format!("{:.3} s", self.ready_seconds)),
            ("all agents back: live, seconds", self.live_seconds.to_string()),
            ("  floor: all connected", format!("{:.3} s", self.floor.connect_seconds)),
            ("  ratio", format!("{:.2}", ratios.live_to_connect)),
            ("hub memory a cluster", kib(bytes_per_cluster)),
            ("  hub before and with the fleet", format!("{} and {}", mib(before_bytes), mib(live_bytes))),
            ("  floor: a connection", kib(self.floor.bytes_per_connection)),
            ("  ratio", format!("{:.2}", ratios.memory)),
            ("hub CPU, idle fleet", format!("{:.2} % of a core", self.idle_cpu_percent)),
            ("change -> stored by its one agent", self.change_to_one.received.to_string()),
            ("  the hub's answer to the caller", self.change_to_one.answered.to_string()),
            ("  floor: echo of one message", self.floor.echo.to_string()),
            (
                "  ratio at p50, at p99",
                format!("{:.1}, {:.1}", ratios.change_p50_to_echo_p50, ratios.change_p99_to_echo_p99),
            ),
            ("change -> stored by all, seconds", self.change_to_everybody.all_seconds.to_string()),
            ("  by each", self.change_to_everybody.each.to_string()),
            ("status -> visible in a query", self.status.visible.to_string()),
            ("  the query alone", self.status.query.to_string()),
        ];
        writeln!(f, "{} clusters, {} objects each", self.clusters, self.objects_per_cluster)?;
        rows.iter().try_for_each(|(name, figure)| writeln!(f, "  {name:<36} {figure}"))
    }
}
