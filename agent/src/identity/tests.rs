use super::*;

fn self_signed(uri: &str) -> StoredIdentity {
    let key = new_key().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(uri.to_owned().try_into().unwrap())];
    params.not_before = rcgen::date_time_ymd(2027, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 11);
    let certificate_pem = params.self_signed(&key).unwrap().pem();
    StoredIdentity { certificate_pem, key_pem: key.serialize_pem(), trust_pem: String::new() }
}

#[test]
fn an_identity_is_of_its_fleet_and_of_one_piece() {
    let cluster = ClusterId::derive("demo", "default", "edge-1");
    let stored = self_signed(&cluster.uri("demo"));
    assert_eq!(Identity::read(stored.clone(), "demo").map(|identity| identity.cluster), Ok(cluster));
    assert_eq!(Identity::read(stored.clone(), "other").map(|_| ()), Err(IdentityError::Foreign));
    let key_pem = new_key().unwrap().serialize_pem();
    assert_eq!(Identity::read(StoredIdentity { key_pem, ..stored }, "demo").map(|_| ()), Err(IdentityError::Key));
}

#[test]
fn renewal_is_drawn_between_half_and_seventy_percent_of_life() {
    let cluster = ClusterId::derive("demo", "default", "edge-1");
    let identity = Identity::read(self_signed(&cluster.uri("demo")), "demo").unwrap();
    let day = Duration::from_secs(86_400);
    for drawn in [0, 1, 12_345, u64::MAX] {
        let wait = identity.renewal_in(identity.not_before, drawn);
        assert!(wait >= 5 * day && wait < 7 * day, "{wait:?}");
    }
    assert_eq!(identity.renewal_in(identity.not_after, 0), Duration::ZERO);
    assert!(identity.is_expired(identity.not_after) && !identity.is_expired(identity.not_before));
}

#[tokio::test]
async fn a_file_keeps_an_identity_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.json");
    let cluster = Arc::new(crate::testing::FakeCluster::new());
    let store = IdentityStore::new(IdentityPlace::File(path.clone()), cluster);
    assert_eq!(store.load().await.unwrap(), None);
    let stored = self_signed("starling://demo/cluster/x");
    store.store(&stored).await.unwrap();
    store.store(&stored).await.unwrap();
    assert_eq!(store.load().await.unwrap(), Some(stored));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
