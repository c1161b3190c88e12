//! Reading certificates and signing requests: keys, identities, validity.

use std::time::Duration;

use rcgen::{CertificateSigningRequestParams, PublicKeyData};
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, CertificateSigningRequestDer, alg_id};
use sha2::{Digest as _, Sha256};
use starling_model::ids::check_label;
use starling_model::{ClusterId, Digest, Millis};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The most bytes of a signing request.
const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// A signing request whose signature was verified; only its key is used.
pub struct SigningRequest {
    public_key: rcgen::PublicKey,
    fingerprint: Digest,
}

/// What the hub reads from a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// SHA-256 of the public key (its SubjectPublicKeyInfo).
    pub key: Digest,
    /// The URIs of the subject alternative name.
    pub uris: Vec<String>,
    /// When it begins.
    pub not_before: Millis,
    /// When it ends.
    pub not_after: Millis,
}

/// A signing request that cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Larger than a request can sensibly be.
    #[error("the signing request has {0} bytes, and the limit is {MAX_REQUEST_BYTES}")]
    TooLarge(usize),
    /// Not a PKCS #10 request that this build reads, or not signed by its own key.
    #[error("the signing request cannot be read, or its signature is not by its own key")]
    Unreadable,
    /// A key of a kind that is not accepted.
    #[error("the signing request's key must be ECDSA P-256 or Ed25519")]
    KeyKind,
}

/// A certificate that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate cannot be read")]
pub struct CertificateError;

impl SigningRequest {
    /// Reads a request and verifies that its key signed it.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn parse(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLarge(der.len()));
        }
        let request = CertificateSigningRequestDer::from(der);
        // This verifies the signature. Its subject, names and extensions are the caller's wishes, and are dropped.
        let parsed = CertificateSigningRequestParams::from_der(&request).map_err(|_| RequestError::Unreadable)?;
        let (_, raw) = X509CertificationRequest::from_der(der).map_err(|_| RequestError::Unreadable)?;
        let shown = raw.certification_request_info.subject_pki.raw;
        let algorithm = parsed.public_key.algorithm();
        let is_accepted = *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 || *algorithm == rcgen::PKCS_ED25519;
        // The kind was told by the signature's algorithm, so the key itself has to be of that kind too.
        if !is_accepted || parsed.public_key.subject_public_key_info() != shown {
            return Err(RequestError::KeyKind);
        }
        Ok(Self { fingerprint: key_fingerprint(shown), public_key: parsed.public_key })
    }

    /// Returns SHA-256 of the public key.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    pub(super) fn public_key(&self) -> &rcgen::PublicKey {
        &self.public_key
    }
}

impl CertificateFacts {
    /// Reads a certificate, without verifying anything.
    ///
    /// # Errors
    /// Bytes that are not a certificate.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError)?;
        let names = parsed.subject_alternative_name().map_err(|_| CertificateError)?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let uri = |name: &GeneralName<'_>| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        };
        Ok(Self {
            key: key_fingerprint(parsed.public_key().raw),
            uris: names.iter().filter_map(uri).collect(),
            not_before: seconds(parsed.validity().not_before.timestamp()),
            not_after: seconds(parsed.validity().not_after.timestamp()),
        })
    }

    /// Returns the one cluster of this fleet that the certificate names.
    #[must_use]
    pub fn cluster(&self, fleet: &str) -> Option<ClusterId> {
        let [uri] = self.uris.as_slice() else { return None };
        ClusterId::from_uri(fleet, uri)
    }

    /// Returns the one process of the fleet's hub that the certificate names.
    #[must_use]
    pub fn process(&self, fleet: &str) -> Option<&str> {
        let [uri] = self.uris.as_slice() else { return None };
        let name = uri.strip_prefix("starling://")?.strip_prefix(fleet)?.strip_prefix("/hub/")?;
        check_label(name).is_ok().then_some(name)
    }

    /// Returns how much of the certificate's life is left.
    #[must_use]
    pub fn left(&self, now: Millis) -> Duration {
        self.not_after.since(now)
    }
}

/// Returns SHA-256 of a SubjectPublicKeyInfo, as `openssl pkey -pubin -outform der | sha256sum` prints it.
#[must_use]
pub fn key_fingerprint(subject_public_key_info: &[u8]) -> Digest {
    Digest(Sha256::digest(subject_public_key_info).into())
}

/// Verifies a signature over a message by the key of a certificate: ECDSA P-256 with SHA-256 in its ASN.1 form, or Ed25519.
#[must_use]
pub fn is_signed_by(certificate: &CertificateDer<'_>, message: &[u8], signature: &[u8]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let key = parsed.public_key();
    let known = [(alg_id::ECDSA_P256, alg_id::ECDSA_SHA256), (alg_id::ED25519, alg_id::ED25519)];
    // A SubjectPublicKeyInfo of these kinds is `30 <length> 30 <length> <identifier> ...`, with lengths of one byte.
    let is_kind = |kind: &AlgorithmIdentifier| key.raw.get(4..4 + kind.len()) == Some(kind);
    let Some((kind, scheme)) = known.iter().find(|(kind, _)| is_kind(kind)) else { return false };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut algorithms = provider.signature_verification_algorithms.all.iter();
    let algorithm = algorithms
        .find(|algorithm| algorithm.public_key_alg_id() == *kind && algorithm.signature_alg_id() == *scheme)
        .expect("the provider verifies what TLS 1.3 requires");
    algorithm.verify_signature(&key.subject_public_key.data, message, signature).is_ok()
}

fn seconds(seconds: i64) -> Millis {
    Millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}
