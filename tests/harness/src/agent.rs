//! An agent in a real cluster, adopted and joined as its user would.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;
use starling_realparts::{Helm, Launch, ManagedCluster, Process};

use crate::hub::Hub;
use crate::management::{SYSTEM_NAMESPACE, chart, text};

/// What `starling adopt -o json` says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Adoption {
    manifest: String,
    token: String,
    trust_pem: String,
}

impl Adoption {
    fn of(hub: &Hub, cluster: &ManagedCluster, workspace: &str, labels: &[&str]) -> Result<Self> {
        let mut adopt = vec!["adopt", "cluster", cluster.name(), "--workspace", workspace];
        for label in labels {
            adopt.extend(["--label", label]);
        }
        hub.ask_json(&adopt)
    }

    /// Writes what the agent's pod would find mounted.
    fn prepare(&self, cluster: &ManagedCluster) -> Result<()> {
        let folder = cluster.folder().join("agent");
        fs::create_dir_all(&folder).context("make the agent's folder")?;
        for (name, text) in [("token", &self.token), ("trust.pem", &self.trust_pem)] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        let kubeconfig = folder.join("kubeconfig");
        Ok(cluster.service_account_kubeconfig(&kubeconfig, SYSTEM_NAMESPACE, "starling-agent")?)
    }
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
        let adoption = Adoption::of(hub, cluster, workspace, labels)?;
        cluster.apply_yaml(&adoption.manifest)?;
        adoption.prepare(cluster)?;
        Self::run(hub, cluster, "agent")
    }

    /// As [`Agent::join`], with `charts/starling-agent` in the manifest's place.
    ///
    /// # Errors
    /// Any step failed.
    pub fn join_by_chart(
        hub: &Hub,
        cluster: &ManagedCluster,
        helm: &Helm,
        workspace: &str,
        labels: &[&str],
    ) -> Result<Self> {
        let adoption = Adoption::of(hub, cluster, workspace, labels)?;
        let values = json!({
            "hub": { "address": hub.address(), "fleet": hub.options().fleet, "trustPem": adoption.trust_pem },
            "join": { "token": adoption.token },
        });
        let file = cluster.folder().join("agent-values.json");
        fs::write(&file, values.to_string()).with_context(|| format!("write {}", file.display()))?;
        let (chart, kubeconfig) = (chart("starling-agent"), cluster.kubeconfig());
        let install = ["upgrade", "--install", "starling-agent", text(&chart)?, "--kubeconfig", text(kubeconfig)?];
        let values = ["--values", text(&file)?, "--namespace", SYSTEM_NAMESPACE, "--create-namespace"];
        helm.run(&[install.as_slice(), values.as_slice()].concat())?;
        adoption.prepare(cluster)?;
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
