//! The trace of a plan that is carried out: from its intent to the first turn of each install that it changes.

use std::collections::BTreeSet;

use starling_agent_core::parked::Parked;
use starling_model::InstallKey;
use starling_telemetry::{TRACE, context};
use tracing::Span;
use tracing::field::Empty;

use super::Applier;

/// A plan that is being carried out; the span ends when this is dropped.
pub(super) struct Applying {
    span: Span,
    /// Installs that have not had their turn.
    left: BTreeSet<InstallKey>,
}

impl Applier {
    /// Opens the span of a plan, in the trace that brought it.
    pub(super) fn trace_plan(&self, parked: &Parked, writes: usize, removals: usize) -> Span {
        let span = tracing::info_span!(
            target: TRACE,
            "apply plan",
            fence = %parked.fence.stamp(),
            writes,
            removals,
        );
        let state = self.shared.state();
        if let Some((_, traceparent)) = state.plan_trace.as_ref().filter(|(digest, _)| *digest == parked.plan_digest) {
            context::follow(&span, traceparent);
        }
        span
    }

    /// Opens the span of an install's first turn after a plan changed it; otherwise one that is not recorded.
    pub(super) fn trace_turn(&self, install: &InstallKey) -> Span {
        let Some(applying) = self.applying.as_ref().filter(|applying| applying.left.contains(install)) else {
            return Span::none();
        };
        tracing::info_span!(target: TRACE, parent: &applying.span, "apply install", %install, outcome = Empty)
    }

    /// Notes that an install had its turn.
    pub(super) fn traced(&mut self, install: &InstallKey) {
        if let Some(applying) = &mut self.applying {
            applying.left.remove(install);
            if applying.left.is_empty() {
                self.applying = None;
            }
        }
    }
}

impl Applying {
    /// Begins with every install that a plan changes.
    pub(super) fn new(span: Span, left: BTreeSet<InstallKey>) -> Option<Self> {
        (!span.is_disabled() && !left.is_empty()).then_some(Self { span, left })
    }
}
