//! How a cluster gets and keeps its identity: the gRPC `EnrolmentService`.
//!
//! Owns verifying signing requests and proofs of keys, rate limits, and issuing certificates. Does not own who may have
//! one: the steward decides ([`starling_hub_core::steward`]), and has recorded the key before a certificate is issued.

pub(crate) mod rate;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use starling_hub_core::enrolment::JoinToken;
use starling_hub_core::resources::Resource;
use starling_hub_core::steward::{Answer, Join, Refusal, Renew, Request};
use starling_model::{ClusterId, Digest, ErrorCode};
use starling_proto::v1::enrolment_service_server::EnrolmentService;
use starling_proto::v1::{JoinRequest, JoinResponse, RenewRequest, RenewResponse};
use tonic::metadata::MetadataValue;
use tonic::{Response, Status};

use self::rate::{ClusterLimit, RateLimit};
use crate::accept::Peer;
use crate::api::error::status;
use crate::keyring::{Issued, Keyring, SigningRequest, is_signed_by};
use crate::metrics::{EdgeMetrics, Method, Reason};
use crate::ports::{Clock, Entropy};
use crate::source::{Documents, EditError};
use crate::steward::StewardHandle;
use crate::tls::{PeerIdentity, verify_ours};

/// The metadata key that carries the reason of a refusal, from the closed set of the metric's label.
pub const REFUSAL_REASON: &str = "starling-reason";

/// The most bytes of a token, a certificate or a fingerprint in a request.
const MAX_FIELD_BYTES: usize = 16 * 1024;

/// Decides who may have a certificate.
#[async_trait]
pub trait EnrolmentSteward: Send + Sync + 'static {
    /// Asks for one decision; it is committed before this returns.
    async fn admit(&self, actor: &str, request: Request) -> Result<Answer, Refusal>;
}

/// What enrolment works with.
#[derive(Clone)]
pub struct EnrolmentParts {
    /// The fleet's secrets.
    pub keyring: Arc<Keyring>,
    /// Decides who may have a certificate.
    pub steward: Arc<dyn EnrolmentSteward>,
    /// The documents that the hub edits; `None` where there are none.
    pub documents: Option<Arc<dyn Documents>>,
    /// How long clusters' certificates last.
    pub lifetime: Duration,
    /// Where everything is counted.
    pub metrics: EdgeMetrics,
    /// Wall time for certificates, uptime for rates.
    pub clock: Arc<dyn Clock>,
    /// Serial numbers.
    pub entropy: Arc<dyn Entropy>,
}

/// The gRPC service.
pub struct Enrolment {
    parts: EnrolmentParts,
    joins: RateLimit,
    renewals: RateLimit,
    cluster_renewals: ClusterLimit,
}

/// A refusal on its way to the caller.
struct Refused {
    code: ErrorCode,
    message: String,
    /// For the metric and for programs: from a closed set.
    reason: &'static str,
}

/// A caller of Renew, and the key that it proved to hold.
struct Proven {
    cluster: ClusterId,
    key: Digest,
    expired: bool,
}

#[async_trait]
impl EnrolmentSteward for StewardHandle {
    async fn admit(&self, actor: &str, request: Request) -> Result<Answer, Refusal> {
        self.submit(actor, request).await
    }
}

impl Enrolment {
    /// Makes the service.
    #[must_use]
    pub fn new(parts: EnrolmentParts) -> Self {
        let (joins, renewals) = (RateLimit::new(200, 1000), RateLimit::new(500, 2000));
        Self { parts, joins, renewals, cluster_renewals: ClusterLimit::new() }
    }

    async fn joined(&self, peer: &Peer, request: JoinRequest) -> Result<JoinResponse, Refused> {
        let uptime = self.parts.clock.uptime();
        self.joins.take_of_all(uptime).map_err(|rate| Refused::rate(rate, "join"))?;
        check_sizes(&[request.token.as_bytes(), request.fingerprint.as_bytes(), request.cluster_name.as_bytes()])?;
        let signing = read_request(&request.csr_der)?;
        let token = JoinToken::parse(&request.token).map_err(|error| {
            Refused::new(
                ErrorCode::CredentialRefused,
                "token-malformed",
                format!("{error}: check that it was copied whole"),
            )
        })?;
        let join = Join {
            token,
            key: signing.fingerprint(),
            fingerprint: request.fingerprint,
            cluster_name: request.cluster_name,
        };
        let (cluster, put) = self.ask(&format!("join from {}", peer.address), Request::Join(join)).await?;
        self.write(put).await?;
        let issued = self.issue("join", cluster, &signing)?;
        tracing::info!(%cluster, address = %peer.address, "a cluster joined");
        Ok(JoinResponse {
            certificate_pem: issued.pem.into_bytes(),
            trust_pem: self.parts.keyring.authority().pem().into(),
            cluster_id: cluster.to_string(),
            fleet: self.parts.keyring.fleet().to_owned(),
        })
    }

