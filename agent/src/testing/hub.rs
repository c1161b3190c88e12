//! A hub in memory: TLS, enrolment and sessions as the real one speaks them, with a test instead of decisions.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::mpsc as pipe;
use futures::{Stream, StreamExt};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa, KeyPair, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use starling_model::session::{AgentMessage, Desired, Hello, HubMessage, Welcome};
use starling_model::{ClusterId, Digest, Era, Fence, FleetKey, Limits, Position, Uid};
use starling_proto::fragment::{Assembler, split};
use starling_proto::v1::enrolment_service_server::{EnrolmentService, EnrolmentServiceServer};
use starling_proto::v1::session_service_server::{SessionService, SessionServiceServer};
use starling_proto::v1::{ConnectRequest, ConnectResponse, JoinRequest, JoinResponse, RenewRequest, RenewResponse};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use super::{PausedClock, PipeDialer, START};
use crate::ports::Clock;
use crate::tls::PortTime;

/// The only token that lets anybody in.
pub(crate) const TOKEN: &str = "st1.demo.good";

/// The hub.
pub(crate) struct FakeHub {
    pub(crate) trust_pem: Vec<u8>,
    /// What was asked of enrolment.
    pub(crate) enrolled: Arc<Mutex<Vec<&'static str>>>,
    /// How long certificates last from now on.
    pub(crate) life: Arc<Mutex<Duration>>,
    issuer: Arc<Issuer>,
    connections: mpsc::Receiver<HubConnection>,
}

/// A session as the hub sees it, after Hello.
pub(crate) struct HubConnection {
    pub(crate) hello: Hello,
    to_agent: pipe::UnboundedSender<Result<ConnectResponse, Status>>,
    from_agent: mpsc::Receiver<AgentMessage>,
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

struct Enrolling {
    issuer: Arc<Issuer>,
    clock: Arc<dyn Clock>,
    cluster: ClusterId,
    enrolled: Arc<Mutex<Vec<&'static str>>>,
    life: Arc<Mutex<Duration>>,
}

struct Sessions(mpsc::Sender<HubConnection>);

impl FakeHub {
    /// Starts a hub; the dialer reaches it.
    pub(crate) fn start() -> (Self, PipeDialer) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self::under(Arc::new(Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()))
    }

    /// Starts another process of the same hub: the same authority, another dialer.
    pub(crate) fn start_another(&self) -> (Self, PipeDialer) {
        Self::under(Arc::clone(&self.issuer))
    }

    fn under(issuer: Arc<Issuer>) -> (Self, PipeDialer) {
        let clock: Arc<dyn Clock> = Arc::new(PausedClock(tokio::time::Instant::now()));
        let server_key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["hub.test".to_owned()]).unwrap();
        let server = server.signed_by(&server_key, &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
        let key = PrivateKeyDer::try_from(server_key.serialize_der()).unwrap();
        let mut tls = rustls::ServerConfig::builder_with_details(provider, Arc::new(PortTime(Arc::clone(&clock))))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];

        let (dialled, accepted) = mpsc::channel(4);
        let (connected, connections) = mpsc::channel(4);
        let cluster = ClusterId::derive("demo", "default", "edge-1");
        let trust_pem = issuer.pem().into_bytes();
        let (enrolled, life) = (Arc::default(), Arc::new(Mutex::new(Duration::from_secs(86_400))));
        let enrolling = Enrolling {
            issuer: Arc::clone(&issuer),
            clock,
            cluster,
            enrolled: Arc::clone(&enrolled),
            life: Arc::clone(&life),
        };
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(EnrolmentServiceServer::new(enrolling))
                .add_service(SessionServiceServer::new(Sessions(connected)))
                .serve_with_incoming(incoming(accepted, TlsAcceptor::from(Arc::new(tls)))),
        );
        (Self { trust_pem, enrolled, life, issuer, connections }, PipeDialer(dialled))
    }

    /// Waits for the next session, without an answer yet.
    pub(crate) async fn next_session(&mut self) -> HubConnection {
        loop {
            let connection = self.connections.recv().await.expect("the hub runs");
            // One that the agent gave up while the test did something else does not count.
            if !connection.to_agent.is_closed() {
                return connection;
            }
        }
    }

    /// Waits for the next session and welcomes it with a lease.
    pub(crate) async fn welcome(&mut self) -> HubConnection {
        self.welcome_with_lease(Duration::from_secs(15)).await
    }

    /// Waits for the next session and welcomes it with a lease of its own length.
    pub(crate) async fn welcome_with_lease(&mut self, lease: Duration) -> HubConnection {
        self.welcome_with(welcome(lease)).await
    }

    /// Waits for the next session and welcomes it with these words.
    pub(crate) async fn welcome_with(&mut self, welcome: Welcome) -> HubConnection {
        let connection = self.next_session().await;
        connection.send(HubMessage::Welcome(welcome));
        connection
    }
}

/// Returns the first process's Welcome.
pub(crate) fn welcome(lease: Duration) -> Welcome {
    Welcome {
        protocol: 1,
        hub: "hub-0".to_owned(),
        lease,
        heartbeat: Duration::from_secs(10),
        reconnect_window: Duration::from_secs(1),
        limits: Limits::DEFAULT,
        status_known: false,
        epoch: 1,
        hold_reason: None,
    }
}

impl HubConnection {
    pub(crate) fn send(&self, message: HubMessage) {
        for piece in split(ConnectResponse::from(message), 1, 1000) {
            self.to_agent.unbounded_send(Ok(piece)).expect("the session is open");
        }
    }

