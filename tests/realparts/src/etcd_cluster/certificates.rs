//! The certificates of a cluster whose clients use TLS: an authority, the servers' and one for every client.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::error::{Error, Result};
use crate::kubectl::write_private;

/// The PEM files of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdClientFiles {
    /// The authority that servers are verified with.
    pub ca: PathBuf,
    /// The client's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The PEM files of the members, and those of their clients.
#[derive(Debug)]
pub(super) struct ServerFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) client: EtcdClientFiles,
}

/// Makes all of them in a folder; the servers' certificate is for loopback and the given addresses.
pub(super) fn make(folder: &Path, addresses: &[IpAddr]) -> Result<ServerFiles> {
    let file = |name: &str| folder.join(name);
    let client = EtcdClientFiles { ca: file("ca.pem"), certificate: file("client.pem"), key: file("client.key") };
    let files = ServerFiles { certificate: file("server.pem"), key: file("server.key"), client };
    write(&files, addresses)?;
    Ok(files)
}

fn write(files: &ServerFiles, addresses: &[IpAddr]) -> Result<()> {
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST)];
    let mut names: Vec<String> = loopback.iter().chain(addresses).map(IpAddr::to_string).collect();
    names.push("localhost".to_owned());
    let authority_key = KeyPair::generate().map_err(|error| failed(&error))?;
    let mut authority = parameters("etcd's authority", Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority_certificate = authority.self_signed(&authority_key).map_err(|error| failed(&error))?;
    write_private(&files.client.ca, authority_certificate.pem().as_bytes())?;
    let issuer = Issuer::new(authority, authority_key);
    let server = (&files.certificate, &files.key, "etcd", names, ExtendedKeyUsagePurpose::ServerAuth);
    let (certificate, key) = (&files.client.certificate, &files.client.key);
    let client = (certificate, key, "client", Vec::new(), ExtendedKeyUsagePurpose::ClientAuth);
    for (certificate, key_file, name, names, usage) in [server, client] {
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let mut leaf = parameters(name, names)?;
        // etcd's JSON interface calls its own server, and shows the server's certificate when it does.
        leaf.extended_key_usages = vec![usage, ExtendedKeyUsagePurpose::ClientAuth];
        let signed = leaf.signed_by(&key, &issuer).map_err(|error| failed(&error))?;
        write_private(certificate, signed.pem().as_bytes())?;
        write_private(key_file, key.serialize_pem().as_bytes())?;
    }
    Ok(())
}

fn parameters(name: &str, names: Vec<String>) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(names).map_err(|error| failed(&error))?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    Ok(parameters)
}

fn failed(error: &rcgen::Error) -> Error {
    Error::Unexpected { what: "make etcd's certificates".to_owned(), detail: error.to_string() }
}
