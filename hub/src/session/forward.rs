//! A stream that is passed on to the process that owns the cluster, where its agent cannot reach that one.
//!
//! The owner takes the identity from this process, which has verified it. Nothing is read into what passes.

use starling_model::limits::SESSION_TIMEOUT;
use starling_model::{ClusterId, Digest, ErrorCode, Millis};
use starling_proto::v1::session_service_client::SessionServiceClient;
use starling_proto::{fragment, v1};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Status, Streaming};

use super::{Caller, End, Outbox};
use crate::api::error::status;
use crate::shard::Forwarder;

/// Messages that wait for the owner's connection.
const WAITING: usize = 4;

/// How long the owner may take to begin its answer.
const BEGINS_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// The metadata key that carries whose stream is passed on: cluster, SHA-256 of its key and the end of its certificate.
const CALLER: &str = "starling-caller-bin";

/// Serves a stream whose first message was read, by passing all of it on.
///
/// # Errors
/// Why the owner cannot be reached: nothing was passed on.
pub(super) async fn pass_on(
    forwarder: &dyn Forwarder,
    address: &str,
    caller: &Caller,
    (first, piece): (v1::ConnectRequest, usize),
    incoming: &mut Streaming<v1::ConnectRequest>,
    outbox: &Outbox,
) -> Result<End, String> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut request = Request::new(ReceiverStream::new(receiver));
    request.metadata_mut().insert_bin(CALLER, MetadataValue::from_bytes(&caller.to_bytes()));
    let mut client = SessionServiceClient::new(forwarder.stream_to(address)?);
    let answer = timeout(BEGINS_WITHIN, client.connect(request)).await.map_err(|_| "it does not answer".to_owned())?;
    let mut answers = answer.map_err(|status| status.message().to_owned())?.into_inner();
    // In pieces again, of a number that the agent's own never have.
    for piece in fragment::split(first, u64::MAX, piece) {
        if sender.send(piece).await.is_err() {
            return Ok(End::NotPassedOn("it closed the stream".to_owned()));
        }
    }
    // Two pumps, each with room of its own: a reader that is slow in one direction does not stop the other.
    let down = async {
        loop {
            let answer = match timeout(SESSION_TIMEOUT, answers.message()).await {
                Ok(Ok(Some(answer))) => answer,
                Ok(Ok(None)) => return End::Gone,
                Ok(Err(status)) => return End::Passed(Box::new(status)),
                Err(_) => return End::NotPassedOn("it is silent".to_owned()),
            };
            match timeout(SESSION_TIMEOUT, outbox.send(Box::new(Ok(answer)))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return End::Gone,
                Err(_) => return End::Silent,
            }
        }
    };
    let up = async {
        loop {
            let message = match timeout(SESSION_TIMEOUT, incoming.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None) | Err(_)) => return End::Gone,
                Err(_) => return End::Silent,
            };
            match timeout(SESSION_TIMEOUT, sender.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return End::NotPassedOn("it closed the stream".to_owned()),
                Err(_) => return End::NotPassedOn("it does not read".to_owned()),
            }
        }
    };
    let end = tokio::select! {
        biased;
        end = down => end,
        end = up => end,
    };
    Ok(end)
}

impl Caller {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(56);
        bytes.extend_from_slice(&self.cluster.0);
        bytes.extend_from_slice(&self.key.0);
        bytes.extend_from_slice(&self.expires.0.to_be_bytes());
        bytes
    }

    /// Reads whose stream another process of the hub passes on.
    pub(super) fn passed_on(metadata: &MetadataMap) -> Result<Self, Status> {
        let wrong =
            || status(ErrorCode::InvalidRequest, "a process of the hub passes on a stream and does not say whose");
        let bytes = metadata.get_bin(CALLER).and_then(|value| value.to_bytes().ok()).ok_or_else(wrong)?;
        let part = |range: std::ops::Range<usize>| bytes.get(range).ok_or_else(wrong);
        Ok(Self {
            cluster: ClusterId::from_slice(part(0..16)?).ok_or_else(wrong)?,
            key: Digest(part(16..48)?.try_into().map_err(|_| wrong())?),
            expires: Millis(u64::from_be_bytes(part(48..56)?.try_into().map_err(|_| wrong())?)),
            forwarded: true,
        })
    }
}
