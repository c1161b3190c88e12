//! How the hub reaches its own API server: a kubeconfig that is named, the pod's service account, or the user's kubeconfig.

use std::path::Path;

use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::HUB_NAMESPACE;

/// Where a pod finds its own namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// A client of the management cluster's API.
#[derive(Clone)]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// The hub's own namespace.
    pub namespace: String,
}

/// Why the hub does not know how to reach its API server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig that was named cannot be used.
    #[error("read kubeconfig {path}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// There is neither a service account nor a kubeconfig.
    #[error("find the Kubernetes API: name a file with --kubeconfig, set KUBECONFIG, or run in a pod")]
    Nowhere(#[source] Box<InferConfigError>),
    /// The client cannot be made of it.
    #[error("make a Kubernetes client")]
    Client(#[source] Box<kube::Error>),
}

/// Finds the API server and makes a client; asks nothing of it yet.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(kubeconfig: Option<&Path>, namespace: Option<&str>) -> Result<Connection, ConnectError> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::infer().await.map_err(|error| ConnectError::Nowhere(Box::new(error)))?,
    };
    config.connect_timeout = Some(std::time::Duration::from_secs(10));
    let client = Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))?;
    let own = || std::fs::read_to_string(POD_NAMESPACE).ok().map(|text| text.trim().to_owned());
    let namespace = namespace.map(str::to_owned).or_else(own).filter(|name| !name.is_empty());
    Ok(Connection { client, namespace: namespace.unwrap_or_else(|| HUB_NAMESPACE.to_owned()) })
}

async fn from_file(path: &Path) -> Result<Config, ConnectError> {
    let unusable = |error| ConnectError::Kubeconfig { path: path.display().to_string(), source: Box::new(error) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(unusable)
}
