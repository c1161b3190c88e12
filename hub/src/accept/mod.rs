//! From a listener to gRPC: bounded handshakes with a deadline, bounded connections, every refusal counted.
//!
//! Owns accepting, the order of the bounds, and what a connection tells its methods about the caller ([`Peer`]). Does not
//! own TLS ([`crate::tls`]), nor what a method lets whom do.

mod admission;
mod http2;
mod stream;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use rustls::{AlertDescription, CertificateError};
use starling_model::limits::{HANDSHAKE_TIMEOUT, HANDSHAKES_AT_ONCE};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use self::admission::Admission;
pub use self::http2::{EdgeLayer, server};
pub use self::stream::{Peer, PeerStream};
use crate::metrics::{ConnectionRefusal, EdgeMetrics};
use crate::ports::{Io, Listener};
use crate::tls::Tls;

/// Connections that completed their handshake, as `serve_with_incoming` takes them.
pub type Incoming = ReceiverStream<io::Result<PeerStream>>;

/// How much the port takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptLimits {
    /// Connections that may be open, those before their handshake included.
    pub connections: usize,
    /// Of these, connections whose caller showed no certificate: agents that join, administrators, and whoever else.
    pub uncertified: usize,
    /// Connections of one cluster.
    pub per_cluster: usize,
    /// Connections that have not said anything useful yet.
    pub silent: usize,
    /// Handshakes that are computed at once.
    pub handshakes: usize,
    /// From accepting a connection to the end of its handshake, and from there to the beginning of HTTP/2.
    pub handshake_timeout: Duration,
    /// How long one handshake may keep others waiting.
    pub turn_timeout: Duration,
}

/// What the accept loop works with.
pub struct AcceptParts {
    /// Where connections come from.
    pub listener: Arc<dyn Listener>,
    /// Asked for its configuration at each connection.
    pub tls: Arc<Tls>,
    /// How much to take on.
    pub limits: AcceptLimits,
    /// Where everything is counted.
    pub metrics: EdgeMetrics,
}

/// What all connections share.
struct Gate {
    tls: Arc<Tls>,
    limits: AcceptLimits,
    metrics: EdgeMetrics,
    handshakes: Semaphore,
    admission: Arc<Admission>,
    ready: mpsc::Sender<io::Result<PeerStream>>,
}

impl AcceptLimits {
    /// The limits of a process that may have this many connections.
    #[must_use]
    pub fn for_connections(connections: usize) -> Self {
        Self {
            connections,
            uncertified: (connections / 8).max(16),
            per_cluster: 8,
            silent: (connections / 4).clamp(16, 4096),
            handshakes: HANDSHAKES_AT_ONCE,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            turn_timeout: Duration::from_secs(3),
        }
    }
}

/// Returns the accept loop, to be run as a task, and the connections it yields. The loop ends when these are dropped.
pub fn incoming(parts: AcceptParts) -> (impl Future<Output = ()> + Send + 'static, Incoming) {
    let AcceptParts { listener, tls, limits, metrics } = parts;
    let (ready, connections) = mpsc::channel(limits.handshakes);
    let admission = Admission::new(limits, metrics.clone());
    let handshakes = Semaphore::new(limits.handshakes);
    let gate = Arc::new(Gate { tls, limits, metrics, handshakes, admission, ready });
    (accept(listener, gate), ReceiverStream::new(connections))
}

async fn accept(listener: Arc<dyn Listener>, gate: Arc<Gate>) {
    let silent = Arc::new(Semaphore::new(gate.limits.silent));
    let mut pause = Duration::ZERO;
    loop {
        let permit = Arc::clone(&silent).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            biased;
            () = gate.ready.closed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                pause = Duration::ZERO;
                tokio::spawn(Arc::clone(&gate).admit(stream, address, permit));
            }
            // One connection went away before it was accepted, which says nothing about the next.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
                gate.metrics.refuse_connection(ConnectionRefusal::Closed);
            }
            Err(error) => {
                gate.metrics.accept_failures.inc();
                // Without a pause, running out of files would spin.
                pause = (pause * 2).clamp(Duration::from_millis(50), Duration::from_secs(1));
                tracing::warn!(%error, ?pause, "cannot accept a connection");
                sleep(pause).await;
            }
        }
    }
}

impl Gate {
    async fn admit(self: Arc<Self>, stream: Box<dyn Io>, address: String, silent: OwnedSemaphorePermit) {
        match self.handshake(stream, &address, silent).await {
            Ok(stream) => {
                self.metrics.handshakes.inc();
                // Nobody receives it only when the server is stopping.
                let _ = self.ready.send(Ok(stream)).await;
            }
            Err((reason, error)) => {
                self.metrics.refuse_connection(reason);
                tracing::debug!(address, reason = reason.as_str(), error, "refused a connection");
            }
        }
    }

    async fn handshake(
        &self,
        stream: Box<dyn Io>,
        address: &str,
        silent: OwnedSemaphorePermit,
    ) -> Result<PeerStream, (ConnectionRefusal, String)> {
        let too_many = || (ConnectionRefusal::TooMany, "as many connections as may be open".to_owned());
        let timed_out = |_| (ConnectionRefusal::Timeout, "no handshake in time".to_owned());
        let place = self.admission.place().ok_or_else(too_many)?;
        let deadline = Instant::now() + self.limits.handshake_timeout;
        let hello = timeout_at(deadline, LazyConfigAcceptor::new(Acceptor::default(), stream)).await;
        let start = hello.map_err(timed_out)?.map_err(|error| (judge_hello(&error), error.to_string()))?;
        // Whoever says nothing waits above, where it is in nobody's way; the turns below are for those who speak.
        drop(silent);
        let turn = timeout_at(deadline, self.handshakes.acquire()).await.map_err(timed_out)?;
        let turn_ends = deadline.min(Instant::now() + self.limits.turn_timeout);
        let tls = timeout_at(turn_ends, start.into_stream(self.tls.config())).await;
        let tls = tls.map_err(timed_out)?.map_err(|error| (judge(&error), error.to_string()))?;
        drop(turn);
        let identity = self.tls.identify(tls.get_ref().1.peer_certificates());
        let place = place.of(&identity).ok_or_else(too_many)?;
        let peer = Peer { address: address.into(), identity };
        Ok(PeerStream::new(tls, peer, place, self.limits.handshake_timeout))
    }
}

/// Tells why there was no ClientHello.
fn judge_hello(error: &io::Error) -> ConnectionRefusal {
    match judge(error) {
        ConnectionRefusal::Protocol if is_garbage(error) => ConnectionRefusal::NotTls,
        reason => reason,
    }
}

fn is_garbage(error: &io::Error) -> bool {
    matches!(
        rustls_error(error),
        Some(
            rustls::Error::InvalidMessage(_)
                | rustls::Error::InappropriateMessage { .. }
                | rustls::Error::InappropriateHandshakeMessage { .. }
        )
    )
}

fn judge(error: &io::Error) -> ConnectionRefusal {
    use rustls::Error;
    match rustls_error(error) {
        None => ConnectionRefusal::Closed,
        Some(Error::InvalidCertificate(
            CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::ApplicationVerificationFailure,
        )) => ConnectionRefusal::ForeignCertificate,
        Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented) => ConnectionRefusal::BadCertificate,
        Some(Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            // What a client says when another authority has the name of its own.
            | AlertDescription::DecryptError,
        )) => ConnectionRefusal::HubNotTrusted,
        Some(_) => ConnectionRefusal::Protocol,
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests;
