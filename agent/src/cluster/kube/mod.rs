//! A real API server behind the port, over kube's client.

mod backoff;
mod discovery;
mod facts;
mod identity;
mod inventory;
mod lease;
mod request;
mod watch;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use http::Method;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use starling_model::{Facts, Object, ObjectKey, Value, labels};

pub use self::lease::KubeLease;
use self::request::{APPLY_PATCH, JSON, MERGE_PATCH, Requests};
use super::{
    ClusterApi, ClusterError, ClusterEvent, InventoryChange, Preconditions, ResourceRef, StoredIdentity,
    StoredInventory,
};

/// How long a connection to the API server may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be silent while something is read. The API server ends a watch before that, so that a
/// watch that is silent for longer is dead.
const READ_TIMEOUT: Duration = Duration::from_secs(330);

/// The API server that a kubeconfig or the pod's service account names.
pub struct KubeCluster {
    requests: Arc<Requests>,
    namespace: String,
    /// The version of the inventory's head that was stored last.
    stored: Mutex<Option<String>>,
}

impl KubeCluster {
    /// Reads the configuration (the file, or else `KUBECONFIG`, or else the pod's service account); does not yet talk to the server.
    /// `namespace` is where inventory and identity live.
    ///
    /// # Errors
    /// A configuration that is missing or wrong.
    pub async fn connect(kubeconfig: Option<&Path>, namespace: &str) -> anyhow::Result<Self> {
        let mut config = match kubeconfig {
            Some(path) => {
                Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await?
            }
            None => Config::infer().await?,
        };
        if config.proxy_url.as_ref().is_some_and(is_of_environment) {
            // The variables lead to the hub. The cluster's own API server is dialled directly, as within a pod.
            config.proxy_url = None;
        }
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        let requests = Arc::new(Requests::new(Client::try_from(config)?));
        Ok(Self { requests, namespace: namespace.to_owned(), stored: Mutex::default() })
    }

    /// Returns the Lease of a name in the agent's namespace.
    #[must_use]
    pub fn lease(&self, name: &str) -> KubeLease {
        KubeLease::new(Arc::clone(&self.requests), &self.namespace, name)
    }

    fn stored(&self) -> MutexGuard<'_, Option<String>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ClusterApi for KubeCluster {
    fn watch(&self) -> BoxStream<'static, ClusterEvent> {
        watch::events(Arc::clone(&self.requests))
    }

    async fn get(&self, resource: &ResourceRef) -> Result<Value, ClusterError> {
        let path = self.requests.object_path(resource).await?;
        self.requests.read(&path, JSON).await
    }

    async fn create(&self, document: &Value) -> Result<Value, ClusterError> {
        let collection = self.requests.collection_path(&reference(document)?).await?;
        let path = format!("{collection}?fieldManager={}", labels::APPLY_MANAGER);
        self.requests.write(Method::POST, &path, JSON, document).await
    }

    async fn apply(&self, document: &Value) -> Result<Value, ClusterError> {
        let path = self.requests.object_path(&reference(document)?).await?;
        let path = format!("{path}?fieldManager={}&force=true", labels::APPLY_MANAGER);
        match self.requests.write(Method::PATCH, &path, APPLY_PATCH, document).await {
            // The object went away since it was read.
            Err(ClusterError::NotFound) => Err(ClusterError::Conflict("the object was deleted".to_owned())),
            answer => answer,
        }
    }

    async fn merge_patch(
        &self,
        resource: &ResourceRef,
        patch: &Value,
        field_manager: &str,
    ) -> Result<Value, ClusterError> {
        let path = format!("{}?fieldManager={field_manager}", self.requests.object_path(resource).await?);
        self.requests.write(Method::PATCH, &path, MERGE_PATCH, patch).await
    }

    async fn delete(&self, resource: &ResourceRef, only: &Preconditions) -> Result<(), ClusterError> {
        let path = self.requests.object_path(resource).await?;
        self.requests.write(Method::DELETE, &path, JSON, &request::delete_options(only)).await.map(|_| ())
    }

    async fn ensure_namespace(&self, name: &str) -> Result<(), ClusterError> {
        let key = ObjectKey::new("", "Namespace", "", name);
        let path = self.requests.object_path(&ResourceRef { api_version: Some("v1".to_owned()), key }).await?;
        match self.requests.read(&path, request::METADATA_ONLY).await {
            Ok(_) => return Ok(()),
            Err(ClusterError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let document = Value::map([
            ("apiVersion", Value::from("v1")),
            ("kind", Value::from("Namespace")),
            ("metadata", Value::map([("name", name)])),
        ]);
        match self.create(&document).await {
            Ok(_) | Err(ClusterError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn load_inventory(&self) -> Result<Option<StoredInventory>, ClusterError> {
        inventory::load(&self.requests, &self.namespace).await
    }

    async fn swap_inventory(&self, expected: Option<&str>, change: &InventoryChange) -> Result<String, ClusterError> {
        let version = inventory::swap(&self.requests, &self.namespace, expected, change).await?;
        *self.stored() = Some(version.clone());
        Ok(version)
    }

    async fn collect_inventory(&self, keep: &BTreeSet<String>) -> Result<(), ClusterError> {
        // Only what this process stored tells it which bodies are needed.
        let Some(version) = self.stored().clone() else { return Ok(()) };
        inventory::collect(&self.requests, &self.namespace, &version, keep).await
    }

    async fn load_identity(&self, secret: &str) -> Result<Option<StoredIdentity>, ClusterError> {
        identity::load(&self.requests, &self.namespace, secret).await
    }

    async fn store_identity(&self, secret: &str, identity: &StoredIdentity) -> Result<(), ClusterError> {
        identity::store(&self.requests, &self.namespace, secret, identity).await
    }

    async fn fingerprint(&self) -> Result<String, ClusterError> {
        facts::fingerprint(&self.requests).await
    }

    async fn facts(&self) -> Result<Facts, ClusterError> {
        facts::observe(&self.requests).await
    }
}

/// Tells a proxy that the environment names from one of the kubeconfig.
fn is_of_environment(proxy: &http::Uri) -> bool {
    let named = |name| std::env::var(name).ok().and_then(|url| url.parse::<http::Uri>().ok());
    ["HTTPS_PROXY", "https_proxy"].into_iter().filter_map(named).any(|named| named == *proxy)
}

/// Names the object that a document describes.
fn reference(document: &Value) -> Result<ResourceRef, ClusterError> {
    // A copy for its key alone would be waste: only the names are read.
    let object = Object::new(names_only(document)).map_err(|error| ClusterError::Rejected(error.to_string()))?;
    Ok(ResourceRef { api_version: Some(object.api_version().to_owned()), key: object.key().clone() })
}

fn names_only(document: &Value) -> Value {
    let field = |name: &str| (name.to_owned(), document.get(name).cloned().unwrap_or_default());
    let metadata =
        ["name", "namespace"].map(|name| (name, document.at(&["metadata", name]).cloned().unwrap_or_default()));
    Value::Map([field("apiVersion"), field("kind"), ("metadata".to_owned(), Value::map(metadata))].into())
}
