//! TLS towards the hub: 1.3 alone, authorities that are pinned, the cluster's certificate where there is one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};

use starling_model::Millis;

use crate::ports::Clock;

/// Certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The pinned authorities are not PEM certificates, or none at all.
    #[error("the trusted authorities are not PEM certificates")]
    Trust,
    /// The certificate or key of the identity cannot be read.
    #[error("the identity cannot be read: {0}")]
    Identity(String),
    /// The hub's address has no host that can be verified.
    #[error("{0:?} is not host:port")]
    Address(String),
    /// Refused by the TLS library.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

/// The certificate chain and key that a client shows.
pub(crate) struct ClientCertificate<'a> {
    pub(crate) chain_pem: &'a str,
    pub(crate) key_pem: &'a str,
}

/// Builds the configuration of a connection.
pub(crate) fn client_config(
    trust_pem: &[&[u8]],
    certificate: Option<&ClientCertificate<'_>>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for pem in trust_pem {
        for authority in CertificateDer::pem_slice_iter(pem) {
            roots.add(authority.map_err(|_| TlsError::Trust)?)?;
        }
    }
    if roots.is_empty() {
        return Err(TlsError::Trust);
    }
    let time = Arc::new(PortTime(Arc::clone(clock)));
    let builder = ClientConfig::builder_with_details(provider(), time)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| TlsError::Identity(error.to_string()))?;
            let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes())
                .map_err(|error| TlsError::Identity(error.to_string()))?;
            builder.with_client_auth_cert(chain, key)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // The hub resumes no session, and a cache would be memory for nothing.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Tells whether two sets of authorities (PEM) share a certificate.
pub(crate) fn have_in_common(one: &[u8], other: &[u8]) -> bool {
    let other: Vec<_> = CertificateDer::pem_slice_iter(other).flatten().collect();
    CertificateDer::pem_slice_iter(one).flatten().any(|authority| other.contains(&authority))
}

/// Tells whether one of the authorities (PEM) issued a client's chain (PEM), as of then.
pub(crate) fn is_issued_by(chain_pem: &str, authorities: &[u8], at: Millis) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(authorities).flatten());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain_pem.as_bytes()).flatten().collect();
    let Some((leaf, intermediates)) = chain.split_first() else { return false };
    let Ok(verifier) = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build() else {
        return false;
    };
    let at = UnixTime::since_unix_epoch(Duration::from_millis(at.0));
    verifier.verify_client_cert(leaf, intermediates, at).is_ok()
}

fn provider() -> Arc<CryptoProvider> {
    let installed = CryptoProvider::get_default().cloned();
    installed.unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// Returns the name that the hub's certificate must carry.
pub(crate) fn server_name(address: &str) -> Result<ServerName<'static>, TlsError> {
    let (host, _port) = address.rsplit_once(':').ok_or_else(|| TlsError::Address(address.to_owned()))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(host).map_err(|_| TlsError::Address(address.to_owned()))
}

pub(crate) struct PortTime(pub(crate) Arc<dyn Clock>);

impl TimeProvider for PortTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now().0)))
    }
}

impl fmt::Debug for PortTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PortTime")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_every_form_have_a_name() {
        for address in ["hub.example.org:8443", "127.0.0.1:8443", "[::1]:8443"] {
            assert!(server_name(address).is_ok(), "{address}");
        }
        assert!(server_name("hub").is_err());
    }
}
