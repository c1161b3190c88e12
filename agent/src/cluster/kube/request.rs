//! Requests to the API server: paths, resource names by kind, and errors as the agent understands them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::core::Status;
use starling_model::{ObjectKey, Value};

use crate::cluster::{ClusterError, Preconditions, ResourceRef};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The content types that the API server takes.
pub(super) const JSON: &str = "application/json";
pub(super) const APPLY_PATCH: &str = "application/apply-patch+yaml";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

/// Asks for an object's metadata alone.
pub(super) const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// Asks for the metadata of a list's items alone.
pub(super) const METADATA_LIST_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// Sends requests and remembers how kinds are called in paths.
pub(super) struct Requests {
    client: Client,
    resources: Mutex<BTreeMap<(String, String), Resource>>,
}

/// How a kind is called in paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) plural: String,
    pub(super) namespaced: bool,
}

impl Requests {
    pub(super) fn new(client: Client) -> Self {
        Self { client, resources: Mutex::default() }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request without a body.
    pub(super) async fn read(&self, path: &str, accept: &str) -> Result<Value, ClusterError> {
        self.send(Request::get(path).header("accept", accept), Vec::new()).await
    }

    /// Sends a request with a body.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, ClusterError> {
        let request =
            Request::builder().method(method).uri(path).header("accept", JSON).header("content-type", content_type);
        self.send(request, body.to_json().into_bytes()).await
    }

    async fn send(&self, request: http::request::Builder, body: Vec<u8>) -> Result<Value, ClusterError> {
        let request = request.body(body).map_err(|error| ClusterError::Rejected(error.to_string()))?;
        // Text and then our own parser: the client would log a document that it cannot parse, and it may be a Secret.
        let text = tokio::time::timeout(REQUEST_TIMEOUT, self.client.request_text(request))
            .await
            .map_err(|_| ClusterError::Unavailable(format!("no answer in {} s", REQUEST_TIMEOUT.as_secs())))?
            .map_err(|error| cluster_error(&error))?;
        Value::from_json(text.as_bytes()).map_err(|_| ClusterError::Unavailable("answer is not JSON".to_owned()))
    }

    /// Returns the path of one object.
    pub(super) async fn object_path(&self, resource: &ResourceRef) -> Result<String, ClusterError> {
        let name = path_segment(&resource.key.name)?;
        Ok(format!("{}/{name}", self.collection_path(resource).await?))
    }

