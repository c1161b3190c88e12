//! One etcd, which several API servers and the hub can share by key prefix.

use std::path::Path;
use std::time::Duration;

use crate::error::{Result, create_folder};
use crate::ports::Port;
use crate::process::{Launch, Process};
use crate::programs::Programs;
use crate::recipes::Program;
use crate::wait::http_get_ok;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running etcd; killed on drop.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    client: Port,
    _peer: Port,
}

impl Etcd {
    /// Starts etcd with its data below `folder`, without fsync: it survives a kill -9, not a power cut.
    pub fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        let folder = &create_folder(folder)?;
        let (client, peer) = (Port::reserve()?, Port::reserve()?);
        let client_url = format!("http://{}", client.address());
        let peer_url = format!("http://{}", peer.address());
        let launch = Launch::new("etcd", &programs.path(Program::Etcd)?, folder)
            .args(["--name", "etcd", "--log-level", "warn", "--unsafe-no-fsync", "--data-dir"])
            .arg(folder.join("data"))
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .arg("--initial-cluster")
            .arg(format!("etcd={peer_url}"));
        let etcd = Self { process: Process::start(launch)?, client, _peer: peer };
        etcd.wait_ready()?;
        Ok(etcd)
    }

    /// `http://127.0.0.1:<port>`.
    pub fn client_url(&self) -> String {
        format!("http://{}", self.client.address())
    }

    /// The process, to kill, pause or measure it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it as a crash would.
    pub fn kill9(&self) -> Result<()> {
        self.process.kill9()
    }

    /// Starts it again on the same port and data, and waits until it serves.
    pub fn restart(&self) -> Result<()> {
        self.process.restart()?;
        self.wait_ready()
    }

    fn wait_ready(&self) -> Result<()> {
        self.process.wait_until("serves", READY_WITHIN, || http_get_ok(self.client.number(), "/health"))
    }
}
