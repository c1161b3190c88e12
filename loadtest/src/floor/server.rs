//! The floor's server.

use std::io::BufRead as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{Stream, StreamExt, stream};
use starling_model::session::{HubMessage, Lease, Welcome};
use starling_model::{Limits, limits};
use starling_proto::v1::session_service_server::{SessionService, SessionServiceServer};
use starling_proto::v1::{
    ConnectRequest, ConnectResponse, Desired, Entry, Fence, InstallKey, Render, connect_request, connect_response,
    entry,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::orders::{Push, Pushed};
use super::{Secured, number_of, tls};
use crate::drive::Moment;
use crate::latency::Latency;

/// Window of one stream and of the connection, in bytes; the same as the hub's.
const WINDOW: u32 = 64 * 1024;

/// Connections that wait to be served.
const ACCEPTED: usize = 128;

/// Changes that wait to be sent: the coordinator waits for each.
const PUSHES: usize = 1;

/// Answers sessions as cheaply as they can be answered.
#[derive(Clone)]
struct Echo {
    /// The newest change for the first cluster.
    first: Arc<watch::Sender<u64>>,
    /// The newest change for all others.
    others: Arc<watch::Sender<u64>>,
    sessions: Arc<AtomicU64>,
    receipts: Arc<Receipts>,
}

/// Who acknowledged the newest change.
#[derive(Default)]
struct Receipts {
    under_way: Mutex<UnderWay>,
    all_there: Notify,
}

#[derive(Default)]
struct UnderWay {
    change: u64,
    since: Option<Moment>,
    wanted: u64,
    acknowledged: Latency,
}

type Accepted = std::io::Result<Secured<TlsStream<TcpStream>>>;

/// Serves on a port of its own, whose address it prints, until standard input closes; pushes what that says.
///
/// # Errors
/// Certificates that cannot be read, or no free port.
pub async fn serve(certificates: &Path) -> Result<()> {
    let acceptor = TlsAcceptor::from(tls::server(certificates)?);
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
    println!("{}", listener.local_addr().context("read the port")?);
    let (accepted, connections) = mpsc::channel(ACCEPTED);
    let (told, pushes) = mpsc::channel(PUSHES);
    std::thread::spawn(move || obey_input(&told));
    tokio::spawn(accept(listener, acceptor, accepted));
    let echo = Echo {
        first: Arc::new(watch::Sender::new(0)),
        others: Arc::new(watch::Sender::new(0)),
        sessions: Arc::default(),
        receipts: Arc::default(),
    };
    tokio::spawn(echo.clone().push(pushes));
    Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .add_service(SessionServiceServer::new(echo))
        .serve_with_incoming(ReceiverStream::new(connections))
        .await
        .context("serve")
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, accepted: mpsc::Sender<Accepted>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            // A client that sees a failure says so itself.
            if socket.set_nodelay(true).is_ok()
                && let Ok(Ok(secured)) = timeout(limits::HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await
            {
                let _ = accepted.send(Ok(Secured(secured))).await;
            }
        });
    }
}

/// Takes changes from standard input, and ends the process when whoever started it is gone; open streams are cut.
fn obey_input(told: &mpsc::Sender<Push>) {
    for line in std::io::stdin().lock().lines() {
        let push = line.ok().and_then(|line| serde_json::from_str(&line).ok());
        let Some(push) = push else {
            eprintln!("error: the floor's server was told what no coordinator tells");
            std::process::exit(1);
        };
        if told.blocking_send(push).is_err() {
            break;
        }
    }
    std::process::exit(0);
}

impl Echo {
    /// Sends changes one after another, and prints for each how soon it was acknowledged.
    async fn push(self, mut pushes: mpsc::Receiver<Push>) {
        while let Some(Push { change, first_alone }) = pushes.recv().await {
            let wanted = if first_alone { 1 } else { self.sessions.load(Ordering::Relaxed) };
            let since = Moment::now();
            *self.receipts.lock() = UnderWay { change, since: Some(since), wanted, acknowledged: Latency::new() };
            self.first.send_replace(change);
            if !first_alone {
                self.others.send_replace(change);
            }
            self.receipts.all_there.notified().await;
            let acknowledged = self.receipts.lock().acknowledged.clone();
            let line = serde_json::to_string(&Pushed { since, acknowledged });
            println!("{}", line.expect("it has only string keys"));
        }
    }
}

