//! A management cluster: an API server that holds the fleet's resources, with the hub's chart installed by Helm.
//!
//! Owns its parts and the kubeconfigs of hub and person. There is no kubelet, so the chart's pod does not run: the hub's program
//! runs beside it with the rights of the chart's service account.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use starling_realparts::{ClusterOptions, Etcd, FluxParts, Helm, Kubectl, ManagedCluster, Programs};

use crate::hub::HubOptions;

/// The namespace of hub and agent.
pub const SYSTEM_NAMESPACE: &str = "starling-system";

/// Where a hub finds its resources when they are in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSource {
    /// The kubeconfig of the hub: its service account's.
    pub hub: PathBuf,
    /// The kubeconfig of whoever runs the command line.
    pub person: PathBuf,
}

/// A running management cluster; killed on drop.
#[derive(Debug)]
pub struct ManagementCluster {
    cluster: ManagedCluster,
}

impl ManagementCluster {
    /// Starts the API server, the controllers that finish off namespaces and the given parts of Flux, and installs
    /// `charts/starling-hub`.
    ///
    /// # Errors
    /// Any step failed.
    pub fn start(programs: &Programs, etcd: &Etcd, folder: &Path, name: &str, flux: FluxParts) -> Result<Self> {
        let options = ClusterOptions { flux, ..ClusterOptions::default() };
        let management = Self { cluster: ManagedCluster::start(programs, etcd, folder, name, &options)? };
        management.install_hub_chart(programs)?;
        Ok(management)
    }

    /// Puts everything of a hub that serves from here below its folder, and makes the kubeconfig of the hub's service account.
    ///
    /// # Errors
    /// There is no such service account.
    pub fn hub_options(&self, folder: &Path, fleet: &str) -> Result<HubOptions> {
        let hub = self.cluster.folder().join("hub.kubeconfig");
        self.cluster.service_account_kubeconfig(&hub, SYSTEM_NAMESPACE, "starling-hub")?;
        let kubernetes = Some(KubernetesSource { hub, person: self.cluster.kubeconfig().to_owned() });
        Ok(HubOptions { kubernetes, ..HubOptions::below(folder, fleet) })
    }

    /// kubectl with admin rights.
    #[must_use]
    pub fn admin(&self) -> &Kubectl {
        self.cluster.admin()
    }

    /// Its parts, to kill and restart them, or to adopt it.
    #[must_use]
    pub fn cluster(&self) -> &ManagedCluster {
        &self.cluster
    }

    fn install_hub_chart(&self, programs: &Programs) -> Result<()> {
        let helm = Helm::new(programs, &self.cluster.folder().join("helm"))?;
        let (chart, kubeconfig) = (chart("starling-hub"), text(self.cluster.kubeconfig())?);
        let install = ["upgrade", "--install", "starling-hub", text(&chart)?, "--kubeconfig", kubeconfig];
        helm.run(&[install.as_slice(), &["--namespace", SYSTEM_NAMESPACE, "--create-namespace"]].concat())?;
        self.admin().run(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"])?;
        Ok(())
    }
}

/// Returns the folder of one of this repository's charts.
#[must_use]
pub fn chart(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts").join(name)
}

/// Command lines are text here; a folder whose name is not UTF-8 is told rather than mangled.
pub(crate) fn text(path: &Path) -> Result<&str> {
    let text = path.to_str();
    ensure!(text.is_some(), "{} is not UTF-8", path.display());
    Ok(text.unwrap_or_default())
}
