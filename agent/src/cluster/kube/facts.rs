//! The cluster's facts, as far as the agent may see them.

use std::collections::BTreeMap;

use starling_model::{Facts, Value};

use super::request::{JSON, METADATA_LIST_ONLY, METADATA_ONLY, Requests};
use crate::cluster::ClusterError;

/// A definition that every Flux installation has; its labels name the distribution's version.
const FLUX_DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/kustomizations.kustomize.toolkit.fluxcd.io";

/// Distributions that write their name into the API server's version.
const PLATFORMS: [&str; 5] = ["k3s", "rke2", "eks", "gke", "aks"];

/// Returns the UID of kube-system.
pub(super) async fn fingerprint(requests: &Requests) -> Result<String, ClusterError> {
    let namespace = requests.read("/api/v1/namespaces/kube-system", METADATA_ONLY).await?;
    let uid = namespace.at(&["metadata", "uid"]).and_then(Value::as_str);
    uid.map(str::to_owned).ok_or_else(|| ClusterError::Unavailable("namespace kube-system has no UID".to_owned()))
}

/// Observes the facts.
pub(super) async fn observe(requests: &Requests) -> Result<Facts, ClusterError> {
    let version = requests.read("/version", JSON).await?;
    let kubernetes_version = version.get("gitVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    let platform = platform_of(&kubernetes_version);
    let flux = permitted(requests.read(FLUX_DEFINITION, METADATA_ONLY).await)?;
    let flux_version = flux
        .as_ref()
        .and_then(|definition| definition.at(&["metadata", "labels", "app.kubernetes.io/version"])?.as_str())
        .unwrap_or_default()
        .to_owned();
    let nodes = permitted(requests.read("/api/v1/nodes?limit=1", METADATA_LIST_ONLY).await)?;
    let nodes = nodes.as_ref().map_or(0, count);
    Ok(Facts { kubernetes_version, flux_version, nodes, platform, extra: BTreeMap::new() })
}

/// What is not there, or not for the agent to see, is unknown; it is no failure.
fn permitted(answer: Result<Value, ClusterError>) -> Result<Option<Value>, ClusterError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ClusterError::NotFound | ClusterError::Rejected(_)) => Ok(None),
        Err(error @ (ClusterError::Conflict(_) | ClusterError::Unavailable(_))) => Err(error),
    }
}

/// Counts a list of which only the first item was asked for.
fn count(list: &Value) -> u32 {
    let listed = list.get("items").and_then(Value::as_list).map_or(0, <[Value]>::len);
    let remaining = list.at(&["metadata", "remainingItemCount"]).and_then(Value::as_i64).unwrap_or_default();
    u32::try_from(listed).unwrap_or(u32::MAX).saturating_add(u32::try_from(remaining).unwrap_or_default())
}

fn platform_of(git_version: &str) -> String {
    let mut parts = git_version.split(['+', '-', '.']);
    let found = parts.find_map(|part| PLATFORMS.into_iter().find(|platform| part.starts_with(platform)));
    found.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_told_by_the_version() {
        for (version, platform) in [
            ("v1.33.4+k3s1", "k3s"),
            ("v1.33.1-eks-595af52", "eks"),
            ("v1.33.2-gke.1111000", "gke"),
            ("v1.33.2+rke2r1", "rke2"),
            ("v1.35.4", ""),
        ] {
            assert_eq!(platform_of(version), platform, "{version}");
        }
    }

    #[test]
    fn nodes_are_counted_from_one_item() {
        let list = Value::from_json(br#"{"metadata":{"remainingItemCount":41},"items":[{}]}"#).unwrap();
        assert_eq!(count(&list), 42);
        assert_eq!(count(&Value::from_json(br#"{"items":[]}"#).unwrap()), 0);
    }
}
