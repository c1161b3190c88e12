//! The metrics registry, the metrics of the hub's edge, and the process's own.
//!
//! Names carry their unit; labels come from closed sets only, never from an error's text or a name that somebody chose.
//! Other parts own their metrics and register them here.

use std::fmt;
use std::sync::{Arc, Mutex};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder,
};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use rustix::param::{clock_ticks_per_second, page_size};

/// All metrics of the process.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Those of the hub's edge.
    pub edge: EdgeMetrics,
}

/// Metrics of connections and enrolment.
#[derive(Clone, Default)]
pub struct EdgeMetrics {
    /// Connections that did not become one, by reason.
    pub connections_refused: Family<RefusedConnection, Counter>,
    /// Connections that completed their handshake.
    pub handshakes: Counter,
    /// Connections that are open now.
    pub connections: Gauge,
    /// Failures of accepting, such as too many open files.
    pub accept_failures: Counter,
    /// Certificates that were issued, by method.
    pub certificates_issued: Family<Method, Counter>,
    /// Joins and renewals that were refused, by reason.
    pub join_refused: Family<Reason, Counter>,
}

/// Why a connection was closed before it could be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectionRefusal {
    /// It said nothing, or not enough in time.
    Timeout,
    /// What it said is not TLS.
    NotTls,
    /// Its certificate is of another authority, or names no cluster of this fleet.
    ForeignCertificate,
    /// Its certificate cannot be used for another reason.
    BadCertificate,
    /// It does not accept the hub's certificate.
    HubNotTrusted,
    /// It does not speak TLS 1.3 or HTTP/2, or broke the protocol.
    Protocol,
    /// It went away.
    Closed,
    /// The hub has as many connections as it may have.
    TooMany,
}

/// The label of [`EdgeMetrics::connections_refused`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedConnection {
    /// Why.
    pub reason: ConnectionRefusal,
}

/// The label of a refused join or renewal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// From a closed set.
    pub reason: &'static str,
}

/// The label of a method of enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Method {
    /// `join` or `renew`.
    pub method: &'static str,
}

/// Reads the process's own figures when it is asked.
#[derive(Debug)]
struct ProcessCollector;

impl Metrics {
    /// Makes the registry with the edge's and the process's metrics.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let edge = EdgeMetrics::default();
        edge.register(registry.sub_registry_with_prefix("starling"));
        registry.register_collector(Box::new(ProcessCollector));
        Self { registry: Arc::new(Mutex::new(registry)), edge }
    }

    /// Registers a part's metrics; names are prefixed with `starling_`.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        let mut registry = self.registry.lock().expect("no holder of the registry panics");
        register(registry.sub_registry_with_prefix("starling"));
    }

    /// Returns all metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// A metric that cannot be written.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.registry.lock().expect("no holder of the registry panics"))?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl EdgeMetrics {
    /// Counts a connection that was closed before it could be used.
    pub fn refuse_connection(&self, reason: ConnectionRefusal) {
        self.connections_refused.get_or_create(&RefusedConnection { reason }).inc();
    }

    fn register(&self, registry: &mut Registry) {
        let Self { connections_refused, handshakes, connections, accept_failures, certificates_issued, join_refused } =
            self;
        for reason in ConnectionRefusal::ALL {
            connections_refused.get_or_create_owned(&RefusedConnection { reason });
        }
        registry.register(
            "connections_refused",
            "Connections that were closed before they could be used",
            connections_refused.clone(),
        );
        registry.register("handshakes", "Connections that completed their TLS handshake", handshakes.clone());
        registry.register("connections", "Connections that are open now", connections.clone());
        registry.register("accept_failures", "Failures of accepting a connection", accept_failures.clone());
        registry.register("certificates_issued", "Certificates issued to clusters", certificates_issued.clone());
        registry.register("join_refused", "Joins and renewals that were refused", join_refused.clone());
    }
}

impl ConnectionRefusal {
    /// Every reason, in the order of definition.
    pub const ALL: [Self; 8] = [
        Self::Timeout,
        Self::NotTls,
        Self::ForeignCertificate,
        Self::BadCertificate,
        Self::HubNotTrusted,
        Self::Protocol,
        Self::Closed,
        Self::TooMany,
    ];

    /// Returns the reason's name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::NotTls => "not-tls",
            Self::ForeignCertificate => "foreign-certificate",
            Self::BadCertificate => "bad-certificate",
            Self::HubNotTrusted => "hub-not-trusted",
            Self::Protocol => "protocol",
            Self::Closed => "closed",
            Self::TooMany => "too-many",
        }
    }
}

impl EncodeLabelValue for ConnectionRefusal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(process) = ProcessFigures::read() else { return Ok(()) };
        let cpu = ConstCounter::new(process.cpu_seconds);
        let descriptor = encoder.encode_descriptor(
            "process_cpu",
            "User and system time of the process",
            Some(&Unit::Seconds),
            cpu.metric_type(),
        )?;
        cpu.encode(descriptor)?;
        let resident = ConstGauge::new(process.resident_bytes);
        let descriptor = encoder.encode_descriptor(
            "process_resident_memory",
            "Resident memory of the process",
            Some(&Unit::Bytes),
            resident.metric_type(),
        )?;
        resident.encode(descriptor)?;
        let open = ConstGauge::new(process.open_files);
        let descriptor = encoder.encode_descriptor("process_open_fds", "Open files", None, open.metric_type())?;
        open.encode(descriptor)
    }
}

/// The process's own figures, from `/proc/self`.
#[derive(Clone, Copy, Debug)]
pub struct ProcessFigures {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: i64,
    /// Open files.
    pub open_files: i64,
}

impl ProcessFigures {
    /// Reads them; `None` where there is no `/proc`.
    #[must_use]
    pub fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses may hold anything; utime and stime are the 12th and 13th fields after it (proc(5)).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let pages: i64 = std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
        let open_files = std::fs::read_dir("/proc/self/fd").ok()?.count();
        #[expect(clippy::cast_precision_loss, reason = "seconds of CPU are far below 2^52 ticks")]
        let cpu_seconds = ticks as f64 / clock_ticks_per_second() as f64;
        Some(Self {
            cpu_seconds,
            resident_bytes: pages * i64::try_from(page_size()).unwrap_or(4096),
            open_files: i64::try_from(open_files).unwrap_or(i64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_units_and_reasons_are_there_from_the_start() {
        let metrics = Metrics::new();
        metrics.edge.refuse_connection(ConnectionRefusal::NotTls);
        metrics.edge.join_refused.get_or_create(&Reason { reason: "token-used" }).inc();
        let text = metrics.encode().unwrap();
        for line in [
            r#"starling_connections_refused_total{reason="not-tls"} 1"#,
            r#"starling_connections_refused_total{reason="timeout"} 0"#,
            r#"starling_join_refused_total{reason="token-used"} 1"#,
            "starling_connections 0",
            "process_resident_memory_bytes ",
            "process_cpu_seconds_total ",
            "process_open_fds ",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn the_processes_figures_are_plausible() {
        let figures = ProcessFigures::read().unwrap();
        assert!(figures.resident_bytes > 1 << 20 && figures.open_files > 2, "{figures:?}");
    }
}
