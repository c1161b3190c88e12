//! The floor: what bare gRPC over mutual TLS costs on the same machine, with the same messages and none of Starling's work.
//!
//! A server in a process of its own answers Hello with Welcome and a heartbeat with a lease, and throws statuses away.

mod client;
mod server;
mod tls;

use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::process::{Child, Command};

use crate::bench::figures::Times;
use crate::run::process::resident_bytes;
use client::Connections;

pub use server::serve;

/// Echoes that are timed.
const ECHOES: usize = 1000;

/// How long the server may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// What the floor cost.
#[derive(Clone, Debug, Serialize)]
pub struct Floor {
    /// Time until all were connected and their snapshots were read, in seconds.
    pub(crate) connect_seconds: f64,
    /// Server memory of a connection, in bytes.
    pub(crate) bytes_per_connection: f64,
    /// One message there and one back, on one connection, with the others idle.
    pub(crate) echo: Times,
}

impl Floor {
    /// Returns the figures as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("figures have only string keys and finite numbers")
    }
}

/// The server's process.
struct FloorServer {
    child: Child,
    address: String,
    /// Holds the certificates for as long as the server runs.
    certificates: TempDir,
}

/// Measures the floor with this many connections and objects a snapshot.
///
/// # Errors
/// The server does not start, or a connection fails.
pub async fn measure(connections: u32, objects: u32) -> Result<Floor> {
    let server = FloorServer::start().await?;
    let before = server.resident_bytes()?;
    let began = Instant::now();
    let mut open = Connections::open(&server.address, server.certificates.path(), connections, objects).await?;
    let connect_seconds = began.elapsed().as_secs_f64();
    let after = server.resident_bytes()?;
    let mut echoes = Vec::with_capacity(ECHOES);
    for _ in 0..ECHOES {
        echoes.push(open.echo().await?);
    }
    let echo = Times::of(&echoes).context("no echo was timed")?;
    let bytes_per_connection = after.saturating_sub(before) as f64 / f64::from(connections.max(1));
    Ok(Floor { connect_seconds, bytes_per_connection, echo })
}

impl FloorServer {
    async fn start() -> Result<Self> {
        let certificates = tempfile::tempdir().context("make a folder for the floor's certificates")?;
        tls::make(certificates.path())?;
        let program = std::env::current_exe().context("find this program")?;
        let mut child = Command::new(program)
            .arg("floor-server")
            .arg("--certificates")
            .arg(certificates.path())
            // It ends when this closes, however this process ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the floor's server")?;
        let stdout = child.stdout.take().context("the floor's server has no output")?;
        let mut line = String::new();
        let read = tokio::time::timeout(STARTS_WITHIN, BufReader::new(stdout).read_line(&mut line)).await;
        read.context("the floor's server did not start in time")?.context("read the floor's address")?;
        let address = line.trim().to_owned();
        if address.is_empty() {
            bail!("the floor's server ended at once");
        }
        Ok(Self { child, address, certificates })
    }

    fn resident_bytes(&self) -> Result<u64> {
        resident_bytes(self.child.id().context("the floor's server ended")?)
    }
}

/// A stream in both directions that gRPC can be spoken over.
struct Secured<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(task, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(task)
    }
}

impl<S> tonic::transport::server::Connected for Secured<S> {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}
