//! The agent's metrics: what happened, counted; what is, read when it is asked for.
//!
//! Names carry their unit; labels come from closed sets only. One set outlives the agents that a process runs one after
//! another, such as a standby that becomes active.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use starling_model::InstallState;
use starling_telemetry::export::ExportMetrics;
use starling_telemetry::histogram;
use starling_telemetry::process::ProcessCollector;

use crate::ports::Clock;
use crate::shared::Shared;

/// How an install's turn ended, as a label.
pub(crate) const OUTCOMES: [&str; 5] = ["done", "waiting", "rejected", "unavailable", "superseded"];

type Label = [(&'static str, &'static str); 1];

/// All metrics of the process; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    running: Arc<Mutex<Option<Running>>>,
    /// What the exporter of traces did.
    pub export: ExportMetrics,
    /// Connections to the hub that could not be made.
    pub(crate) connect_failures: Counter,
    /// Sessions that ended.
    pub(crate) sessions_ended: Counter,
    /// Plans that were received whole and are another one than before.
    pub(crate) plans_received: Counter,
    /// Objects that somebody changed and that were set right.
    pub(crate) drift_repaired: Counter,
    /// How often this process became the active agent of its cluster, and how often it lost that.
    pub(crate) activations: Counter,
    pub(crate) step_downs: Counter,
    is_standby: Arc<AtomicBool>,
    applied: Family<Label, Histogram, fn() -> Histogram>,
}

/// The agent that runs now.
struct Running {
    shared: Weak<Shared>,
    clock: Arc<dyn Clock>,
}

/// Reads the figures of the agent that runs.
struct AgentCollector(Arc<Mutex<Option<Running>>>);

/// What an agent is, in numbers; zeros while none runs.
#[derive(Default)]
struct Figures {
    active: bool,
    connected: bool,
    lease: bool,
    installs: [i64; STATES.len()],
    inventory_objects: i64,
    objects: i64,
    untracked: i64,
    dropped: u64,
    certificate_expiry_seconds: i64,
}

const STATES: [InstallState; 4] =
    [InstallState::Applying, InstallState::Applied, InstallState::Rejected, InstallState::Removing];

