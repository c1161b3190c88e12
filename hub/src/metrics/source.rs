//! Metrics of where resources come from, and of what is written back there.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use starling_hub_core::resources::Kind;
use starling_telemetry::histogram;

type Label = [(&'static str, &'static str); 1];

/// How asking the source failed, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceError {
    /// It did not answer.
    Unreachable,
    /// The hub may not do it.
    Forbidden,
    /// What was asked for is gone, or changed meanwhile.
    Conflict,
    /// It refused for another reason, or its answer is not understood.
    Refused,
}

/// What became of the write of a status, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusWrite {
    /// The API server took it.
    Written,
    /// Somebody else wrote meanwhile; it is written again.
    Conflict,
    /// The object is gone.
    Gone,
    /// It failed; it is written again.
    Failed,
}

/// Metrics of the source; cheap to clone. A directory has neither events nor errors of an API.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    events: Family<Label, Counter>,
    /// Times that everything was listed again, because a watch could not go on.
    pub relists: Counter,
    errors: Family<Label, Counter>,
    available: Gauge,
    handed_over: Histogram,
}

/// Metrics of the statuses that the hub writes to its own API server; cheap to clone.
#[derive(Clone, Debug)]
pub struct StatusMetrics {
    writes: Family<Label, Counter>,
    took: Histogram,
    /// Statuses that differ from what was written and wait for their turn.
    pub pending: Gauge,
}

impl SourceError {
    const ALL: [Self; 4] = [Self::Unreachable, Self::Forbidden, Self::Conflict, Self::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
        }
    }
}

impl StatusWrite {
    const ALL: [Self; 4] = [Self::Written, Self::Conflict, Self::Gone, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

impl SourceMetrics {
    /// Counts a change of a resource that the source told of.
    pub fn event(&self, kind: Kind) {
        self.events.get_or_create_owned(&[("kind", kind.as_str())]).inc();
    }

    /// Counts a failure.
    pub fn error(&self, error: SourceError) {
        self.errors.get_or_create_owned(&[("reason", error.as_str())]).inc();
    }

    /// Tells whether the source answers.
    pub fn set_available(&self, available: bool) {
        self.available.set(available.into());
    }

    /// Notes what was read and decided, and how long that took since it was noticed.
    pub fn handed_over(&self, took: Duration) {
        self.handed_over.observe(took.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let Self { events, relists, errors, available, handed_over } = self;
        for kind in Kind::ALL {
            events.get_or_create_owned(&[("kind", kind.as_str())]);
        }
        for error in SourceError::ALL {
            errors.get_or_create_owned(&[("reason", error.as_str())]);
        }
        registry.register("source_events", "Changes of resources that the source told of", events.clone());
        let help = "Times that everything was listed again because a watch could not go on";
        registry.register("source_relists", help, relists.clone());
        registry.register("source_errors", "Failures of asking the source", errors.clone());
        registry.register("source_available", "1 while the source of resources answers", available.clone());
        let help = "How long it took from noticing a change of the source until it was decided on";
        registry.register_with_unit("source_lag", help, Unit::Seconds, handed_over.clone());
    }
}

impl StatusMetrics {
    /// Notes a write and how long the API server took.
    pub fn wrote(&self, outcome: StatusWrite, took: Duration) {
        self.writes.get_or_create_owned(&[("outcome", outcome.as_str())]).inc();
        self.took.observe(took.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let Self { writes, took, pending } = self;
        for outcome in StatusWrite::ALL {
            writes.get_or_create_owned(&[("outcome", outcome.as_str())]);
        }
        registry.register("status_writes", "Writes of statuses to the hub's own API server", writes.clone());
        let help = "How long the API server took for the write of a status";
        registry.register_with_unit("status_write_duration", help, Unit::Seconds, took.clone());
        registry.register("status_pending", "Statuses that wait to be written", pending.clone());
    }
}

impl Default for SourceMetrics {
    fn default() -> Self {
        Self {
            events: Family::default(),
            relists: Counter::default(),
            errors: Family::default(),
            available: Gauge::default(),
            handed_over: histogram::seconds(),
        }
    }
}

impl Default for StatusMetrics {
    fn default() -> Self {
        Self { writes: Family::default(), took: histogram::seconds(), pending: Gauge::default() }
    }
}
