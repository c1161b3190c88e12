//! A collector of traces in this process: takes what is exported to it, and answers questions about it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A span with the service that it is of.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: Vec<u8>,
    pub(crate) id: Vec<u8>,
    pub(crate) parent: Vec<u8>,
}

/// A running collector.
#[derive(Clone)]
pub(crate) struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Recorded>>>,
}

impl Collector {
    /// Starts it on a port of its own.
    pub(crate) fn start(runtime: &Runtime) -> Result<Self> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("listen for traces")?;
        let collector = Self { address: listener.local_addr()?, spans: Arc::default() };
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        let serving = server.serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(async move { serving.await.expect("the collector serves") });
        Ok(collector)
    }

    /// Returns the endpoint for exporters.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what was exported so far of a trace.
    pub(crate) fn trace(&self, trace: &[u8]) -> Vec<Recorded> {
        let spans = self.spans.lock().expect("no holder of the spans panics");
        spans.iter().filter(|span| span.trace == trace).cloned().collect()
    }

    /// Returns the spans of a name, of any trace.
    pub(crate) fn named(&self, name: &str) -> Vec<Recorded> {
        let spans = self.spans.lock().expect("no holder of the spans panics");
        spans.iter().filter(|span| span.name == name).cloned().collect()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.spans.lock().expect("no holder of the spans panics");
        for of_resource in request.into_inner().resource_spans {
            let attributes = of_resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let service = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let service = match service.and_then(|service| service.value?.value) {
                Some(Value::StringValue(name)) => name,
                _ => String::new(),
            };
            let of_scopes = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(of_scopes.map(|span: Span| Recorded {
                service: service.clone(),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
