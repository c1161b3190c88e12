//! The alternative's servers: one etcd and one kube-apiserver, as processes that end with this one.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::documents;
use super::http::{Caller, ServerPlace};
use crate::run::process::{Usage, free_address, tied_command};

/// How long the API server may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How often it is asked whether it is.
const LOOK: Duration = Duration::from_millis(20);

/// What etcd may store, in bytes: statuses of thousands of clusters have many revisions before they are compacted.
const QUOTA: &str = "8589934592";

/// How to get the programs.
const GET: &str = "`cargo xtask loadtest` builds it and says where it is; or say it with";

/// The programs, which are there.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    etcd: PathBuf,
    kube_apiserver: PathBuf,
}

/// The running servers; killed when this is dropped.
pub(crate) struct Servers {
    programs: Programs,
    /// Of their logs, which stay.
    folder: PathBuf,
    etcd_address: SocketAddr,
    place: ServerPlace,
    etcd: Child,
    api: Child,
    /// Keys, and what etcd stores; removed after both ended, however that comes.
    kept: TempDir,
}

impl Programs {
    /// Finds both: where they were said to be, or on PATH.
    pub(crate) fn find(etcd: &Path, kube_apiserver: &Path) -> Result<Self> {
        Ok(Self { etcd: find(etcd, "--etcd")?, kube_apiserver: find(kube_apiserver, "--kube-apiserver")? })
    }
}

fn find(program: &Path, option: &str) -> Result<PathBuf> {
    if program.components().count() > 1 {
        ensure!(program.is_file(), "there is no program {}: {GET} {option}", program.display());
        return Ok(program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    found.with_context(|| format!("there is no {} on PATH: {GET} {option}", program.display()))
}

impl Servers {
    /// Starts both with nothing stored, everything of them below a folder; returns when work objects can be made.
    pub(crate) async fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let kept = tempfile::Builder::new().prefix("kept-").tempdir_in(folder).context("make a folder for etcd")?;
        let place = ServerPlace { address: free_address()?, authority: kept.path().join("ca.crt"), token: token() };
        make_keys(kept.path(), &place)?;
        let etcd_address = free_address()?;
        let etcd = launch_etcd(&programs.etcd, folder, kept.path(), etcd_address)?;
        let api = launch_api(&programs.kube_apiserver, folder, kept.path(), etcd_address, place.address)?;
        let mut servers =
            Self { programs: programs.clone(), folder: folder.to_owned(), etcd_address, place, etcd, api, kept };
        servers.wait_until("/readyz").await?;
        let maker = Caller::new(&servers.place)?.connect().await?;
        maker.create(documents::DEFINITIONS, documents::definition()).await?;
        servers.wait_until(documents::WORKS).await?;
        Ok(servers)
    }

    pub(crate) fn place(&self) -> &ServerPlace {
        &self.place
    }

    /// Returns what both use together.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let of = |child: &Child, name: &str| Usage::of(child.id().with_context(|| format!("{name} ended"))?);
        let (etcd, api) = (of(&self.etcd, "etcd")?, of(&self.api, "the API server")?);
        Ok(Usage { cpu: etcd.cpu + api.cpu, resident: etcd.resident + api.resident })
    }

    /// Returns the process ids of both; those that ended are missing.
    pub(crate) fn processes(&self) -> Vec<u32> {
        [&self.etcd, &self.api].into_iter().filter_map(Child::id).collect()
    }

    /// Kills the API server as a crash would, and starts it again; returns when it was started, once it is ready.
    pub(crate) async fn kill_api(&mut self) -> Result<Instant> {
        self.api.kill().await.context("kill the API server")?;
        let began = Instant::now();
        let program = &self.programs.kube_apiserver;
        self.api = launch_api(program, &self.folder, self.kept.path(), self.etcd_address, self.place.address)?;
        self.wait_until("/readyz").await?;
        Ok(began)
    }

    /// Ends both and removes what they stored; their logs stay.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.api.kill().await.context("end the API server")?;
        self.etcd.kill().await.context("end etcd")?;
        self.kept.close().context("remove what etcd stored")
    }

    /// Waits until the API server answers a question.
    async fn wait_until(&mut self, path: &str) -> Result<()> {
        let (began, caller) = (Instant::now(), Caller::new(&self.place)?);
        loop {
            let answer = async { caller.connect().await?.get(path).await };
            let Err(error) = answer.await else { return Ok(()) };
            for (child, name) in [(&mut self.etcd, "etcd"), (&mut self.api, "kube-apiserver")] {
                if let Some(status) = child.try_wait().with_context(|| format!("look at {name}"))? {
                    bail!("{name} ended ({status}): see {name}.log in {}", self.folder.display());
                }
            }
            if began.elapsed() > READY_WITHIN {
                return Err(error.context("the API server does not get ready"));
            }
            sleep(LOOK).await;
        }
    }
}

fn launch_etcd(program: &Path, folder: &Path, kept: &Path, address: SocketAddr) -> Result<Child> {
    let (client, peer) = (format!("http://{address}"), format!("http://{}", free_address()?));
    let mut etcd = tied_command(program);
    etcd.args(["--name", "etcd", "--log-level", "warn", "--unsafe-no-fsync", "--quota-backend-bytes", QUOTA])
        .arg("--data-dir")
        .arg(kept.join("data"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("etcd={peer}")]);
    launch(etcd, folder, "etcd")
}

fn launch_api(program: &Path, folder: &Path, kept: &Path, etcd: SocketAddr, address: SocketAddr) -> Result<Child> {
    let mut api = tied_command(program);
    api.args(["--etcd-servers", &format!("http://{etcd}"), "--secure-port", &address.port().to_string()])
        .args(["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--endpoint-reconciler-type", "none"])
        .arg("--tls-cert-file")
        .arg(kept.join("server.crt"))
        .arg("--tls-private-key-file")
        .arg(kept.join("server.key"))
        .args(["--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file"])
        .arg(kept.join("service-account.pub"))
        .arg("--service-account-signing-key-file")
        .arg(kept.join("service-account.key"))
        .arg("--token-auth-file")
        .arg(kept.join("tokens.csv"))
        .args(["--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/24"])
        // Nothing runs in it that needs a token mounted.
        .args(["--disable-admission-plugins", "ServiceAccount"]);
    launch(api, folder, "kube-apiserver")
}

fn launch(mut command: Command, folder: &Path, name: &str) -> Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join(format!("{name}.log")));
    let log = log.with_context(|| format!("open the log of {name}"))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share a log")?)
        .stderr(log)
        // Ctrl-C is for the coordinator.
        .process_group(0)
        .spawn()
        .with_context(|| format!("start setpriv, which starts {name}: install util-linux"))
}

/// Writes the keys, certificates and the one token.
fn make_keys(folder: &Path, place: &ServerPlace) -> Result<()> {
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))
    };
    let authority_key = KeyPair::generate().context("make a key")?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.crt", &authority.self_signed(&authority_key).context("sign the authority")?.pem())?;
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().context("make a key")?;
    let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let certificate = params.context("name a certificate")?.signed_by(&key, &issuer).context("sign a certificate")?;
    write("server.crt", &certificate.pem())?;
    write("server.key", &key.serialize_pem())?;
    let account = KeyPair::generate().context("make a key")?;
    write("service-account.key", &account.serialize_pem())?;
    write("service-account.pub", &account.public_key_pem())?;
    // This group is exempt from authorization and from fair queueing.
    write("tokens.csv", &format!("{},loadtest,loadtest,\"system:masters\"\n", place.token))
}

fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}
