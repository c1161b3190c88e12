//! The connection to the hub's admin API: TLS with pinned authorities, the token, and a deadline on every call.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use starling_dial::{Address, Proxies};
use starling_proto::v1::admin_service_client::AdminServiceClient;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use crate::contexts::target::Target;
use crate::failure::{Exit, Failure, one_line};
use crate::kubernetes::credentials::Credentials;
use crate::terminal::note;

/// A page of the longest messages fits.
const MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// A dead connection under a long stream is noticed after two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The generated client.
pub(crate) type Client = AdminServiceClient<Channel>;

/// A hub that answers.
#[derive(Clone)]
pub(crate) struct Hub {
    client: Client,
    credentials: Credentials,
    timeout: Duration,
    /// Hub processes that did not answer this one in time, over all questions.
    missing: Arc<Mutex<BTreeSet<String>>>,
}

/// A stream of answers, each awaited for a bounded time.
pub(crate) struct Answers<T> {
    stream: Streaming<T>,
    silence: Option<Duration>,
}

impl Hub {
    /// Connects to a hub; `deadline` bounds this and every later call.
    ///
    /// # Errors
    /// [`Exit::Unreachable`], saying whether the address, the certificate or the hub is at fault.
    pub(crate) async fn connect(target: &Target, deadline: Duration) -> Result<Self, Failure> {
        let address = format!("{}:{}", target.host, target.port);
        let stream = timeout(deadline, handshake(target)).await.map_err(|_| {
            unreachable(format!("{address} did not answer within {deadline:?}"))
                .next("check the address with `starling config view`; `--timeout` waits longer")
        })??;
        let bracketed = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
        let origin = format!("https://{bracketed}:{}", target.port);
        let invalid = |_| Failure::usage(format!("{address:?} is not an address"));
        // The connector does the TLS, so the channel itself is told of none.
        let endpoint = Endpoint::from_shared(format!("http://{bracketed}:{}", target.port))
            .map_err(|_| Failure::usage(format!("{address:?} is not an address")))?
            .origin(origin.parse().map_err(invalid)?)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let once = Mutex::new(Some(stream));
        let connector = tower::service_fn(move |_| {
            let stream = once.lock().ok().and_then(|mut stream| stream.take()).map(TokioIo::new);
            async { stream.ok_or_else(|| std::io::Error::other("the connection was lost")) }
        });
        let channel = endpoint
            .connect_with_connector(connector)
            .await
            .map_err(|_| unreachable(format!("{address} does not speak the hub's protocol")))?;
        let client = AdminServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
        let (credentials, missing) = (target.credentials.clone(), Arc::default());
        let hub = Self { client, credentials, timeout: deadline, missing };
        // A plugin that fails is told before anything is asked.
        hub.authorization().await?;
        Ok(hub)
    }

    /// Asks one question.
    ///
    /// # Errors
    /// What the hub's refusal means, or that it did not answer in time.
    pub(crate) async fn call<M, R, F, A>(&self, message: M, method: F) -> Result<R, Failure>
    where
        F: FnOnce(Client, Request<M>) -> A,
        A: Future<Output = Result<Response<R>, Status>>,
    {
        let mut request = self.request(message).await?;
        // The hub learns when nobody waits any more; a little later than we stop, so that the message is our own.
        request.set_timeout(self.timeout + Duration::from_secs(1));
        let answer = timeout(self.timeout, method(self.client.clone(), request)).await;
        let answer = answer.map_err(|_| self.too_slow())?;
        Ok(answer.map_err(|status| Failure::from_status(&status))?.into_inner())
    }

    /// Asks a question that is answered by a stream; `silence` bounds the wait for each message, the first included.
    ///
    /// # Errors
    /// As [`Hub::call`].
    pub(crate) async fn stream<M, R, F, A>(
        &self,
        message: M,
        silence: Option<Duration>,
        method: F,
    ) -> Result<Answers<R>, Failure>
    where
        F: FnOnce(Client, Request<M>) -> A,
        A: Future<Output = Result<Response<Streaming<R>>, Status>>,
    {
        let request = self.request(message).await?;
        let answer = timeout(self.timeout, method(self.client.clone(), request)).await;
        let answer = answer.map_err(|_| self.too_slow())?;
        let stream = answer.map_err(|status| Failure::from_status(&status))?.into_inner();
        Ok(Answers { stream, silence })
    }

