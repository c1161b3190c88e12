//! What waits for room in the stream: messages of the session first, then the pieces of a large one, then statuses.
//!
//! Statuses wait in the book, not here. The rest is bounded: a hub that asks for more than it reads is left.

use std::collections::VecDeque;
use std::time::Duration;

use prost::Message;
use starling_agent_core::pace::Pace;
use starling_agent_core::status_book::StatusBook;
use starling_model::session::AgentMessage;
use starling_model::{Limits, Millis};
use starling_proto::fragment;
use starling_proto::v1::ConnectRequest;

/// Messages of the session that may wait.
const CONTROL_MAXIMUM: usize = 64;

/// The outgoing side of one session.
pub(super) struct Outbox {
    control: VecDeque<ConnectRequest>,
    pieces: VecDeque<ConnectRequest>,
    batch: Option<ConnectRequest>,
    fragmented: u64,
    piece_bytes: usize,
    pace: Option<Pace>,
}

/// The hub asks for more than it reads.
#[derive(Debug)]
pub(super) struct Overflow;

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            control: VecDeque::new(),
            pieces: VecDeque::new(),
            batch: None,
            fragmented: 0,
            piece_bytes: Limits::DEFAULT.batch_bytes as usize,
            pace: None,
        }
    }

    /// Takes over the limits of an opened session; statuses are sent from now on.
    pub(super) fn open(&mut self, limits: &Limits, uptime: Millis) {
        self.piece_bytes = limits.batch_bytes as usize;
        self.pace = Some(Pace::new(limits, uptime));
    }

    /// Puts a message in line, as part of a trace or of none.
    pub(super) fn push(&mut self, message: AgentMessage, traceparent: &str) -> Result<(), Overflow> {
        let mut wire = ConnectRequest::from(message);
        traceparent.clone_into(&mut wire.traceparent);
        if wire.encoded_len() <= self.piece_bytes {
            self.control.push_back(wire);
        } else {
            self.fragmented += 1;
            self.pieces.extend(fragment::split(wire, self.fragmented, self.piece_bytes));
        }
        if self.control.len() > CONTROL_MAXIMUM { Err(Overflow) } else { Ok(()) }
    }

    /// Tells whether something other than statuses waits.
    pub(super) fn is_urgent(&self) -> bool {
        !self.control.is_empty() || !self.pieces.is_empty()
    }

    /// Sends no statuses any more: they go to another hub process.
    pub(super) fn stop_statuses(&mut self) {
        self.batch = None;
        self.pace = None;
    }

    /// Takes what to send next other than statuses.
    pub(super) fn next_urgent(&mut self) -> Option<ConnectRequest> {
        self.control.pop_front().or_else(|| self.pieces.pop_front())
    }

    /// Takes what to send next; `Ok(None)` is nothing.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub(super) fn next(&mut self, book: &mut StatusBook, uptime: Millis) -> Result<Option<ConnectRequest>, Duration> {
        if let Some(message) = self.next_urgent() {
            return Ok(Some(message));
        }
        let Some(pace) = &mut self.pace else { return Ok(None) };
        if self.batch.is_none() {
            let batch = book.next_batch(self.piece_bytes);
            self.batch = batch.map(|batch| ConnectRequest::from(AgentMessage::Status(batch)));
        }
        let Some(batch) = self.batch.take() else { return Ok(None) };
        if let Err(wait) = pace.admit(batch.encoded_len(), uptime) {
            self.batch = Some(batch);
            return Err(wait.max(Duration::from_millis(1)));
        }
        // One status that is larger than a piece still travels, in pieces.
        self.fragmented += 1;
        self.pieces.extend(fragment::split(batch, self.fragmented, self.piece_bytes));
        Ok(self.pieces.pop_front())
    }
}
