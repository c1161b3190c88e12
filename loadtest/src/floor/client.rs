//! The floor's clients: each says Hello, sends one snapshot, and then only what is timed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use starling_agent_core::judge::judge;
use starling_model::session::{AgentMessage, BatchKind, Heartbeat, Hello, StatusBatch};
use starling_model::{Digest, Facts, Limits, ObjectStatus, Uid, limits};
use starling_proto::v1::session_service_client::SessionServiceClient;
use starling_proto::v1::{ConnectRequest, ConnectResponse, Receipt, connect_request, connect_response};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use super::orders::{ConnectOrder, FloorOrder};
use super::{fingerprint, tls};
use crate::cluster::{SimulatedCluster, SimulatedOptions};
use crate::drive::{Answer, Moment};
use crate::fixture::OBJECTS_OF_AN_ASSIGNMENT;
use crate::latency::Latency;

/// Connections that are being opened at the same time.
const DIALLING: usize = 128;

/// Window of one stream and of the connection, in bytes; the same as the agent's.
const WINDOW: u32 = 64 * 1024;

/// Messages that wait to be sent.
const OUTGOING: usize = 4;

/// How often connections are looked at; what is timed are their own instants.
const LOOK: Duration = Duration::from_millis(5);

/// The open connections of a driver.
#[derive(Default)]
pub(crate) struct Connections(Vec<Connection>);

/// One connection with its one stream.
struct Connection {
    outgoing: mpsc::Sender<ConnectRequest>,
    heard: watch::Receiver<Heard>,
    heartbeats: u64,
    /// Messages other than heartbeats.
    batches: u64,
    delta: ObjectStatus,
    _hearing: AbortOnDropHandle<()>,
}

/// What was heard last.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    lease: u64,
    change: Option<(u64, Moment)>,
}

impl Connections {
    /// Does what the coordinator wants.
    pub(crate) async fn obey(&mut self, order: FloorOrder) -> Result<Answer> {
        match order {
            FloorOrder::Connect(order) => {
                *self = Self::open(&order).await?;
                Ok(Answer::Done)
            }
            FloorOrder::Echo { times } => {
                let connection = self.0.first_mut().context("there is no connection")?;
                let mut latency = Latency::new();
                for _ in 0..times {
                    let began = Instant::now();
                    connection.beat().await?;
                    latency.record(began.elapsed());
                }
                Ok(Answer::Received { latency, missing: 0 })
            }
            FloorOrder::Received { change, since, first_alone, patience_ms } => {
                let wanted = if first_alone { 1 } else { self.0.len() };
                Ok(received(&self.0[..wanted.min(self.0.len())], change, since, Duration::from_millis(patience_ms))
                    .await)
            }
            FloorOrder::Deltas { each } => {
                let sent = self.0.iter_mut().map(|connection| connection.send_deltas(each));
                futures::future::try_join_all(sent).await?;
                Ok(Answer::Done)
            }
            FloorOrder::Idle { millis } => {
                self.idle(Duration::from_millis(millis)).await?;
                Ok(Answer::Done)
            }
        }
    }

    /// Opens all of them; returns when the server has read every snapshot.
    async fn open(order: &ConnectOrder) -> Result<Self> {
        let tls = tls::client(&order.certificates)?;
        let numbers = order.first..order.first + order.clusters;
        let objects = |number| order.shape.draw(order.seed, number).objects + OBJECTS_OF_AN_ASSIGNMENT;
        let statuses = statuses(numbers.clone().map(objects).max().unwrap_or_default());
        let mut open = Vec::with_capacity(order.clusters as usize);
        for number in numbers {
            let snapshot = statuses.iter().take(objects(number) as usize).cloned().collect();
            open.push(Connection::open(order.address.clone(), Arc::clone(&tls), number, snapshot));
        }
        let open: Vec<Connection> = stream::iter(open).buffered(DIALLING).try_collect().await?;
        Ok(Self(open))
    }

    /// Sends heartbeats as agents do, evenly over their interval.
    async fn idle(&mut self, length: Duration) -> Result<()> {
        let count = u32::try_from(self.0.len()).context("count connections")?.max(1);
        let (began, apart) = (Instant::now(), limits::HEARTBEAT_INTERVAL / count);
        let mut due = Duration::ZERO;
        for number in 0_usize.. {
            due += apart;
            if due > length {
                break;
            }
            sleep(due.saturating_sub(began.elapsed())).await;
            self.0[number % count as usize].send_heartbeat().await?;
        }
        sleep(length.saturating_sub(began.elapsed())).await;
        Ok(())
    }
}

