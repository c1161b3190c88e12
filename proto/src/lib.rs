//! The wire: Starling's gRPC services as generated code, their conversion to and from the model, and no decision.
//!
//! The code under `gen/` is generated from `starling/v1/*.proto` and committed; `tests/generated.rs` fails when the two
//! differ and rewrites the code when `BLESS=1` is set.

pub mod codec;
pub mod convert;
pub mod fragment;

/// The first version of the protocol.
pub mod v1 {
    #![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::unwrap_used)]
    include!("gen/starling.v1.rs");

    /// The encoded descriptors of all services, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/starling.v1.binpb");
}
