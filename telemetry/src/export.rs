//! Spans on their way to an OTLP collector.
//!
//! Owns the queue between whoever ends a span and the collector: bounded, never waited for, every drop counted, failures
//! told at most once a minute. `OTEL_*` variables that the SDK knows are honoured: sampler, service name, resource
//! attributes, headers, timeout, compression.

use std::env;
use std::fs;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::TRACE;

/// Spans that wait for the collector at most.
const WAITING: usize = 4096;

/// Spans of one message at most.
const BATCH: usize = 512;

/// How long spans are gathered when there are few.
const GATHER: Duration = Duration::from_secs(1);

/// How often a failure is told at most.
const TELL: Duration = Duration::from_secs(60);

/// What the exporter did; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ExportMetrics {
    exported: Counter,
    dropped: Family<[(&'static str, &'static str); 1], Counter>,
}

/// Who sends spans.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name, unless `OTEL_SERVICE_NAME` gives another.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The fleet that it serves.
    pub fleet: String,
}

/// A running exporter.
#[derive(Debug)]
pub struct Export {
    provider: SdkTracerProvider,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// An exporter that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The endpoint or one of the variables.
    #[error("export traces to {endpoint}: {source}")]
    Build {
        /// Where to.
        endpoint: String,
        /// What is wrong.
        source: ExporterBuildError,
    },
    /// The file of authorities that `OTEL_EXPORTER_OTLP_CERTIFICATE` names.
    #[error("read the collector's authorities from {path}: {source}")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong.
        source: io::Error,
    },
}

/// The end of a span: into the queue, or counted.
#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<SpanData>,
    metrics: ExportMetrics,
}

/// Returns where traces go: what the flag says, or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT`;
/// `None` when nobody asks for traces, or `OTEL_SDK_DISABLED` or `OTEL_TRACES_EXPORTER=none` forbids them.
#[must_use]
pub fn endpoint(flag: Option<&str>) -> Option<String> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    let flag = flag.filter(|flag| !flag.is_empty()).map(str::to_owned);
    let asked = flag
        .or_else(|| variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
        .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
    asked.filter(|_| !is_off)
}

impl Export {
    /// Starts an exporter to a gRPC endpoint such as `http://collector:4317`, on the present runtime.
    ///
    /// # Errors
    /// The endpoint or a variable cannot be used; a collector that does not answer is no error.
    pub fn start(endpoint: &str, service: &Service, metrics: &ExportMetrics) -> Result<Self, ExportError> {
        let build = |source| ExportError::Build { endpoint: endpoint.to_owned(), source };
        let mut builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        if endpoint.starts_with("https://") {
            builder = builder.with_tls_config(authorities()?);
        }
        let mut exporter = builder.build().map_err(build)?;
        let resource = resource(service);
        exporter.set_resource(&resource);
        let (sender, waiting) = mpsc::channel(WAITING);
        let queue = Queue { sender, metrics: metrics.clone() };
        let provider = SdkTracerProvider::builder().with_resource(resource).with_span_processor(queue).build();
        let stop = CancellationToken::new();
        let task = tokio::spawn(send(waiting, exporter, metrics.clone(), stop.clone()));
        Ok(Self { provider, stop, task: Mutex::new(Some(task)) })
    }

    /// Returns the layer that records spans with the target [`TRACE`], and nothing else.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let tracer = self.provider.tracer("starling");
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        layer.with_filter(filter_fn(|metadata| metadata.target() == TRACE).with_max_level_hint(LevelFilter::INFO))
    }

    /// Sends what waits and ends; what is not out in time is lost.
    pub async fn flush(&self, within: Duration) {
        self.stop.cancel();
        let task = self.task.lock().expect("no holder of the task panics").take();
        let Some(task) = task else { return };
        if timeout(within, task).await.is_err() {
            tracing::warn!("the last traces did not leave in time");
        }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.sender.try_send(span).is_err() {
            self.metrics.drop("queue-full", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl ExportMetrics {
    /// Registers them: spans that left, and spans that did not.
    pub fn register(&self, registry: &mut Registry) {
        for reason in ["queue-full", "collector"] {
            self.dropped.get_or_create_owned(&[("reason", reason)]);
        }
        let help = "Spans that an OTLP collector took";
        registry.register("otlp_spans_exported", help, self.exported.clone());
        let help = "Spans that were lost, because too many waited or the collector did not take them";
        registry.register("otlp_spans_dropped", help, self.dropped.clone());
    }

    fn drop(&self, reason: &'static str, spans: u64) {
        self.dropped.get_or_create_owned(&[("reason", reason)]).inc_by(spans);
    }
}

/// Sends spans until it is stopped and nothing waits.
async fn send(
    mut waiting: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
    metrics: ExportMetrics,
    stop: CancellationToken,
) {
    let mut told: Option<Instant> = None;
    loop {
        let mut batch = Vec::new();
        let taken = tokio::select! {
            biased;
            taken = waiting.recv_many(&mut batch, BATCH) => taken,
            () = stop.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
        };
        if taken == 0 {
            return;
        }
        match exporter.export(batch).await {
            Ok(()) => {
                metrics.exported.inc_by(taken as u64);
            }
            Err(error) => {
                metrics.drop("collector", taken as u64);
                if told.is_none_or(|told| told.elapsed() >= TELL) {
                    tracing::warn!(%error, spans = taken, "the collector of traces does not take them");
                    told = Some(Instant::now());
                }
            }
        }
        if taken < BATCH {
            let _ = timeout(GATHER, stop.cancelled()).await;
        }
    }
}

fn resource(service: &Service) -> Resource {
    let attributes =
        [KeyValue::new("service.version", service.version), KeyValue::new("starling.fleet", service.fleet.clone())];
    let mut builder = Resource::builder().with_attributes(attributes);
    if env::var_os("OTEL_SERVICE_NAME").is_none_or(|name| name.is_empty()) {
        builder = builder.with_service_name(service.name);
    }
    builder.build()
}

/// Trusts the machine's authorities and those of `OTEL_EXPORTER_OTLP_CERTIFICATE`.
fn authorities() -> Result<ClientTlsConfig, ExportError> {
    let config = ClientTlsConfig::new().with_enabled_roots();
    let Some(path) = env::var("OTEL_EXPORTER_OTLP_CERTIFICATE").ok().filter(|path| !path.is_empty()) else {
        return Ok(config);
    };
    match fs::read(&path) {
        Ok(pem) => Ok(config.ca_certificate(Certificate::from_pem(pem))),
        Err(source) => Err(ExportError::Certificate { path, source }),
    }
}
