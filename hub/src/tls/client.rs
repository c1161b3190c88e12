//! TLS of one process of the hub towards another: 1.3 alone, the fleet's authority, and a certificate that names the process.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{ClockTime, TlsError, provider};
use crate::keyring::{Keyring, ServerIdentity};
use crate::ports::Clock;

/// Makes the configuration of connections to other processes, which see the given identity.
///
/// # Errors
/// See [`TlsError`].
pub fn process_config(
    keyring: &Keyring,
    identity: &ServerIdentity,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(keyring.authority().certificate().clone())?;
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(ClockTime(Arc::clone(clock))))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // No server of ours resumes a session.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