    async fn renewed(&self, peer: &Peer, request: RenewRequest) -> Result<RenewResponse, Refused> {
        check_sizes(&[&request.certificate_pem, &request.proof])?;
        let signing = read_request(&request.csr_der)?;
        let Proven { cluster, key, expired } = self.prove(&peer.identity, &request)?;
        let uptime = self.parts.clock.uptime();
        if !self.cluster_renewals.take(cluster, uptime) {
            let message = format!("cluster {cluster} renews more often than once a minute: try again later");
            return Err(Refused::new(ErrorCode::LimitExceeded, "rate-limited", message));
        }
        self.renewals.take_of_all(uptime).map_err(|rate| Refused::rate(rate, "renew"))?;
        let renew = Renew { cluster, proven_key: key, new_key: signing.fingerprint(), expired };
        let (cluster, _) = self.ask(&format!("cluster {cluster}"), Request::Renew(renew)).await?;
        let issued = self.issue("renew", cluster, &signing)?;
        tracing::debug!(%cluster, expired, "a cluster renewed its certificate");
        let trust_pem = self.parts.keyring.authority().pem().into();
        Ok(RenewResponse { certificate_pem: issued.pem.into_bytes(), trust_pem })
    }

    /// Finds out whose renewal it is: by the handshake, or by a certificate of ours and a signature over the request by
    /// its key.
    fn prove(&self, identity: &PeerIdentity, request: &RenewRequest) -> Result<Proven, Refused> {
        match identity {
            PeerIdentity::Valid(peer) => {
                return Ok(Proven { cluster: peer.cluster, key: peer.key, expired: false });
            }
            PeerIdentity::Expired(peer) => return Ok(Proven { cluster: peer.cluster, key: peer.key, expired: true }),
            PeerIdentity::None | PeerIdentity::Process(_) => {}
        }
        if request.certificate_pem.is_empty() {
            let message = "a renewal needs the present certificate, in the handshake or with a proof of its key";
            return Err(Refused::new(ErrorCode::Unauthenticated, "no-certificate", message));
        }
        let foreign = || {
            let message = "the certificate is not one of this fleet's: join with a new token";
            Refused::new(ErrorCode::CredentialRefused, "foreign-certificate", message)
        };
        let certificate = CertificateDer::from_pem_slice(&request.certificate_pem).map_err(|_| foreign())?;
        let keyring = &self.parts.keyring;
        let now = self.parts.clock.now();
        let verified = verify_ours(keyring.authority().certificate(), keyring.fleet(), &certificate, now);
        let verified = verified.map_err(|error| Refused::internal(&error))?.ok_or_else(foreign)?;
        if !is_signed_by(&certificate, &request.csr_der, &request.proof) {
            let message = "the proof is not a signature over the signing request by the certificate's key";
            return Err(Refused::new(ErrorCode::CredentialRefused, "proof-wrong", message));
        }
        let certified = verified.certified;
        Ok(Proven { cluster: certified.cluster, key: certified.key, expired: verified.expired })
    }

    async fn ask(&self, actor: &str, request: Request) -> Result<(ClusterId, Option<Box<Resource>>), Refused> {
        match self.parts.steward.admit(actor, request).await? {
            Answer::Admitted { cluster, put, .. } => Ok((cluster, put)),
            answer => Err(Refused::internal(&format!("the steward answered an enrolment with {answer:?}"))),
        }
    }

    /// Writes the ManagedCluster of a cluster that registered by itself.
    ///
    /// Where that cannot be made up for by asking again the cluster joins all the same: the fleet's problems show that its
    /// document is missing.
    async fn write(&self, document: Option<Box<Resource>>) -> Result<(), Refused> {
        let (Some(document), Some(documents)) = (document, &self.parts.documents) else { return Ok(()) };
        match documents.create(&document).await {
            Ok(()) => Ok(()),
            Err(error @ (EditError::NotWritable { .. } | EditError::Refused { .. })) => {
                tracing::warn!(%error, "cannot write the document of a cluster that registered by itself");
                Ok(())
            }
            Err(error @ (EditError::Api { .. } | EditError::BrokeOff)) => {
                let message = format!("the ManagedCluster cannot be written yet, try again: {error}");
                Err(Refused::new(ErrorCode::Unavailable, "unavailable", message))
            }
        }
    }

