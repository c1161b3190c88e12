//! The ConfigMap that tells everybody in the management cluster how to reach the hub.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::json;

use super::api::{ApiError, within};
use super::client::Connection;
use super::{FIELD_MANAGER, HUB_CONFIG, PART_OF};

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// What is published.
#[derive(Clone, Debug)]
pub struct Published {
    /// What agents and people dial, `host:port`.
    pub address: String,
    /// The certificate of the fleet's authority, PEM.
    pub trust_pem: String,
    /// The fleet's name.
    pub fleet: String,
}

impl Published {
    fn data(&self) -> BTreeMap<String, String> {
        let Self { address, trust_pem, fleet } = self.clone();
        [("address", address), ("trust.pem", trust_pem), ("fleet", fleet)]
            .map(|(name, text)| (name.to_owned(), text))
            .into()
    }
}

/// Writes the ConfigMap, and again whenever somebody changed or deleted it; never ends.
pub async fn publish(connection: Connection, published: Published) {
    let api: Api<ConfigMap> = Api::namespaced(connection.client, &connection.namespace);
    loop {
        // Ends with a failure, so that the backoff is ours.
        let mut seen = watcher::watch_object(api.clone(), HUB_CONFIG).boxed();
        while let Some(Ok(config)) = seen.next().await {
            let data = config.and_then(|config| config.data).unwrap_or_default();
            if published.data().iter().all(|(name, text)| data.get(name) == Some(text)) {
                continue;
            }
            match write(&api, &published).await {
                Ok(()) => {
                    tracing::info!(config_map = HUB_CONFIG, address = published.address, "published the hub's address");
                }
                Err(error) => {
                    tracing::warn!(config_map = HUB_CONFIG, %error, "cannot publish the hub's address");
                    break;
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn write(api: &Api<ConfigMap>, published: &Published) -> Result<(), ApiError> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": HUB_CONFIG, "labels": { PART_OF.0: PART_OF.1 } },
        "data": published.data(),
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    within(api.patch(HUB_CONFIG, &params, &Patch::Apply(object))).await.map(drop)
}
