//! What the others ask of this process: the gRPC service, for callers whose certificate names a process of the hub.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use starling_hub_core::steward::Request as Ask;
use starling_model::ErrorCode;
use starling_proto::v1;
use starling_proto::v1::peer_service_server::{PeerService, PeerServiceServer};
use std::pin::Pin;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::wire::{Report, Settled};
use super::{MESSAGE, to_json};
use crate::api::error::status;
use crate::gather::Gather;
use crate::member::Identity;
use crate::steward::{StewardHandle, not_here};
use crate::tls::PeerIdentity;

/// The shortest time between two notices.
const PACE: Duration = Duration::from_millis(100);

/// What answering the others works with.
#[derive(Clone)]
pub struct PeerParts {
    /// Which process this is.
    pub identity: Identity,
    /// The fleet's name.
    pub fleet: String,
    /// What this process knows.
    pub gather: Gather,
    /// The steward of this process.
    pub steward: StewardHandle,
}

/// The service; cheap to clone.
#[derive(Clone)]
pub struct Peer {
    parts: Arc<PeerParts>,
}

type Notices = Pin<Box<dyn Stream<Item = Result<v1::ChangesResponse, Status>> + Send>>;

impl Peer {
    /// Makes the service, with the limit on its messages.
    #[must_use]
    pub fn server(parts: PeerParts) -> PeerServiceServer<Self> {
        let service = PeerServiceServer::new(Self { parts: Arc::new(parts) });
        service.max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE)
    }
}

#[tonic::async_trait]
impl PeerService for Peer {
    type ChangesStream = Notices;

    async fn identify(&self, request: Request<v1::IdentifyRequest>) -> Result<Response<v1::IdentifyResponse>, Status> {
        let () = check(&request)?;
        let identity = &self.parts.identity;
        Ok(Response::new(v1::IdentifyResponse {
            name: identity.name.clone(),
            incarnation: identity.incarnation.0.to_vec(),
            fleet: self.parts.fleet.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let () = check(&request)?;
        let v1::SubmitRequest { actor, report, traceparent: _ } = request.into_inner();
        let report: Report = parse(&report)?;
        let answer = self.parts.steward.submit_here(&actor, Ask::from(report)).await;
        let outcome = answer.and_then(|answer| Settled::of(answer).ok_or_else(not_here));
        Ok(Response::new(v1::SubmitResponse { outcome: to_json(&outcome) }))
    }

    async fn ask(&self, request: Request<v1::AskRequest>) -> Result<Response<v1::AskResponse>, Status> {
        let () = check(&request)?;
        let part = self.parts.gather.answer(&parse(&request.into_inner().asked)?);
        Ok(Response::new(v1::AskResponse { part: to_json(&part) }))
    }

    async fn order(&self, request: Request<v1::OrderRequest>) -> Result<Response<v1::OrderResponse>, Status> {
        let () = check(&request)?;
        let obeyed = self.parts.gather.obey(parse(&request.into_inner().ordered)?).await;
        Ok(Response::new(v1::OrderResponse { obeyed: to_json(&obeyed) }))
    }

    async fn changes(&self, request: Request<v1::ChangesRequest>) -> Result<Response<Notices>, Status> {
        let () = check(&request)?;
        let (changes, _) = self.parts.gather.changes();
        Ok(Response::new(Box::pin(futures::stream::unfold(changes, next_notice))))
    }
}

async fn next_notice(
    mut changes: watch::Receiver<u64>,
) -> Option<(Result<v1::ChangesResponse, Status>, watch::Receiver<u64>)> {
    changes.changed().await.ok()?;
    tokio::time::sleep(PACE).await;
    let number = *changes.borrow_and_update();
    Some((Ok(v1::ChangesResponse { number }), changes))
}

/// Lets processes of the hub pass, and nobody else.
fn check<T>(request: &Request<T>) -> Result<(), Status> {
    let identity = request.extensions().get::<PeerIdentity>();
    match identity.and_then(PeerIdentity::process) {
        Some(_) => Ok(()),
        None => Err(status(ErrorCode::PermissionDenied, "this is for the processes of the hub alone")),
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, Status> {
    let garbled = |error| status(ErrorCode::InvalidRequest, format!("another version of the hub asks: {error}"));
    serde_json::from_slice(json).map_err(garbled)
}
