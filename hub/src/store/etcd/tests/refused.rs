//! What somebody has to change: addresses, certificates, passwords, permissions; and that the right ones work.

use std::fs;
use std::path::{Path, PathBuf};

use etcd_client::{Client, ConnectOptions, Permission};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;

/// An authority with its files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Issues a certificate for 127.0.0.1.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let files = (self.file(&format!("{name}.crt")), self.file(&format!("{name}.key")));
        fs::write(&files.0, certificate.pem()).unwrap();
        fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }

    fn tls(&self, certificate: Option<(PathBuf, PathBuf)>) -> Option<EtcdTls> {
        Some(EtcdTls { authority: self.file("ca.crt"), certificate })
    }
}

async fn refusal(options: EtcdOptions) -> StoreError {
    connect(options).await.expect_err("it is refused")
}

#[tokio::test]
async fn what_cannot_be_an_etcd_is_refused_with_what_to_do() {
    let authority = Authority::new();
    let at = |url: &str| options(vec![url.to_owned()], "/p/", "hub-0");
    for (wrong, expected) in [
        (at("ftp://127.0.0.1:1"), "neither http:// nor https://"),
        (at("127.0.0.1:2379"), "neither http:// nor https://"),
        (at("https://127.0.0.1:2379"), "--etcd-ca-file"),
        (EtcdOptions { tls: authority.tls(None), ..at("http://127.0.0.1:2379") }, "write https://"),
        (EtcdOptions { endpoints: vec![], ..at("") }, "--etcd-endpoints"),
        (EtcdOptions { prefix: "p".to_owned(), ..at("http://127.0.0.1:2379") }, "with / at its end"),
        (EtcdOptions { process: "a/b".to_owned(), ..at("http://127.0.0.1:2379") }, "without /"),
        (
            EtcdOptions { tls: authority.tls(Some(("a".into(), "b".into()))), ..at("https://127.0.0.1:2379") },
            "a is of no use for TLS",
        ),
        (EtcdOptions { login: Some(login("u", Path::new("/nowhere"))), ..at("http://127.0.0.1:2379") }, "/nowhere"),
    ] {
        let error = refusal(wrong).await;
        assert!(error.to_string().contains(expected) && !error.retry_helps(), "{error}");
    }
    let error = refusal(options(vec!["http://127.0.0.1:1".into(), "http://127.0.0.1:2".into()], "/p/", "hub-0")).await;
    let text = error.to_string();
    assert!(error.retry_helps() && text.contains("127.0.0.1:1 (") && text.contains("127.0.0.1:2 ("), "{text}");
    assert!(text.contains("refused") && text.contains("--etcd-endpoints"), "{text}");
}

#[tokio::test]
async fn certificates_are_checked_both_ways_and_renewed_ones_taken() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (server, ours) = (authority.issue("server"), authority.issue("hub"));
    let tls = [server.0.as_path(), &server.1, &authority.file("ca.crt")];
    let etcd = TestEtcd::start(&Setup { tls: Some(tls), ..Setup::default() });
    let with = |tls| EtcdOptions { tls, ..etcd.options() };
    let store = connect(with(authority.tls(Some(ours.clone())))).await.unwrap();
    commit(&store, vec![Write::put("k", "v")]).await;
    // A renewed pair is taken with the next connection.
    authority.issue("hub");
    etcd.kill(0);
    etcd.restart(0);
    commit(&store, vec![Write::put("k", "again")]).await;

    let untrusted = refusal(with(stranger.tls(Some(ours)))).await.to_string();
    assert!(untrusted.contains("certificate") && untrusted.contains("--etcd-ca-file"), "{untrusted}");
    for wrong in [authority.tls(None), authority.tls(Some(stranger.issue("hub")))] {
        let refused = refusal(with(wrong)).await.to_string();
        assert!(refused.contains("ertificate"), "{refused}");
    }
}

fn login(user: &str, password: &Path) -> EtcdLogin {
    EtcdLogin { user: user.to_owned(), password: password.to_owned() }
}

#[tokio::test]
async fn a_user_logs_in_again_whenever_that_is_needed_and_stays_inside_its_prefix() {
    let etcd = TestEtcd::start(&Setup::default());
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    fs::write(&right, "secret\n").unwrap();
    fs::write(&wrong, "guess\n").unwrap();
    let mine = options(etcd.urls(), "/mine/", "hub-0");
    let with = |user: &str, file: &Path| EtcdOptions { login: Some(login(user, file)), ..mine.clone() };
    // A login is no harm as long as nobody asks for it.
    let store = connect(with("hub", &right)).await.unwrap();
    commit(&store, vec![Write::put("k", "1")]).await;

    let mut root = Client::connect(etcd.urls(), None).await.unwrap();
    for (user, password) in [("root", "r"), ("hub", "secret")] {
        root.user_add(user, password, None).await.unwrap();
        root.role_add(user).await.unwrap();
        root.user_grant_role(user, user).await.unwrap();
    }
    root.role_grant_permission("hub", Permission::read_write("/mine/").with_prefix()).await.unwrap();
    root.auth_enable().await.unwrap();

    let mut watch = store.watch(b"", Revision(0)).await.unwrap();
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let second = commit(&store, vec![Write::Put { key: "k".into(), value: "2".into(), lease: Some(lease) }]).await;
    // Logins are in memory of etcd: a restarted one knows none.
    etcd.kill(0);
    etcd.restart(0);
    let third = commit(&store, vec![Write::put("k", "3")]).await;
    let mut heard = Vec::new();
    while heard.last() != Some(&third) {
        let Watched::Events { revision, .. } = next(&mut *watch).await else { panic!("events") };
        heard.push(revision);
    }
    assert_eq!((heard.len(), heard[1]), (3, second));
    store.keep_alive(lease).await.unwrap();
    store.revoke(lease).await.unwrap();

    for (refused, expected) in [
        (mine.clone(), "set --etcd-user"),
        (with("hub", &wrong), "check --etcd-user and --etcd-password-file"),
        (with("nobody", &right), "check --etcd-user and --etcd-password-file"),
        (EtcdOptions { prefix: "/others/".to_owned(), ..with("hub", &right) }, "readwrite"),
    ] {
        let error = refusal(refused).await;
        assert!(error.to_string().contains(expected) && !error.retry_helps(), "{error}");
    }
    let options = ConnectOptions::new().with_user("root", "r");
    let mut root = Client::connect(etcd.urls(), Some(options)).await.unwrap();
    root.user_change_password("hub", "changed").await.unwrap();
    fs::write(&right, "changed").unwrap();
    commit(&store, vec![Write::put("k", "4")]).await;
}