impl Receipts {
    fn lock(&self) -> std::sync::MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: u64) {
        let mut under_way = self.lock();
        let Some(since) = under_way.since.filter(|_| under_way.change == change) else { return };
        under_way.acknowledged.record(Moment::now().since(since));
        if under_way.acknowledged.samples() == under_way.wanted {
            self.all_there.notify_one();
        }
    }
}

#[tonic::async_trait]
impl SessionService for Echo {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ConnectResponse, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut incoming = request.into_inner();
        let Some(connect_request::Message::Hello(hello)) = incoming.message().await?.and_then(|first| first.message)
        else {
            return Err(Status::invalid_argument("a session begins with Hello"));
        };
        self.sessions.fetch_add(1, Ordering::Relaxed);
        let changes = if number_of(&hello.instance) == Some(0) { &self.first } else { &self.others };
        let pushed = WatchStream::from_changes(changes.subscribe()).map(|number| Ok(change(number)));
        let receipts = Arc::clone(&self.receipts);
        let answers = incoming.filter_map(move |message| {
            let answer = message.map(|message| answer(&receipts, message)).transpose();
            async move { answer }
        });
        // The session ends with its client, whatever may still be pushed.
        let ends = answers.map(Some).chain(stream::once(async { None }));
        let both = stream::select(ends, pushed.map(Some));
        let until_end = both.take_while(|message| std::future::ready(message.is_some())).filter_map(std::future::ready);
        Ok(Response::new(Box::pin(stream::once(async { Ok(welcome()) }).chain(until_end))))
    }
}

fn answer(receipts: &Receipts, message: ConnectRequest) -> Option<ConnectResponse> {
    match message.message? {
        connect_request::Message::Heartbeat(heartbeat) => {
            let lease = Lease { heartbeat: heartbeat.sequence, lease: limits::COMMAND_LEASE, hold_reason: None };
            Some(HubMessage::Lease(lease).into())
        }
        connect_request::Message::Receipt(receipt) => {
            receipts.count(receipt.fence.unwrap_or_default().position);
            None
        }
        _ => None,
    }
}

fn welcome() -> ConnectResponse {
    HubMessage::Welcome(Welcome {
        protocol: limits::PROTOCOL_VERSIONS.1,
        hub: "floor".into(),
        lease: limits::COMMAND_LEASE,
        heartbeat: limits::HEARTBEAT_INTERVAL,
        reconnect_window: Duration::ZERO,
        limits: Limits::DEFAULT,
        status_known: false,
        epoch: 1,
        hold_reason: None,
    })
    .into()
}

/// A plan of one install with two objects, as the assignment of a run makes it.
fn change(number: u64) -> ConnectResponse {
    let object = |kind: &str, spec: String| -> bytes::Bytes {
        format!(
            "{{\"apiVersion\":\"helm.toolkit.fluxcd.io/v2\",\"kind\":\"{kind}\",\"metadata\":{{\"name\":\"bench\",\
             \"namespace\":\"bench\",\"labels\":{{\"app.kubernetes.io/managed-by\":\"starling\"}}}},\"spec\":{{{spec}}}}}"
        )
        .into()
    };
    let repository = object("HelmRepository", "\"interval\":\"10m\",\"url\":\"https://charts.example.com\"".into());
    let release = object(
        "HelmRelease",
        format!(
            "\"interval\":\"10m\",\"chart\":{{\"spec\":{{\"chart\":\"bench\",\"version\":\"1.0.0\",\"sourceRef\":{{\"kind\":\
             \"HelmRepository\",\"name\":\"bench\"}}}}}},\"values\":{{\"message\":\"change {number}\"}}"
        ),
    );
    let render = Render { digest: vec![1; 32], objects: vec![repository, release], retires: Vec::new() };
    let entry = Entry {
        install: Some(InstallKey { namespace: "bench".into(), name: "bench".into() }),
        assignment: vec![2; 16],
        assignment_name: "bench-everybody".into(),
        revision: vec![3; 32],
        action: Some(entry::Action::Render(render)),
    };
    let fence = Fence { era_number: 1, era_id: vec![4; 16], position: number, mac: vec![5; 32] };
    let desired = Desired {
        fence: Some(fence),
        plan_digest: vec![6; 32],
        facts_digest: vec![7; 32],
        entries: vec![entry],
        ..Desired::default()
    };
    ConnectResponse { message: Some(connect_response::Message::Desired(desired)), ..ConnectResponse::default() }
}
