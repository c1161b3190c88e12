//! An agent in a real cluster, adopted and joined as its user would.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;
use starling_realparts::{Helm, Launch, ManagedCluster, Process};

use crate::hub::Hub;
use crate::management::{SYSTEM_NAMESPACE, chart, text};

/// What puts the agent's objects into a cluster.
#[derive(Clone, Debug)]
pub enum InstalledBy {
    /// The manifest that `starling adopt` prints.
    Manifest,
    /// `charts/starling-agent`.
    Chart(Helm),
}

/// What `starling adopt -o json` prints.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// The cluster's identity.
    pub cluster_id: String,
    /// False when the cluster was there already.
    pub created: bool,
    /// The one-time token.
    pub token: String,
    /// The authorities that the agent pins.
    pub trust_pem: String,
    /// The manifest to apply in the cluster.
    pub manifest: String,
}

impl Adoption {
    fn of(hub: &Hub, cluster: &ManagedCluster, workspace: &str, labels: &[&str]) -> Result<Self> {
        let mut adopt = vec!["adopt", "cluster", cluster.name(), "--workspace", workspace];
        for label in labels {
            adopt.extend(["--label", label]);
        }
        hub.ask_json(&adopt)
    }

    fn install(&self, hub: &Hub, cluster: &ManagedCluster, by: &InstalledBy) -> Result<()> {
        match by {
            InstalledBy::Manifest => cluster.apply_yaml(&self.manifest)?,
            InstalledBy::Chart(helm) => self.install_chart(hub, cluster, helm)?,
        }
        // What the agent's pod would find mounted.
        let folder = cluster.folder().join("agent");
        fs::create_dir_all(&folder).context("make the agent's folder")?;
        for (name, text) in [("token", &self.token), ("trust.pem", &self.trust_pem)] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    fn install_chart(&self, hub: &Hub, cluster: &ManagedCluster, helm: &Helm) -> Result<()> {
        let values = json!({
            "hub": { "address": hub.address(), "fleet": hub.options().fleet, "trustPem": self.trust_pem },
            "join": { "token": self.token },
        });
        let file = cluster.folder().join("agent-values.json");
        fs::write(&file, values.to_string()).with_context(|| format!("write {}", file.display()))?;
        let (chart, kubeconfig) = (chart("starling-agent"), cluster.kubeconfig());
        let install = ["upgrade", "--install", "starling-agent", text(&chart)?, "--kubeconfig", text(kubeconfig)?];
        let values = ["--values", text(&file)?, "--namespace", SYSTEM_NAMESPACE, "--create-namespace"];
        helm.run(&[install.as_slice(), values.as_slice()].concat())?;
        Ok(())
    }
}

/// An agent's process.
#[derive(Debug)]
pub struct Agent {
    process: Process,
}

impl Agent {
    /// Adopts a cluster under its own name, installs what its pod needs, and runs the agent's program with the rights of the
    /// service account that came with it: there is no kubelet that would run its pod.
    ///
    /// # Errors
    /// Any step failed.
    pub fn join(
        hub: &Hub,
        cluster: &ManagedCluster,
        by: &InstalledBy,
        workspace: &str,
        labels: &[&str],
    ) -> Result<Self> {
        let adoption = Adoption::of(hub, cluster, workspace, labels)?;
        adoption.install(hub, cluster, by)?;
        let kubeconfig = cluster.folder().join("agent/kubeconfig");
        cluster.service_account_kubeconfig(&kubeconfig, SYSTEM_NAMESPACE, "starling-agent")?;
        Self::run(hub, cluster, "agent")
    }

    /// Installs what another adoption of its cluster printed, and restarts it, as the Deployment's pods would be.
    ///
    /// # Errors
    /// Any step failed.
    pub fn join_again(&self, hub: &Hub, cluster: &ManagedCluster, by: &InstalledBy, adoption: &Adoption) -> Result<()> {
        adoption.install(hub, cluster, by)?;
        Ok(self.process.restart()?)
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
