//! The fleet's certificate authority: issues the certificates of clusters and of the hub itself.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use starling_model::{ClusterId, Millis};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{CertificateFacts, SigningRequest};
use crate::ports::{Clock, Entropy, EntropyExt};

/// How long the authority lasts.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long the hub's own certificate lasts; it is reissued when a third is left.
pub const SERVER_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// How long a cluster's certificate lasts unless the hub was told otherwise.
pub const CLUSTER_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Certificates begin at least and at most this long before they are made, for clocks that are behind: by an hour and more, as with
/// a wrong time zone. Those that do not last long begin less early, or they would be renewed as soon as they are made.
const BACKDATED: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(2 * 3600));

/// The share of a certificate's life that it begins before it is made, between these bounds.
const BACKDATED_SHARE: u32 = 12;

/// The authority's certificate and key.
pub struct Authority {
    pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// An authority that somebody else keeps, such as cert-manager, in a directory with `tls.crt` and `tls.key`.
#[derive(Clone)]
pub struct GivenAuthority {
    certificate: String,
    key: String,
    place: String,
}

/// A certificate that the authority issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// As PEM.
    pub pem: String,
    /// When it ends.
    pub not_after: Millis,
}

/// What the hub is called by those who dial it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerNames {
    /// DNS names.
    pub dns: BTreeSet<String>,
    /// Addresses.
    pub ips: BTreeSet<IpAddr>,
}

/// An authority that cannot issue or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate, or its key, is not what it should be.
    #[error("{0}")]
    Unusable(String),
    /// Issuing failed.
    #[error("issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
}

impl Authority {
    /// Makes a new authority of a fleet: certificate and key, as PEM.
    pub(super) fn generate(
        fleet: &str,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<(String, String), AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = params(clock, entropy, AUTHORITY_LIFETIME);
        params.distinguished_name = name(fleet, "Starling fleet authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
    }

    /// Reads an authority and checks that key and certificate belong together and to the fleet.
    pub(super) fn load(fleet: &str, certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let unusable = |problem: &str| AuthorityError::Unusable(problem.to_owned());
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| AuthorityError::Unusable(format!("ca.crt is not a certificate: {error}")))?;
        let key = KeyPair::from_pem(key).map_err(|error| AuthorityError::Unusable(format!("ca.key: {error}")))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| unusable("ca.crt is not a certificate"))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(unusable("ca.key is not the key of ca.crt"));
        }
        let owner = parsed.subject().iter_organization().next().and_then(|name| name.as_str().ok());
        if owner != Some(fleet) {
            let owner = owner.unwrap_or("of no fleet");
            return Err(AuthorityError::Unusable(format!(
                "ca.crt belongs to fleet {owner:?}, and this hub was started for fleet {fleet:?}"
            )));
        }
        let issuer = Issuer::from_ca_cert_pem(certificate, key)?;
        Ok(Self { pem: certificate.to_owned(), certificate: der, issuer })
    }

    /// Returns the certificate as PEM: what agents and command lines pin.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns the certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Issues a cluster's certificate for the key of a signing request.
    ///
    /// # Errors
    /// [`AuthorityError::Issue`].
    pub fn issue_cluster(
        &self,
        fleet: &str,
        cluster: ClusterId,
        request: &SigningRequest,
        lifetime: Duration,
        (clock, entropy): (&dyn Clock, &dyn Entropy),
    ) -> Result<Issued, AuthorityError> {
        let mut params = params(clock, entropy, lifetime);
        params.distinguished_name = name(fleet, &cluster.to_string());
        params.subject_alt_names = vec![SanType::URI(cluster.uri(fleet).try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params, request.public_key())
    }

    /// Issues a certificate of the hub itself.
    ///
    /// # Errors
    /// [`AuthorityError::Issue`].
    pub(super) fn issue_server(
        &self,
        fleet: &str,
        names: &ServerNames,
        key: &KeyPair,
        (clock, entropy): (&dyn Clock, &dyn Entropy),
    ) -> Result<Issued, AuthorityError> {
        let mut params = params(clock, entropy, SERVER_LIFETIME);
        params.distinguished_name = name(fleet, "starling-hub");
        for dns in &names.dns {
            params.subject_alt_names.push(SanType::DnsName(dns.clone().try_into()?));
        }
        params.subject_alt_names.extend(names.ips.iter().map(|ip| SanType::IpAddress(*ip)));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params, key)
    }

    /// Issues the certificate by which a process of the hub proves to the others who it is.
    ///
    /// # Errors
    /// [`AuthorityError::Issue`].
    pub(super) fn issue_process(
        &self,
        fleet: &str,
        process: &str,
        key: &KeyPair,
        (clock, entropy): (&dyn Clock, &dyn Entropy),
    ) -> Result<Issued, AuthorityError> {
        let mut params = params(clock, entropy, SERVER_LIFETIME);
        params.distinguished_name = name(fleet, "starling-hub");
        params.subject_alt_names = vec![SanType::URI(process_uri(fleet, process).try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params, key)
    }

    fn issue(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Result<Issued, AuthorityError> {
        let certificate = params.signed_by(key, &self.issuer)?;
        let facts = CertificateFacts::read(certificate.der());
        let facts = facts.map_err(|error| AuthorityError::Unusable(error.to_string()))?;
        Ok(Issued { pem: certificate.pem(), not_after: facts.not_after })
    }
}

impl GivenAuthority {
    /// Reads it; blocks for the disk.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(directory: &Path) -> Result<Self, AuthorityError> {
        let text = |name: &str| {
            let path = directory.join(name);
            let unusable = |error| AuthorityError::Unusable(format!("{}: {error}", path.display()));
            fs::read_to_string(&path).map_err(unusable)
        };
        Ok(Self { certificate: text("tls.crt")?, key: text("tls.key")?, place: directory.display().to_string() })
    }

    /// Returns the certificate, and what follows it in the file, as PEM.
    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// Makes an authority of it, which must have the key that the fleet has pinned; what agents have is the pinned certificate.
    pub(super) fn load(&self, pinned: &str) -> Result<Authority, AuthorityError> {
        let unusable = |problem: String| AuthorityError::Unusable(format!("{}: {problem}", self.place));
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes())
            .map_err(|error| unusable(format!("tls.crt is not a certificate: {error}")))?;
        let key = KeyPair::from_pem(&self.key).map_err(|error| unusable(format!("tls.key: {error}")))?;
        let (_, parsed) =
            X509Certificate::from_der(&der).map_err(|_| unusable("tls.crt is not a certificate".to_owned()))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(unusable("tls.key is not the key of tls.crt".to_owned()));
        }
        let may_sign = match parsed.key_usage() {
            Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
            Err(_) => false,
        };
        if !parsed.is_ca() || !may_sign {
            let next = "a cert-manager Certificate needs `isCA: true`";
            return Err(unusable(format!("tls.crt is not the certificate of an authority: {next}")));
        }
        let pinned_der = CertificateDer::from_pem_slice(pinned.as_bytes())
            .map_err(|error| AuthorityError::Unusable(format!("ca.crt is not a certificate: {error}")))?;
        let (_, pinned_parsed) = X509Certificate::from_der(&pinned_der)
            .map_err(|_| AuthorityError::Unusable("ca.crt is not a certificate".to_owned()))?;
        if pinned_parsed.public_key().raw != parsed.public_key().raw
            || pinned_parsed.subject().as_raw() != parsed.subject().as_raw()
        {
            let next = "agents have pinned that one: restore it, and let the issuer keep the key when it renews \
                        (cert-manager: `privateKey.rotationPolicy: Never`)";
            return Err(unusable(format!("the authority is another than the one that this fleet began with; {next}")));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Authority { pem: pinned.to_owned(), certificate: pinned_der, issuer })
    }
}