    /// Returns the path under which an object's kind is created.
    pub(super) async fn collection_path(&self, resource: &ResourceRef) -> Result<String, ClusterError> {
        let api_versions = match &resource.api_version {
            Some(api_version) => vec![api_version.clone()],
            None => self.versions(&resource.key.group).await?,
        };
        for api_version in api_versions {
            match self.resource(&api_version, &resource.key.kind).await {
                Ok(found) => return collection_path(&api_version, &found, &resource.key),
                // A group may serve one kind only in a version that it does not prefer.
                Err(ClusterError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ClusterError::NotFound)
    }

    /// Forgets how kinds are called, because one of them may be gone or may have come back otherwise.
    pub(super) fn forget_resources(&self) {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn resource(&self, api_version: &str, kind: &str) -> Result<Resource, ClusterError> {
        let name = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = self.resources.lock().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Ok(known.clone());
        }
        let listed = self.read(&format!("/{}", group_version_path(api_version)?), JSON).await?;
        let found = find_resource(&listed, kind).ok_or(ClusterError::NotFound)?;
        self.resources.lock().unwrap_or_else(PoisonError::into_inner).insert(name, found.clone());
        Ok(found)
    }

    /// Returns a group's versions, the preferred one first.
    async fn versions(&self, group: &str) -> Result<Vec<String>, ClusterError> {
        if group.is_empty() {
            return Ok(vec!["v1".to_owned()]);
        }
        Ok(versions_of(&self.read(&format!("/apis/{}", path_segment(group)?), JSON).await?))
    }
}

/// Reads the versions out of an APIGroup, the preferred one first.
fn versions_of(group: &Value) -> Vec<String> {
    let preferred = group.at(&["preferredVersion", "groupVersion"]).and_then(Value::as_str);
    let all = group.get("versions").and_then(Value::as_list).unwrap_or_default();
    let others = all.iter().filter_map(|version| version.get("groupVersion")?.as_str());
    preferred.into_iter().chain(others.filter(|version| Some(*version) != preferred)).map(str::to_owned).collect()
}

/// Returns `apis/<group>/<version>`, or `api/v1`.
fn group_version_path(api_version: &str) -> Result<String, ClusterError> {
    match api_version.split_once('/') {
        Some((group, version)) => Ok(format!("apis/{}/{}", path_segment(group)?, path_segment(version)?)),
        None => Ok(format!("api/{}", path_segment(api_version)?)),
    }
}

fn collection_path(api_version: &str, resource: &Resource, key: &ObjectKey) -> Result<String, ClusterError> {
    let base = group_version_path(api_version)?;
    if !resource.namespaced {
        return Ok(format!("/{base}/{}", resource.plural));
    }
    Ok(format!("/{base}/namespaces/{}/{}", path_segment(&key.namespace)?, resource.plural))
}

/// Reads plural and scope of a kind out of an APIResourceList; subresources do not count.
fn find_resource(list: &Value, kind: &str) -> Option<Resource> {
    list.get("resources")?.as_list()?.iter().find_map(|resource| {
        let plural = resource.get("name")?.as_str()?;
        let found = resource.get("kind")?.as_str()? == kind && !plural.contains('/');
        let namespaced = resource.get("namespaced")?.as_bool()?;
        found.then(|| Resource { plural: plural.to_owned(), namespaced })
    })
}

/// Names come from the hub: none may reach outside its place in a path.
fn path_segment(text: &str) -> Result<&str, ClusterError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if text.is_empty() || text.chars().all(|character| character == '.') || !text.bytes().all(plain) {
        return Err(ClusterError::Rejected(format!("{text:?} is not a valid name")));
    }
    Ok(text)
}

/// Returns the body of a deletion that needs the object to be the one that was read.
pub(super) fn delete_options(only: &Preconditions) -> Value {
    let preconditions = Value::map([
        ("uid", Value::from(only.uid.as_str())),
        ("resourceVersion", Value::from(only.resource_version.as_str())),
    ]);
    Value::map([
        ("apiVersion", Value::from("v1")),
        ("kind", Value::from("DeleteOptions")),
        ("preconditions", preconditions),
    ])
}

/// Translates the client's error.
pub(super) fn cluster_error(error: &kube::Error) -> ClusterError {
    match error {
        kube::Error::Api(status) => status_error(status),
        other => ClusterError::Unavailable(chain(other)),
    }
}

/// Translates the API server's own word.
pub(super) fn status_error(status: &Status) -> ClusterError {
    let message = if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
    match status.code {
        404 => ClusterError::NotFound,
        409 => ClusterError::Conflict(message),
        // An expired token is read again from its file; the rest passes by itself.
        401 | 408 | 429 | 502..=504 => ClusterError::Unavailable(message),
        // 500 too: it is how a failing admission webhook shows, and a person must see its message.
        _ => ClusterError::Rejected(message),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_reach_outside_their_place() {
        for bad in ["", "..", "a/b", "a?b", "a%2fb", "a#b", "a b"] {
            assert!(path_segment(bad).is_err(), "{bad:?}");
        }
        assert_eq!(path_segment("system:node.x_y-1"), Ok("system:node.x_y-1"));
    }

    #[test]
    fn paths_follow_scope_and_group() {
        let namespaced = Resource { plural: "helmreleases".into(), namespaced: true };
        let key = ObjectKey::new("helm.toolkit.fluxcd.io", "HelmRelease", "apps", "podinfo");
        assert_eq!(
            collection_path("helm.toolkit.fluxcd.io/v2", &namespaced, &key),
            Ok("/apis/helm.toolkit.fluxcd.io/v2/namespaces/apps/helmreleases".to_owned())
        );
        let cluster = Resource { plural: "namespaces".into(), namespaced: false };
        assert_eq!(
            collection_path("v1", &cluster, &ObjectKey::new("", "Namespace", "", "a")),
            Ok("/api/v1/namespaces".to_owned())
        );
    }

    #[test]
    fn the_preferred_version_comes_first_and_the_others_follow() {
        let group = Value::from_json(
            br#"{"versions":[{"groupVersion":"n/v1beta3"},{"groupVersion":"n/v1"}],"preferredVersion":{"groupVersion":"n/v1"}}"#,
        )
        .unwrap();
        assert_eq!(versions_of(&group), ["n/v1", "n/v1beta3"]);
    }

    #[test]
    fn a_status_subresource_is_not_the_resource() {
        let list = Value::from_json(
            br#"{"resources":[{"name":"x/status","kind":"X","namespaced":true},{"name":"x","kind":"X","namespaced":true}]}"#,
        )
        .unwrap();
        assert_eq!(find_resource(&list, "X"), Some(Resource { plural: "x".into(), namespaced: true }));
        assert_eq!(find_resource(&list, "Y"), None);
    }
}
