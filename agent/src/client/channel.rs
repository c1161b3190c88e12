//! One gRPC channel for one attempt: dialled, secured, and never dialled again by itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use starling_model::limits;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::ports::{Dialer, Io};
use crate::tls::{self, TlsError};

/// How long a connection may take before its handshake.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Window of one stream and of the connection, in bytes: a batch fills it, and an idle session holds no more.
const WINDOW: u32 = 64 * 1024;

/// Requests that may wait for the connection; an agent has one or two.
const REQUEST_QUEUE: usize = 4;

/// A hub that could not be reached, or that was not the right one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// No connection.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// `host:port`.
        address: String,
        /// The network's word.
        error: io::Error,
    },
    /// No handshake.
    #[error("TLS handshake with {address} failed: {error}")]
    Handshake {
        /// `host:port`.
        address: String,
        /// The TLS library's word.
        error: io::Error,
    },
    /// Certificates or address that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No HTTP/2 after the handshake.
    #[error("cannot open a channel to {address}: {error}")]
    Channel {
        /// `host:port`.
        address: String,
        /// The gRPC library's word.
        error: tonic::transport::Error,
    },
}

/// Dials and opens a channel.
pub(crate) async fn open(dialer: &dyn Dialer, address: &str, config: Arc<ClientConfig>) -> Result<Channel, DialError> {
    let name = tls::server_name(address)?;
    let connect = |error| DialError::Connect { address: address.to_owned(), error };
    let handshake = |error| DialError::Handshake { address: address.to_owned(), error };
    let stream = match timeout(DIAL_TIMEOUT, dialer.dial(address)).await {
        Ok(stream) => stream.map_err(connect)?,
        Err(_) => return Err(connect(io::ErrorKind::TimedOut.into())),
    };
    let stream = match timeout(limits::HANDSHAKE_TIMEOUT, TlsConnector::from(config).connect(name, stream)).await {
        Ok(stream) => stream.map_err(handshake)?,
        Err(_) => return Err(handshake(io::ErrorKind::TimedOut.into())),
    };
    over(stream, address).await
}

/// Opens a channel over a stream that is secured already.
async fn over<S: Io + 'static>(stream: S, address: &str) -> Result<Channel, DialError> {
    let uri: Uri = format!("http://{address}").parse().map_err(|_| TlsError::Address(address.to_owned()))?;
    // The stream is handed out once: a channel that loses it fails instead of dialling behind our back.
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let taken = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        async move { taken }
    });
    Endpoint::from(uri)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .buffer_size(REQUEST_QUEUE)
        .connect_with_connector(connector)
        .await
        .map_err(|error| DialError::Channel { address: address.to_owned(), error })
}
