//! Starling's own programs as processes: a hub, the command line, agents in real clusters.
//!
//! Owns starting, killing and asking them as their users do. Used by end-to-end tests and by the demo; blocks, as
//! [`starling_realparts`] does.

mod agent;
mod hub;
mod management;
mod programs;

pub use agent::{Adoption, Agent, InstalledBy};
pub use hub::{FLEET_HOLDS, Hub, HubOptions, Printed, Status};
pub use management::{KubernetesSource, ManagementCluster, SYSTEM_NAMESPACE, chart};
pub use programs::StarlingPrograms;
