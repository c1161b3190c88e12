//! Objects that Flux applies from elsewhere: an edit of theirs would be undone, so it is refused with the place to make it.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::core::ObjectMeta;
use serde_json::Value;

use super::Kubernetes;
use super::failure::within;
use crate::failure::{Exit, Failure};

/// With this annotation kustomize-controller leaves an object alone.
const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";

/// Who applies an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    kind: OwnerKind,
    namespace: String,
    name: String,
}

/// The kinds of Flux that apply objects, each with the prefix of its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerKind {
    Kustomization,
    HelmRelease,
}

/// What an owner applies, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Origin {
    /// The source's URL; else its kind and name.
    source: String,
    revision: String,
    path: String,
}

impl OwnerKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Kustomization => "Kustomization",
            Self::HelmRelease => "HelmRelease",
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::Kustomization => resource("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"),
            Self::HelmRelease => resource("helm.toolkit.fluxcd.io", "v2", "HelmRelease"),
        }
    }
}

impl Owner {
    /// Reads who applies an object; `None` when nobody does, or was told to leave it alone.
    pub(super) fn of(meta: &ObjectMeta) -> Option<Self> {
        let label = |key: String| meta.labels.as_ref().and_then(|labels| labels.get(&key)).cloned();
        let disabled = meta.annotations.as_ref().and_then(|annotations| annotations.get(RECONCILE));
        let disabled = disabled.is_some_and(|value| value.eq_ignore_ascii_case("disabled"));
        [OwnerKind::Kustomization, OwnerKind::HelmRelease].into_iter().find_map(|kind| {
            let group = kind.resource().group;
            let name = label(format!("{group}/name"))?;
            let namespace = label(format!("{group}/namespace")).unwrap_or_default();
            (kind != OwnerKind::Kustomization || !disabled).then_some(Self { kind, namespace, name })
        })
    }
}

impl Kubernetes {
    /// Refuses an edit of an object that Flux applies; `text` names the object for people.
    pub(super) async fn refuse_if_applied_by_flux(&self, text: &str, meta: &ObjectMeta) -> Result<(), Failure> {
        let Some(owner) = Owner::of(meta) else {
            return Ok(());
        };
        // Whoever may edit the object need not be allowed to read what applies it: then its name has to do.
        let origin = self.origin_of(&owner).await.unwrap_or_default();
        Err(refusal(text, &owner, &origin))
    }

    async fn origin_of(&self, owner: &Owner) -> Option<Origin> {
        let object = self.read(&owner.kind.resource(), &owner.namespace, &owner.name).await?;
        let spec = &object.data["spec"];
        let chart = &spec["chart"]["spec"];
        let reference =
            [&spec["sourceRef"], &spec["chartRef"], &chart["sourceRef"]].into_iter().find(|value| value.is_object())?;
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, name) = (word(&reference["kind"]), word(&reference["name"]));
        let namespace = reference["namespace"].as_str().unwrap_or(&owner.namespace).to_owned();
        let path = match owner.kind {
            OwnerKind::Kustomization => word(&spec["path"]),
            OwnerKind::HelmRelease => word(&chart["chart"]),
        };
        let source = self.read(&resource("source.toolkit.fluxcd.io", "v1", &kind), &namespace, &name).await;
        let source = source.map(|source| source.data).unwrap_or_default();
        let url = source["spec"]["url"].as_str().map(str::to_owned);
        Some(Origin {
            source: url.unwrap_or_else(|| format!("{kind} {namespace}/{name}")),
            revision: word(&source["status"]["artifact"]["revision"]),
            path,
        })
    }

    async fn read(&self, resource: &ApiResource, namespace: &str, name: &str) -> Option<DynamicObject> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
        within(self.deadline, api.get_opt(name)).await.ok().flatten()
    }
}

fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

fn refusal(text: &str, owner: &Owner, origin: &Origin) -> Failure {
    let Owner { kind, namespace, name } = owner;
    let kind = kind.as_str();
    let mut what = format!("{text} is applied by Flux: {kind} {namespace}/{name}");
    if !origin.source.is_empty() {
        what.push_str(&format!(" from {}", origin.source));
    }
    if !origin.revision.is_empty() {
        what.push_str(&format!(" at {}", origin.revision));
    }
    if !origin.path.is_empty() {
        let word = if kind == "HelmRelease" { "chart" } else { "path" };
        what.push_str(&format!(", {word} {}", origin.path));
    }
    Failure::new(Exit::Failed, what).next("change it there and let Flux apply it: an edit here would be undone")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn meta(labels: &Value, annotations: &Value) -> ObjectMeta {
        serde_json::from_value(json!({"name": "x", "labels": labels, "annotations": annotations})).unwrap()
    }

    #[test]
    fn labels_name_the_owner_unless_it_was_told_to_leave_it() {
        let labels = json!({"kustomize.toolkit.fluxcd.io/name": "fleet", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"});
        let owner = Owner::of(&meta(&labels, &json!({}))).unwrap();
        assert_eq!((owner.namespace.as_str(), owner.name.as_str()), ("flux-system", "fleet"));
        assert_eq!(Owner::of(&meta(&labels, &json!({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}))), None);
        assert_eq!(Owner::of(&meta(&json!({"env": "prod"}), &json!({}))), None);
        let helm = json!({"helm.toolkit.fluxcd.io/name": "fleet", "helm.toolkit.fluxcd.io/namespace": "ops"});
        assert_eq!(Owner::of(&meta(&helm, &json!({}))).unwrap().kind, OwnerKind::HelmRelease);
    }

    #[test]
    fn the_refusal_says_where_to_change_it() {
        let owner = Owner { kind: OwnerKind::Kustomization, namespace: "flux-system".into(), name: "fleet".into() };
        let origin = Origin {
            source: "https://git.example/fleet".into(),
            revision: "main@sha1:0123".into(),
            path: "./clusters".into(),
        };
        assert_eq!(
            refusal("cluster retail/edge-1", &owner, &origin).to_string(),
            "cluster retail/edge-1 is applied by Flux: Kustomization flux-system/fleet from https://git.example/fleet at \
             main@sha1:0123, path ./clusters"
        );
        let unread = refusal("addon p/a", &owner, &Origin::default());
        assert_eq!(unread.to_string(), "addon p/a is applied by Flux: Kustomization flux-system/fleet");
    }
}
