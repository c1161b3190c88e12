use std::sync::Mutex;

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, SigningKey as _};
use rustls_pki_types::ServerName;
use starling_hub_core::enrolment::CredentialRefusal;
use starling_model::{Digest, ResourceName};
use starling_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use starling_proto::v1::enrolment_service_server::EnrolmentServiceServer;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::accept::{self, AcceptLimits, AcceptParts};
use crate::ports::{OsEntropy, TcpListenerPort};
use crate::tls::CertifiedCluster;
use crate::tls::testing::{FLEET, TestClock, TestFleet, TestIdentity};

const HOUR: Duration = Duration::from_secs(3600);
const CLUSTER: ClusterId = ClusterId([7; 16]);

/// Answers as it is told, and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    refusal: Mutex<Option<Refusal>>,
    asked: Mutex<Vec<Request>>,
}

#[async_trait]
impl EnrolmentSteward for Scripted {
    async fn admit(&self, _: &str, request: Request) -> Result<Answer, Refusal> {
        self.asked.lock().unwrap().push(request);
        match self.refusal.lock().unwrap().clone() {
            Some(refusal) => Err(refusal),
            None => Ok(Answer::Admitted { cluster: CLUSTER, name: Some(ResourceName::new("edge", "one")), put: None }),
        }
    }
}

struct Subject {
    fleet: TestFleet,
    steward: Arc<Scripted>,
    service: Enrolment,
    metrics: EdgeMetrics,
}

impl Subject {
    fn new() -> Self {
        let (fleet, steward, metrics) = (TestFleet::new(), Arc::new(Scripted::default()), EdgeMetrics::default());
        let service = Enrolment::new(EnrolmentParts {
            keyring: Arc::clone(&fleet.keyring),
            steward: Arc::<Scripted>::clone(&steward),
            documents: None,
            lifetime: HOUR,
            metrics: metrics.clone(),
            clock: Arc::<TestClock>::clone(&fleet.clock),
            entropy: Arc::new(OsEntropy),
        });
        Self { fleet, steward, service, metrics }
    }

    fn refused(&self, reason: &'static str) -> u64 {
        self.metrics.join_refused.get_or_create(&Reason { reason }).get()
    }

    fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut *self.steward.asked.lock().unwrap())
    }

    async fn join(&self, request: JoinRequest) -> Result<JoinResponse, Status> {
        self.service.join(tonic::Request::new(request)).await.map(Response::into_inner)
    }

    async fn renew(&self, identity: PeerIdentity, request: RenewRequest) -> Result<RenewResponse, Status> {
        let mut request = tonic::Request::new(request);
        request.extensions_mut().insert(Peer { address: "192.0.2.1:5".into(), identity });
        self.service.renew(request).await.map(Response::into_inner)
    }
}

fn signing_request() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    (key, der)
}

fn join_request() -> JoinRequest {
    let token = JoinToken::new(FLEET, [1; 32]).reveal();
    JoinRequest { token, csr_der: signing_request().1, fingerprint: "uid".into(), cluster_name: String::new() }
}

fn certificate(pem: &[u8]) -> CertifiedCluster {
    CertifiedCluster::read(&CertificateDer::from_pem_slice(pem).unwrap(), FLEET).unwrap()
}

fn reason(status: &Status) -> &str {
    status.metadata().get(REFUSAL_REASON).unwrap().to_str().unwrap()
}

#[tokio::test]
async fn a_token_and_a_request_become_a_certificate() {
    let subject = Subject::new();
    let request = join_request();
    let key = SigningRequest::parse(&request.csr_der).unwrap().fingerprint();
    let response = subject.join(request).await.unwrap();
    let issued = certificate(&response.certificate_pem);
    assert_eq!((issued.cluster, issued.key), (CLUSTER, key));
    assert_eq!(response.trust_pem, subject.fleet.keyring.authority().pem().as_bytes());
    assert_eq!((response.cluster_id, response.fleet.as_str()), (CLUSTER.to_string(), FLEET));
    let asked = subject.asked();
    assert!(matches!(&asked[..], [Request::Join(join)] if join.key == key && join.fingerprint == "uid"), "{asked:?}");
    assert_eq!(subject.metrics.certificates_issued.get_or_create(&Method { method: "join" }).get(), 1);
}

#[tokio::test]
async fn every_refusal_has_its_reason_and_is_counted() {
    for credential in CredentialRefusal::ALL {
        let subject = Subject::new();
        let message = credential.to_string();
        let refusal = Refusal { code: ErrorCode::CredentialRefused, message, credential: Some(credential) };
        *subject.steward.refusal.lock().unwrap() = Some(refusal);
        let status = subject.join(join_request()).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::Unauthenticated, credential.as_str()));
        assert_eq!(status.message(), credential.to_string());
        assert_eq!(subject.refused(credential.as_str()), 1);
    }
}

#[tokio::test]
async fn malformed_requests_do_not_reach_the_steward() {
    let subject = Subject::new();
    for (request, expected) in [
        (JoinRequest { token: "nonsense".into(), ..join_request() }, "token-malformed"),
        (JoinRequest { csr_der: b"garbage".to_vec(), ..join_request() }, "request-malformed"),
        (JoinRequest { fingerprint: "x".repeat(20_000), ..join_request() }, "request-malformed"),
    ] {
        let status = subject.join(request).await.unwrap_err();
        assert_eq!(reason(&status), expected);
    }
    assert!(subject.asked().is_empty());
    assert_eq!(subject.refused("request-malformed"), 2);
}

