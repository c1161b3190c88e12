//! The agent's identity: a key that it made, a certificate that the hub gave it, and how long that lasts.
//!
//! Owns what an identity is. How one is got and renewed is `enrol`, when that happens is
//! `keeper`, where it is kept is `store`.

mod enrol;
mod keeper;
mod store;

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData, SigningKey};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use starling_model::{ClusterId, Millis};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

pub(crate) use self::enrol::{Enrolment, refusal, retry_after};
pub(crate) use self::keeper::Keeper;
pub use self::store::IdentityPlace;
use self::store::{IdentityStore, IdentityStoreError};
use crate::cluster::StoredIdentity;
use crate::ports::Clock;
use crate::tls::{self, ClientCertificate, TlsError};

/// The share of a certificate's life after which it is renewed, at the earliest and at the latest.
const RENEWAL_PERCENT: (u64, u64) = (50, 70);

/// A certificate and its key, as they were read.
#[derive(Clone)]
pub(crate) struct Identity {
    stored: StoredIdentity,
    /// The identity that the certificate carries.
    pub(crate) cluster: ClusterId,
    not_before: Millis,
    not_after: Millis,
}

/// A stored identity that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("the certificate cannot be read")]
    Certificate,
    #[error("the key cannot be read, or is not the certificate's")]
    Key,
    #[error("the certificate names no cluster of this fleet")]
    Foreign,
}

impl Identity {
    /// Reads a stored identity and checks that it is of the fleet and of one piece.
    pub(crate) fn read(stored: StoredIdentity, fleet: &str) -> Result<Self, IdentityError> {
        let leaf = CertificateDer::from_pem_slice(stored.certificate_pem.as_bytes())
            .map_err(|_| IdentityError::Certificate)?;
        let (_, certificate) = X509Certificate::from_der(&leaf).map_err(|_| IdentityError::Certificate)?;
        let key = KeyPair::from_pem(&stored.key_pem).map_err(|_| IdentityError::Key)?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(IdentityError::Key);
        }
        let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Certificate)?;
        let cluster = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .find_map(|name| match name {
                GeneralName::URI(uri) => ClusterId::from_uri(fleet, uri),
                _ => None,
            })
            .ok_or(IdentityError::Foreign)?;
        let millis = |seconds: i64| Millis(u64::try_from(seconds).unwrap_or_default().saturating_mul(1000));
        let validity = certificate.validity();
        let (not_before, not_after) = (millis(validity.not_before.timestamp()), millis(validity.not_after.timestamp()));
        Ok(Self { stored, cluster, not_before, not_after })
    }

    /// Returns how long to wait before renewing: until a drawn moment between half and 70 % of the certificate's life.
    pub(crate) fn renewal_in(&self, now: Millis, drawn: u64) -> Duration {
        let life = self.not_after.0.saturating_sub(self.not_before.0);
        let (earliest, latest) = RENEWAL_PERCENT;
        let share = earliest * 1000 + drawn % ((latest - earliest) * 1000);
        let due = self.not_before.0.saturating_add(life / 100_000 * share);
        Duration::from_millis(due.saturating_sub(now.0))
    }

    /// Tells whether the hub no longer takes the certificate in a handshake.
    pub(crate) fn is_expired(&self, now: Millis) -> bool {
        now >= self.not_after
    }

    /// Returns when the certificate ends.
    pub(crate) fn not_after(&self) -> Millis {
        self.not_after
    }

    /// Returns what is stored.
    pub(crate) fn stored(&self) -> &StoredIdentity {
        &self.stored
    }

    /// Returns the same identity with other authorities to trust.
    pub(crate) fn with_trust(mut self, trust_pem: String) -> Self {
        self.stored.trust_pem = trust_pem;
        self
    }

    /// Tells whether one of the authorities (PEM) issued the certificate, whenever that was.
    fn is_issued_by(&self, authorities: &[u8]) -> bool {
        let at = self.not_before.plus(Duration::from_secs(1));
        tls::is_issued_by(&self.stored.certificate_pem, authorities, at)
    }

    /// Builds the TLS configuration that shows this identity.
    pub(crate) fn tls(&self, pinned: &[u8], clock: &Arc<dyn Clock>) -> Result<Arc<ClientConfig>, TlsError> {
        let certificate = ClientCertificate { chain_pem: &self.stored.certificate_pem, key_pem: &self.stored.key_pem };
        tls::client_config(&[pinned, self.stored.trust_pem.as_bytes()], Some(&certificate), clock)
    }

    /// Signs with the certificate's key.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let key = KeyPair::from_pem(&self.stored.key_pem).map_err(|_| IdentityError::Key)?;
        key.sign(message).map_err(|_| IdentityError::Key)
    }
}

/// Makes a key (ECDSA, P-256).
fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
}

/// Makes a signing request without any name: the hub decides on these.
fn signing_request(key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

#[cfg(test)]
mod tests;
