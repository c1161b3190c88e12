//! One kube-apiserver over a shared etcd: the API of one "cluster", without nodes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, IoContext, Result, create_folder};
use crate::etcd::Etcd;
use crate::kubectl::{Kubectl, write_kubeconfig, write_private};
use crate::ports::Port;
use crate::process::{Launch, Process};
use crate::programs::Programs;
use crate::recipes::Program;

const READY_WITHIN: Duration = Duration::from_secs(60);
const TOKEN_BYTES: usize = 16;

/// A running kube-apiserver; killed on drop.
#[derive(Debug)]
pub struct ApiServer {
    process: Process,
    port: Port,
    folder: PathBuf,
    admin: Kubectl,
}

impl ApiServer {
    /// Starts an API server that keeps its keys, certificates and admin kubeconfig in `folder` and its objects in `etcd`
    /// below `/clusters/<name>`; `extra_arguments` are added to its command line. Returns when `/readyz` says ok.
    pub fn start(
        programs: &Programs,
        etcd: &Etcd,
        folder: &Path,
        name: &str,
        extra_arguments: &[String],
    ) -> Result<Self> {
        let folder = &create_folder(folder)?;
        let token = random_token()?;
        let keys = ServiceAccountKeys::create(folder)?;
        let tokens = folder.join("tokens.csv");
        write_private(&tokens, format!("{token},admin,admin,\"system:masters\"\n").as_bytes())?;

        let port = Port::reserve()?;
        let launch = Launch::new("kube-apiserver", &programs.path(Program::KubeApiserver)?, folder)
            .args(["--etcd-servers", &etcd.client_url(), "--etcd-prefix", &format!("/clusters/{name}")])
            .args(["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"])
            .args(["--secure-port", &port.number().to_string(), "--cert-dir"])
            .arg(folder.join("certificates"))
            .args(["--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file"])
            .arg(&keys.public)
            .arg("--service-account-signing-key-file")
            .arg(&keys.private)
            .arg("--token-auth-file")
            .arg(&tokens)
            .args(["--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/24"])
            // Without nodes there is no kubelet to mount tokens, and no wait for a token controller is wanted.
            .args(["--disable-admission-plugins", "ServiceAccount", "--endpoint-reconciler-type", "none"])
            .args(extra_arguments);
        let admin = Kubectl::new(programs.path(Program::Kubectl)?, folder.join("admin.kubeconfig"));
        let server = Self { process: Process::start(launch)?, port, folder: folder.to_owned(), admin };
        server.process.wait_until("makes its certificate", READY_WITHIN, || {
            server.write_kubeconfig(server.admin.kubeconfig(), &token).map_err(String::from)
        })?;
        server.wait_ready()?;
        Ok(server)
    }

    /// `https://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// kubectl as a member of `system:masters`.
    pub fn admin(&self) -> &Kubectl {
        &self.admin
    }

    /// The process, to kill, pause or measure it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The PEM file that its serving certificate is verified with.
    pub fn ca_path(&self) -> PathBuf {
        self.folder.join("certificates/apiserver.crt")
    }

    /// The private key that service-account tokens are signed with, for the controller manager.
    pub(crate) fn service_account_key(&self) -> PathBuf {
        ServiceAccountKeys::private_path(&self.folder)
    }

    /// Writes a kubeconfig for this server with the CA inside and the given bearer token, readable by its owner only.
    pub fn write_kubeconfig(&self, path: &Path, token: &str) -> Result<()> {
        let ca_path = self.ca_path();
        let ca = fs::read(&ca_path).at_path("read", &ca_path)?;
        if !ca.trim_ascii_end().ends_with(b"-----END CERTIFICATE-----") {
            let detail = "the file is not complete yet".to_owned();
            return Err(Error::Unexpected { what: format!("read {}", ca_path.display()), detail });
        }
        write_kubeconfig(path, &self.url(), &ca, token)
    }

    /// Kills it as a crash would.
    pub fn kill9(&self) -> Result<()> {
        self.process.kill9()
    }

    /// Starts it again on the same port with the same certificate and objects, and waits until it is ready.
    pub fn restart(&self) -> Result<()> {
        self.process.restart()?;
        self.wait_ready()
    }

    fn wait_ready(&self) -> Result<()> {
        self.process.wait_until("is ready", READY_WITHIN, || {
            // A refused connection is cheaper to see than a kubectl that is refused.
            std::net::TcpStream::connect(self.port.address()).map_err(|error| error.to_string())?;
            self.admin.run(&["get", "--raw", "/readyz"]).map(|_| ()).map_err(String::from)
        })
    }
}

struct ServiceAccountKeys {
    private: PathBuf,
    public: PathBuf,
}

impl ServiceAccountKeys {
    fn create(folder: &Path) -> Result<Self> {
        let pair = rcgen::KeyPair::generate().map_err(|error| Error::Unexpected {
            what: "make the key for service-account tokens".to_owned(),
            detail: error.to_string(),
        })?;
        let keys = Self { private: Self::private_path(folder), public: folder.join("service-account.pub") };
        write_private(&keys.private, pair.serialize_pem().as_bytes())?;
        fs::write(&keys.public, pair.public_key_pem()).at_path("write", &keys.public)?;
        Ok(keys)
    }

    fn private_path(folder: &Path) -> PathBuf {
        folder.join("service-account.key")
    }
}

fn random_token() -> Result<String> {
    use std::io::Read;
    let mut bytes = [0; TOKEN_BYTES];
    let source = Path::new("/dev/urandom");
    fs::File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).at_path("read", source)?;
    Ok(hex::encode(bytes))
}
