//! Flags of a process that may be one of several.

use std::path::PathBuf;

use clap::Args;
use starling_model::ids::check_label;

use super::{host_and_port, label};
use crate::shard::Routing;

/// Which process this is among several over one store (`--store etcd`).
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "One of several processes")]
pub struct ProcessConfig {
    /// This process's name among several, the same after a restart [default: the host's name]
    #[arg(long, env = "STARLING_HUB_NAME", value_name = "NAME", value_parser = label)]
    name: Option<String>,

    /// Where agents are redirected to and other processes dial this one [default: what is advertised]
    #[arg(long, env = "STARLING_HUB_OWN_ADDRESS", value_name = "HOST:PORT", value_parser = host_and_port)]
    pub own_address: Option<String>,

    /// This process's share of the clusters, relative to the others'
    #[arg(long, env = "STARLING_HUB_WEIGHT", value_name = "WEIGHT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub weight: u32,

    /// How agents reach the process that owns their cluster: `forward` where they can reach the advertised address alone
    #[arg(long, env = "STARLING_HUB_ROUTING", value_enum, default_value_t)]
    pub routing: Routing,

    /// The directory of the fleet's secrets, which several processes on one machine share [default: keys, in the state directory]
    #[arg(long, env = "STARLING_HUB_KEYS", value_name = "DIR")]
    pub keys: Option<PathBuf>,
}

/// A process that does not know what it is called.
#[derive(Debug, thiserror::Error)]
#[error("the host's name {0:?} cannot be a process's name: give one with --name (lower-case letters, digits and `-`)")]
pub struct NoName(String);

impl ProcessConfig {
    /// Returns the process's name: the given one, else the first part of the host's.
    ///
    /// # Errors
    /// The host's name is no label.
    pub fn name(&self) -> Result<String, NoName> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let first = host.split('.').next().unwrap_or_default().to_lowercase();
        check_label(&first).map_err(|_| NoName(host))?;
        Ok(first)
    }
}
