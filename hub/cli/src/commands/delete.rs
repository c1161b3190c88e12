//! `starling delete`: shows what would go from how many clusters, and deletes only with that count approved.

use kube::api::DynamicObject;
use starling_proto::v1;

use super::confirm::{approve, many};
use super::token;
use crate::arguments::change::DeleteArguments;
use crate::contexts::target::Target;
use crate::documents::{headings, read_all};
use crate::failure::{Exit, Failure};
use crate::hub::Hub;
use crate::kind::{Deletable, ResourceKind, Subject};
use crate::kubernetes::Kubernetes;
use crate::kubernetes::objects::{Gone, ObjectName};
use crate::reference::Reference;
use crate::resolve::find_one;
use crate::source::Source;
use crate::terminal::{Output, note};
use crate::views::addon::AddonView;
use crate::views::assignment::AssignmentView;
use crate::views::cluster::ClusterView;

/// A resource to delete, and what was seen of it.
struct Doomed {
    resource: ObjectName,
    /// The live object, where the API server has it.
    seen: Option<Box<DynamicObject>>,
    /// What the hub counted; `None` when it does not know the resource.
    installs: Option<u64>,
}

/// Deletes what was named, after the count was approved.
///
/// # Errors
/// [`Exit::ApprovalRequired`] when nobody approved the count, with nothing deleted.
pub(super) async fn run(
    hub: &Hub,
    target: &Target,
    arguments: &DeleteArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let kind = match &arguments.subject {
        Some(Subject { kind: Deletable::Token, name }) => {
            return tokens(hub, name.iter().chain(&arguments.names), arguments, output).await;
        }
        Some(Subject { kind: Deletable::Resource(kind), .. }) => Some(*kind),
        None => None,
    };
    let source = &Source::find(hub, target).await?;
    let mut resources = match kind {
        Some(kind) => named(hub, kind, arguments).await?,
        None => from_files(arguments)?,
    };
    resources.sort();
    resources.dedup();
    let mut doomed = Vec::new();
    for resource in resources {
        let seen = look(source, &resource).await?;
        let installs = match ask(hub, &resource, None).await {
            Ok(answer) => {
                note(&preview(&resource, &answer));
                Some(answer.installs)
            }
            // An object that it never accepted, or has not read yet; whatever it knows later it judges by its budget.
            Err(failure) if failure.exit() == Exit::NotFound && seen.is_some() => {
                note(&format!("{}: the hub knows nothing of it, so nothing goes", resource.text()));
                None
            }
            Err(failure) => return Err(failure),
        };
        doomed.push(Doomed { resource, seen, installs });
    }
    if arguments.dry_run {
        return Ok(());
    }
    approve(doomed.iter().filter_map(|doomed| doomed.installs).sum(), arguments.approve, output)?;
    let single = doomed.len() == 1;
    for Doomed { resource, seen, installs } in doomed {
        let text = resource.text();
        if let Some(installs) = installs {
            // What was deleted before can have taken installs of this one along: fewer than shown are approved, more are not.
            let count = if single { installs } else { ask(hub, &resource, None).await?.installs.min(installs) };
            let answer = ask(hub, &resource, Some(count)).await.map_err(|failure| failure.about(&text))?;
            if matches!(source, Source::Directory) {
                finish_in_directory(&text, &answer, output)?;
            }
        }
        if let Source::Kubernetes(kubernetes) = source {
            finish_in_kubernetes(kubernetes, &resource, seen.as_deref(), output).await?;
        }
        output.flush()?;
    }
    Ok(())
}

/// Asks the hub what would go, or with an approved count to let it go.
async fn ask(hub: &Hub, resource: &ObjectName, approved_count: Option<u64>) -> Result<v1::DeleteResponse, Failure> {
    let request = v1::DeleteRequest {
        kind: resource.kind.as_str().to_owned(),
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
        approved_count,
    };
    hub.call(request, |mut client, request| async move { client.delete(request).await }).await
}

/// Reads the live object, and makes sure before anything else that it may be deleted there.
async fn look(source: &Source, resource: &ObjectName) -> Result<Option<Box<DynamicObject>>, Failure> {
    let Source::Kubernetes(kubernetes) = source else {
        return Ok(None);
    };
    Ok(kubernetes.get_to_delete(resource).await?.map(Box::new))
}

fn finish_in_directory(text: &str, answer: &v1::DeleteResponse, output: &mut Output) -> Result<(), Failure> {
    if answer.deleted {
        output.line(format!("{text} deleted"))?;
    }
    if !answer.edit_to_make.is_empty() {
        note(&format!("the hub cannot write its directory; to delete {text}, make this edit there:"));
        output.line(answer.edit_to_make.trim_end())?;
    } else if !answer.deleted {
        return Err(Failure::new(Exit::Failed, format!("the hub did not delete {text}")));
    }
    Ok(())
}

/// Deletes the object itself, now that the hub knows that it is meant.
async fn finish_in_kubernetes(
    kubernetes: &Kubernetes,
    resource: &ObjectName,
    seen: Option<&DynamicObject>,
    output: &mut Output,
) -> Result<(), Failure> {
    let text = resource.text();
    let gone = match seen {
        Some(seen) => kubernetes.delete(resource, seen).await.map_err(|failure| failure.about(&text))?,
        // The hub remembered a resource whose object was gone already.
        None => Gone::Yes,
    };
    output.line(format!("{text} deleted"))?;
    if gone == Gone::NotYet {
        let namespace =
            if resource.namespace.is_empty() { String::new() } else { format!("-n {} ", resource.namespace) };
        note(&format!(
            "the hub has not let go of it yet: `kubectl {namespace}describe {} {}` says why",
            resource.kind.plural(),
            resource.name
        ));
    }
    Ok(())
}

