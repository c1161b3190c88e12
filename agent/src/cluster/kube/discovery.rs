//! Which Flux kinds the cluster has, and the notice that this may have changed.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Api;
use kube::core::{ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::runtime::watcher;
use starling_agent_core::judge;
use tokio::sync::Notify;

use super::backoff::Backoff;
use super::request::{Requests, cluster_error};
use crate::cluster::ClusterError;

/// Lists the kinds to watch, each once, in the version that its group prefers.
pub(super) async fn discover(requests: &Requests) -> Result<Vec<ApiResource>, ClusterError> {
    let client = requests.client();
    let groups = client.list_api_groups().await.map_err(|error| cluster_error(&error))?.groups;
    let mut found: Vec<ApiResource> = Vec::new();
    for group in groups.into_iter().filter(|group| is_watched_group(&group.name)) {
        let preferred = group.preferred_version.clone().map(|version| version.group_version);
        // A group may serve one kind only in a version that it does not prefer.
        let others = group.versions.into_iter().map(|version| version.group_version);
        let versions =
            preferred.clone().into_iter().chain(others.filter(|version| Some(version) != preferred.as_ref()));
        for version in versions {
            let resources = match client.list_api_group_resources(&version).await {
                Ok(resources) => resources,
                // The group went away between the two requests.
                Err(kube::Error::Api(status)) if status.code == 404 => continue,
                Err(error) => return Err(cluster_error(&error)),
            };
            for resource in watched(&group.name, &version, &resources) {
                if !found.iter().any(|known| known.group == resource.group && known.kind == resource.kind) {
                    found.push(resource);
                }
            }
        }
    }
    Ok(found)
}

/// Tells whether a group can have kinds to watch.
fn is_watched_group(group: &str) -> bool {
    judge::WATCHED_GROUPS.contains(&group) || judge::WATCHED_FOREIGN_KINDS.iter().any(|(foreign, _)| *foreign == group)
}

/// Picks the kinds to watch that can be listed and watched.
fn watched(group: &str, group_version: &str, list: &APIResourceList) -> Vec<ApiResource> {
    let version = group_version.rsplit('/').next().unwrap_or(group_version);
    let able = |verbs: &[String]| ["list", "watch"].iter().all(|verb| verbs.iter().any(|known| known == verb));
    list.resources
        .iter()
        .filter(|resource| !resource.name.contains('/') && able(&resource.verbs))
        .filter(|resource| judge::is_watched(group, &resource.kind))
        .map(|resource| {
            let kind = GroupVersionKind::gvk(group, version, &resource.kind);
            ApiResource::from_gvk_with_plural(&kind, &resource.name)
        })
        .collect()
}

/// Notifies whenever a CustomResourceDefinition of a watched group changes, and tells whether it would; without
/// permission to see these, the regular discovery has to do.
pub(super) async fn notice_definitions(client: kube::Client, changed: &Notify, are_watched: &AtomicBool) {
    let definition = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
        "customresourcedefinitions",
    );
    let api: Api<PartialObjectMeta<kube::core::DynamicObject>> = Api::all_with(client, &definition);
    let mut events = watcher(api, watcher::Config::default().page_size(50)).boxed();
    let mut backoff = Backoff::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(meta) | watcher::Event::Delete(meta)) => {
                backoff.reset();
                are_watched.store(true, Ordering::Relaxed);
                let name = meta.metadata.name.unwrap_or_default();
                if name.split_once('.').is_some_and(|(_, group)| is_watched_group(group)) {
                    changed.notify_one();
                }
            }
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Ok(watcher::Event::InitDone) => {
                backoff.reset();
                are_watched.store(true, Ordering::Relaxed);
                changed.notify_one();
            }
            Err(error) => {
                are_watched.store(false, Ordering::Relaxed);
                tracing::debug!(%error, "cannot watch custom resource definitions");
                backoff.wait().await;
            }
        }
    }
}
