//! Logs on standard error, human or JSON, filtered by `RUST_LOG`; and traces, where somebody asks for them.

use std::io::{IsTerminal, stderr};

use starling_telemetry::TRACE;
use starling_telemetry::export::Export;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use super::flags::LogFormat;

/// What is logged unless `RUST_LOG` says otherwise. The Kubernetes client's own words are left out: it calls errors what
/// an agent expects and handles, such as an API server that restarts.
const DEFAULT_FILTER: &str = "info,kube_client=off,kube_runtime=off";

/// Starts logging, and tracing into an exporter.
pub(super) fn start(format: LogFormat, export: Option<&Export>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    // Spans of traces are no part of log lines.
    let filter = filter.and(filter_fn(|metadata| metadata.target() != TRACE));
    let layer = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let layer = match format {
        LogFormat::Human => layer.with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    };
    tracing_subscriber::registry().with(layer).with(export.map(Export::layer)).init();
}
