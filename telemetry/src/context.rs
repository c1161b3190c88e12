//! The context of a trace as the text of a W3C `traceparent`.
//!
//! Everything between the two ends carries it as an opaque text, which is empty when there is no trace.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The name of the metadata entry of a call that carries the context.
pub const TRACEPARENT: &str = "traceparent";

/// Returns the context of a span, to be carried elsewhere; empty when the span is not recorded.
#[must_use]
pub fn of(span: &Span) -> String {
    if span.is_disabled() {
        return String::new();
    }
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return String::new();
    }
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8())
}

/// Returns the context of the span that this task is in; empty when there is none.
#[must_use]
pub fn current() -> String {
    of(&Span::current())
}

/// Makes a span that nobody has entered yet part of the trace of a text; a text that is no context changes nothing.
pub fn follow(span: &Span, traceparent: &str) {
    if span.is_disabled() {
        return;
    }
    if let Some(parent) = parse(traceparent) {
        // It fails for a span that is not recorded, which has no parent.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Tells whether a text is the context of a trace.
#[must_use]
pub fn is_context(traceparent: &str) -> bool {
    parse(traceparent).is_some()
}

/// Reads version 00 of <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn parse(text: &str) -> Option<SpanContext> {
    let mut fields = text.split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |field: &str, length: usize| {
        field.len() == length && field.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let is_whole = version == "00" && fields.next().is_none();
    if !is_whole || !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_context_is_read() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let read = parse(&format!("00-{trace}-00f067aa0ba902b7-01")).unwrap();
        assert!(read.is_sampled() && read.is_remote());
        assert_eq!(
            (read.trace_id().to_string(), read.span_id().to_string()),
            (trace.into(), "00f067aa0ba902b7".into())
        );
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert!(!is_context(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn without_an_exporter_there_is_no_context() {
        let span = tracing::info_span!(target: crate::TRACE, "work");
        follow(&span, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!((of(&span), current()), (String::new(), String::new()));
    }
}
