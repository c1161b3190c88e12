//! Verifying client certificates: ours pass, expired or not; others' do not.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use starling_model::Millis;

use super::identity::CertifiedProcess;
use super::{CertifiedCluster, TlsError, provider, unix_time};
use crate::keyring::CertificateFacts;

/// Lets callers without a certificate pass, and those with one of our authority that names a cluster of the fleet.
#[derive(Debug)]
pub(super) struct CallerVerifier {
    chains: Arc<dyn ClientCertVerifier>,
    fleet: String,
}

/// A certificate that the authority issued to a cluster of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedByAuthority {
    /// What it says.
    pub certified: CertifiedCluster,
    /// Whether its time is over.
    pub expired: bool,
}

/// Verifies a certificate that came by another way than the handshake, as the handshake would; `None` if it is not ours.
///
/// It proves nothing about who sent it.
///
/// # Errors
/// The authority's own certificate cannot be used.
pub fn verify_ours(
    authority: &CertificateDer<'static>,
    fleet: &str,
    certificate: &CertificateDer<'_>,
    now: Millis,
) -> Result<Option<VerifiedByAuthority>, TlsError> {
    let verifier = CallerVerifier::new(authority, fleet)?;
    if verifier.verify_client_cert(certificate, &[], unix_time(now)).is_err() {
        return Ok(None);
    }
    let certified = CertifiedCluster::read(certificate, fleet);
    Ok(certified.map(|certified| VerifiedByAuthority { expired: certified.expires < now, certified }))
}

impl CallerVerifier {
    pub(super) fn new(authority: &CertificateDer<'static>, fleet: &str) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
        Ok(Self { chains, fleet: fleet.to_owned() })
    }
}

impl ClientCertVerifier for CallerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = match self.chains.verify_client_cert(end_entity, intermediates, now) {
            Err(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
                let facts = CertificateFacts::read(end_entity);
                let facts = facts.map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
                // Everything else about it has to hold, as it did in the last moment of its life.
                self.chains.verify_client_cert(end_entity, intermediates, unix_time(facts.not_after))?
            }
            judged => judged?,
        };
        // The hub's own certificate is of this authority too, and another fleet's may be: neither names a cluster or a process
        // of ours.
        let is_ours = CertifiedCluster::read(end_entity, &self.fleet).is_some()
            || CertifiedProcess::read(end_entity, &self.fleet).is_some();
        is_ours.then_some(verified).ok_or(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
