//! Metrics of decisions and of the store that they are committed to.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use starling_model::ErrorCode;
use starling_telemetry::histogram;

type Label = [(&'static str, &'static str); 1];

/// Why a decision was not committed, as a label.
const COMMIT_FAILURES: [&str; 5] = ["conflict", "held", "mark", "codec", "store"];

/// Metrics of the steward; cheap to clone.
#[derive(Clone, Debug)]
pub struct StewardMetrics {
    decisions: Family<Label, Histogram, fn() -> Histogram>,
    refusals: Family<Label, Counter>,
    /// Requests that wait for their turn.
    pub waiting: Gauge,
    commits: Histogram,
    commit_failures: Family<Label, Counter>,
}

impl StewardMetrics {
    /// Notes a request that was answered, with the code of its refusal.
    pub fn decided(&self, request: &'static str, took: Duration, refused: Option<ErrorCode>) {
        self.decisions.get_or_create_owned(&[("request", request)]).observe(took.as_secs_f64());
        if let Some(code) = refused {
            self.refusals.get_or_create_owned(&[("code", code.as_str())]).inc();
        }
    }

    /// Notes a decision that is durable.
    pub fn committed(&self, took: Duration) {
        self.commits.observe(took.as_secs_f64());
    }

    /// Notes a decision that was not committed, with a reason of the closed set.
    pub fn not_committed(&self, reason: &'static str) {
        self.commit_failures.get_or_create_owned(&[("reason", reason)]).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let Self { decisions, refusals, waiting, commits, commit_failures } = self;
        decisions.get_or_create_owned(&[("request", "sync-inputs")]);
        for code in ErrorCode::ALL {
            refusals.get_or_create_owned(&[("code", code.as_str())]);
        }
        for reason in COMMIT_FAILURES {
            commit_failures.get_or_create_owned(&[("reason", reason)]);
        }
        let help = "How long a request took from its turn until it was answered, commit included";
        registry.register_with_unit("steward_decision_duration", help, Unit::Seconds, decisions.clone());
        registry.register("steward_refusals", "Requests that were not granted", refusals.clone());
        registry.register("steward_waiting", "Requests that wait for their turn", waiting.clone());
        let help = "How long the store took to make a decision durable";
        registry.register_with_unit("store_commit_duration", help, Unit::Seconds, commits.clone());
        registry.register("store_commit_failures", "Decisions that were not committed", commit_failures.clone());
    }
}

impl Default for StewardMetrics {
    fn default() -> Self {
        Self {
            decisions: Family::new_with_constructor(histogram::seconds),
            refusals: Family::default(),
            waiting: Gauge::default(),
            commits: histogram::seconds(),
            commit_failures: Family::default(),
        }
    }
}
