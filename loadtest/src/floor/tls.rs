//! Certificates of the floor: an authority, a server, one client for all connections.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};

/// The name that the server's certificate carries.
pub(super) const SERVER_NAME: &str = "localhost";

/// Writes certificates and keys into a folder.
pub(super) fn make(folder: &Path) -> Result<()> {
    let authority_key = KeyPair::generate().context("make a key")?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write(folder, "ca.crt", &authority.self_signed(&authority_key).context("sign the authority")?.pem())?;
    let issuer = Issuer::new(authority, authority_key);
    for (name, names) in [("server", vec![SERVER_NAME.to_owned()]), ("client", vec!["floor".to_owned()])] {
        let key = KeyPair::generate().context("make a key")?;
        let params = CertificateParams::new(names).context("name a certificate")?;
        let certificate = params.signed_by(&key, &issuer).context("sign a certificate")?;
        write(folder, &format!("{name}.crt"), &certificate.pem())?;
        write(folder, &format!("{name}.key"), &key.serialize_pem())?;
    }
    Ok(())
}

/// The server's side: TLS 1.3, a certificate wanted of everybody, no resumption, as the hub does it.
pub(super) fn server(folder: &Path) -> Result<Arc<ServerConfig>> {
    let verifier =
        WebPkiClientVerifier::builder(Arc::new(authorities(folder)?)).build().context("trust the authority")?;
    let (chain, key) = own(folder, "server")?;
    let mut config = ServerConfig::builder_with_protocol_versions(&[&version::TLS13])
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .context("use the server's certificate")?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The client's side.
pub(super) fn client(folder: &Path) -> Result<Arc<ClientConfig>> {
    let (chain, key) = own(folder, "client")?;
    let mut config = ClientConfig::builder_with_protocol_versions(&[&version::TLS13])
        .with_root_certificates(authorities(folder)?)
        .with_client_auth_cert(chain, key)
        .context("use the client's certificate")?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn authorities(folder: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(folder.join("ca.crt")).context("read the authority")?;
    roots.add(authority).context("trust the authority")?;
    Ok(roots)
}

fn own(folder: &Path, name: &str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let certificate = CertificateDer::from_pem_file(folder.join(format!("{name}.crt")));
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")));
    Ok((vec![certificate.context("read a certificate")?], key.context("read a key")?))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(folder.join(name), text).with_context(|| format!("write {name}"))
}