    fn issue(&self, method: &'static str, cluster: ClusterId, signing: &SigningRequest) -> Result<Issued, Refused> {
        let ports = (&*self.parts.clock, &*self.parts.entropy);
        let issued = self.parts.keyring.issue_cluster(cluster, signing, self.parts.lifetime, ports);
        let issued = issued.map_err(|error| Refused::internal(&error))?;
        self.parts.metrics.certificates_issued.get_or_create(&Method { method }).inc();
        Ok(issued)
    }

    /// Lets a method run within the rate of its caller's failures, counts what it refuses, and makes the refusal a status.
    async fn limited<T>(
        &self,
        (limit, method): (Option<&RateLimit>, &'static str),
        peer: &Peer,
        run: impl Future<Output = Result<T, Refused>>,
    ) -> Result<Response<T>, Status> {
        let (host, uptime) = (host_of(&peer.address), self.parts.clock.uptime());
        let result = match limit.map_or(Ok(()), |limit| limit.check(host, uptime)) {
            Ok(()) => run.await.inspect_err(|refused| {
                if let Some(limit) = limit.filter(|_| refused.is_callers_fault()) {
                    limit.failed(host, uptime);
                }
            }),
            Err(rate) => Err(Refused::rate(rate, method)),
        };
        result.map(Response::new).map_err(|Refused { code, message, reason }| {
            self.parts.metrics.join_refused.get_or_create(&Reason { reason }).inc();
            tracing::info!(method, address = %peer.address, reason, message, "refused an enrolment");
            let mut status = status(code, message);
            status.metadata_mut().insert(REFUSAL_REASON, MetadataValue::from_static(reason));
            status
        })
    }
}

#[async_trait]
impl EnrolmentService for Enrolment {
    async fn join(&self, request: tonic::Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let peer = Peer::of(&request);
        self.limited((Some(&self.joins), "join"), &peer, self.joined(&peer, request.into_inner())).await
    }

    async fn renew(&self, request: tonic::Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let peer = Peer::of(&request);
        // Whoever holds the key of a certificate of ours is bounded as a cluster: others behind its address cannot lock it out.
        let limit = match peer.identity {
            PeerIdentity::None | PeerIdentity::Process(_) => Some(&self.renewals),
            PeerIdentity::Valid(_) | PeerIdentity::Expired(_) => None,
        };
        self.limited((limit, "renew"), &peer, self.renewed(&peer, request.into_inner())).await
    }
}

impl Refused {
    fn new(code: ErrorCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), reason }
    }

    fn rate(per_second: u32, method: &str) -> Self {
        let message = format!("more than {per_second} {method} requests a second: try again later");
        Self::new(ErrorCode::LimitExceeded, "rate-limited", message)
    }

    fn is_callers_fault(&self) -> bool {
        match self.code {
            ErrorCode::InvalidRequest
            | ErrorCode::Unauthenticated
            | ErrorCode::PermissionDenied
            | ErrorCode::CredentialRefused => true,
            ErrorCode::NotFound
            | ErrorCode::Conflict
            | ErrorCode::ApprovalRequired
            | ErrorCode::FleetHolds
            | ErrorCode::LimitExceeded
            | ErrorCode::Unavailable
            | ErrorCode::Internal => false,
        }
    }

    fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "cannot issue a certificate");
        Self::new(ErrorCode::Internal, "internal", "the hub cannot issue a certificate; its log says why")
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.credential.map_or(refusal.code.as_str(), |credential| credential.as_str());
        Self { code: refusal.code, message: refusal.message, reason }
    }
}

fn read_request(der: &[u8]) -> Result<SigningRequest, Refused> {
    SigningRequest::parse(der)
        .map_err(|error| Refused::new(ErrorCode::InvalidRequest, "request-malformed", error.to_string()))
}

fn check_sizes(fields: &[&[u8]]) -> Result<(), Refused> {
    if fields.iter().all(|field| field.len() <= MAX_FIELD_BYTES) {
        return Ok(());
    }
    let message = format!("a field is larger than {MAX_FIELD_BYTES} bytes");
    Err(Refused::new(ErrorCode::InvalidRequest, "request-malformed", message))
}

/// Returns the host of `host:port`.
fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests;
