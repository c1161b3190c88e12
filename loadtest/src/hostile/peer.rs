//! Connections by hand: bare TCP, TLS with any certificate or none, gRPC over it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, version};
use starling_proto::v1::session_service_client::SessionServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{Outcome, words};
use crate::link::{Link, LinkOptions, LinkStream};

/// How long a stranger waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A key and its certificate, as PEM.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// The hub, as somebody sees it who knows its address and whom to trust.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: String,
    pub(super) trust_pem: Arc<str>,
}

impl Target {
    /// Connects, says nothing, and waits until the hub closes.
    pub(super) async fn stay_mute(&self) -> Result<Outcome> {
        let mut stream = TcpStream::connect(&self.address).await.context("connect")?;
        // A reset is an end, too.
        let _ = stream.read(&mut [0; 1]).await;
        Ok(Outcome::Ended)
    }

    /// Shakes hands, says nothing, and waits until the hub closes.
    pub(super) async fn stay_silent(&self) -> Result<Outcome> {
        let mut stream = self.handshake(None, &plain_link()).await?;
        let mut rest = [0; 1024];
        // What the hub says by itself, such as its settings, is no end.
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        Ok(Outcome::Ended)
    }

    /// Asks for a session without a certificate; returns whether the hub opens it.
    pub(super) async fn knock_unknown(&self) -> Result<bool> {
        let channel = self.channel(None, &plain_link()).await?;
        let messages = tokio_stream::iter([words::hello("nobody", None)]);
        let opened = timeout(PATIENCE, SessionServiceClient::new(channel).connect(messages)).await?;
        Ok(opened.is_ok())
    }

    /// Asks for a session with a certificate that some other authority signed; returns whether the hub opens it.
    pub(super) async fn knock_foreign(&self) -> Result<bool> {
        let channel = self.channel(Some(&foreign()?), &plain_link()).await?;
        let messages = tokio_stream::iter([words::hello("somebody", None)]);
        let opened = timeout(PATIENCE, SessionServiceClient::new(channel).connect(messages)).await?;
        Ok(opened.is_ok())
    }

    /// Shakes hands with a cluster's certificate, sends what is no HTTP/2, and waits until the hub closes.
    pub(super) async fn speak_in_tongues(&self, credential: &Credential) -> Result<Outcome> {
        let mut stream = self.handshake(Some(credential), &plain_link()).await?;
        // The hub may close before it has read everything.
        let _ = stream.write_all(&[0x16; 64 * 1024]).await;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        Ok(Outcome::Ended)
    }

    /// Opens a gRPC channel over a link.
    pub(super) async fn channel(&self, credential: Option<&Credential>, link: &Arc<Link>) -> Result<Channel> {
        let mut stream = Some(TokioIo::new(self.handshake(credential, link).await?));
        let connector = tower::service_fn(move |_: Uri| {
            let stream = stream.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
            async move { stream }
        });
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).context("name the hub")?;
        timeout(PATIENCE, endpoint.connect_with_connector(connector)).await?.context("open a channel")
    }

    async fn handshake(
        &self,
        credential: Option<&Credential>,
        link: &Arc<Link>,
    ) -> Result<TlsStream<LinkStream<TcpStream>>> {
        let stream = TcpStream::connect(&self.address).await.context("connect")?;
        stream.set_nodelay(true).context("set up a connection")?;
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).context("name the hub")?;
        let connecting = TlsConnector::from(self.tls(credential)?).connect(name, LinkStream::new(stream, link));
        timeout(PATIENCE, connecting).await?.context("shake hands")
    }

    fn tls(&self, credential: Option<&Credential>) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(self.trust_pem.as_bytes()) {
            roots.add(authority.context("read the hub's authority")?).context("trust the hub's authority")?;
        }
        let builder = ClientConfig::builder_with_protocol_versions(&[&version::TLS13]).with_root_certificates(roots);
        let mut config = match credential {
            None => builder.with_no_client_auth(),
            Some(Credential { certificate, key }) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("read a key")?;
                builder.with_client_auth_cert(chain.context("read a certificate")?, key).context("show it")?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// Returns a link that delays nothing, of which nobody reads what it carried.
fn plain_link() -> Arc<Link> {
    Link::new(LinkOptions::default(), Arc::default())
}

/// Makes a certificate of an authority that the hub does not know, for a name as clusters have.
fn foreign() -> Result<Credential> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(authority, KeyPair::generate().context("make a key")?);
    let key = KeyPair::generate().context("make a key")?;
    let mut params = CertificateParams::default();
    let name = "starling://loadtest/cluster/00000000-0000-4000-8000-000000000000";
    params.subject_alt_names = vec![rcgen::SanType::URI(name.try_into().context("name a cluster")?)];
    let certificate = params.signed_by(&key, &issuer).context("sign a certificate")?.pem();
    Ok(Credential { certificate, key: key.serialize_pem() })
}
