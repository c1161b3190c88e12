//! `starling delete`: shows what would go from how many clusters, and deletes only with that count approved.

use starling_proto::v1;

use crate::arguments::change::DeleteArguments;
use crate::documents::{headings, read_all};
use crate::failure::{Exit, Failure};
use crate::hub::Hub;
use crate::kind::ResourceKind;
use crate::reference::Reference;
use crate::render::paint::Paint;
use crate::resolve::find_one;
use crate::terminal::{Output, note};
use crate::views::addon::AddonView;
use crate::views::assignment::AssignmentView;
use crate::views::cluster::ClusterView;

/// A resource to delete; sorts dependents before what they depend on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Doomed {
    kind: ResourceKind,
    namespace: String,
    name: String,
}

impl Doomed {
    fn text(&self) -> String {
        match self.namespace.as_str() {
            "" => format!("{} {}", self.kind.singular(), self.name),
            namespace => format!("{} {namespace}/{}", self.kind.singular(), self.name),
        }
    }

    async fn ask(&self, hub: &Hub, approved_count: Option<u64>) -> Result<v1::DeleteResponse, Failure> {
        let request = v1::DeleteRequest {
            kind: self.kind.as_str().to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            approved_count,
        };
        hub.call(request, |mut client, request| async move { client.delete(request).await }).await
    }
}

/// Deletes what was named, after the count was approved.
///
/// # Errors
/// [`Exit::ApprovalRequired`] when nobody approved the count, with nothing deleted.
pub(super) async fn run(hub: &Hub, arguments: &DeleteArguments, output: &mut Output) -> Result<(), Failure> {
    let mut doomed = if arguments.files.is_empty() { named(hub, arguments).await? } else { from_files(arguments)? };
    doomed.sort();
    doomed.dedup();
    let mut shown = Vec::new();
    let mut total = 0;
    for resource in doomed {
        let answer = resource.ask(hub, None).await?;
        note(&preview(&resource, &answer));
        total += answer.installs;
        shown.push((resource, answer.installs));
    }
    if arguments.dry_run {
        return Ok(());
    }
    approve(total, arguments, output)?;
    let single = shown.len() == 1;
    for (resource, shown_installs) in shown {
        // What was deleted before can have taken installs of this one along: fewer than shown are approved, more are not.
        let count = if single { shown_installs } else { resource.ask(hub, None).await?.installs.min(shown_installs) };
        let answer = resource.ask(hub, Some(count)).await.map_err(|failure| failure.about(&resource.text()))?;
        if answer.deleted {
            output.line(format!("{} deleted", resource.text()))?;
        }
        if !answer.edit_to_make.is_empty() {
            note(&format!("the hub cannot write its directory; to delete {}, make this edit there:", resource.text()));
            output.line(answer.edit_to_make.trim_end())?;
        } else if !answer.deleted {
            return Err(Failure::new(Exit::Failed, format!("the hub did not delete {}", resource.text())));
        }
        output.flush()?;
    }
    Ok(())
}

fn preview(resource: &Doomed, answer: &v1::DeleteResponse) -> String {
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

fn many(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn approve(total: u64, arguments: &DeleteArguments, output: &Output) -> Result<(), Failure> {
    let go = format!("{} would go", many(total, "install"));
    match arguments.approve {
        Some(count) if count == total => Ok(()),
        Some(count) => Err(Failure::new(Exit::ApprovalRequired, format!("{go}, not {count}; nothing was deleted"))
            .next(format!("if that is meant: --approve {total}"))),
        None if total == 0 => Ok(()),
        None if output.terminal.is_interactive() => {
            let question = format!(
                "Type the number of installs to delete ({}):",
                output.terminal.paint_error(&total.to_string(), Paint::Bad)
            );
            if output.terminal.ask(&question)? == total.to_string() {
                return Ok(());
            }
            Err(Failure::new(Exit::ApprovalRequired, "not approved; nothing was deleted"))
        }
        None => Err(Failure::new(Exit::ApprovalRequired, format!("{go}; nothing was deleted"))
            .next(format!("approve the count: --approve {total}"))),
    }
}

async fn named(hub: &Hub, arguments: &DeleteArguments) -> Result<Vec<Doomed>, Failure> {
    let Some(subject) = &arguments.subject else {
        return Err(Failure::usage("name what to delete, or a file with -f"));
    };
    let kind = subject.kind;
    let names: Vec<&String> = subject.name.iter().chain(&arguments.names).collect();
    if names.is_empty() {
        return Err(Failure::usage(format!("name the {} to delete", kind.singular())));
    }
    let mut doomed = Vec::new();
    for text in names {
        doomed.push(locate(hub, kind, text, arguments.namespace.as_deref()).await?);
    }
    Ok(doomed)
}

async fn locate(hub: &Hub, kind: ResourceKind, text: &str, workspace: Option<&str>) -> Result<Doomed, Failure> {
    let reference = Reference::parse(text, workspace.filter(|_| kind != ResourceKind::Workspace))?;
    if let Some(namespace) = reference.namespace {
        return Ok(Doomed { kind, namespace, name: reference.name });
    }
    let name = reference.name;
    let namespace = match kind {
        ResourceKind::AddonAssignment => find_one::<AssignmentView>(hub, &name, None, "assignment").await?.namespace,
        ResourceKind::Addon => find_one::<AddonView>(hub, &name, None, "addon").await?.namespace,
        ResourceKind::ManagedCluster => find_one::<ClusterView>(hub, &name, None, "cluster").await?.workspace,
        ResourceKind::Tombstone | ResourceKind::Workspace => String::new(),
    };
    Ok(Doomed { kind, namespace, name })
}

fn from_files(arguments: &DeleteArguments) -> Result<Vec<Doomed>, Failure> {
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
            doomed.push(Doomed { kind, namespace: heading.metadata.namespace, name: heading.metadata.name });
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
            Doomed { kind: ResourceKind::AddonAssignment, namespace: "payments".into(), name: "podinfo".into() };
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
        let doomed = |kind| Doomed { kind, namespace: String::new(), name: "x".into() };
        let mut all = [ResourceKind::Workspace, ResourceKind::Addon, ResourceKind::AddonAssignment].map(doomed);
        all.sort();
        assert_eq!(all.map(|resource| resource.kind.singular()), ["assignment", "addon", "workspace"]);
    }
}
