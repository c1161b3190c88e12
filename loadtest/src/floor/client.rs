//! The floor's clients: each says Hello, sends one snapshot, and then only what is timed.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use starling_agent_core::judge::judge;
use starling_model::session::{AgentMessage, BatchKind, Heartbeat, Hello, StatusBatch};
use starling_model::{Digest, Facts, Limits, Uid, limits};
use starling_proto::v1::session_service_client::SessionServiceClient;
use starling_proto::v1::{ConnectRequest, ConnectResponse, connect_response};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use super::tls;
use crate::cluster::{SimulatedCluster, SimulatedOptions};

/// Connections that are being opened at the same time.
const DIALLING: usize = 128;

/// Window of one stream and of the connection, in bytes; the same as the agent's.
const WINDOW: u32 = 64 * 1024;

/// Messages that wait to be sent.
const OUTGOING: usize = 4;

/// Open connections.
pub(super) struct Connections(Vec<Connection>);

/// One connection with its one stream.
struct Connection {
    outgoing: mpsc::Sender<ConnectRequest>,
    incoming: Streaming<ConnectResponse>,
    heartbeats: u64,
}

impl Connections {
    /// Opens all of them; returns when the server has read every snapshot.
    pub(super) async fn open(address: &str, certificates: &Path, count: u32, objects: u32) -> Result<Self> {
        let tls = tls::client(certificates)?;
        let messages = (hello(), snapshot(objects));
        let open = (0..count).map(|_| Connection::open(address, Arc::clone(&tls), messages.clone()));
        Ok(Self(stream::iter(open).buffer_unordered(DIALLING).try_collect().await?))
    }

    /// Times one message there and one back on the first connection.
    pub(super) async fn echo(&mut self) -> Result<Duration> {
        let connection = self.0.first_mut().context("there is no connection")?;
        let began = Instant::now();
        connection.beat().await?;
        Ok(began.elapsed())
    }
}

impl Connection {
    async fn open(address: &str, tls: Arc<ClientConfig>, messages: (ConnectRequest, ConnectRequest)) -> Result<Self> {
        let channel = dial(address, tls).await?;
        let (outgoing, requests) = mpsc::channel(OUTGOING);
        let (hello, snapshot) = messages;
        outgoing.send(hello).await.context("say hello")?;
        let mut client = SessionServiceClient::new(channel);
        let answer = client.connect(ReceiverStream::new(requests)).await.context("open a stream")?;
        let mut connection = Self { outgoing, incoming: answer.into_inner(), heartbeats: 0 };
        let Some(connect_response::Message::Welcome(_)) = connection.receive().await?.message else {
            bail!("the floor did not say welcome");
        };
        connection.outgoing.send(snapshot).await.context("send a snapshot")?;
        // Messages are read in order, so its answer says that the snapshot was read.
        connection.beat().await?;
        Ok(connection)
    }

    async fn beat(&mut self) -> Result<()> {
        self.heartbeats += 1;
        let beat = AgentMessage::Heartbeat(Heartbeat { sequence: self.heartbeats, dropped: 0 });
        self.outgoing.send(beat.into()).await.context("send a heartbeat")?;
        match self.receive().await?.message {
            Some(connect_response::Message::Lease(lease)) if lease.heartbeat_sequence == self.heartbeats => Ok(()),
            _ => bail!("the floor did not answer a heartbeat"),
        }
    }

    async fn receive(&mut self) -> Result<ConnectResponse> {
        self.incoming.message().await.context("read an answer")?.context("the floor closed a stream")
    }
}

async fn dial(address: &str, tls: Arc<ClientConfig>) -> Result<Channel> {
    let socket = TcpStream::connect(address).await.context("connect to the floor")?;
    socket.set_nodelay(true).context("set up a socket")?;
    let name = ServerName::try_from(tls::SERVER_NAME).context("name the server")?;
    let secured = TlsConnector::from(tls).connect(name, socket).await.context("shake hands with the floor")?;
    let mut once = Some(TokioIo::new(secured));
    let connector = tower::service_fn(move |_| {
        let stream = once.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
        async move { stream }
    });
    Endpoint::from_shared(format!("http://{address}"))
        .context("name the floor")?
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect_with_connector(connector)
        .await
        .context("open a channel")
}

/// The Hello of a cluster that holds nothing.
fn hello() -> ConnectRequest {
    AgentMessage::Hello(Box::new(Hello {
        protocols: limits::PROTOCOL_VERSIONS,
        fingerprint: Uid::from_entropy([7; 16]).to_string(),
        instance: Uid::from_entropy([9; 16]),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        facts: Facts {
            kubernetes_version: "v1.35.4".into(),
            flux_version: "v2.9.0".into(),
            nodes: 3,
            ..Facts::default()
        },
        plan_digest: None,
        held: Vec::new(),
        kinds: Vec::new(),
        installs_digest: Digest::default(),
        newest_fence: None,
        newest_epoch: 0,
        forward: false,
    }))
    .into()
}

/// The same statuses that a simulated cluster's agent would send.
fn snapshot(objects: u32) -> ConnectRequest {
    let cluster = SimulatedCluster::new(SimulatedOptions {
        name: "floor".into(),
        background_objects: objects,
        settle: Duration::ZERO,
        kubernetes_version: "v1.35.4".into(),
    });
    let text_bytes = Limits::DEFAULT.text_bytes as usize;
    AgentMessage::Status(StatusBatch {
        sequence: 1,
        kind: BatchKind::SnapshotWhole,
        objects: cluster.truth().values().map(|document| judge(document, text_bytes)).collect(),
        removed: Vec::new(),
        installs: Vec::new(),
        removed_installs: Vec::new(),
        untracked: 0,
        facts: None,
    })
    .into()
}