impl Metrics {
    /// Makes the metrics of a process.
    #[must_use]
    pub fn new() -> Self {
        let (mut registry, running) = (Registry::default(), Arc::default());
        let metrics = Self {
            registry: Arc::default(),
            running: Arc::clone(&running),
            export: ExportMetrics::default(),
            connect_failures: Counter::default(),
            sessions_ended: Counter::default(),
            plans_received: Counter::default(),
            drift_repaired: Counter::default(),
            activations: Counter::default(),
            step_downs: Counter::default(),
            is_standby: Arc::default(),
            applied: Family::new_with_constructor(histogram::seconds),
        };
        metrics.register(registry.sub_registry_with_prefix("starling_agent"));
        registry.sub_registry_with_prefix("starling_agent").register_collector(Box::new(AgentCollector(running)));
        registry.register_collector(Box::new(ProcessCollector));
        *metrics.registry() = registry;
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        let build: Family<Label, Gauge> = Family::default();
        build.get_or_create_owned(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("build_info", "Always 1; the label tells which agent this is", build);
        let help = "Connections to the hub that could not be made";
        registry.register("hub_connect_failures", help, self.connect_failures.clone());
        registry.register("sessions_ended", "Sessions with the hub that ended", self.sessions_ended.clone());
        let help = "Plans received whole that differ from the one before";
        registry.register("plans_received", help, self.plans_received.clone());
        let help = "Objects that somebody changed and that the agent set right";
        registry.register("drift_repaired", help, self.drift_repaired.clone());
        let help = "How often this process became the active agent of its cluster";
        registry.register("activations", help, self.activations.clone());
        let help = "How often this process lost the lease while it was active";
        registry.register("step_downs", help, self.step_downs.clone());
        for outcome in OUTCOMES {
            self.applied.get_or_create_owned(&[("outcome", outcome)]);
        }
        let help = "How long one turn of an install took: its objects written, checked or removed";
        registry.register_with_unit("apply_duration", help, Unit::Seconds, self.applied.clone());
        self.export.register(registry);
    }

    /// Notes how an install's turn ended and how many seconds it took.
    pub(crate) fn turn(&self, outcome: &'static str, seconds: f64) {
        self.applied.get_or_create_owned(&[("outcome", outcome)]).observe(seconds);
    }

    /// Tells which agent runs now.
    pub(crate) fn follow(&self, shared: &Arc<Shared>, clock: Arc<dyn Clock>) {
        let running = Running { shared: Arc::downgrade(shared), clock };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    /// Tells whether the process waits for its turn.
    pub(crate) fn set_standby(&self, is_standby: bool) {
        self.is_standby.store(is_standby, Ordering::Relaxed);
    }

    /// Returns what the process is: `active`, `standby`, or `starting` while it does not know its cluster.
    pub(crate) fn standing(&self) -> &'static str {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let is_active = running.as_ref().is_some_and(|running| running.shared.strong_count() > 0);
        match (self.is_standby.load(Ordering::Relaxed), is_active) {
            (true, _) => "standby",
            (false, true) => "active",
            (false, false) => "starting",
        }
    }

    /// Returns all metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// A metric that cannot be written.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(8 * 1024);
        encode(&mut text, &self.registry())?;
        Ok(text)
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Running {
    fn figures(&self) -> Figures {
        let Some(shared) = self.shared.upgrade() else { return Figures::default() };
        let uptime = self.clock.uptime();
        let state = shared.state();
        let inventory = &state.inventory;
        let mut installs = [0; STATES.len()];
        for held in inventory.installs().values() {
            let place = STATES.iter().position(|known| *known == held.state).expect("every state is listed");
            installs[place] += 1;
        }
        let objects = inventory.installs().values().map(|held| held.objects.len()).sum();
        let not_after = state.credentials.as_ref().map_or(0, |credentials| credentials.not_after.0);
        Figures {
            active: true,
            connected: state.session.is_open(),
            lease: state.session.lease_is_live(uptime),
            installs,
            inventory_objects: count(objects),
            objects: count(state.book.statuses().len()),
            untracked: i64::try_from(state.book.untracked()).unwrap_or(i64::MAX),
            dropped: state.book.dropped(),
            certificate_expiry_seconds: i64::try_from(not_after / 1000).unwrap_or(i64::MAX),
        }
    }
}

impl Collector for AgentCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = running.as_ref().map(Running::figures).unwrap_or_default();
        drop(running);
        let gauges = [
            ("active", "1 while this process is the agent of its cluster, 0 on a standby", i64::from(figures.active)),
            ("connected", "1 while a session with the hub is open", i64::from(figures.connected)),
            ("lease_held", "1 while the hub lends a command lease: new plans are acted on", i64::from(figures.lease)),
            ("inventory_objects", "Objects that the agent holds for the hub's plans", figures.inventory_objects),
            ("objects", "Flux objects that the agent reports", figures.objects),
            ("objects_untracked", "Flux objects beyond the limit, which are not reported", figures.untracked),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let expiry = ConstGauge::new(figures.certificate_expiry_seconds);
        let help = "When the cluster's certificate ends, Unix time; 0 before it joined";
        let name = "certificate_expiry_timestamp";
        expiry.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), expiry.metric_type())?)?;
        let dropped = ConstCounter::new(figures.dropped);
        let help = "Statuses that were dropped because a bound was reached";
        dropped.encode(encoder.encode_descriptor("statuses_dropped", help, None, dropped.metric_type())?)?;
        let installs: Family<Label, Gauge> = Family::default();
        for (state, number) in STATES.iter().zip(figures.installs) {
            installs.get_or_create_owned(&[("state", name_of(*state))]).set(number);
        }
        let help = "Installs in the inventory, by how far they came";
        installs.encode(encoder.encode_descriptor("installs", help, None, installs.metric_type())?)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl fmt::Debug for AgentCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentCollector")
    }
}

fn name_of(state: InstallState) -> &'static str {
    match state {
        InstallState::Applying => "applying",
        InstallState::Applied => "applied",
        InstallState::Rejected => "rejected",
        InstallState::Removing => "removing",
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_an_agent_shows_zeros() {
        let metrics = Metrics::new();
        metrics.turn("done", 0.2);
        let text = metrics.encode().unwrap();
        for line in [
            "starling_agent_active 0",
            "starling_agent_installs{state=\"rejected\"} 0",
            "starling_agent_certificate_expiry_timestamp_seconds 0",
            "starling_agent_apply_duration_seconds_count{outcome=\"done\"} 1",
            "starling_agent_hub_connect_failures_total 0",
            "starling_agent_otlp_spans_dropped_total{reason=\"queue-full\"} 0",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
