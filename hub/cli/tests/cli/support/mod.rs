//! A hub that answers the admin API from a script, over real TLS, and the program that asks it.

pub(crate) mod api;
pub(crate) mod fake;
mod processes;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use starling_proto::v1::admin_service_server::AdminServiceServer;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Status};

use self::api::Api;
use self::fake::Fake;

const TOKEN: &str = "an-administrators-token";

/// A running hub with a context for it; ends with the test.
pub(crate) struct Hub {
    pub(crate) fake: Arc<Fake>,
    pub(crate) address: SocketAddr,
    pub(crate) scratch: TempDir,
    /// The hub's API server, which only a hub on Kubernetes asks.
    pub(crate) api: Arc<Api>,
    config: &'static str,
    kubeconfig: &'static str,
    _runtime: Runtime,
}

/// What a run of the program left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().expect("start a runtime");
        let scratch = tempfile::tempdir().expect("make a scratch directory");
        let (ca_pem, config) = certificates();
        let fake = Arc::new(Fake::default());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("listen on loopback");
        let address = listener.local_addr().expect("know the own address");
        runtime.spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&fake)));
        let (api, api_address) = api::start(&runtime);
        let (config, kubeconfig) = ("admin.yaml", "no-kubeconfig");
        let hub = Self { fake, address, scratch, api, config, kubeconfig, _runtime: runtime };
        hub.write_kubeconfig(api_address);
        let published = json!({"address": address.to_string(), "trust.pem": ca_pem, "fleet": "demo"});
        let path = "/api/v1/namespaces/starling-system/configmaps/starling-hub";
        hub.api.put(path, json!({"metadata": {"name": "starling-hub"}, "data": published}));
        hub.write("admin.token", &format!("{TOKEN}\n"));
        hub.write_context("admin.yaml", &ca_pem, "admin.token");
        hub
    }

    /// Starts a hub on Kubernetes, and a person who has a kubeconfig and no context of Starling.
    pub(crate) fn start_on_kubernetes() -> Self {
        let mut hub = Self::start();
        hub.fake.on_kubernetes.store(true, Ordering::Relaxed);
        (hub.config, hub.kubeconfig) = ("none.yaml", "kubeconfig");
        hub
    }

    /// Writes a kubeconfig with a context for each way in which people prove who they are.
    fn write_kubeconfig(&self, api: SocketAddr) {
        let key = KeyPair::generate().expect("make a key");
        let certificate = CertificateParams::new(Vec::new()).expect("describe a person").self_signed(&key);
        self.write("client.crt", &certificate.expect("sign oneself").pem());
        self.write("client.key", &key.serialize_pem());
        self.write("token", &format!("{}\n", api::USER_TOKEN));
        let credential = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": {"token": api::USER_TOKEN, "expirationTimestamp": "2030-01-01T00:00:00Z"}});
        self.write("plugin.sh", &format!("echo run >> plugin.log\necho '{credential}'\n"));
        let plugin = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh",
            "args": ["plugin.sh"], "interactiveMode": "Never"});
        let users = [
            ("jane", json!({"token": api::USER_TOKEN})),
            ("filed", json!({"tokenFile": "token"})),
            ("plugged", json!({"exec": plugin})),
            ("certified", json!({"client-certificate": "client.crt", "client-key": "client.key"})),
            ("acting", json!({"token": api::USER_TOKEN, "as": "root"})),
            ("stale", json!({"token": "of-yesterday"})),
        ];
        let contexts = users.iter().map(|(name, _)| json!({"name": name, "context": {"cluster": "hub", "user": name}}));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "jane",
            "contexts": contexts.collect::<Vec<_>>(),
            "clusters": [{"name": "hub", "cluster": {"server": format!("http://{api}")}}],
            "users": users.iter().map(|(name, user)| json!({"name": name, "user": user})).collect::<Vec<_>>(),
        });
        self.write("kubeconfig", &config.to_string());
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.scratch.path().join(name);
        std::fs::write(&path, text).expect("write a file");
        path
    }

    pub(crate) fn write_context(&self, name: &str, ca_pem: &str, token_file: &str) {
        let indented = ca_pem.trim_end().replace('\n', "\n    ");
        let text = format!(
            "current-context: demo\ncontexts:\n- name: demo\n  server: {}\n  ca-pem: |\n    {indented}\n  token-file: {token_file}\n",
            self.address
        );
        self.write(name, &text);
    }

    /// Makes a command that asks this hub and no other.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("STARLING_CONFIG", self.scratch.path().join(self.config))
            // What the machine itself has must not lead anywhere.
            .env("KUBECONFIG", self.scratch.path().join(self.kubeconfig))
            .current_dir(self.scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, line: &str) -> Ran {
        Ran::of(self.command(line).output().expect("run the program"))
    }

    pub(crate) fn run_with_input(&self, line: &str, input: &str) -> Ran {
        let mut child = self.command(line).stdin(Stdio::piped()).spawn().expect("start the program");
        child.stdin.take().expect("the input is a pipe").write_all(input.as_bytes()).expect("write the input");
        Ran::of(child.wait_with_output().expect("wait for the program"))
    }

    /// Runs a command that must succeed and returns its output as JSON.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).expect("the output is JSON")
    }
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("the program exits by itself"),
            stdout: String::from_utf8(output.stdout).expect("the output is text"),
            stderr: String::from_utf8(output.stderr).expect("the errors are text"),
        }
    }

    /// Checks the exit code and that the errors say something.
    pub(crate) fn fails(&self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(words), "{words:?} is not in: {}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, fake: Arc<Fake>) {
    while let Ok((socket, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        let service = AdminServiceServer::from_arc(Arc::clone(&fake));
        let service = tonic::service::interceptor::InterceptedService::new(service, authorize);
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(socket).await {
                let builder = auto::Builder::new(TokioExecutor::new()).http2_only();
                // A client that goes away is no concern of a fake.
                let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
            }
        });
    }
}

// The signature is tonic's.
#[allow(clippy::result_large_err)]
fn authorize(request: Request<()>) -> Result<Request<()>, Status> {
    let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
    let token = given.and_then(|given| given.strip_prefix("Bearer ")).unwrap_or_default();
    if [TOKEN, api::USER_TOKEN, api::ACCOUNT_TOKEN].contains(&token) {
        Ok(request)
    } else {
        Err(Status::unauthenticated("the token is not known"))
    }
}

/// Returns an authority in PEM that the server's certificate is of.
fn certificates() -> (String, ServerConfig) {
    let ca_key = KeyPair::generate().expect("make a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("describe the authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("sign the authority");
    let key = KeyPair::generate().expect("make a key");
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .expect("describe the server")
        .signed_by(&key, &Issuer::from_params(&ca, &ca_key))
        .expect("sign the server");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("speak TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .expect("use the certificate");
    config.alpn_protocols = vec![b"h2".to_vec()];
    (ca_certificate.pem(), config)
}

/// Returns an authority that has signed nothing.
pub(crate) fn foreign_authority() -> String {
    certificates().0
}
