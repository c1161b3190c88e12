//! Whether the hub's own certificate still serves.

use std::net::IpAddr;

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use starling_model::Millis;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Authority, SERVER_LIFETIME, ServerIdentity, ServerNames};

/// Returns why a certificate has to be issued anew; `None` if it serves.
pub(super) fn why_renew(
    server: &ServerIdentity,
    authority: &Authority,
    names: &ServerNames,
    now: Millis,
) -> Option<&'static str> {
    if server.certificate_pem.is_empty() {
        return Some("there is none");
    }
    let Ok(der) = CertificateDer::from_pem_slice(server.certificate_pem.as_bytes()) else {
        return Some("the file is not a certificate");
    };
    let (Ok((_, certificate)), Ok(key)) = (X509Certificate::from_der(&der), KeyPair::from_pem(&server.key_pem)) else {
        return Some("the certificate or its key cannot be read");
    };
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Some("the key is another certificate's");
    }
    let issuer = X509Certificate::from_der(authority.certificate()).map(|(_, issuer)| issuer);
    if !issuer.is_ok_and(|issuer| certificate.verify_signature(Some(issuer.public_key())).is_ok()) {
        return Some("another authority issued it");
    }
    if !covers(&certificate, names) {
        return Some("the hub has other names now");
    }
    let ends = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0) * 1000;
    (Millis(ends) <= now.plus(SERVER_LIFETIME / 3)).then_some("it ends soon")
}

fn covers(certificate: &X509Certificate<'_>, names: &ServerNames) -> bool {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return false };
    let mut covered = ServerNames::default();
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(dns) => {
                covered.dns.insert((*dns).to_owned());
            }
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                covered.ips.extend(v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)));
            }
            _ => {}
        }
    }
    names.dns.is_subset(&covered.dns) && names.ips.is_subset(&covered.ips)
}
