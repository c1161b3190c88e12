//! Fragments: a message too large for one piece travels in parts, so that heartbeats pass between them.
//!
//! Works on encoded messages of either direction. Bounded: a peer that announces more than the limit is refused.

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::v1;

/// A direction's messages, which can carry a fragment.
pub trait Fragmented: Message + Default + Sized {
    /// Wraps a fragment.
    fn from_fragment(fragment: v1::Fragment) -> Self;

    /// Unwraps a fragment, or gives the message back.
    ///
    /// # Errors
    /// The message itself where it is whole.
    fn into_fragment(self) -> Result<v1::Fragment, Box<Self>>;
}

/// Puts fragments together again; one message at a time, in order.
#[derive(Debug, Default)]
pub struct Assembler {
    message: u64,
    content: BytesMut,
}

/// Fragments that cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// The message grew beyond the limit of this many bytes.
    #[error("message exceeds {0} bytes")]
    TooLarge(usize),
    /// Parts of two messages were mixed, or a part was lost.
    #[error("fragments are out of order")]
    OutOfOrder,
    /// The whole is not a message.
    #[error("reassembled message cannot be decoded")]
    Undecodable,
}

/// Cuts an encoded message into pieces of at most `piece` bytes of content; a message that fits stays whole.
///
/// `number` identifies the message in its direction and must differ from the one before. Pieces are never empty: one of
/// no bytes counts as one of one byte.
#[must_use]
pub fn split<M: Fragmented>(message: M, number: u64, piece: usize) -> Vec<M> {
    let piece = piece.max(1);
    if message.encoded_len() <= piece {
        return vec![message];
    }
    let encoded = Bytes::from(message.encode_to_vec());
    let pieces = encoded.len().div_ceil(piece);
    (0..pieces)
        .map(|index| {
            let end = encoded.len().min((index + 1) * piece);
            let content = encoded.slice(index * piece..end);
            M::from_fragment(v1::Fragment { message: number, content, last: index + 1 == pieces })
        })
        .collect()
}

impl Assembler {
    /// Takes the next message off the wire: gives it back when whole, `None` while parts are missing.
    ///
    /// # Errors
    /// See [`FragmentError`]; the session cannot go on after one.
    pub fn accept<M: Fragmented>(&mut self, message: M, limit: usize) -> Result<Option<M>, FragmentError> {
        let fragment = match message.into_fragment() {
            Ok(fragment) => fragment,
            Err(whole) => return Ok(Some(*whole)),
        };
        if !self.content.is_empty() && fragment.message != self.message {
            return Err(FragmentError::OutOfOrder);
        }
        if self.content.len() + fragment.content.len() > limit {
            return Err(FragmentError::TooLarge(limit));
        }
        self.message = fragment.message;
        self.content.extend_from_slice(&fragment.content);
        if !fragment.last {
            return Ok(None);
        }
        // Taken, not cleared: an idle session keeps no buffer.
        let whole = std::mem::take(&mut self.content).freeze();
        M::decode(whole).map(Some).map_err(|_| FragmentError::Undecodable)
    }
}

macro_rules! fragmented {
    ($message:ident, $module:ident) => {
        impl Fragmented for v1::$message {
            fn from_fragment(fragment: v1::Fragment) -> Self {
                Self { message: Some(v1::$module::Message::Fragment(fragment)), ..Self::default() }
            }

            fn into_fragment(self) -> Result<v1::Fragment, Box<Self>> {
                match self.message {
                    Some(v1::$module::Message::Fragment(fragment)) => Ok(fragment),
                    _ => Err(Box::new(self)),
                }
            }
        }
    };
}

fragmented!(ConnectRequest, connect_request);
fragmented!(ConnectResponse, connect_response);

#[cfg(test)]
mod tests {
    use super::*;

    fn resync(length: usize) -> v1::ConnectResponse {
        let reason = "r".repeat(length);
        v1::ConnectResponse {
            message: Some(v1::connect_response::Message::Resync(v1::Resync { reason })),
            traceparent: String::new(),
        }
    }

    #[test]
    fn a_large_message_comes_back_whole_with_others_between_its_parts() {
        let pieces = split(resync(1000), 7, 300);
        assert_eq!(pieces.len(), 4);
        let mut assembler = Assembler::default();
        let mut whole = Vec::new();
        for piece in pieces {
            whole.extend(assembler.accept(piece, 4096).expect("in order"));
            whole.extend(assembler.accept(resync(1), 4096).expect("whole"));
        }
        assert_eq!(whole.iter().filter(|message| **message == resync(1000)).count(), 1);
        assert_eq!(whole.len(), 5);
    }

    #[test]
    fn pieces_are_never_empty() {
        assert_eq!(split(resync(3), 1, 0).len(), resync(3).encoded_len());
    }

    #[test]
    fn a_message_beyond_the_limit_is_refused() {
        let mut assembler = Assembler::default();
        let outcome: Result<Vec<_>, _> =
            split(resync(1000), 1, 300).into_iter().map(|piece| assembler.accept(piece, 500)).collect();
        assert_eq!(outcome, Err(FragmentError::TooLarge(500)));
    }

    #[test]
    fn parts_of_two_messages_do_not_mix() {
        let mut assembler = Assembler::default();
        let first = split(resync(1000), 1, 300).swap_remove(0);
        let second = split(resync(1000), 2, 300).swap_remove(1);
        assert_eq!(assembler.accept(first, 4096), Ok(None));
        assert_eq!(assembler.accept(second, 4096), Err(FragmentError::OutOfOrder));
    }
}
