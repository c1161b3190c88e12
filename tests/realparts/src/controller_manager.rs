//! The few controllers of kube-controller-manager that Flux and the agent rely on; none that would need nodes.

use std::path::Path;
use std::time::Duration;

use crate::api_server::ApiServer;
use crate::error::{Result, create_folder};
use crate::process::{Launch, Process};
use crate::programs::Programs;
use crate::recipes::Program;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Namespaces are finalised, orphans collected, service accounts and their token Secrets made; without aggregation the
/// ClusterRole `admin` is empty.
const CONTROLLERS: &str = "--controllers=namespace-controller,garbage-collector-controller,serviceaccount-controller,\
    serviceaccount-token-controller,clusterrole-aggregation-controller";

/// A running kube-controller-manager; killed on drop.
#[derive(Debug)]
pub struct ControllerManager {
    process: Process,
}

impl ControllerManager {
    /// Starts the controllers with admin rights; does not wait for their first round.
    pub fn start(programs: &Programs, server: &ApiServer, folder: &Path) -> Result<Self> {
        let folder = &create_folder(folder)?;
        let launch = Launch::new("kube-controller-manager", &programs.path(Program::KubeControllerManager)?, folder)
            .arg("--kubeconfig")
            .arg(server.admin().kubeconfig())
            .arg(CONTROLLERS)
            .args(["--leader-elect=false", "--secure-port=0", "--root-ca-file"])
            .arg(server.ca_path())
            .arg("--service-account-private-key-file")
            .arg(server.service_account_key());
        Ok(Self { process: Process::start(launch)? })
    }

    /// Waits for the proofs of the first round: the service account `default`, and an aggregated ClusterRole `admin`.
    pub fn wait_ready(&self, server: &ApiServer) -> Result<()> {
        self.process.wait_until("makes the default service account", READY_WITHIN, || {
            server.admin().run(&["get", "serviceaccount", "default", "-n", "default"]).map_err(String::from)
        })?;
        self.process.wait_until("aggregates cluster roles", READY_WITHIN, || {
            let role = server.admin().get_json(&["clusterrole", "admin"])?;
            match role["rules"].as_array() {
                Some(rules) if !rules.is_empty() => Ok(()),
                _ => Err("the ClusterRole admin has no rules".to_owned()),
            }
        })
    }

    /// The process, to kill, pause or measure it.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
