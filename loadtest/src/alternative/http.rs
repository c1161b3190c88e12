//! A client of a Kubernetes API as cheap as it can be: one HTTP/2 connection, a token, and documents that nobody decodes whole.
//!
//! It shares the machine with the API server, so that what it takes would be missing there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The type of a patch that replaces what it names.
const MERGE_PATCH: &str = "application/merge-patch+json";

/// The type of a document.
const JSON: &str = "application/json";

/// How much of an error's document is shown.
const SHOWN: usize = 300;

/// Where an API server is, and who asks.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ServerPlace {
    pub(crate) address: SocketAddr,
    /// The PEM file of the authority that signed its certificate.
    pub(crate) authority: PathBuf,
    pub(crate) token: String,
}

/// Whoever connects to one API server.
#[derive(Clone)]
pub(crate) struct Caller {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    authorization: HeaderValue,
}

/// One connection; closed when its last copy is dropped.
#[derive(Clone)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    authorization: HeaderValue,
}

/// The events of a watch, a line each.
pub(super) struct Events {
    body: Incoming,
    read: BytesMut,
    /// How much of it has no end of a line.
    searched: usize,
}

impl Caller {
    pub(crate) fn new(place: &ServerPlace) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(&place.authority).context("read the authority")?;
        roots.add(authority).context("trust the authority")?;
        let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        tls.resumption = Resumption::disabled();
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", place.token)).context("use the token")?;
        authorization.set_sensitive(true);
        Ok(Self { address: place.address, tls: Arc::new(tls), authorization })
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let socket = TcpStream::connect(self.address).await.context("connect to the API server")?;
        socket.set_nodelay(true).context("set up a socket")?;
        let name = ServerName::try_from("localhost").context("name the API server")?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let secured = connector.connect(name, socket).await.context("shake hands with the API server")?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(secured)).await.context("speak HTTP/2")?;
        tokio::spawn(async move {
            // Whoever waits for an answer is told by that.
            let _ = connection.await;
        });
        Ok(Connection { sender, address: self.address, authorization: self.authorization.clone() })
    }
}

impl Connection {
    /// Asks, and returns the answer's document.
    pub(crate) async fn get(&self, path: &str) -> Result<Bytes> {
        self.read(self.send(Method::GET, path, JSON, String::new()).await?).await
    }

    /// Makes an object.
    pub(super) async fn create(&self, path: &str, document: String) -> Result<Bytes> {
        self.read(self.send(Method::POST, path, JSON, document).await?).await
    }

    /// Changes an object.
    pub(crate) async fn patch(&self, path: &str, patch: String) -> Result<Bytes> {
        self.read(self.send(Method::PATCH, path, MERGE_PATCH, patch).await?).await
    }

    /// Begins to watch.
    pub(super) async fn watch(&self, path: &str) -> Result<Events> {
        let answer = self.send(Method::GET, path, JSON, String::new()).await?;
        if !answer.status().is_success() {
            self.read(answer).await?;
            bail!("the API server does not let a cluster watch");
        }
        Ok(Events { body: answer.into_body(), read: BytesMut::new(), searched: 0 })
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: String) -> Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.address))
            .header(CONTENT_TYPE, kind)
            .body(Full::new(Bytes::from(body)))
            .context("make a request")?;
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        let mut sender = self.sender.clone();
        sender.ready().await.context("the API server closed the connection")?;
        sender.send_request(request).await.context("ask the API server")
    }

    async fn read(&self, answer: Response<Incoming>) -> Result<Bytes> {
        let status = answer.status();
        let document = answer.into_body().collect().await.context("read an answer")?.to_bytes();
        let shown = String::from_utf8_lossy(&document[..document.len().min(SHOWN)]);
        ensure!(status.is_success(), "the API server answers {status}: {shown}");
        Ok(document)
    }
}

impl Events {
    /// Returns the next event; `None` once the API server has ended the watch.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(length) = self.read[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(self.searched + length + 1).freeze();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.read.len();
            match self.body.frame().await {
                Some(frame) => {
                    let frame = frame.context("watch")?;
                    self.read.extend_from_slice(frame.data_ref().map(|data| &data[..]).unwrap_or_default());
                }
                None => return Ok(None),
            }
        }
    }
}
