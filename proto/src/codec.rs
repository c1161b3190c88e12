//! Protocol buffers in gRPC messages, with small buffers.
//!
//! tonic keeps two buffers for each stream as long as it lives, of 8 KiB each unless told otherwise, which grow with the largest message
//! and never shrink. A hub has a stream for each cluster, most of which say little for hours.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Bytes that a buffer has at first.
const FIRST: usize = 1024;

/// Bytes after which what is encoded is passed on: whoever reads it needs a buffer for as much.
const PASSED_ON: usize = 4 * 1024;

/// A codec that encodes `T` and decodes `U`.
#[derive(Debug)]
pub struct SmallCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(FIRST, PASSED_ON))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(FIRST, PASSED_ON))
    }
}
