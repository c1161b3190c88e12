//! Tests of Starling as a whole, from the least powerful to the most: `tests/repository.rs` (rules), `tests/simulation`
//! (hub and agents under a simulated network), `tests/api` (real sockets and certificates), `tests/e2e` (real parts).
//!
//! Owns what several of them need: folders, steps of a story, reading what the command line prints.

pub use starling_harness::logs;

pub mod scratch;
pub mod steps;
pub mod views;
