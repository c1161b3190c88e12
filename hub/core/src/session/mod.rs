//! The hub's side of a session, as rules: who may open one, which batches count, how fast, how long a lease is,
//! and what makes a cluster live and ready.
//!
//! Owns these decisions as values over plain state. Does not own connections, tasks or messages on the wire (the shell
//! does), nor whether an identity is accepted (see [`crate::enrolment`]) or the fleet holds (see [`crate::hold`]).

pub mod hello;
pub mod incumbency;
pub mod lease;
pub mod rate;
pub mod sequence;
pub mod standing;
