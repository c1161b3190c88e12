//! The metrics registry, the metrics of the hub's edge, and the process's own.
//!
//! Names carry their unit; labels come from closed sets only, never from an error's text. A name that somebody chose is a label
//! of the few that are worst, nowhere else.
//! A family shows all of its series from the start where they are few, so that a rate is right from the first event on.
//! Other parts own their metrics and register them here. `docs/metrics.md` lists them all.

mod calls;
mod certificates;
mod disk;
mod edge;
mod source;
mod steward;

use std::fmt;
use std::sync::{Arc, Mutex};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use starling_telemetry::export::ExportMetrics;
use starling_telemetry::process::ProcessCollector;
pub use starling_telemetry::process::ProcessFigures;

pub use calls::{CallMetrics, method};
pub use certificates::CertificateCollector;
pub use disk::DiskCollector;
pub use edge::{ConnectionRefusal, EdgeMetrics, Method, Reason, RefusedConnection};
pub use source::{SourceError, SourceMetrics, StatusMetrics, StatusWrite};
pub use steward::StewardMetrics;

/// All metrics of the process; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Those of the hub's edge.
    pub edge: EdgeMetrics,
    /// Those of the admin API.
    pub calls: CallMetrics,
    /// Those of decisions and their commits.
    pub steward: StewardMetrics,
    /// Those of where resources come from.
    pub source: SourceMetrics,
    /// Those of the statuses that are written back there.
    pub statuses: StatusMetrics,
    /// Those of exported traces.
    pub export: ExportMetrics,
}

impl Metrics {
    /// Makes the registry with the edge's and the process's metrics.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Arc::default(),
            edge: EdgeMetrics::default(),
            calls: CallMetrics::default(),
            steward: StewardMetrics::default(),
            source: SourceMetrics::default(),
            statuses: StatusMetrics::default(),
            export: ExportMetrics::default(),
        };
        metrics.register(|registry| {
            let build: Family<[(&'static str, &'static str); 1], Gauge> = Family::default();
            build.get_or_create_owned(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
            registry.register("build_info", "Always 1; the label tells which hub this is", build);
            metrics.edge.register(registry);
            metrics.calls.register(registry);
            metrics.steward.register(registry);
            metrics.source.register(registry);
            metrics.statuses.register(registry);
            metrics.export.register(registry);
        });
        metrics.registry().register_collector(Box::new(ProcessCollector));
        metrics
    }

    /// Registers a part's metrics; names are prefixed with `starling_`.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(self.registry().sub_registry_with_prefix("starling"));
    }

    /// Returns all metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// A metric that cannot be written.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(32 * 1024);
        encode(&mut text, &self.registry())?;
        Ok(text)
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().expect("no holder of the registry panics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
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
            r#"starling_join_refused_total{reason="token-expired"} 0"#,
            r#"starling_status_writes_total{outcome="failed"} 0"#,
            r#"starling_store_commit_failures_total{reason="store"} 0"#,
            "starling_connections 0",
            "process_resident_memory_bytes ",
            "process_cpu_seconds_total ",
            "process_open_fds ",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
