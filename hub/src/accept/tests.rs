use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use starling_model::ClusterId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt as _;

use super::*;
use crate::metrics::RefusedConnection;
use crate::ports::TcpListenerPort;
use crate::tls::PeerIdentity;
use crate::tls::testing::TestFleet;

const HOUR: Duration = Duration::from_secs(3600);
const CLUSTER: ClusterId = ClusterId([7; 16]);

struct Port {
    address: SocketAddr,
    metrics: EdgeMetrics,
    incoming: Incoming,
}

impl Port {
    async fn open(fleet: &TestFleet, limits: AcceptLimits) -> Self {
        let listener = TcpListenerPort::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, metrics) = (listener.socket_address(), EdgeMetrics::default());
        let tls = Arc::clone(&fleet.tls);
        let (task, incoming) =
            incoming(AcceptParts { listener: Arc::new(listener), tls, limits, metrics: metrics.clone() });
        tokio::spawn(task);
        Self { address, metrics, incoming }
    }

    async fn accepted(&mut self) -> PeerStream {
        within(self.incoming.next()).await.unwrap().unwrap()
    }

    async fn refused(&self, reason: ConnectionRefusal) {
        let counter = self.metrics.connections_refused.get_or_create_owned(&RefusedConnection { reason });
        within(async {
            while counter.get() == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn dial(&self, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

fn limits() -> AcceptLimits {
    AcceptLimits { handshake_timeout: Duration::from_millis(300), ..AcceptLimits::for_connections(64) }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens in time")
}

/// Waits until the other end closes, whatever it says before.
async fn closes(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    within(async { while matches!(stream.read(&mut [0; 64]).await, Ok(read) if read > 0) {} }).await;
}

#[tokio::test]
async fn callers_are_sorted() {
    let fleet = TestFleet::new();
    let mut port = Port::open(&fleet, limits()).await;
    let agent = fleet.agent(CLUSTER, HOUR);
    let _plain = port.dial(fleet.client(None)).await.unwrap();
    assert_eq!(port.accepted().await.peer().identity, PeerIdentity::None);
    let _agent = port.dial(fleet.client(Some(&agent))).await.unwrap();
    let accepted = port.accepted().await;
    assert_eq!(accepted.peer().identity.valid().unwrap().cluster, CLUSTER);
    assert!(accepted.peer().address.starts_with("127.0.0.1:"));
    assert_eq!(port.metrics.connections.get(), 1, "the first was dropped");
    fleet.clock.pass(2 * HOUR);
    let _expired = port.dial(fleet.client(Some(&agent))).await.unwrap();
    assert!(matches!(port.accepted().await.peer().identity, PeerIdentity::Expired(_)));
    assert_eq!(port.metrics.handshakes.get(), 3);
}

#[tokio::test]
async fn certificates_of_another_authority_are_refused_and_counted() {
    let (fleet, other) = (TestFleet::new(), TestFleet::new());
    let port = Port::open(&fleet, limits()).await;
    let foreign = other.agent(CLUSTER, HOUR);
    // In TLS 1.3 a client learns of it with its first read.
    if let Ok(mut stream) = port.dial(fleet.client(Some(&foreign))).await {
        closes(&mut stream).await;
    }
    port.refused(ConnectionRefusal::ForeignCertificate).await;
    assert!(port.dial(other.client(None)).await.is_err(), "and this client does not trust the hub");
    port.refused(ConnectionRefusal::HubNotTrusted).await;
}

#[tokio::test]
async fn garbage_silence_and_hang_ups_are_counted_and_others_served() {
    let fleet = TestFleet::new();
    let mut port = Port::open(&fleet, limits()).await;
    let mut garbage = TcpStream::connect(port.address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n").await.unwrap();
    let mut silent = TcpStream::connect(port.address).await.unwrap();
    drop(TcpStream::connect(port.address).await.unwrap());
    let _served = port.dial(fleet.client(None)).await.unwrap();
    let _open = port.accepted().await;
    port.refused(ConnectionRefusal::NotTls).await;
    port.refused(ConnectionRefusal::Closed).await;
    port.refused(ConnectionRefusal::Timeout).await;
    closes(&mut garbage).await;
    closes(&mut silent).await;
}

#[tokio::test]
async fn silent_connections_do_not_take_the_turns_of_handshakes() {
    let fleet = TestFleet::new();
    let limits = AcceptLimits { handshakes: 1, handshake_timeout: Duration::from_secs(10), ..limits() };
    let mut port = Port::open(&fleet, limits).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(port.address).await.unwrap());
    }
    within(port.dial(fleet.client(None))).await.unwrap();
    port.accepted().await;
}

#[tokio::test]
async fn connections_are_bounded_in_all_and_by_sort() {
    let fleet = TestFleet::new();
    let limits = AcceptLimits { connections: 4, uncertified: 1, per_cluster: 2, ..limits() };
    let mut port = Port::open(&fleet, limits).await;
    let (one, other) = (fleet.agent(CLUSTER, HOUR), fleet.agent(ClusterId([8; 16]), HOUR));
    let mut held = Vec::new();
    for identity in [None, Some(&one), Some(&one), Some(&other)] {
        let client = port.dial(fleet.client(identity)).await.unwrap();
        held.push((client, port.accepted().await));
    }
    let mut beyond = TcpStream::connect(port.address).await.unwrap();
    closes(&mut beyond).await;
    port.refused(ConnectionRefusal::TooMany).await;

    held.remove(3);
    for identity in [None, Some(&one)] {
        let mut stream = port.dial(fleet.client(identity)).await.unwrap();
        closes(&mut stream).await;
    }
    let _client = port.dial(fleet.client(Some(&other))).await.unwrap();
    port.accepted().await;
}

#[tokio::test]
async fn whoever_does_not_begin_http2_is_closed() {
    let fleet = TestFleet::new();
    let mut port = Port::open(&fleet, limits()).await;
    let mut client = port.dial(fleet.client(None)).await.unwrap();
    let mut server = port.accepted().await;
    client.write_all(b"PRI").await.unwrap();
    let error = within(async {
        loop {
            if let Err(error) = server.read(&mut [0; 64]).await {
                break error;
            }
        }
    })
    .await;
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_reload_leaves_open_connections_alone() {
    let fleet = TestFleet::new();
    let mut port = Port::open(&fleet, limits()).await;
    let mut client = port.dial(fleet.client(None)).await.unwrap();
    let mut server = port.accepted().await;
    fleet.clock.pass(80 * 24 * HOUR);
    let ports: (&dyn crate::ports::Clock, &dyn crate::ports::Entropy) = (&*fleet.clock, &crate::ports::OsEntropy);
    assert!(fleet.keyring.renew_server(ports).await.unwrap());
    fleet.tls.reload(&fleet.keyring).unwrap();
    client.write_all(b"still here").await.unwrap();
    let mut buffer = [0; 10];
    within(server.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(&buffer, b"still here");
}

/// Fails as a process without free files does, then accepts.
struct Failing {
    inner: TcpListenerPort,
    failures: AtomicUsize,
}

#[async_trait]
impl Listener for Failing {
    async fn accept(&self) -> io::Result<(Box<dyn Io>, String)> {
        if self.failures.fetch_add(1, Ordering::Relaxed) < 2 {
            return Err(io::Error::from_raw_os_error(24));
        }
        self.inner.accept().await
    }

    fn address(&self) -> String {
        self.inner.address()
    }
}

#[tokio::test]
async fn running_out_of_files_is_waited_out() {
    let fleet = TestFleet::new();
    let inner = TcpListenerPort::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, metrics) = (inner.socket_address(), EdgeMetrics::default());
    let listener = Arc::new(Failing { inner, failures: AtomicUsize::new(0) });
    let parts = AcceptParts { listener, tls: Arc::clone(&fleet.tls), limits: limits(), metrics: metrics.clone() };
    let (task, incoming) = incoming(parts);
    let task = tokio::spawn(task);
    let mut port = Port { address, metrics, incoming };
    let _client = port.dial(fleet.client(None)).await.unwrap();
    port.accepted().await;
    assert_eq!(port.metrics.accept_failures.get(), 2);
    drop(port);
    within(task).await.unwrap();
}
