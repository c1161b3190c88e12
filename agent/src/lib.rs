//! The agent of one managed cluster: watches Flux, applies what the cluster is assigned, talks to the hub.
//!
//! Owns the IO: the cluster's API server (behind a port), the session's stream, the identity, the order in which
//! effects are performed. Does not own decisions: what an object's health is, what a plan makes of an inventory, when
//! to dial and what may be done under which lease are `starling-agent-core`'s.

mod agent;
mod applier;
mod client;
pub mod cluster;
pub mod config;
pub mod identity;
pub mod metrics;
mod observer;
pub mod ports;
pub mod program;
mod shared;
mod standby;
mod tasks;
mod tls;

pub use self::agent::{run, run_measured};
pub use self::standby::{Candidate, run_elected};

#[cfg(test)]
mod agent_tests;
#[cfg(test)]
mod moving_tests;
#[cfg(test)]
mod rejoin_tests;
#[cfg(test)]
mod standby_tests;
#[cfg(test)]
mod testing;
