//! Somebody's calls: a channel to the hub, with a token, or a certificate, or neither.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use starling_proto::v1::admin_service_client::AdminServiceClient;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status, Streaming};

/// How long an answer may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// Where the hub is, and what it is trusted by.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) address: String,
    pub(super) trust_pem: String,
    pub(super) runtime: Arc<Runtime>,
}

/// Somebody who calls.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) place: Place,
    pub(super) token: Option<String>,
    /// A certificate and its key, PEM.
    pub(super) certificate: Option<(String, String)>,
}

impl Person {
    /// Calls a method on a connection of its own.
    pub(super) fn call<Q, A, F>(
        &self,
        request: Q,
        method: impl FnOnce(AdminServiceClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let answer = async {
            let channel = self.channel().await.map_err(|error| Status::unknown(format!("{error:#}")))?;
            method(AdminServiceClient::new(channel), self.request(request)).await
        };
        self.place.runtime.block_on(answer).map(Response::into_inner)
    }

    /// Calls a method whose answer is a stream, and reads it to its end or to its first error.
    pub(super) fn read<Q, A, F>(
        &self,
        request: Q,
        method: impl FnOnce(AdminServiceClient<Channel>, Request<Q>) -> F,
    ) -> Result<Vec<A>, Status>
    where
        F: Future<Output = Result<Response<Streaming<A>>, Status>>,
    {
        let answers = self.call(request, method)?;
        let read = async { answers.collect::<Vec<_>>().await.into_iter().collect() };
        self.place.runtime.block_on(read)
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        request.set_timeout(ANSWERS_WITHIN);
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("authorization", format!("Bearer {token}").parse().expect("a token is ASCII"));
        }
        request
    }

    async fn channel(&self) -> Result<Channel> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(self.place.trust_pem.as_bytes()) {
            roots.add(authority?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = tokio::net::TcpStream::connect(&self.place.address).await.context("connect to the hub")?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(ServerName::try_from("127.0.0.1")?, stream).await.context("shake hands")?;
        let mut stream = Some(TokioIo::new(stream));
        let connector = tower::service_fn(move |_: Uri| {
            let stream = stream.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
            async move { stream }
        });
        let endpoint = Endpoint::from_shared(format!("http://{}", self.place.address))?;
        endpoint.connect_with_connector(connector).await.context("open a channel")
    }
}