fn preview(resource: &ObjectName, answer: &v1::DeleteResponse) -> String {
    if answer.installs == 0 {
        return format!("{}: nothing is installed by it, nothing goes", resource.text());
    }
    let mut text = format!(
        "{}: {} go from {}",
        resource.text(),
        many(answer.installs, "install"),
        many(answer.clusters, "cluster")
    );
    if answer.unheard > 0 {
        text.push_str(&format!(
            "; {} not heard from since the hub's store was made, and counted",
            many(answer.unheard, "cluster")
        ));
    }
    let examples: Vec<&str> = answer.examples.iter().take(5).map(String::as_str).collect();
    if !examples.is_empty() {
        text.push_str(&format!("\n  {}", examples.join(", ")));
        let shown = u64::try_from(examples.len()).unwrap_or(u64::MAX);
        if answer.clusters > shown {
            text.push_str(&format!(" and {} more", answer.clusters - shown));
        }
    }
    text
}

/// Voids join tokens: no cluster loses anything by it, so nothing is asked.
async fn tokens(
    hub: &Hub,
    ids: impl Iterator<Item = &String>,
    arguments: &DeleteArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let ids: Vec<&String> = ids.collect();
    if ids.is_empty() {
        return Err(Failure::usage("name the token to delete by its id").next("`starling get tokens` lists them"));
    }
    if arguments.dry_run || arguments.approve.is_some() || arguments.namespace.is_some() {
        return Err(Failure::usage("a token is deleted by its id alone: it removes nothing from any cluster"));
    }
    for id in ids {
        token::delete(hub, id, output).await?;
    }
    Ok(())
}

async fn named(hub: &Hub, kind: ResourceKind, arguments: &DeleteArguments) -> Result<Vec<ObjectName>, Failure> {
    let names: Vec<&String> =
        arguments.subject.iter().filter_map(|subject| subject.name.as_ref()).chain(&arguments.names).collect();
    if names.is_empty() {
        return Err(Failure::usage(format!("name the {} to delete", kind.singular())));
    }
    let mut doomed = Vec::new();
    for text in names {
        doomed.push(locate(hub, kind, text, arguments.namespace.as_deref()).await?);
    }
    Ok(doomed)
}

async fn locate(hub: &Hub, kind: ResourceKind, text: &str, workspace: Option<&str>) -> Result<ObjectName, Failure> {
    let reference = Reference::parse(text, workspace.filter(|_| kind != ResourceKind::Workspace))?;
    if let Some(namespace) = reference.namespace {
        return Ok(ObjectName { kind, namespace, name: reference.name });
    }
    let name = reference.name;
    let namespace = match kind {
        ResourceKind::AddonAssignment => find_one::<AssignmentView>(hub, &name, None, "assignment").await?.namespace,
        ResourceKind::Addon => find_one::<AddonView>(hub, &name, None, "addon").await?.namespace,
        ResourceKind::ManagedCluster => find_one::<ClusterView>(hub, &name, None, "cluster").await?.workspace,
        ResourceKind::Tombstone | ResourceKind::Workspace => String::new(),
    };
    Ok(ObjectName { kind, namespace, name })
}

fn from_files(arguments: &DeleteArguments) -> Result<Vec<ObjectName>, Failure> {
    let mut doomed = Vec::new();
    for document in read_all(&arguments.files, arguments.recursive)? {
        for heading in headings(&document)? {
            let Some(kind) = ResourceKind::parse(&heading.kind) else {
                return Err(Failure::usage(format!(
                    "{}: {:?} is not a kind of Starling",
                    document.path.display(),
                    heading.kind
                )));
            };
            doomed.push(ObjectName { kind, namespace: heading.metadata.namespace, name: heading.metadata.name });
        }
    }
    if doomed.is_empty() {
        return Err(Failure::new(Exit::NotFound, "the files hold no resources"));
    }
    Ok(doomed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preview_names_counts_and_examples() {
        let resource =
            ObjectName { kind: ResourceKind::AddonAssignment, namespace: "payments".into(), name: "podinfo".into() };
        let answer = v1::DeleteResponse {
            installs: 12,
            clusters: 12,
            unheard: 1,
            examples: vec!["retail/edge-1".into(), "retail/edge-2".into()],
            ..v1::DeleteResponse::default()
        };
        let text = preview(&resource, &answer);
        assert!(text.starts_with("assignment payments/podinfo: 12 installs go from 12 clusters"), "{text}");
        assert!(text.contains("1 cluster not heard from"), "{text}");
        assert!(text.ends_with("retail/edge-1, retail/edge-2 and 10 more"), "{text}");
    }

    #[test]
    fn dependents_go_first() {
        let doomed = |kind| ObjectName { kind, namespace: String::new(), name: "x".into() };
        let mut all = [ResourceKind::Workspace, ResourceKind::Addon, ResourceKind::AddonAssignment].map(doomed);
        all.sort();
        assert_eq!(all.map(|resource| resource.kind.singular()), ["assignment", "addon", "workspace"]);
    }
}
