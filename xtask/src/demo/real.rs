//! The demo's real clusters: API servers with real Flux, each adopted and joined as its user would.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use starling_harness::{Agent, Hub, InstalledBy};
use starling_realparts::{ClusterOptions, Etcd, ManagedCluster, Program, Programs};

/// Running clusters with their agents.
#[derive(Debug, Default)]
pub(crate) struct RealClusters {
    // Agents are dropped before the clusters that they would complain about.
    agents: Vec<Agent>,
    clusters: Vec<ManagedCluster>,
    etcd: Option<Etcd>,
}

impl RealClusters {
    /// Starts clusters `real-1` to `real-<count>`, adopts them into workspace `retail` and starts their agents.
    pub(crate) fn start(folder: &Path, hub: &Hub, count: u32) -> Result<Self> {
        if count == 0 {
            return Ok(Self::default());
        }
        let parts = Programs::ensure(&Program::CLUSTER)?;
        let etcd = Etcd::start(&parts, &folder.join("etcd"))?;
        let mut real = Self::default();
        for number in 1..=count {
            let name = format!("real-{number}");
            eprintln!("starting {name}: API server, controller manager and Flux");
            let cluster = ManagedCluster::start(&parts, &etcd, folder, &name, &ClusterOptions::default())?;
            real.agents.push(Agent::join(hub, &cluster, &InstalledBy::Manifest, "retail", &["env=prod", "tier=edge"])?);
            real.clusters.push(cluster);
        }
        real.etcd = Some(etcd);
        Ok(real)
    }

    /// Stops the agents in order; the clusters end with this.
    pub(crate) fn stop(&self, patience: Duration) -> Result<()> {
        for agent in &self.agents {
            agent.process().terminate(patience)?;
        }
        Ok(())
    }
}
