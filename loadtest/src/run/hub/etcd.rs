//! The etcd below a hub of several processes: one member, as durable as etcd is by default.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tokio::time::sleep;

use super::part::Part;
use super::ports::Port;
use crate::run::metrics;

/// How long it may take to serve.
const SERVES_WITHIN: Duration = Duration::from_secs(60);

/// How often it is asked whether it does.
const LOOK: Duration = Duration::from_millis(20);

/// A running etcd.
pub(super) struct Etcd {
    part: Part,
    client: Port,
    _peer: Port,
}

impl Etcd {
    /// Starts it with its data below a folder, and waits until it serves.
    pub(super) async fn start(program: &Path, folder: &Path) -> Result<Self> {
        let (client, peer) = (Port::reserve()?, Port::reserve()?);
        let (client_url, peer_url) = (format!("http://{}", client.address()), format!("http://{}", peer.address()));
        let mut arguments: Vec<OsString> =
            vec!["--name".into(), "etcd".into(), "--data-dir".into(), folder.join("etcd").into()];
        let members = format!("etcd={peer_url}");
        let rest = [
            ["--log-level", "warn"],
            ["--listen-client-urls", &client_url],
            ["--advertise-client-urls", &client_url],
            ["--listen-peer-urls", &peer_url],
            ["--initial-advertise-peer-urls", &peer_url],
            ["--initial-cluster", &members],
            // As docs/operations.md says that a hub's etcd needs it.
            ["--auto-compaction-mode", "revision"],
            ["--auto-compaction-retention", "10000"],
            ["--quota-backend-bytes", "8589934592"],
        ];
        arguments.extend(rest.iter().flatten().map(OsString::from));
        let etcd = Self { part: Part::new("etcd", program, folder, arguments), client, _peer: peer };
        etcd.part.start()?;
        let began = Instant::now();
        while let Err(error) = metrics::get(&format!("http://{}/health", etcd.client.address())).await {
            etcd.check_running()?;
            if began.elapsed() > SERVES_WITHIN {
                return Err(error.context(format!("etcd does not serve: see {}", etcd.part.log.display())));
            }
            sleep(LOOK).await;
        }
        Ok(etcd)
    }

    /// The arguments of a hub that keeps its store there.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let endpoint = format!("http://{}", self.client.address());
        vec!["--store".into(), "etcd".into(), "--etcd-endpoints".into(), endpoint.into()]
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.part.id()
    }

    /// Where its metrics are.
    pub(super) fn metrics(&self) -> String {
        self.client.address().to_string()
    }

    /// Fails if it ended although nobody told it to.
    pub(super) fn check_running(&self) -> Result<()> {
        match self.part.ended()? {
            Some(status) => bail!("{}", self.part.ended_badly(status)),
            None => Ok(()),
        }
    }

    /// Stops it.
    pub(super) async fn end(&self) -> Result<()> {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.part.stop(Signal::TERM).await?;
        // It passes the signal on to itself once everything is written.
        let in_order = status.success() || status.signal() == Some(Signal::TERM.as_raw());
        ensure!(in_order, "{}", self.part.ended_badly(status));
        Ok(())
    }
}

/// Finds etcd's program: the given one, or the one of `PATH`.
pub(super) fn program(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        ensure!(given.is_file(), "--etcd: there is no {}", given.display());
        return Ok(given.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("etcd")).find(|file| file.is_file());
    found.context(
        "a hub of several processes keeps its store in etcd, and there is none on PATH: say where it is with --etcd, or run \
         `cargo xtask loadtest`, which builds it",
    )
}