impl Connection {
    async fn open(address: String, tls: Arc<ClientConfig>, number: u32, snapshot: Vec<ObjectStatus>) -> Result<Self> {
        let channel = dial(&address, tls).await?;
        let (outgoing, requests) = mpsc::channel(OUTGOING);
        outgoing.send(hello(number)).await.context("say hello")?;
        let mut client = SessionServiceClient::new(channel);
        let answer = client.connect(ReceiverStream::new(requests)).await.context("open a stream")?;
        let mut incoming = answer.into_inner();
        let welcome = incoming.message().await.context("read an answer")?.and_then(|first| first.message);
        let Some(connect_response::Message::Welcome(_)) = welcome else { bail!("the floor did not say welcome") };
        let delta = snapshot.first().cloned().context("a cluster has no object")?;
        let (heard, hearing) = watch::channel(Heard::default());
        let hearing_task = AbortOnDropHandle::new(tokio::spawn(hear(incoming, heard, outgoing.clone())));
        let mut connection =
            Self { outgoing, heard: hearing, heartbeats: 0, batches: 0, delta, _hearing: hearing_task };
        connection.send_statuses(BatchKind::SnapshotWhole, snapshot).await?;
        // Messages are read in order, so its answer says that the snapshot was read.
        connection.beat().await?;
        Ok(connection)
    }

    async fn send_statuses(&mut self, kind: BatchKind, objects: Vec<ObjectStatus>) -> Result<()> {
        self.batches += 1;
        let batch = AgentMessage::Status(StatusBatch {
            sequence: self.batches,
            kind,
            objects,
            removed: Vec::new(),
            installs: Vec::new(),
            removed_installs: Vec::new(),
            untracked: 0,
            facts: None,
        });
        self.outgoing.send(batch.into()).await.context("send statuses")
    }

    async fn send_deltas(&mut self, count: u32) -> Result<()> {
        for _ in 0..count {
            let delta = self.delta.clone();
            self.send_statuses(BatchKind::Delta, vec![delta]).await?;
        }
        self.beat().await
    }

    async fn send_heartbeat(&mut self) -> Result<()> {
        self.heartbeats += 1;
        let beat = AgentMessage::Heartbeat(Heartbeat { sequence: self.heartbeats, dropped: 0 });
        self.outgoing.send(beat.into()).await.context("send a heartbeat")
    }

    /// Sends a heartbeat and waits for its answer.
    async fn beat(&mut self) -> Result<()> {
        self.send_heartbeat().await?;
        let wanted = self.heartbeats;
        self.heard.wait_for(|heard| heard.lease >= wanted).await.context("the floor closed a stream")?;
        Ok(())
    }
}

/// Hears what the server says, and acknowledges changes, until the stream ends.
async fn hear(
    mut incoming: Streaming<ConnectResponse>,
    heard: watch::Sender<Heard>,
    outgoing: mpsc::Sender<ConnectRequest>,
) {
    while let Ok(Some(answer)) = incoming.message().await {
        match answer.message {
            Some(connect_response::Message::Lease(lease)) => {
                heard.send_modify(|heard| heard.lease = lease.heartbeat_sequence);
            }
            Some(connect_response::Message::Desired(desired)) => {
                let now = Moment::now();
                let change = desired.fence.as_ref().map_or(0, |fence| fence.position);
                heard.send_modify(|heard| heard.change = Some((change, now)));
                let receipt =
                    Receipt { fence: desired.fence, plan_digest: desired.plan_digest, refused: String::new() };
                let message = connect_request::Message::Receipt(receipt);
                if outgoing.send(ConnectRequest { message: Some(message), ..ConnectRequest::default() }).await.is_err()
                {
                    return;
                }
            }
            _ => {}
        }
    }
}

/// Waits until each connection has heard of a change, and times when it did.
async fn received(connections: &[Connection], change: u64, since: Moment, patience: Duration) -> Answer {
    let until = Instant::now() + patience;
    let mut waiting: Vec<&Connection> = connections.iter().collect();
    let mut latency = Latency::new();
    loop {
        waiting.retain(|connection| match connection.heard.borrow().change {
            Some((newest, at)) if newest >= change => {
                latency.record(at.since(since));
                false
            }
            _ => true,
        });
        if waiting.is_empty() || Instant::now() > until {
            return Answer::Received { latency, missing: waiting.len() as u64 };
        }
        sleep(LOOK).await;
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
fn hello(number: u32) -> ConnectRequest {
    AgentMessage::Hello(Box::new(Hello {
        protocols: limits::PROTOCOL_VERSIONS,
        fingerprint: Uid::from_entropy([7; 16]).to_string(),
        instance: fingerprint(number),
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
fn statuses(objects: u32) -> Vec<ObjectStatus> {
    let cluster = SimulatedCluster::new(SimulatedOptions {
        name: "floor".into(),
        background_objects: objects,
        settle: Duration::ZERO,
        kubernetes_version: "v1.35.4".into(),
    });
    let text_bytes = Limits::DEFAULT.text_bytes as usize;
    cluster.truth().values().map(|document| judge(document, text_bytes)).collect()
}
