use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use starling_model::ClusterId;

use super::testing::{FLEET, TestFleet};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const CLUSTER: ClusterId = ClusterId([7; 16]);

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn our_certificates_pass_expired_or_not() {
    let fleet = TestFleet::new();
    let certificate = der(&fleet.agent(CLUSTER, HOUR).certificate_pem);
    let verify = || {
        verify_ours(fleet.keyring.authority().certificate(), FLEET, &certificate, fleet.clock.now()).unwrap().unwrap()
    };
    assert!(!verify().expired && verify().certified.cluster == CLUSTER);
    assert!(matches!(fleet.tls.identify(Some(std::slice::from_ref(&certificate))), PeerIdentity::Valid(_)));
    fleet.clock.pass(2 * HOUR);
    assert!(verify().expired);
    let identity = fleet.tls.identify(Some(std::slice::from_ref(&certificate)));
    assert!(matches!(identity, PeerIdentity::Expired(certified) if certified.cluster == CLUSTER));
    assert_eq!(identity.valid(), None);
    assert_eq!(fleet.tls.identify(None), PeerIdentity::None);
}

#[test]
fn certificates_of_others_do_not_pass() {
    let (fleet, other) = (TestFleet::new(), TestFleet::new());
    let foreign = der(&other.agent(CLUSTER, HOUR).certificate_pem);
    let hubs_own = der(&fleet.keyring.server().certificate_pem);
    for certificate in [&foreign, &hubs_own, &CertificateDer::from(b"garbage".to_vec())] {
        let verified = verify_ours(fleet.keyring.authority().certificate(), FLEET, certificate, fleet.clock.now());
        assert_eq!(verified.unwrap(), None);
    }
    fleet.clock.pass(2 * HOUR);
    let verified = verify_ours(fleet.keyring.authority().certificate(), FLEET, &foreign, fleet.clock.now());
    assert_eq!(verified.unwrap(), None, "an expired certificate of another authority is still another's");
}

#[test]
fn a_certificate_for_another_fleet_of_the_same_authority_names_nobody() {
    let fleet = TestFleet::new();
    let certificate = der(&fleet.agent(CLUSTER, HOUR).certificate_pem);
    let verified = verify_ours(fleet.keyring.authority().certificate(), "other", &certificate, fleet.clock.now());
    assert_eq!(verified.unwrap(), None);
}

#[test]
fn a_reload_swaps_the_certificate() {
    let fleet = TestFleet::new();
    let before = fleet.tls.config();
    fleet.tls.reload(&fleet.keyring).unwrap();
    assert!(!Arc::ptr_eq(&before, &fleet.tls.config()));
}