impl ServerNames {
    /// Collects the names under which a hub can be dialled: the host that it advertises, the address that it listens on,
    /// and this machine's own.
    #[must_use]
    pub fn new(advertised_host: &str, listen: SocketAddr) -> Self {
        let mut names = Self::default();
        names.dns.insert("localhost".to_owned());
        names.ips.insert(IpAddr::from([127, 0, 0, 1]));
        if !listen.ip().is_unspecified() {
            names.ips.insert(listen.ip());
        }
        names.add(advertised_host);
        names
    }

    /// Adds a name or an address.
    pub fn add(&mut self, host: &str) {
        match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => self.ips.insert(ip),
            Err(_) => self.dns.insert(host.to_owned()),
        };
    }
}

/// Returns the identity that the certificate of a process of the hub carries: `starling://<fleet>/hub/<name>`.
pub(super) fn process_uri(fleet: &str, process: &str) -> String {
    format!("starling://{fleet}/hub/{process}")
}

fn params(clock: &dyn Clock, entropy: &dyn Entropy, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = Duration::from_millis(clock.now().0);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let backdated = (lifetime / BACKDATED_SHARE).clamp(BACKDATED.0, BACKDATED.1);
    params.not_before = epoch + now.saturating_sub(backdated);
    params.not_after = epoch + now + lifetime;
    // RFC 5280 wants a positive number of at most 20 bytes; a cleared top bit keeps the encoding at 16.
    let mut serial: [u8; 16] = entropy.bytes();
    serial[0] = (serial[0] & 0x7f) | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    params
}

fn name(fleet: &str, common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, fleet);
    name.push(DnType::CommonName, common);
    name
}
