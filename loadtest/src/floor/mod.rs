//! The floor: what bare gRPC over mutual TLS costs on the same machine, with the same messages and none of Starling's work.
//!
//! A server in a process of its own answers Hello with Welcome and a heartbeat with a lease, sends plans when it is told, counts
//! their receipts, and throws statuses away. Its clients are in driver processes. Owns both; does not own what is timed in
//! which order ([`crate::run`]).

mod client;
mod orders;
mod server;
mod tls;

use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use starling_model::Uid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::run::process::Usage;

pub(crate) use client::Connections;
pub(crate) use orders::{ConnectOrder, FloorOrder, Push, Pushed};
pub use server::serve;

/// How long the server may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// The server's process; killed when this is dropped.
pub(crate) struct FloorServer {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    address: String,
    /// Holds the certificates for as long as the server runs.
    certificates: TempDir,
}

impl FloorServer {
    pub(crate) async fn start() -> Result<Self> {
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
            // Ctrl-C is for the coordinator.
            .process_group(0)
            .spawn()
            .context("start the floor's server")?;
        let input = child.stdin.take().context("the floor's server has no input")?;
        let stdout = child.stdout.take().context("the floor's server has no output")?;
        let mut output = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(STARTS_WITHIN, output.next_line()).await;
        let line = line.context("the floor's server did not start in time")?.context("read the floor's address")?;
        let Some(address) = line else { bail!("the floor's server ended at once") };
        Ok(Self { child, input, output, address, certificates })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn certificates(&self) -> &Path {
        self.certificates.path()
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id().context("the floor's server ended")?)
    }

    /// Sends a change; returns when every session that it is for has acknowledged it, for a while.
    pub(crate) async fn push(&mut self, push: Push, patience: Duration) -> Result<Pushed> {
        let mut line = serde_json::to_vec(&push).context("write a change")?;
        line.push(b'\n');
        self.input.write_all(&line).await.context("tell the floor's server")?;
        let answer = tokio::time::timeout(patience, self.output.next_line()).await;
        let answer = answer.context("the floor's sessions do not acknowledge a change")?;
        let answer = answer.context("hear the floor's server")?.context("the floor's server ended")?;
        serde_json::from_str(&answer).context("understand the floor's server")
    }
}

/// What a session's Hello calls its cluster.
fn fingerprint(number: u32) -> Uid {
    let mut bytes = [9; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Uid::from_entropy(bytes)
}

/// Reads [`fingerprint`] again.
fn number_of(fingerprint: &[u8]) -> Option<u32> {
    fingerprint.first_chunk().copied().map(u32::from_be_bytes)
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
