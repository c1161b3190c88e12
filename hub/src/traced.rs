//! Calls that were let in, counted and traced: each continues the trace that its caller is in.
//!
//! Wraps a service behind whatever decides who may call it, so that nobody without a token fills anybody's traces.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use starling_telemetry::{TRACE, context};
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::metrics::{CallMetrics, method};

/// A service whose calls are counted and traced; cheap to clone where the service is.
#[derive(Clone, Debug)]
pub struct Traced<S> {
    service: S,
    metrics: CallMetrics,
}

impl<S> Traced<S> {
    /// Wraps a service.
    pub fn new(service: S, metrics: CallMetrics) -> Self {
        Self { service, metrics }
    }
}

impl<S, B, R> Service<http::Request<B>> for Traced<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (began, metrics, method) = (Instant::now(), self.metrics.clone(), method(request.uri().path()));
        let span = tracing::info_span!(
            target: TRACE,
            "admin call",
            otel.kind = "server",
            rpc.system = "grpc",
            rpc.service = "starling.v1.AdminService",
            rpc.method = method,
            rpc.grpc.status_code = Empty,
        );
        if let Some(traceparent) = request.headers().get(context::TRACEPARENT) {
            context::follow(&span, traceparent.to_str().unwrap_or_default());
        }
        let answer = self.service.call(request);
        let work = async move {
            let answer = answer.await?;
            // What fails after the answer began is the stream's own, and is not counted here.
            let code = Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code());
            tracing::Span::current().record("rpc.grpc.status_code", code as i32);
            metrics.answered(method, code, began.elapsed());
            Ok(answer)
        };
        Box::pin(work.instrument(span))
    }
}

impl<S: NamedService> NamedService for Traced<S> {
    const NAME: &'static str = S::NAME;
}
