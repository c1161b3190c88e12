//! Edits of Starling's resources in the API server, under the identity of whoever holds the kubeconfig.
//!
//! Every edit reads the live object first: what Flux applies from elsewhere is refused.

use std::time::Duration;

use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, ValidationDirective};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Kubernetes;
use super::denial::what_allows;
use super::failure::within;
use crate::failure::{Exit, Failure};
use crate::kind::ResourceKind;

/// Who manages the fields that this program applies.
const FIELD_MANAGER: &str = "starling";

/// The group and version of the resources.
const GROUP: &str = "starling.dev";
const VERSION: &str = "v1alpha1";

/// How long the hub may take to make the namespace of a Workspace.
const NAMESPACE_WAIT: Duration = Duration::from_secs(10);

/// How often a waiting edit looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// One resource among all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectName {
    /// The kind; sorts dependents first.
    pub(crate) kind: ResourceKind,
    /// The namespace; empty for a Workspace.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
}

/// How to apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ApplyMode {
    /// The API server judges, and keeps nothing.
    pub(crate) dry_run: bool,
    /// Takes over the fields that others manage.
    pub(crate) force_conflicts: bool,
}

/// What an edit made of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was not there before.
    Created,
    /// It was changed.
    Configured,
    /// It was so already.
    Unchanged,
}

/// What became of a deleted object in the time that was waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It is gone.
    Yes,
    /// It waits for the hub to let go of it.
    NotYet,
}

impl ObjectName {
    /// Returns what a person calls it.
    pub(crate) fn text(&self) -> String {
        self.kind.text(&self.namespace, &self.name)
    }
}

impl Outcome {
    /// Returns the word that is printed.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

impl Kubernetes {
    /// Reads an object; `None` when it is not there.
    pub(crate) async fn get(&self, name: &ObjectName) -> Result<Option<DynamicObject>, Failure> {
        within(self.deadline, self.api(name).get_opt(&name.name)).await
    }

    /// Reads an object that is about to be edited; `None` when it is not there.
    ///
    /// # Errors
    /// When Flux applies it from elsewhere, saying from where.
    pub(crate) async fn get_to_edit(&self, name: &ObjectName) -> Result<Option<DynamicObject>, Failure> {
        let found = self.get(name).await.map_err(|failure| match failure.exit() {
            // Who may not even look is told at once what the edit takes.
            Exit::Failed => failure.next(what_allows(name.kind.plural(), "update", &name.namespace)),
            _ => failure,
        })?;
        if let Some(object) = &found {
            self.refuse_if_applied_by_flux(&name.text(), &object.metadata).await?;
        }
        Ok(found)
    }

    /// Reads an object that is to be deleted, and makes sure that it may be; `None` when it is not there.
    ///
    /// # Errors
    /// As [`Self::get_to_edit`], and what the API server has against the deletion.
    pub(crate) async fn get_to_delete(&self, name: &ObjectName) -> Result<Option<DynamicObject>, Failure> {
        let parameters = DeleteParams { dry_run: true, ..DeleteParams::default() };
        let api = self.api(name);
        match self.get_to_edit(name).await? {
            None => Ok(None),
            Some(found) => within(self.deadline, api.delete(&name.name, &parameters)).await.map(|_| Some(found)),
        }
    }

    /// Applies a whole document, and waits for the namespace that the hub is about to make.
    ///
    /// # Errors
    /// A refusal of the API server, or that Flux applies the object from elsewhere.
    pub(crate) async fn apply(&self, name: &ObjectName, document: &Value, mode: ApplyMode) -> Result<Outcome, Failure> {
        let before = self.get_to_edit(name).await?;
        let end = Instant::now() + NAMESPACE_WAIT;
        let after = loop {
            match self.patch(name, document, mode).await {
                Ok(after) => break after,
                Err(failure) => {
                    let waits = failure.exit() == Exit::NotFound && self.namespace_is_coming(name).await;
                    if !waits || mode.dry_run || Instant::now() >= end {
                        return Err(explain_missing_namespace(failure, name, waits));
                    }
                }
            }
            sleep(LOOK_AGAIN).await;
        };
        Ok(match before {
            None => Outcome::Created,
            Some(before) if content(&before) == content(&after) => Outcome::Unchanged,
            Some(_) => Outcome::Configured,
        })
    }

