//! What an etcd store is opened with: endpoints, prefix, TLS, login.
//!
//! Certificates and passwords are files that somebody renews, so they are read anew for each connection and each login.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::ports::Clock;
use crate::store::StoreError;
use crate::tls::{self, ClockTime};

/// What an etcd store is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdOptions {
    /// The members' client URLs, `http://host:port` or `https://host:port`.
    pub endpoints: Vec<String>,
    /// What is put before each key, such as `/starling/<fleet>/`.
    pub prefix: String,
    /// How `https` endpoints are met.
    pub tls: Option<EtcdTls>,
    /// Who to log in as.
    pub login: Option<EtcdLogin>,
    /// This process's name among those that write: no two processes that run may have the same.
    pub process: String,
}

/// How `https` endpoints are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdTls {
    /// The authority of etcd's certificates, in PEM.
    pub authority: PathBuf,
    /// The files of the client's certificate and its key, in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A user of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdLogin {
    /// The user's name.
    pub user: String,
    /// The file of the password; whitespace at its end is not part of it.
    pub password: PathBuf,
}

impl EtcdOptions {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let refused = |problem: String| Err(StoreError::Refused(problem));
        let is_printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.prefix.len() > 256 || !self.prefix.ends_with('/') || !is_printable(&self.prefix) {
            return refused(format!(
                "the prefix {:?} is not printable, up to 256 bytes, with / at its end",
                self.prefix
            ));
        }
        if self.process.is_empty()
            || self.process.len() > 253
            || !is_printable(&self.process)
            || self.process.contains('/')
        {
            return refused(format!("the process's name {:?} is not 1 to 253 printable bytes without /", self.process));
        }
        Ok(())
    }
}

impl EtcdLogin {
    pub(super) fn read(&self) -> io::Result<(String, String)> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.password.display()));
        let password = fs::read_to_string(&self.password).map_err(named)?;
        Ok((self.user.clone(), password.trim_end().to_owned()))
    }
}

impl EtcdTls {
    /// Makes the configuration; the client's certificate is read again at each handshake.
    pub(super) fn config(&self, clock: &Arc<dyn Clock>) -> Result<Arc<ClientConfig>, StoreError> {
        let mut roots = RootCertStore::empty();
        let path = &self.authority;
        let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        for certificate in certificates.map_err(|error| unusable(path, &error))? {
            roots.add(certificate).map_err(|error| unusable(path, &error))?;
        }
        if roots.is_empty() {
            return Err(unusable(path, &"it holds no certificate"));
        }
        let config = ClientConfig::builder_with_details(tls::provider(), Arc::new(ClockTime(Arc::clone(clock))))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| unusable(path, &error))?
            .with_root_certificates(roots);
        let mut config = match &self.certificate {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let identity = Identity { certificate: certificate.clone(), key: key.clone() };
                identity.read()?;
                config.with_client_cert_resolver(Arc::new(identity))
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The files of the client's certificate.
#[derive(Debug)]
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
}

impl Identity {
    fn read(&self) -> Result<CertifiedKey, StoreError> {
        let chain = CertificateDer::pem_file_iter(&self.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| unusable(&self.certificate, &error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unusable(&self.key, &error))?;
        CertifiedKey::from_der(chain, key, &tls::provider()).map_err(|error| unusable(&self.certificate, &error))
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Two small files, once a handshake.
        match self.read() {
            Ok(key) => Some(Arc::new(key)),
            Err(error) => {
                tracing::warn!(%error, "cannot read the certificate for etcd");
                None
            }
        }
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn unusable(path: &Path, problem: &dyn fmt::Display) -> StoreError {
    StoreError::Refused(format!("{} is of no use for TLS to etcd: {problem}", path.display()))
}
