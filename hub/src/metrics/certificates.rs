//! When the hub's certificates end.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::keyring::{CertificateFacts, Keyring};

/// Looks at a keyring's certificates when it is asked.
pub struct CertificateCollector(pub Arc<Keyring>);

impl fmt::Debug for CertificateCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateCollector")
    }
}

impl Collector for CertificateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let hub = CertificateDer::from_pem_slice(self.0.server().certificate_pem.as_bytes()).ok();
        let ends: Family<[(&'static str, &'static str); 1], Gauge> = Family::default();
        for (name, certificate) in [("hub", hub.as_ref()), ("authority", Some(self.0.authority().certificate()))] {
            let facts = certificate.and_then(|certificate| CertificateFacts::read(certificate).ok());
            let seconds = facts.map_or(0, |facts| facts.not_after.0 / 1000);
            ends.get_or_create_owned(&[("certificate", name)]).set(i64::try_from(seconds).unwrap_or(i64::MAX));
        }
        let help = "When the hub's own certificate and its authority's end, Unix time";
        let name = "certificate_expiry_timestamp";
        ends.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), ends.metric_type())?)
    }
}
