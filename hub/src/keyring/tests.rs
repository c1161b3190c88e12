use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use starling_model::{Digest, Millis};

use super::*;
use crate::ports::OsEntropy;

const DAY: u64 = 24 * 3600 * 1000;

#[derive(Debug)]
struct Wall(AtomicU64);

impl Wall {
    fn at(days: u64) -> Self {
        Self(AtomicU64::new(1_800_000_000_000 + days * DAY))
    }

    fn pass_days(&self, days: u64) {
        self.0.fetch_add(days * DAY, Ordering::Relaxed);
    }
}

impl Clock for Wall {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }

    fn uptime(&self) -> Millis {
        Millis(0)
    }
}

fn names(host: &str) -> ServerNames {
    ServerNames::new(host, "127.0.0.2:8443".parse().unwrap())
}

async fn open(directory: &Path, clock: &Wall) -> Result<Keyring, KeyringError> {
    open_as(directory, clock, options()).await
}

async fn open_as(directory: &Path, clock: &Wall, options: KeyringOptions) -> Result<Keyring, KeyringError> {
    Keyring::open(Arc::new(KeyDirectory::new(directory)), options, (clock, &OsEntropy)).await
}

fn options() -> KeyringOptions {
    KeyringOptions { fleet: "demo".into(), names: names("hub.example.org"), authority: None, has_store: false }
}

fn request() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let request =
        rcgen::CertificateParams::new(["evil.example.org".to_owned()]).unwrap().serialize_request(&key).unwrap();
    (key, request.der().to_vec())
}

#[tokio::test]
async fn a_first_start_makes_private_files_and_a_second_reads_them() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("keys");
    let clock = Wall::at(0);
    let first = open(&directory, &clock).await.unwrap();
    assert!(first.was_created() && first.mark().mark().is_none());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: BTreeSet<String> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(
        files,
        ["admin.token", "ca.crt", "ca.key", "fleet.key", "server.crt", "server.key"].map(String::from).into()
    );
    for file in &files {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
    let second = open(&directory, &clock).await.unwrap();
    assert!(!second.was_created());
    assert_eq!(second.admin_token(), first.admin_token());
    assert_eq!(second.server().certificate_pem, first.server().certificate_pem);
    assert_eq!(second.authority().pem(), first.authority().pem());
}

#[tokio::test]
async fn partial_loss_says_what_is_missing() {
    for (missing, _) in ESSENTIAL {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("keys");
        open(&directory, &Wall::at(0)).await.unwrap();
        fs::remove_file(directory.join(missing)).unwrap();
        let error = open(&directory, &Wall::at(0)).await.err().unwrap().to_string();
        assert!(error.contains(&format!("{missing} is missing")) && error.contains("Restore it"), "{error}");
    }
}

#[tokio::test]
async fn secrets_that_vanished_beside_a_store_are_not_made_anew() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("keys");
    let opened = open_as(&directory, &Wall::at(0), KeyringOptions { has_store: true, ..options() }).await;
    assert!(matches!(opened, Err(KeyringError::Lost(_))));
    assert!(!directory.exists());
}

#[tokio::test]
async fn another_fleet_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("keys");
    open(&directory, &Wall::at(0)).await.unwrap();
    let opened = open_as(&directory, &Wall::at(0), KeyringOptions { fleet: "other".into(), ..options() }).await;
    assert!(opened.err().unwrap().to_string().contains("belongs to fleet \"demo\""));
}

#[tokio::test]
async fn the_hubs_certificate_is_renewed_before_it_ends_and_for_new_names() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("keys");
    let clock = Wall::at(0);
    let keyring = open(&directory, &clock).await.unwrap();
    let first = keyring.server().certificate_pem;
    clock.pass_days(59);
    assert!(!keyring.renew_server((&clock, &OsEntropy)).await.unwrap());
    clock.pass_days(2);
    assert!(keyring.renew_server((&clock, &OsEntropy)).await.unwrap());
    let second = keyring.server().certificate_pem;
    assert_ne!(first, second);
    assert_eq!(fs::read_to_string(directory.join("server.crt")).unwrap(), second);

    let options = KeyringOptions { names: names("other.example.org"), ..options() };
    let renamed = open_as(&directory, &clock, options).await.unwrap();
    assert_ne!(renamed.server().certificate_pem, second);
    fs::remove_file(directory.join("server.key")).unwrap();
    assert!(open(&directory, &clock).await.is_ok(), "the hub's own pair is issued again");
}

