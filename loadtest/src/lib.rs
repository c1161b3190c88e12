//! Simulated fleets over the real protocol: the agent's own code over managed clusters in memory.
//!
//! Owns the clusters in memory, adopting and running many of them, and measuring a hub with them, beside a bare gRPC server
//! as the floor and one API server as the alternative. Does not own any of the agent's behaviour: each simulated cluster runs [`starling_agent`] as it is.

mod alternative;
pub mod cluster;
pub mod drive;
mod fixture;
pub mod fleet;
pub mod floor;
pub mod grow;
mod hostile;
mod latency;
pub mod link;
pub mod observe;
pub mod profile;
pub mod report;
pub mod run;
pub mod scenario;
pub mod storm;
pub mod truth;
