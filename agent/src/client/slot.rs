//! One link of the client: being dialled or up, with what waits to leave on it.

use std::future::pending;

use futures::future::BoxFuture;
use starling_agent_core::session::End;
use starling_model::Limits;
use starling_model::session::{AgentMessage, HubMessage};

use super::link::{Incoming, Link, Outgoing};
use super::outbox::{Outbox, Overflow};

/// A link; an idle one holds next to nothing.
pub(super) struct Slot {
    pub(super) limits: Limits,
    pub(super) outbox: Outbox,
    /// The generation of the certificate that the dial showed.
    pub(super) shown: Option<u64>,
    dialling: Option<BoxFuture<'static, Result<Link, End>>>,
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
    /// Nothing is said any more once what waits has left.
    is_finishing: bool,
}

/// What happened on a link.
pub(super) enum SlotEvent {
    Connected,
    DialFailed(End),
    Received(HubMessage, String),
    Closed(End),
    Room,
}

impl Slot {
    /// Makes a link that is not dialled.
    pub(super) fn idle() -> Self {
        Self {
            limits: Limits::DEFAULT,
            outbox: Outbox::new(),
            shown: None,
            dialling: None,
            outgoing: None,
            incoming: None,
            is_finishing: false,
        }
    }

    /// Makes a link that is being dialled.
    pub(super) fn dialling(dialling: BoxFuture<'static, Result<Link, End>>, shown: Option<u64>) -> Self {
        Self { shown, dialling: Some(dialling), ..Self::idle() }
    }

    /// Tells whether the stream is up and takes messages.
    pub(super) fn is_up(&self) -> bool {
        self.outgoing.is_some()
    }

    /// Waits for the next event; giving up waiting loses nothing.
    pub(super) async fn next(&mut self, wants_room: bool) -> SlotEvent {
        tokio::select! {
            biased;
            link = dialled(&mut self.dialling) => {
                self.dialling = None;
                match link {
                    Ok(link) => {
                        (self.outgoing, self.incoming) = (Some(link.outgoing), Some(link.incoming));
                        SlotEvent::Connected
                    }
                    Err(end) => SlotEvent::DialFailed(end),
                }
            }
            received = receive(&mut self.incoming, &self.limits) => match received {
                Ok((message, traceparent)) => SlotEvent::Received(message, traceparent),
                Err(end) => SlotEvent::Closed(end),
            },
            has_room = room(&mut self.outgoing), if wants_room || self.outbox.is_urgent() => {
                if has_room { SlotEvent::Room } else { SlotEvent::Closed(End::because("the stream broke")) }
            }
        }
    }

    /// Puts a message in line.
    pub(super) fn push(&mut self, message: AgentMessage, traceparent: &str) -> Result<(), Overflow> {
        self.outbox.push(message, traceparent)
    }

    /// Waits until a message can be sent; false when the stream takes no more.
    pub(super) async fn ready(&mut self) -> bool {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.ready().await,
            None => false,
        }
    }

    /// Sends a message, after there was room.
    pub(super) fn send(&mut self, message: starling_proto::v1::ConnectRequest) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.send(message);
        }
    }

    /// Sends what waits, other than statuses, after there was room.
    pub(super) fn send_urgent(&mut self) {
        if let Some(message) = self.outbox.next_urgent() {
            self.send(message);
        }
        self.finish_if_empty();
    }

    /// Ends the agent's half of the stream once what waits has left.
    pub(super) fn finish(&mut self) {
        self.is_finishing = true;
        self.finish_if_empty();
    }

    fn finish_if_empty(&mut self) {
        if self.is_finishing && !self.outbox.is_urgent() {
            self.outgoing = None;
        }
    }
}

async fn dialled(dialling: &mut Option<BoxFuture<'static, Result<Link, End>>>) -> Result<Link, End> {
    match dialling {
        Some(dialling) => dialling.await,
        None => pending().await,
    }
}

async fn receive(incoming: &mut Option<Incoming>, limits: &Limits) -> Result<(HubMessage, String), End> {
    match incoming {
        Some(incoming) => incoming.receive(limits).await,
        None => pending().await,
    }
}

async fn room(outgoing: &mut Option<Outgoing>) -> bool {
    match outgoing {
        Some(outgoing) => outgoing.ready().await,
        None => pending().await,
    }
}
