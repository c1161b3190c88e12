//! One "managed cluster": an API server over a shared etcd, the controllers Flux relies on, and Flux.
//!
//! There are no nodes, so no pods run: health is proven with ConfigMaps, CRDs, and objects whose status a test writes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::api_server::ApiServer;
use crate::controller_manager::ControllerManager;
use crate::error::{Result, create_folder};
use crate::etcd::Etcd;
use crate::flux::{Flux, FluxParts};
use crate::kubectl::Kubectl;
use crate::programs::Programs;
use crate::wait::wait_for;

/// What a managed cluster is made of.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Which of Flux's controllers run.
    pub flux: FluxParts,
    /// Further arguments of the API server.
    pub api_server_arguments: Vec<String>,
}

/// A running managed cluster; all of it is killed on drop. Its parts can be killed and restarted one by one.
#[derive(Debug)]
pub struct ManagedCluster {
    name: String,
    folder: PathBuf,
    // Fields are dropped in this order: clients before the server they would complain about.
    flux: Flux,
    controller_manager: ControllerManager,
    api_server: ApiServer,
}

impl ManagedCluster {
    /// Starts a cluster with all its files in `<folder>/<name>`, and waits until every part is ready (about 5 s).
    pub fn start(
        programs: &Programs,
        etcd: &Etcd,
        folder: &Path,
        name: &str,
        options: &ClusterOptions,
    ) -> Result<Self> {
        let folder = create_folder(&folder.join(name))?;
        let api_server =
            ApiServer::start(programs, etcd, &folder.join("api-server"), name, &options.api_server_arguments)?;
        let controller_manager = ControllerManager::start(programs, &api_server, &folder.join("controller-manager"))?;
        let flux = Flux::start(programs, api_server.admin(), &folder.join("flux"), options.flux)?;
        controller_manager.wait_ready(&api_server)?;
        Ok(Self { name: name.to_owned(), folder, flux, controller_manager, api_server })
    }

    /// The name it was started with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder with all its files, logs included.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The API server, to kill and restart it, or to write kubeconfigs for others.
    pub fn api_server(&self) -> &ApiServer {
        &self.api_server
    }

    /// The controller manager.
    pub fn controller_manager(&self) -> &ControllerManager {
        &self.controller_manager
    }

    /// The Flux controllers.
    pub fn flux(&self) -> &Flux {
        &self.flux
    }

    /// kubectl with admin rights.
    pub fn admin(&self) -> &Kubectl {
        self.api_server.admin()
    }

    /// The kubeconfig with admin rights.
    pub fn kubeconfig(&self) -> &Path {
        self.admin().kubeconfig()
    }

    /// Runs kubectl with admin rights and returns what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.admin().run(arguments)
    }

    /// Applies YAML documents with admin rights, by server-side apply.
    pub fn apply_yaml(&self, documents: &str) -> Result<()> {
        self.admin().apply(documents)
    }

    /// Writes a kubeconfig that acts as a service account, valid for an hour.
    pub fn service_account_kubeconfig(&self, path: &Path, namespace: &str, service_account: &str) -> Result<()> {
        let token = self.admin().create_token(namespace, service_account)?;
        self.api_server.write_kubeconfig(path, &token)
    }

    /// Asks again and again until the answer is `Ok`; an `Err` says what is missing and is shown when time runs out.
    pub fn wait_for<T>(&self, what: &str, timeout: Duration, ask: impl FnMut() -> Result<T, String>) -> Result<T> {
        wait_for(&format!("{what} in cluster {}", self.name), timeout, ask)
    }
}
