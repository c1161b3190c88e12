//! Starling's own programs as processes: a hub of one process or of several, the command line, agents in real clusters.
//!
//! Owns starting, killing and asking them as their users do. Used by end-to-end tests and by the demo; blocks, as
//! [`starling_realparts`] does.

mod agent;
mod command_line;
mod hub;
mod hubs;
pub mod logs;
mod management;
mod programs;

pub use agent::{Adoption, Agent, InstalledBy};
pub use command_line::{CommandLine, FLEET_HOLDS, Printed, Status};
pub use hub::{Hub, HubMember, HubOptions};
pub use hubs::{EtcdAccess, Hubs, HubsOptions, Shard};
pub use management::{KubernetesSource, ManagementCluster, SYSTEM_NAMESPACE, chart};
pub use programs::StarlingPrograms;
