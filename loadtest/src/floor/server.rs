//! The floor's server.

use std::io::Read;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{Stream, StreamExt};
use starling_model::session::{HubMessage, Lease, Welcome};
use starling_model::{Limits, limits};
use starling_proto::v1::session_service_server::{SessionService, SessionServiceServer};
use starling_proto::v1::{ConnectRequest, ConnectResponse, connect_request};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::{Secured, tls};

/// Window of one stream and of the connection, in bytes; the same as the hub's.
const WINDOW: u32 = 64 * 1024;

/// Connections that wait to be served.
const ACCEPTED: usize = 128;

/// Answers sessions as cheaply as they can be answered.
struct Echo;

type Accepted = std::io::Result<Secured<TlsStream<TcpStream>>>;

/// Serves on a port of its own, whose address it prints, until standard input closes.
///
/// # Errors
/// Certificates that cannot be read, or no free port.
pub async fn serve(certificates: &Path) -> Result<()> {
    let acceptor = TlsAcceptor::from(tls::server(certificates)?);
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
    println!("{}", listener.local_addr().context("read the port")?);
    let (accepted, connections) = mpsc::channel(ACCEPTED);
    std::thread::spawn(end_with_input);
    tokio::spawn(accept(listener, acceptor, accepted));
    Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .add_service(SessionServiceServer::new(Echo))
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

/// Ends the process when whoever started it is gone; open streams are cut.
fn end_with_input() {
    let mut byte = [0];
    while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
    std::process::exit(0);
}

#[tonic::async_trait]
impl SessionService for Echo {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ConnectResponse, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let answers = request.into_inner().filter_map(|message| async move { message.map(answer).transpose() });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn answer(message: ConnectRequest) -> Option<ConnectResponse> {
    let answer = match message.message? {
        connect_request::Message::Hello(_) => HubMessage::Welcome(Welcome {
            protocol: limits::PROTOCOL_VERSIONS.1,
            hub: "floor".into(),
            lease: limits::COMMAND_LEASE,
            heartbeat: limits::HEARTBEAT_INTERVAL,
            reconnect_window: Duration::ZERO,
            limits: Limits::DEFAULT,
            status_known: false,
            epoch: 1,
            hold_reason: None,
        }),
        connect_request::Message::Heartbeat(heartbeat) => {
            HubMessage::Lease(Lease { heartbeat: heartbeat.sequence, lease: limits::COMMAND_LEASE, hold_reason: None })
        }
        _ => return None,
    };
    Some(answer.into())
}
