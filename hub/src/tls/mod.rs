//! TLS of the one port: version 1.3 alone, client certificate optional, configuration that can be swapped while it serves.
//!
//! Owns the rustls configuration, verifying client certificates, and sorting callers into none, valid and
//! ours-but-expired ([`PeerIdentity`]). Does not own the keys (that is [`crate::keyring`]) nor who may do what.

mod client;
mod identity;
mod verifier;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use starling_model::Millis;

pub use self::client::process_config;
pub use self::identity::{CertifiedCluster, CertifiedProcess, PeerIdentity};
pub use self::verifier::{VerifiedByAuthority, verify_ours};
use crate::keyring::Keyring;
use crate::ports::{Clock, Entropy};

/// How often the hub's certificate is looked at.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(600);

/// The TLS configuration of the port, asked anew for each connection.
pub struct Tls {
    current: ArcSwap<ServerConfig>,
    clock: Arc<dyn Clock>,
    fleet: String,
}

/// A configuration that rustls does not accept.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate or its key.
    #[error("read the hub's certificate: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// Anything else.
    #[error("configure TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// The verifier of client certificates.
    #[error("configure TLS: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The injected clock, as rustls takes it.
#[derive(Debug)]
pub(crate) struct ClockTime(pub(crate) Arc<dyn Clock>);

impl Tls {
    /// Configures TLS with the keyring's present certificate.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(keyring: &Keyring, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let config = configure(keyring, &clock)?;
        Ok(Self { current: ArcSwap::from(config), clock, fleet: keyring.fleet().to_owned() })
    }

    /// Takes the keyring's present certificate for connections from now on; those that are open stay as they are.
    ///
    /// # Errors
    /// See [`TlsError`]; then the configuration before stays.
    pub fn reload(&self, keyring: &Keyring) -> Result<(), TlsError> {
        self.current.store(configure(keyring, &self.clock)?);
        Ok(())
    }

    /// Returns the configuration for the next connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Sorts a caller whose handshake is complete by the chain that was verified in it.
    #[must_use]
    pub fn identify(&self, chain: Option<&[CertificateDer<'_>]>) -> PeerIdentity {
        PeerIdentity::of_verified(chain, &self.fleet, self.clock.now())
    }
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}

/// Issues the hub's certificate again whenever it is due, and serves it from then on; never ends.
pub async fn renew(tls: Arc<Tls>, keyring: Arc<Keyring>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) {
    loop {
        tokio::time::sleep(RENEWAL_INTERVAL).await;
        let renewed = keyring.renew_server((&*clock, &*entropy)).await.map_err(|error| error.to_string());
        let served = renewed.and_then(|is_new| match is_new {
            true => tls.reload(&keyring).map_err(|error| error.to_string()),
            false => Ok(()),
        });
        if let Err(error) = served {
            // A third of its life is left, so that there are weeks to look into it.
            tracing::error!(error, "cannot renew the hub's own certificate");
        }
    }
}

/// Returns the cryptography that everything uses.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn configure(keyring: &Keyring, clock: &Arc<dyn Clock>) -> Result<Arc<ServerConfig>, TlsError> {
    let server = keyring.server();
    let chain = vec![CertificateDer::from_pem_slice(server.certificate_pem.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(server.key_pem.as_bytes())?;
    let verifier = verifier::CallerVerifier::new(keyring.authority().certificate(), keyring.fleet())?;
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(ClockTime(Arc::clone(clock))))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would bring back a chain without verifying it again: every connection proves itself.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn unix_time(now: Millis) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(now.0))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
