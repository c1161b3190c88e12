//! An agent in a real cluster, adopted and joined as its user would.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;
use starling_realparts::{Launch, ManagedCluster, Process};

use crate::hub::Hub;

/// What `starling adopt -o json` says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Adoption {
    manifest: String,
    token: String,
    trust_pem: String,
}

/// An agent's process.
#[derive(Debug)]
pub struct Agent {
    process: Process,
}

impl Agent {
    /// Adopts a cluster under its own name, applies the manifest, and runs the agent's program with the rights of the manifest's
    /// service account: there is no kubelet that would run its pod.
    ///
    /// # Errors
    /// Any step failed.
    pub fn join(hub: &Hub, cluster: &ManagedCluster, workspace: &str, labels: &[&str]) -> Result<Self> {
        let mut adopt = vec!["adopt", "cluster", cluster.name(), "--workspace", workspace];
        for label in labels {
            adopt.extend(["--label", label]);
        }
        let adoption: Adoption = hub.ask_json(&adopt)?;
        cluster.apply_yaml(&adoption.manifest)?;
        let folder = cluster.folder().join("agent");
        fs::create_dir_all(&folder).context("make the agent's folder")?;
        let file = |name: &str, text: &str| -> Result<()> {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        };
        file("token", &adoption.token)?;
        file("trust.pem", &adoption.trust_pem)?;
        cluster.service_account_kubeconfig(&folder.join("kubeconfig"), "starling-system", "starling-agent")?;
        Self::run(hub, cluster, "agent")
    }

    /// Runs a second agent in a cluster that joined, with the same identity and rights, as a Deployment that was scaled up or
    /// whose old pod is stuck would.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn twin(hub: &Hub, cluster: &ManagedCluster) -> Result<Self> {
        Self::run(hub, cluster, "twin")
    }

    fn run(hub: &Hub, cluster: &ManagedCluster, name: &str) -> Result<Self> {
        let folder = cluster.folder().join("agent");
        let launch = Launch::new(name, &hub.programs().path("starling-agent"), &folder)
            .args(["--hub", &hub.address(), "--fleet", &hub.options().fleet, "--token"])
            .arg(folder.join("token"))
            .arg("--trust")
            .arg(folder.join("trust.pem"))
            .arg("--kubeconfig")
            .arg(folder.join("kubeconfig"));
        let process = Process::start(launch).with_context(|| format!("start the agent of {}", cluster.name()))?;
        Ok(Self { process })
    }

    /// The process, to kill, pause or restart it.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}
