//! Who opened a stream.

use starling_model::{ClusterId, Digest, ErrorCode, Millis};
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::api::error::status;
use crate::tls::PeerIdentity;

/// A cluster whose certificate was verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) cluster: ClusterId,
    /// SHA-256 of its public key.
    pub(super) key: Digest,
    /// When its certificate ends, wall time.
    pub(super) expires: Millis,
    /// Another process of the hub verified it, and passes its stream on.
    pub(super) forwarded: bool,
}

impl Caller {
    /// Takes the identity that the connection's certificate proved; a session needs a valid one.
    pub(super) fn identify(peer: Option<&PeerIdentity>, metadata: &MetadataMap) -> Result<Self, Status> {
        match peer {
            Some(PeerIdentity::Valid(peer)) => {
                Ok(Self { cluster: peer.cluster, key: peer.key, expires: peer.expires, forwarded: false })
            }
            Some(PeerIdentity::Process(_)) => Self::passed_on(metadata),
            Some(PeerIdentity::Expired(_)) => {
                Err(status(ErrorCode::CredentialRefused, "the certificate has expired: renew it"))
            }
            Some(PeerIdentity::None) | None => {
                Err(status(ErrorCode::Unauthenticated, "a session needs the cluster's certificate: join first"))
            }
        }
    }
}
