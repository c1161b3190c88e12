//! A fleet to test the edge with: keys, a clock that a test moves, clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use starling_model::{ClusterId, Millis};

use super::{Tls, provider};
use crate::keyring::{HighWaterMark, KeyMaterial, Keyring, ServerNames, SigningRequest};
use crate::ports::{Clock, OsEntropy};

/// The name of the fleet.
pub(crate) const FLEET: &str = "demo";

/// Wall time that a test moves. It starts at the machine's, which clients judge the hub's certificate by.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

/// A hub's keys and TLS.
pub(crate) struct TestFleet {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) tls: Arc<Tls>,
}

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct TestIdentity {
    pub(crate) key_pem: String,
    pub(crate) certificate_pem: String,
}

impl TestClock {
    pub(crate) fn pass(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }

    fn uptime(&self) -> Millis {
        self.now()
    }
}

impl TestFleet {
    pub(crate) fn new() -> Self {
        Self::named(FLEET)
    }

    pub(crate) fn named(fleet: &str) -> Self {
        let clock = Arc::new(TestClock(AtomicU64::new(crate::ports::SystemClock.now().0)));
        let material = KeyMaterial::generate(fleet, &*clock, &OsEntropy).unwrap();
        let names = ServerNames::new("localhost", "127.0.0.1:0".parse().unwrap());
        let ports: (&dyn Clock, &dyn crate::ports::Entropy) = (&*clock, &OsEntropy);
        let keyring = Keyring::in_memory(fleet, names, material, HighWaterMark::in_memory(None), ports).unwrap();
        let tls = Arc::new(Tls::new(&keyring, Arc::<TestClock>::clone(&clock)).unwrap());
        Self { clock, keyring: Arc::new(keyring), tls }
    }

    /// Issues a certificate to a new key.
    pub(crate) fn agent(&self, cluster: ClusterId, lifetime: Duration) -> TestIdentity {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let request = SigningRequest::parse(request.der()).unwrap();
        let ports: (&dyn Clock, &dyn crate::ports::Entropy) = (&*self.clock, &OsEntropy);
        let issued = self.keyring.issue_cluster(cluster, &request, lifetime, ports).unwrap();
        TestIdentity { key_pem: key.serialize_pem(), certificate_pem: issued.pem }
    }

    /// Configures a client that trusts this fleet, and shows a certificate or none.
    pub(crate) fn client(&self, identity: Option<&TestIdentity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.keyring.authority().certificate().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}