#[tokio::test]
async fn a_handshake_proves_the_key_of_a_renewal() {
    let subject = Subject::new();
    let old = certificate(subject.fleet.agent(CLUSTER, HOUR).certificate_pem.as_bytes());
    for (identity, is_expired) in [(PeerIdentity::Valid(old), false), (PeerIdentity::Expired(old), true)] {
        let (_, csr_der) = signing_request();
        let new = SigningRequest::parse(&csr_der).unwrap().fingerprint();
        let request = RenewRequest { csr_der, ..RenewRequest::default() };
        let response = subject.renew(identity, request).await.unwrap();
        assert_eq!(certificate(&response.certificate_pem).key, new);
        let expected = Renew { cluster: CLUSTER, proven_key: old.key, new_key: new, expired: is_expired };
        assert_eq!(subject.asked(), [Request::Renew(expected)]);
    }
}

#[tokio::test]
async fn a_signature_proves_the_key_where_the_handshake_could_not() {
    let subject = Subject::new();
    let old = subject.fleet.agent(CLUSTER, HOUR);
    subject.fleet.clock.pass(2 * HOUR);
    let request = |identity: &TestIdentity, signed: &[u8]| {
        let (_, csr_der) = signing_request();
        let message = if signed.is_empty() { csr_der.clone() } else { signed.to_vec() };
        let proof = KeyPair::from_pem(&identity.key_pem).unwrap().sign(&message).unwrap();
        RenewRequest { csr_der, certificate_pem: identity.certificate_pem.clone().into_bytes(), proof }
    };
    subject.renew(PeerIdentity::None, request(&old, b"")).await.unwrap();
    let key: Digest = certificate(old.certificate_pem.as_bytes()).key;
    assert!(matches!(&subject.asked()[..], [Request::Renew(renew)] if renew.expired && renew.proven_key == key));

    let foreign = TestFleet::new().agent(CLUSTER, HOUR);
    let stolen = TestIdentity { certificate_pem: old.certificate_pem.clone(), ..foreign.clone() };
    for (request, expected) in [
        (request(&old, b"another message"), "proof-wrong"),
        (request(&stolen, b""), "proof-wrong"),
        (request(&foreign, b""), "foreign-certificate"),
        (RenewRequest { csr_der: signing_request().1, ..RenewRequest::default() }, "no-certificate"),
    ] {
        let status = subject.renew(PeerIdentity::None, request).await.unwrap_err();
        assert_eq!(reason(&status), expected);
    }
    assert!(subject.asked().is_empty());
}

#[tokio::test]
async fn whoever_guesses_runs_out_of_attempts() {
    let subject = Subject::new();
    let guess = || JoinRequest { token: "guess".into(), ..join_request() };
    for _ in 0..60 {
        assert_eq!(subject.join(guess()).await.unwrap_err().code(), Code::Unauthenticated);
    }
    let limited = subject.join(guess()).await.unwrap_err();
    assert_eq!((limited.code(), reason(&limited)), (Code::ResourceExhausted, "rate-limited"));
}

#[tokio::test]
async fn whoever_fails_locks_no_neighbour_out() {
    let subject = Subject::new();
    let guess = || RenewRequest { csr_der: signing_request().1, ..RenewRequest::default() };
    for _ in 0..61 {
        subject.renew(PeerIdentity::None, guess()).await.unwrap_err();
    }
    let limited = subject.renew(PeerIdentity::None, guess()).await.unwrap_err();
    assert_eq!(reason(&limited), "rate-limited");
    let known = certificate(subject.fleet.agent(CLUSTER, HOUR).certificate_pem.as_bytes());
    subject.renew(PeerIdentity::Valid(known), guess()).await.unwrap();
}

#[tokio::test]
async fn over_the_wire_a_handshake_with_what_a_token_brought_renews_it() {
    let subject = Subject::new();
    let listener = TcpListenerPort::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.socket_address();
    let limits = AcceptLimits::for_connections(16);
    let tls = Arc::clone(&subject.fleet.tls);
    let parts = AcceptParts { listener: Arc::new(listener), tls, limits, metrics: subject.metrics.clone() };
    let (accepting, connections) = accept::incoming(parts);
    tokio::spawn(accepting);
    let Subject { fleet, steward, service, .. } = subject;
    let server =
        accept::server(Arc::<TestClock>::clone(&fleet.clock)).add_service(EnrolmentServiceServer::new(service));
    tokio::spawn(server.serve_with_incoming(connections));

    let (key, csr_der) = signing_request();
    let mut client = EnrolmentServiceClient::new(dial(address, fleet.client(None)).await);
    fleet.clock.pass(24 * HOUR);
    let response = client.join(JoinRequest { csr_der, ..join_request() }).await.unwrap();
    let date = response.metadata().get("date").unwrap().to_str().unwrap().to_owned();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    let joined = response.into_inner();

    let certificate_pem = String::from_utf8(joined.certificate_pem).unwrap();
    let identity = TestIdentity { key_pem: key.serialize_pem(), certificate_pem };
    let mut client = EnrolmentServiceClient::new(dial(address, fleet.client(Some(&identity))).await);
    let request = RenewRequest { csr_der: signing_request().1, ..RenewRequest::default() };
    client.renew(request).await.unwrap();
    let proven = certificate(identity.certificate_pem.as_bytes()).key;
    let asked = std::mem::take(&mut *steward.asked.lock().unwrap());
    assert!(
        matches!(&asked[..], [Request::Join(_), Request::Renew(renew)] if renew.proven_key == proven && !renew.expired)
    );
}

async fn dial(address: std::net::SocketAddr, config: Arc<rustls::ClientConfig>) -> Channel {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut once = Some(TokioIo::new(TlsConnector::from(config).connect(name, stream).await.unwrap()));
    let connector = tower::service_fn(move |_: http::Uri| {
        std::future::ready(once.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)))
    });
    Endpoint::from_static("http://hub").connect_with_connector(connector).await.unwrap()
}
