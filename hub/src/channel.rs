//! gRPC channels from the hub to others: to etcd's endpoints and to the other processes of the hub.
//!
//! Owns how such a channel is dialled, secured and noticed to be dead. A channel dials when it is first used and again after it
//! was lost; whoever calls over it sets a deadline on each call.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::ports::{Dialer, Io};

/// How long dialling, and after it the TLS handshake, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a silent connection is asked whether it lives, and how long the answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5));

/// An address that no channel can be made for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form host:port")]
pub struct AddressError(pub String);

/// Makes a channel to `host:port`, in plain text where there is no TLS configuration.
///
/// # Errors
/// The address is not of that form.
pub fn lazy(dialer: &Arc<dyn Dialer>, address: &str, tls: Option<Arc<ClientConfig>>) -> Result<Channel, AddressError> {
    let malformed = || AddressError(address.to_owned());
    let host = address.rsplit_once(':').ok_or_else(malformed)?.0;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| malformed())?;
    let uri: Uri = format!("http://{address}").parse().map_err(|_| malformed())?;
    let (dialer, address) = (Arc::clone(dialer), address.to_owned());
    let connector = tower::service_fn(move |_: Uri| {
        let (dialer, address, tls, name) = (Arc::clone(&dialer), address.clone(), tls.clone(), name.clone());
        async move { connect(dialer.as_ref(), &address, tls, name).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from(uri)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_with_connector_lazy(connector))
}

async fn connect(
    dialer: &dyn Dialer,
    address: &str,
    tls: Option<Arc<ClientConfig>>,
    name: ServerName<'static>,
) -> io::Result<Box<dyn Io>> {
    let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
    let stream = timeout(CONNECT_TIMEOUT, dialer.dial(address)).await.map_err(timed_out)??;
    let Some(tls) = tls else { return Ok(stream) };
    let secured =
        timeout(CONNECT_TIMEOUT, TlsConnector::from(tls).connect(name, stream)).await.map_err(timed_out)??;
    Ok(Box::new(secured))
}