    pub(crate) fn send_desired(&self, desired: Desired) {
        self.send(HubMessage::Desired(Box::new(desired)));
    }

    /// Ends the session with a status.
    pub(crate) fn end(&self, status: Status) {
        self.to_agent.unbounded_send(Err(status)).expect("the session is open");
    }

    /// Waits for a message that the test looks for, and answers nothing.
    pub(crate) async fn expect_unanswered<T>(&mut self, mut wanted: impl FnMut(&AgentMessage) -> Option<T>) -> T {
        loop {
            let message = self.from_agent.recv().await.expect("the agent stays");
            if let Some(found) = wanted(&message) {
                return found;
            }
        }
    }

    /// Waits until the agent ends its half, answering nothing; returns what it said until then.
    pub(crate) async fn until_left(&mut self) -> Vec<AgentMessage> {
        let mut said = Vec::new();
        while let Some(message) = self.from_agent.recv().await {
            said.push(message);
        }
        said
    }

    /// Tells whether the agent holds the stream.
    pub(crate) fn is_open(&self) -> bool {
        !self.to_agent.is_closed()
    }

    /// Answers heartbeats for a while.
    pub(crate) async fn serve(&mut self, how_long: Duration) {
        let _ = tokio::time::timeout(how_long, self.expect(|_| None::<()>)).await;
    }

    /// Waits for a message that the test looks for; answers heartbeats meanwhile.
    pub(crate) async fn expect<T>(&mut self, mut wanted: impl FnMut(&AgentMessage) -> Option<T>) -> T {
        loop {
            let message = self.from_agent.recv().await.expect("the agent stays");
            if let AgentMessage::Heartbeat(beat) = &message {
                let (lease, hold_reason) = (Duration::from_secs(15), None);
                let lease = starling_model::session::Lease { heartbeat: beat.sequence, lease, hold_reason };
                self.send(HubMessage::Lease(lease));
            }
            if let Some(found) = wanted(&message) {
                return found;
            }
        }
    }
}

/// Returns the fence of a position in the fleet's first era.
pub(crate) fn fence(position: u64) -> Fence {
    FleetKey::new([7; 32]).fence(Era { number: 1, id: Uid([1; 16]) }, Position(position))
}

/// Returns a digest that is only equal to itself.
pub(crate) fn digest(number: u8) -> Digest {
    Digest([number; 32])
}

#[async_trait::async_trait]
impl EnrolmentService for Enrolling {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let request = request.into_inner();
        self.enrolled.lock().unwrap().push("join");
        if request.token != TOKEN || request.fingerprint.is_empty() {
            let mut status = Status::permission_denied("the token was used already");
            status.metadata_mut().insert("starling-error", "credential-refused".parse().unwrap());
            return Err(status);
        }
        Ok(Response::new(JoinResponse {
            certificate_pem: self.sign(&request.csr_der),
            trust_pem: self.issuer.pem().into_bytes(),
            cluster_id: self.cluster.to_string(),
            fleet: "demo".to_owned(),
        }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let request = request.into_inner();
        self.enrolled.lock().unwrap().push(if request.proof.is_empty() { "renew" } else { "renew-with-proof" });
        let certificate_pem = self.sign(&request.csr_der);
        Ok(Response::new(RenewResponse { certificate_pem, trust_pem: self.issuer.pem().into_bytes() }))
    }
}

impl Enrolling {
    fn sign(&self, csr_der: &[u8]) -> Vec<u8> {
        let mut request = CertificateSigningRequestParams::from_der(&csr_der.into()).unwrap();
        let uri = self.cluster.uri("demo");
        request.params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        // 2027-01-15 is the day on which tests start; the hour is theirs.
        let midnight = rcgen::date_time_ymd(2027, 1, 15);
        let since_midnight = Duration::from_secs(8 * 3600) + self.clock.now().since(START);
        request.params.not_before = midnight + since_midnight;
        request.params.not_after = midnight + since_midnight + *self.life.lock().unwrap();
        request.signed_by(&self.issuer).unwrap().pem().into_bytes()
    }
}

#[async_trait::async_trait]
impl SessionService for Sessions {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ConnectResponse, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut stream = request.into_inner();
        let mut assembler = Assembler::default();
        let mut next = async move || {
            loop {
                let piece = stream.next().await?.ok()?;
                let whole = assembler.accept(piece, 1 << 22).unwrap();
                if let Some(whole) = whole {
                    return Some(AgentMessage::try_from(whole).unwrap());
                }
            }
        };
        let Some(AgentMessage::Hello(hello)) = next().await else { panic!("Hello comes first") };
        let (to_agent, answers) = pipe::unbounded();
        let (said, from_agent) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Some(message) = next().await {
                if said.send(message).await.is_err() {
                    return;
                }
            }
        });
        let connection = HubConnection { hello: *hello, to_agent, from_agent };
        self.0.send(connection).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(answers)))
    }
}

/// One secured connection.
struct ServerIo(TlsStream<DuplexStream>);

fn incoming(accepted: mpsc::Receiver<DuplexStream>, acceptor: TlsAcceptor) -> impl Stream<Item = io::Result<ServerIo>> {
    futures::stream::unfold((accepted, acceptor), |(mut accepted, acceptor)| async move {
        loop {
            let stream = accepted.recv().await?;
            // A client that is refused is not the server's end.
            if let Ok(stream) = acceptor.accept(stream).await {
                return Some((Ok(ServerIo(stream)), (accepted, acceptor)));
            }
        }
    })
}

impl Connected for ServerIo {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for ServerIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for ServerIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
