//! Who called, by the certificate of the connection.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use starling_model::{ClusterId, Digest, Millis};

use crate::keyring::CertificateFacts;

/// What a connection proved about its caller; gRPC methods find it in their request's extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PeerIdentity {
    /// It showed no certificate: an agent that joins, or an administrator with a token.
    #[default]
    None,
    /// It holds the key of a certificate of ours.
    Valid(CertifiedCluster),
    /// It is a process of the hub.
    Process(CertifiedProcess),
    /// It holds the key of a certificate of ours that has expired, which serves for a renewal and nothing else.
    Expired(CertifiedCluster),
}

/// What a cluster's certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertifiedCluster {
    /// The cluster.
    pub cluster: ClusterId,
    /// SHA-256 of the public key (its SubjectPublicKeyInfo), of which the caller proved possession.
    pub key: Digest,
    /// When the certificate ends. A session that lives longer has to look again.
    pub expires: Millis,
}

/// What the certificate of a process of the hub says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedProcess {
    /// The process's name.
    pub name: Arc<str>,
    /// When the certificate ends.
    pub expires: Millis,
}

impl PeerIdentity {
    /// Sorts a chain that the verifier let pass.
    pub(super) fn of_verified(chain: Option<&[CertificateDer<'_>]>, fleet: &str, now: Millis) -> Self {
        let Some(certificate) = chain.and_then(<[_]>::first) else { return Self::None };
        if let Some(process) = CertifiedProcess::read(certificate, fleet) {
            // One whose time is over proves nothing.
            return if process.expires < now { Self::None } else { Self::Process(process) };
        }
        let Some(certified) = CertifiedCluster::read(certificate, fleet) else { return Self::None };
        if certified.expires < now { Self::Expired(certified) } else { Self::Valid(certified) }
    }

    /// Returns what a valid certificate says; `None` for everybody else.
    #[must_use]
    pub fn valid(&self) -> Option<&CertifiedCluster> {
        match self {
            Self::Valid(certified) => Some(certified),
            Self::None | Self::Process(_) | Self::Expired(_) => None,
        }
    }

    /// Returns what the certificate of another process of the hub says; `None` for everybody else.
    #[must_use]
    pub fn process(&self) -> Option<&CertifiedProcess> {
        match self {
            Self::Process(process) => Some(process),
            Self::None | Self::Valid(_) | Self::Expired(_) => None,
        }
    }
}

impl CertifiedProcess {
    /// Reads a certificate without verifying it; `None` if it names no process of the fleet's hub.
    pub(super) fn read(certificate: &CertificateDer<'_>, fleet: &str) -> Option<Self> {
        let facts = CertificateFacts::read(certificate).ok()?;
        Some(Self { name: facts.process(fleet)?.into(), expires: facts.not_after })
    }
}

impl CertifiedCluster {
    /// Reads a certificate without verifying it; `None` if it names no cluster of the fleet.
    #[must_use]
    pub fn read(certificate: &CertificateDer<'_>, fleet: &str) -> Option<Self> {
        let facts = CertificateFacts::read(certificate).ok()?;
        let cluster = facts.cluster(fleet)?;
        Some(Self { cluster, key: facts.key, expires: facts.not_after })
    }
}