#[tokio::test]
async fn a_clusters_certificate_names_it_and_nothing_that_it_asked_for() {
    let state = tempfile::tempdir().unwrap();
    let clock = Wall::at(0);
    let keyring = open(&state.path().join("keys"), &clock).await.unwrap();
    let (key, der) = request();
    let request = SigningRequest::parse(&der).unwrap();
    let cluster = ClusterId([5; 16]);
    let issued = keyring.issue_cluster(cluster, &request, CLUSTER_LIFETIME, (&clock, &OsEntropy)).unwrap();
    let certificate = CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap();
    let facts = CertificateFacts::read(&certificate).unwrap();
    assert_eq!(facts.cluster("demo"), Some(cluster));
    assert_eq!(facts.cluster("other"), None);
    assert_eq!(facts.uris.len(), 1);
    assert_eq!((facts.key, request.fingerprint()), (request.fingerprint(), fingerprint_of(&key)));
    assert_eq!(facts.not_after, Millis(clock.now().0 + 30 * DAY));
    assert_eq!(facts.not_before, Millis(clock.now().0 - 2 * 3_600_000));
    assert!(!issued.pem.contains("evil"));
}

fn fingerprint_of(key: &KeyPair) -> Digest {
    key_fingerprint(&rcgen::PublicKeyData::subject_public_key_info(key))
}

#[test]
fn requests_are_checked() {
    let (_, good) = request();
    let mut tampered = good.clone();
    // The last bytes are the signature.
    *tampered.last_mut().unwrap() ^= 1;
    assert!(SigningRequest::parse(&good).is_ok());
    assert_eq!(SigningRequest::parse(&tampered).err(), Some(RequestError::Unreadable));
    assert_eq!(SigningRequest::parse(b"garbage").err(), Some(RequestError::Unreadable));
    assert_eq!(SigningRequest::parse(&[0; 9000]).err(), Some(RequestError::TooLarge(9000)));
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let other = rcgen::CertificateParams::default().serialize_request(&p384).unwrap();
    assert_eq!(SigningRequest::parse(other.der()).err(), Some(RequestError::KeyKind));
}

#[test]
fn a_signature_proves_the_key_of_a_certificate() {
    use rcgen::SigningKey as _;
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(is_signed_by(certificate.der(), b"message", &signature));
        assert!(!is_signed_by(certificate.der(), b"another", &signature));
        assert!(!is_signed_by(certificate.der(), b"message", b""));
    }
}

#[test]
fn the_admin_context_is_what_the_command_line_reads() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("admin.yaml");
    write_admin_context(&file, "demo", "127.0.0.1:8443", "-----BEGIN\nX\n", Path::new("/s/keys/admin.token")).unwrap();
    let yaml = fs::read_to_string(&file).unwrap();
    let value: starling_model::Value = serde_saphyr::from_str(&yaml).unwrap();
    let context = &value.get("contexts").unwrap().as_list().unwrap()[0];
    assert_eq!(value.get("current-context").unwrap().as_str(), Some("demo"));
    assert_eq!(context.get("server").unwrap().as_str(), Some("127.0.0.1:8443"));
    assert_eq!(context.get("ca-pem").unwrap().as_str(), Some("-----BEGIN\nX\n"));
    assert_eq!(context.get("token-file").unwrap().as_str(), Some("/s/keys/admin.token"));
}

/// Writes an authority as cert-manager mounts it.
fn write_authority(folder: &Path, key: &KeyPair, is_ca: bool, years: i32) {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "platform authority");
    params.not_after = rcgen::date_time_ymd(2030 + years, 1, 1);
    if is_ca {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    }
    fs::write(folder.join("tls.crt"), params.self_signed(key).unwrap().pem()).unwrap();
    fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn an_authority_can_be_given_and_keeps_its_key() {
    let state = tempfile::tempdir().unwrap();
    let (directory, clock) = (state.path().join("keys"), Wall::at(0));
    let given = || KeyringOptions { authority: Some(GivenAuthority::read(state.path()).unwrap()), ..options() };
    let key = KeyPair::generate().unwrap();
    write_authority(state.path(), &key, true, 0);
    let first = open_as(&directory, &clock, given()).await.unwrap();
    assert!(first.was_created() && !directory.join("ca.key").exists());
    let (_, der) = request();
    let request = SigningRequest::parse(&der).unwrap();
    assert!(first.issue_cluster(ClusterId([5; 16]), &request, CLUSTER_LIFETIME, (&clock, &OsEntropy)).is_ok());
    // Renewed with the same key: what agents have pinned stays.
    write_authority(state.path(), &key, true, 1);
    let second = open_as(&directory, &clock, given()).await.unwrap();
    assert_eq!(second.authority().pem(), first.authority().pem());
    let text = |opened: Result<Keyring, KeyringError>| opened.err().unwrap().to_string();
    write_authority(state.path(), &KeyPair::generate().unwrap(), true, 1);
    assert!(text(open_as(&directory, &clock, given()).await).contains("rotationPolicy"));
    write_authority(state.path(), &key, false, 1);
    assert!(text(open_as(&directory, &clock, given()).await).contains("isCA"));
}
