//! Clients that are no agent: bare sockets, TLS with any certificate, gRPC without good manners.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use starling_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use starling_proto::v1::{JoinRequest, JoinResponse};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long a hub may take to say anything on a bare socket.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// A key and its certificate, as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Opens a bare connection.
pub(crate) fn connect(address: &str) -> Result<TcpStream> {
    let address: SocketAddr = address.parse().context("read the hub's address")?;
    let stream = TcpStream::connect_timeout(&address, ANSWERS_WITHIN).context("connect to the hub")?;
    stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
    stream.set_write_timeout(Some(ANSWERS_WITHIN))?;
    Ok(stream)
}

/// Reads what still comes until the other end closes; a reset is an end as well.
pub(crate) fn read_to_end(mut stream: &TcpStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => Ok(all),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(all),
        Err(error) => Err(error).context("the hub does not close the connection"),
    }
}

/// Asks a plain HTTP server on loopback for a path, and returns the body.
pub(crate) fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = connect(&format!("127.0.0.1:{port}"))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let answer = String::from_utf8_lossy(&read_to_end(&stream)?).into_owned();
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("no HTTP answer: {answer:?}") };
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("GET {path} was answered with {head:?}");
    }
    Ok(body.to_owned())
}

/// Makes the configuration of a client that trusts the hub and shows a certificate, or none.
pub(crate) fn tls(trust_pem: &str, identity: Option<&Identity>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(trust_pem.as_bytes()) {
        roots.add(authority?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain: Vec<_> =
                CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<_, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Connects with TLS and says nothing further.
pub(crate) async fn handshake(address: &str, config: Arc<ClientConfig>) -> Result<TlsStream<tokio::net::TcpStream>> {
    let stream = tokio::net::TcpStream::connect(address).await.context("connect to the hub")?;
    let name = ServerName::try_from("127.0.0.1")?;
    TlsConnector::from(config).connect(name, stream).await.context("shake hands")
}

/// Opens a gRPC channel.
pub(crate) async fn channel(address: &str, config: Arc<ClientConfig>) -> Result<Channel> {
    let mut stream = Some(TokioIo::new(handshake(address, config).await?));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
        async move { stream }
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    endpoint.connect_with_connector(connector).await.context("open a channel")
}

/// Joins with a token and a key, as an agent does; the fingerprint is made up.
pub(crate) async fn join(
    address: &str,
    trust_pem: &str,
    token: &str,
    key: &KeyPair,
) -> Result<Result<JoinResponse, tonic::Status>> {
    join_as(address, trust_pem, token, key, ("a-fingerprint", "")).await
}

/// Joins with a token and a key, as the agent of the cluster with that fingerprint which wants that name does.
pub(crate) async fn join_as(
    address: &str,
    trust_pem: &str,
    token: &str,
    key: &KeyPair,
    (fingerprint, cluster_name): (&str, &str),
) -> Result<Result<JoinResponse, tonic::Status>> {
    let csr_der = CertificateParams::default().serialize_request(key)?.der().to_vec();
    let channel = channel(address, tls(trust_pem, None)?).await?;
    let (fingerprint, cluster_name) = (fingerprint.to_owned(), cluster_name.to_owned());
    let request = JoinRequest { token: token.to_owned(), csr_der, fingerprint, cluster_name };
    let answer = EnrolmentServiceClient::new(channel).join(request).await;
    Ok(answer.map(tonic::Response::into_inner))
}

/// Makes a certificate that another authority signed.
pub(crate) fn foreign_identity(name_of_cluster: &str) -> Result<Identity> {
    let mut authority = CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::Issuer::new(authority, KeyPair::generate()?);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(name_of_cluster.try_into()?)];
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok(Identity { certificate, key: key.serialize_pem() })
}
