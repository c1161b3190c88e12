//! The spans of a decision and of its commit.

use starling_hub_core::steward::Request;
use starling_model::Position;
use starling_telemetry::{TRACE, context};
use tracing::Span;

/// Opens the span of a decision that somebody asked for in a trace; otherwise one that is not recorded.
pub(super) fn decision(traceparent: &str, actor: &str, request: &Request) -> Span {
    if traceparent.is_empty() {
        return Span::none();
    }
    let span = tracing::info_span!(target: TRACE, "decide", request = request.as_str(), actor);
    context::follow(&span, traceparent);
    span
}

/// Opens the span of a commit. What changed in the source begins a trace of its own: nobody asked for it here.
pub(super) fn commit(actor: &str, request: &Request, position: Position) -> Span {
    let is_of_source = matches!(
        request,
        Request::SyncInputs(_) | Request::SyncFiles(_) | Request::SyncObjects(_) | Request::SourceDeleted(_)
    );
    let (request, position) = (request.as_str(), position.0);
    if Span::current().is_none() && is_of_source {
        return tracing::info_span!(target: TRACE, "source change", request, actor, position);
    }
    tracing::info_span!(target: TRACE, "commit", request, position)
}