    /// Deletes the object that was seen, and waits until the hub has let go of it.
    ///
    /// # Errors
    /// When it is another one by now, or the API server refuses.
    pub(crate) async fn delete(&self, name: &ObjectName, seen: &DynamicObject) -> Result<Gone, Failure> {
        let uid = seen.metadata.uid.clone();
        let preconditions = Preconditions { uid: uid.clone(), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match within(self.deadline, self.api(name).delete(&name.name, &parameters)).await {
            Err(failure) if failure.exit() == Exit::NotFound => return Ok(Gone::Yes),
            answer => answer?,
        };
        let end = Instant::now() + self.deadline;
        loop {
            match self.get(name).await? {
                Some(object) if object.metadata.uid == uid => {}
                _ => return Ok(Gone::Yes),
            }
            if Instant::now() >= end {
                return Ok(Gone::NotYet);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn patch(&self, name: &ObjectName, document: &Value, mode: ApplyMode) -> Result<DynamicObject, Failure> {
        let parameters = PatchParams {
            dry_run: mode.dry_run,
            force: mode.force_conflicts,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        within(self.deadline, self.api(name).patch(&name.name, &parameters, &Patch::Apply(document))).await
    }

    /// Tells whether a Workspace is there whose namespace may not be yet.
    async fn namespace_is_coming(&self, name: &ObjectName) -> bool {
        if name.namespace.is_empty() {
            return false;
        }
        let workspace =
            ObjectName { kind: ResourceKind::Workspace, namespace: String::new(), name: name.namespace.clone() };
        matches!(self.get(&workspace).await, Ok(Some(_)))
    }

    fn api(&self, name: &ObjectName) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: GROUP.to_owned(),
            version: VERSION.to_owned(),
            api_version: format!("{GROUP}/{VERSION}"),
            kind: name.kind.as_str().to_owned(),
            plural: name.kind.plural().to_owned(),
        };
        match name.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }
}

/// Returns what people write of an object: everything but what the API server and the hub put there.
fn content(object: &DynamicObject) -> Value {
    let meta = &object.metadata;
    let mut data = object.data.clone();
    if let Some(fields) = data.as_object_mut() {
        fields.remove("status");
    }
    json!({ "labels": meta.labels, "annotations": meta.annotations, "data": data })
}

fn explain_missing_namespace(failure: Failure, name: &ObjectName, workspace_is_there: bool) -> Failure {
    if failure.exit() != Exit::NotFound || !failure.to_string().contains("namespaces") {
        return failure;
    }
    let namespace = &name.namespace;
    let failure = Failure::new(Exit::NotFound, format!("{} has no namespace {namespace} to be in", name.text()));
    if workspace_is_there {
        return failure
            .next(format!("the hub makes it for workspace {namespace}: `kubectl describe workspace {namespace}`"));
    }
    failure.next(format!("apply a Workspace {namespace} first; the hub makes its namespace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hub_writes_is_no_change() {
        let object = |version: &str, status: &str, title: &str| -> DynamicObject {
            serde_json::from_value(json!({
                "apiVersion": "starling.dev/v1alpha1", "kind": "Addon",
                "metadata": {"name": "a", "resourceVersion": version, "finalizers": [status]},
                "spec": {"title": title}, "status": {"assignments": status},
            }))
            .unwrap()
        };
        assert_eq!(content(&object("1", "x", "t")), content(&object("2", "y", "t")));
        assert_ne!(content(&object("1", "x", "t")), content(&object("1", "x", "u")));
    }
}
