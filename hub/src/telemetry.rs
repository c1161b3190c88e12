//! Logs: for people or as JSON, on standard error, filtered by `STARLING_LOG`; and traces, where somebody asks for them.
//!
//! The policy: lines are lower case without a full stop, values are fields, ERROR means that a person must look.

use std::io::{self, IsTerminal as _};

use starling_telemetry::TRACE;
use starling_telemetry::export::Export;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// The variable that holds the filter, such as `info,starling_hub::steward=debug`.
pub const FILTER_VARIABLE: &str = "STARLING_LOG";

/// What is logged unless the variable says otherwise: what libraries tell of failed requests is told by whoever asked.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,kube_client=off,kube_runtime=off,rustls=warn,tonic=warn";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("{FILTER_VARIABLE}: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody has set them up before.
    #[error("logs are set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up the process's logs, panics included, and its traces where there is an exporter.
///
/// # Errors
/// See [`TelemetryError`].
pub fn init(format: LogFormat, export: Option<&Export>) -> Result<(), TelemetryError> {
    let filter = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    let filter = EnvFilter::try_new(if filter.is_empty() { DEFAULT_FILTER } else { &filter })?;
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    subscriber(format, filter, colours, io::stderr, export).try_init()?;
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!(%panic, "a defect made a thread panic");
        before(panic);
    }));
    Ok(())
}

fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    colours: bool,
    writer: W,
    export: Option<&Export>,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Spans of traces are no part of log lines.
    let filter = filter.and(filter_fn(|metadata| metadata.target() != TRACE));
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = match format {
        LogFormat::Human => layer.with_ansi(colours).with_target(false).with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed(),
    };
    Box::new(tracing_subscriber::registry().with(layer).with(export.map(Export::layer)))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(format, EnvFilter::new("info"), false, move || writer.clone(), None);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(cluster = "edge-1", "a cluster joined");
            tracing::debug!("not shown");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_carry_values_as_fields() {
        let line: serde_json::Value = serde_json::from_str(logged(LogFormat::Json).trim()).unwrap();
        assert_eq!((line["message"].as_str(), line["cluster"].as_str()), (Some("a cluster joined"), Some("edge-1")));
        assert_eq!(line["level"].as_str(), Some("INFO"));
    }

    #[test]
    fn human_lines_are_plain_without_a_terminal() {
        let line = logged(LogFormat::Human);
        assert!(line.trim_end().ends_with("INFO a cluster joined cluster=\"edge-1\""), "{line:?}");
        assert_eq!(line.lines().count(), 1);
    }
}