    /// Notes which hub processes did not answer this one in time, and warns of each once.
    pub(crate) fn miss(&self, unanswered: &BTreeSet<String>) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if !unanswered.is_subset(&missing) {
            let names: Vec<&str> = unanswered.iter().map(String::as_str).collect();
            let names = one_line(&names.join(", "));
            note(&format!("warning: {names} did not answer in time: what is there is missing, or shown as last known"));
        }
        missing.extend(unanswered.iter().cloned());
    }

    /// Returns what it means that something was not found: that it is not there, if every hub process was heard.
    pub(crate) fn not_found(&self, what: &str, plural: &str) -> Failure {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.is_empty() {
            return Failure::new(Exit::NotFound, format!("there is no {what}"))
                .next(format!("`starling get {plural}` lists them"));
        }
        let names: Vec<&str> = missing.iter().map(String::as_str).collect();
        unreachable(format!("cannot tell whether there is {what}: {} did not answer", one_line(&names.join(", "))))
            .next("try again; `starling get shards` shows the hub's processes")
    }

    /// Returns the deadline of each call.
    pub(crate) fn deadline(&self) -> Duration {
        self.timeout
    }

    async fn request<M>(&self, message: M) -> Result<Request<M>, Failure> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization().await?);
        // The trace that this program was started in, as OpenTelemetry hands it to programs.
        if let Some(traceparent) = std::env::var("TRACEPARENT").ok().and_then(|context| context.parse().ok()) {
            request.metadata_mut().insert("traceparent", traceparent);
        }
        Ok(request)
    }

    /// Returns who asks; each time anew, because a watch outlives its first token.
    async fn authorization(&self) -> Result<MetadataValue<Ascii>, Failure> {
        let token = self.credentials.bearer().await?;
        let mut authorization: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| Failure::new(Exit::Unreachable, "the token holds characters that no token has"))?;
        authorization.set_sensitive(true);
        Ok(authorization)
    }

    fn too_slow(&self) -> Failure {
        unreachable(format!("the hub did not answer within {:?}", self.timeout))
            .next("try again; `--timeout` waits longer")
    }
}

impl<T> Answers<T> {
    /// Returns the next message; `None` at the end.
    ///
    /// # Errors
    /// When the stream breaks, or stays silent for too long.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, Failure> {
        let message = match self.silence {
            None => self.stream.message().await,
            Some(silence) => timeout(silence, self.stream.message()).await.map_err(|_| {
                unreachable(format!("the hub said nothing for {silence:?}")).next("`--timeout` waits longer")
            })?,
        };
        message.map_err(|status| Failure::from_status(&status))
    }
}

async fn handshake(target: &Target) -> Result<TlsStream<TcpStream>, Failure> {
    let address = format!("{}:{}", target.host, target.port);
    let config = tls_config(&target.ca_pem)?;
    let name = ServerName::try_from(target.server_name.clone())
        .map_err(|_| Failure::usage(format!("{:?} is neither a host name nor an address", target.server_name)))?;
    let proxies = Proxies::from_env().map_err(|error| Failure::usage(error.to_string()))?;
    let dialled = starling_dial::connect(&Address::new(&target.host, target.port), &proxies).await;
    let socket = dialled.map_err(|error| {
        let next = match target.kubernetes {
            None => "check that the hub runs there; `starling config` shows where the address comes from",
            Some(_) => {
                "is the hub's Service reachable from here? else `kubectl -n starling-system port-forward svc/starling-hub 8443`, \
                 and --server 127.0.0.1:8443"
            }
        };
        unreachable(format!("cannot connect to the hub at {address}: {error}")).next(next)
    })?;
    TlsConnector::from(Arc::new(config)).connect(name, socket).await.map_err(|error| refused(&address, &error))
}

fn tls_config(ca_pem: &[u8]) -> Result<ClientConfig, Failure> {
    let wrong = |what: &str| {
        Failure::usage(format!("the context's authorities {what}"))
            .next("take the hub's own: `starling config import <state>/admin.yaml`")
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        let certificate = certificate.map_err(|_| wrong("are not PEM"))?;
        roots.add(certificate).map_err(|_| wrong("are not certificates"))?;
    }
    if roots.is_empty() {
        return Err(wrong("hold no certificate"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot set up TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn refused(address: &str, error: &std::io::Error) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => {
            Failure::new(Exit::Unreachable, format!("the certificate of {address} is not to be trusted: {why}"))
                .next("if the hub was set up anew, take its context again: `starling config import <state>/admin.yaml`")
        }
        Some(other) => unreachable(format!("{address} does not speak TLS as a hub does: {other}"))
            .next("check the port with `starling config view`"),
        None => unreachable(format!("{address} closed the connection: {error}"))
            .next("check that a hub runs there; `starling config view` shows the address"),
    }
}

fn unreachable(what: String) -> Failure {
    Failure::new(Exit::Unreachable, what).passing()
}
