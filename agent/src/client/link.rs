//! The stream of one session: what goes out in pieces, what comes in whole.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use rustls::ClientConfig;
use starling_agent_core::session::End;
use starling_model::Limits;
use starling_model::limits::LARGEST_BATCH_BYTES;
use starling_model::session::HubMessage;
use starling_proto::fragment::Assembler;
use starling_proto::v1::session_service_client::SessionServiceClient;
use starling_proto::v1::{ConnectRequest, ConnectResponse};
use tonic::{Response, Status, Streaming};

use super::channel;
use crate::identity::{refusal, retry_after};
use crate::ports::Ports;

/// Room above the largest fragment for what wraps it on the wire, in bytes.
const ENVELOPE: usize = 4096;

/// An open stream; dropping both halves closes the connection.
pub(super) struct Link {
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
}

/// What the agent says.
pub(super) struct Outgoing(mpsc::Sender<ConnectRequest>);

/// What the hub says.
pub(super) struct Incoming {
    stream: Stream,
    assembler: Assembler,
}

enum Stream {
    /// The hub answers the call when it has read Hello.
    Opening(BoxFuture<'static, Result<Response<Streaming<ConnectResponse>>, Status>>),
    Open(Pin<Box<Streaming<ConnectResponse>>>),
}

impl Link {
    /// Dials, secures and begins a stream; the hub has not said anything yet.
    pub(super) async fn dial(ports: Ports, address: String, tls: Arc<ClientConfig>) -> Result<Self, End> {
        let channel =
            channel::open(&*ports.dialer, &address, tls).await.map_err(|error| End::because(error.to_string()))?;
        let mut client =
            SessionServiceClient::new(channel).max_decoding_message_size(LARGEST_BATCH_BYTES as usize * 2 + ENVELOPE);
        // One message waits here: the status book is the queue.
        let (outgoing, requests) = mpsc::channel(0);
        let opening = async move { client.connect(requests).await };
        let incoming = Incoming { stream: Stream::Opening(Box::pin(opening)), assembler: Assembler::default() };
        Ok(Self { outgoing: Outgoing(outgoing), incoming })
    }
}

impl Outgoing {
    /// Waits until a message can be sent; false when the stream takes no more.
    pub(super) async fn ready(&mut self) -> bool {
        poll_fn(|context| self.0.poll_ready(context)).await.is_ok()
    }

    /// Sends a message, after [`Self::ready`]; a stream that takes no more says so when it is read.
    pub(super) fn send(&mut self, message: ConnectRequest) {
        if let Err(error) = self.0.try_send(message) {
            tracing::debug!(%error, "stream takes no more messages");
        }
    }
}

impl Incoming {
    /// Returns the next whole message with the context of the trace that it belongs to, or how the stream ended. Giving up
    /// waiting loses nothing.
    pub(super) async fn receive(&mut self, limits: &Limits) -> Result<(HubMessage, String), End> {
        loop {
            let piece = match &mut self.stream {
                Stream::Opening(opening) => {
                    let answer = opening.await.map_err(|status| end_of(&status))?;
                    self.stream = Stream::Open(Box::pin(answer.into_inner()));
                    continue;
                }
                Stream::Open(stream) => match stream.next().await {
                    None => return Err(End::because("the hub closed the stream")),
                    Some(piece) => piece.map_err(|status| end_of(&status))?,
                },
            };
            let whole = self
                .assembler
                .accept(piece, limits.message_bytes as usize)
                .map_err(|error| End::because(error.to_string()))?;
            let Some(mut whole) = whole else { continue };
            let traceparent = std::mem::take(&mut whole.traceparent);
            let message = HubMessage::try_from(whole).map_err(|error| End::because(error.to_string()))?;
            return Ok((message, traceparent));
        }
    }
}

fn end_of(status: &Status) -> End {
    let message = if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() };
    End { code: refusal(status), message, retry_after: retry_after(status) }
}
