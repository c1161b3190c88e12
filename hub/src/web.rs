//! The plain port: `/metrics`, `/healthz`, `/readyz`.
//!
//! Meant for the machine itself or a cluster's network: it tells figures and no names, and takes nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use crate::metrics::Metrics;
use crate::ports::{Io, Listener};

/// Connections that may be open.
const CONNECTIONS: usize = 64;

/// How long a connection may live; a scraper simply comes again.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// What has to be true before the hub is ready; cheap to clone.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// By name: why it is not true.
    missing: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

#[derive(Clone)]
struct Served {
    metrics: Metrics,
    readiness: Readiness,
}

/// The listener port as axum takes it.
struct Bounded {
    listener: Arc<dyn Listener>,
    places: Arc<Semaphore>,
}

/// A connection with a place and an end.
struct BoundedIo {
    io: Box<dyn Io>,
    ends: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Readiness {
    /// Names what has to be true; nothing of it is yet.
    #[must_use]
    pub fn waiting_for(conditions: &[&'static str]) -> Self {
        let missing = conditions.iter().map(|name| (*name, "starting".to_owned())).collect();
        Self { missing: Arc::new(Mutex::new(missing)) }
    }

    /// Notes that a condition is true.
    pub fn ready(&self, condition: &'static str) {
        self.missing.lock().expect("no holder of the conditions panics").remove(condition);
    }

    /// Notes that a condition is not true (any more).
    pub fn not_ready(&self, condition: &'static str, reason: impl Into<String>) {
        self.missing.lock().expect("no holder of the conditions panics").insert(condition, reason.into());
    }

    /// Returns what is not true, a line each; empty when the hub is ready.
    #[must_use]
    pub fn missing(&self) -> String {
        let missing = self.missing.lock().expect("no holder of the conditions panics");
        missing.iter().map(|(name, reason)| format!("{name}: {reason}\n")).collect()
    }
}

/// Serves until `stop` is ready, then finishes what is being answered.
///
/// # Errors
/// None today: a failure to accept is logged and tried again.
pub async fn serve(
    listener: Arc<dyn Listener>,
    metrics: Metrics,
    readiness: Readiness,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(show_readiness))
        .with_state(Served { metrics, readiness });
    let listener = Bounded { listener, places: Arc::new(Semaphore::new(CONNECTIONS)) };
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn show_metrics(State(served): State<Served>) -> impl IntoResponse {
    match served.metrics.encode() {
        Ok(text) => {
            (StatusCode::OK, [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        }
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], "cannot write the metrics\n".to_owned())
        }
    }
}

async fn show_readiness(State(served): State<Served>) -> impl IntoResponse {
    let missing = served.readiness.missing();
    if missing.is_empty() { (StatusCode::OK, "ok\n".to_owned()) } else { (StatusCode::SERVICE_UNAVAILABLE, missing) }
}

impl axum::serve::Listener for Bounded {
    type Io = BoundedIo;
    type Addr = String;

    async fn accept(&mut self) -> (BoundedIo, String) {
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((io, peer)) => {
                    return (BoundedIo { io, ends: Box::pin(sleep(CONNECTION_LIFETIME)), _place: place }, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection on the plain port");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<String> {
        Ok(self.listener.address())
    }
}

impl AsyncRead for BoundedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ends.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for BoundedIo {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.ends.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::ports::TcpListenerPort;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    #[tokio::test]
    async fn metrics_and_health_are_served() {
        let listener = TcpListenerPort::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.socket_address();
        let (readiness, stop) = (Readiness::waiting_for(&["store", "directory"]), CancellationToken::new());
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(serve(Arc::new(listener), Metrics::new(), readiness.clone(), stopped));

        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let response = get(address, "/readyz").await;
        assert!(response.starts_with("HTTP/1.1 503") && response.ends_with("directory: starting\nstore: starting\n"));
        readiness.ready("store");
        readiness.ready("directory");
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        readiness.not_ready("store", "the disk is full");
        assert!(get(address, "/readyz").await.ends_with("store: the disk is full\n"));
        let response = get(address, "/metrics").await;
        assert!(response.contains("openmetrics-text") && response.contains("starling_connections 0"), "{response}");
        assert!(get(address, "/other").await.starts_with("HTTP/1.1 404"));

        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}
