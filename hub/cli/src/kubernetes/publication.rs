//! Where a hub publishes how to reach it: a ConfigMap of its namespace that everybody who is known may read.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::Kubernetes;
use super::failure::within;
use crate::failure::{Exit, Failure};

/// The ConfigMap's name.
const NAME: &str = "starling-hub";

/// How to reach a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    /// `host:port`.
    pub(crate) address: String,
    /// The authorities to trust, in PEM.
    pub(crate) trust_pem: String,
    /// The fleet's name.
    pub(crate) fleet: String,
}

impl Kubernetes {
    /// Reads what the hub published.
    ///
    /// # Errors
    /// [`Exit::NotFound`] when no hub is there.
    pub(crate) async fn publication(&self) -> Result<Publication, Failure> {
        let namespace = self.namespace();
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let found = within(self.deadline, maps.get_opt(NAME)).await;
        let found = found.map_err(|failure| failure.about(&format!("cannot find the hub through {}", self.origin)))?;
        let Some(map) = found else {
            return Err(Failure::new(
                Exit::NotFound,
                format!("there is no hub in namespace {namespace} of {} ({})", self.origin.server, self.origin),
            )
            .next("name its namespace with --hub-namespace, another cluster with --kube-context, or a context of `starling config`"));
        };
        let data = map.data.unwrap_or_default();
        let field = |key: &str| {
            data.get(key).filter(|value| !value.is_empty()).cloned().ok_or_else(|| {
                Failure::new(Exit::Failed, format!("ConfigMap {namespace}/{NAME} has no {key}"))
                    .next("the hub writes it when it runs with --source kubernetes: look at its log")
            })
        };
        Ok(Publication { address: field("address")?, trust_pem: field("trust.pem")?, fleet: field("fleet")? })
    }
}
