//! etcd's gRPC services over the faked state.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvServer, PbKvService,
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse, PbLeaseLeasesRequest,
    PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseServer, PbLeaseService,
    PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse, PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse,
    PbRangeStreamResponse, PbTxnRequest, PbTxnResponse, PbWatchServer,
};
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use turmoil::net::{TcpListener, TcpStream};

use super::watching::Watching;
use super::{ETCD_PORT, Etcd, Fate};

/// How long a request waits for a majority.
const REQUEST: Duration = Duration::from_secs(5);

/// How often leases are looked at.
const LEASES: Duration = Duration::from_millis(250);

/// How often a request without a majority looks whether there is one again.
const LOOK: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection: a host's name.
#[derive(Clone, Debug)]
pub(super) struct Peer(pub(super) String);

/// Serves until dropped, as etcd's process does.
pub(crate) async fn run(etcd: Arc<Etcd>) -> turmoil::Result {
    etcd.begin(now());
    let listener = TcpListener::bind(("0.0.0.0", ETCD_PORT)).await?;
    let connections = stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, address)| {
            let peer = turmoil::reverse_lookup(address.ip()).unwrap_or_default();
            Connection { stream, peer: Peer(peer) }
        });
        Some((accepted, listener))
    });
    let service = Service { etcd: Arc::clone(&etcd) };
    let serving = tonic::transport::Server::builder()
        .add_service(PbKvServer::new(service.clone()))
        .add_service(PbLeaseServer::new(service))
        .add_service(PbWatchServer::new(Watching { etcd: Arc::clone(&etcd) }))
        .serve_with_incoming(connections);
    let expiring = async {
        loop {
            sleep(LEASES).await;
            etcd.expire(now());
        }
    };
    tokio::select! {
        biased;
        () = expiring => Ok(()),
        served = serving => Ok(served?),
    }
}

/// Returns simulated time.
pub(super) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

#[derive(Clone)]
struct Service {
    etcd: Arc<Etcd>,
}

impl Service {
    /// Takes the time that a request needs, and waits for a majority.
    async fn admit(&self) -> Result<(), Status> {
        let slow = {
            let mut inner = self.etcd.inner();
            let slow = inner.faults.slow;
            if slow == 0 { 0 } else { inner.draws.within(slow / 4..slow) }
        };
        if slow > 0 {
            sleep(Duration::from_millis(slow)).await;
        }
        let deadline = Instant::now() + REQUEST;
        while self.etcd.inner().faults.without_majority {
            if Instant::now() >= deadline {
                return Err(timed_out());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl PbKvService for Service {
    type RangeStreamStream = BoxStream<'static, Result<PbRangeStreamResponse, Status>>;

    async fn range(&self, request: Request<PbRangeRequest>) -> Result<Response<PbRangeResponse>, Status> {
        self.admit().await?;
        self.etcd.look(|state| state.range(request.get_ref())).map(Response::new)
    }

    async fn range_stream(&self, _: Request<PbRangeRequest>) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented("nobody asks for this"))
    }

    async fn put(&self, _: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        Err(Status::unimplemented("nobody asks for this"))
    }

    async fn delete_range(&self, _: Request<PbDeleteRequest>) -> Result<Response<PbDeleteResponse>, Status> {
        Err(Status::unimplemented("nobody asks for this"))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let request = request.into_inner();
        match self.etcd.fate(&request) {
            Fate::Answered => {}
            Fate::Lost => {
                self.admit().await?;
                let _ = self.etcd.txn(&request, now());
                return Err(Status::unavailable("etcdserver: the answer was lost"));
            }
            Fate::Late(after) => {
                let late = self.clone();
                tokio::spawn(async move {
                    sleep(after).await;
                    if late.admit().await.is_ok() {
                        let _ = late.etcd.txn(&request, now());
                    }
                });
                sleep(REQUEST).await;
                return Err(timed_out());
            }
            Fate::Trapped { carried_out } => {
                if carried_out {
                    let _ = self.etcd.txn(&request, now());
                }
                return std::future::pending().await;
            }
        }
        self.admit().await?;
        self.etcd.txn(&request, now()).map(Response::new)
    }

    async fn compact(&self, _: Request<PbCompactionRequest>) -> Result<Response<PbCompactionResponse>, Status> {
        Err(Status::unimplemented("nobody asks for this"))
    }
}

#[tonic::async_trait]
impl PbLeaseService for Service {
    type LeaseKeepAliveStream = BoxStream<'static, Result<PbLeaseKeepAliveResponse, Status>>;

    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        self.admit().await?;
        let ttl = request.get_ref().ttl;
        let id = i64::try_from(self.etcd.inner().draws.next() >> 1).expect("63 bits");
        self.etcd.change(|state| state.grant(id, ttl, now()));
        let header = Some(self.etcd.look(super::State::header));
        Ok(Response::new(PbLeaseGrantResponse { header, id, ttl, error: String::new() }))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        self.admit().await?;
        if !self.etcd.change(|state| state.revoke(request.get_ref().id, now())) {
            return Err(Status::not_found("etcdserver: requested lease not found"));
        }
        Ok(Response::new(PbLeaseRevokeResponse { header: Some(self.etcd.look(super::State::header)) }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let service = self.clone();
        let answers = request.into_inner().then(move |request| {
            let service = service.clone();
            async move {
                let id = request?.id;
                service.admit().await?;
                let ttl = service.etcd.change(|state| state.keep_alive(id, now())).unwrap_or(0);
                let header = Some(service.etcd.look(super::State::header));
                Ok(PbLeaseKeepAliveResponse { header, id, ttl })
            }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        self.admit().await?;
        let id = request.get_ref().id;
        let (ttl, granted_ttl) = self.etcd.look(|state| state.time_to_live(id, now())).unwrap_or((-1, 0));
        let header = Some(self.etcd.look(super::State::header));
        Ok(Response::new(PbLeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys: Vec::new() }))
    }

    async fn lease_leases(&self, _: Request<PbLeaseLeasesRequest>) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        Err(Status::unimplemented("nobody asks for this"))
    }
}

fn timed_out() -> Status {
    Status::unavailable("etcdserver: request timed out")
}

/// A connection that knows who is at its other end.
struct Connection {
    stream: TcpStream,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
