//! `starling get`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::watch;
use crate::arguments::look::{GetArguments, ListFormat, Selection};
use crate::contexts::target::Target;
use crate::failure::{Failure, one_line};
use crate::hub::Hub;
use crate::kind::Listed;
use crate::reference::{ObjectReference, Reference};
use crate::render::age::now;
use crate::render::document::{ListWriter, Notation};
use crate::render::table::Table;
use crate::resolve::{self, cluster_names};
use crate::terminal::{Output, note};
use crate::views::addon::AddonView;
use crate::views::assignment::AssignmentView;
use crate::views::cluster::ClusterView;
use crate::views::install::InstallView;
use crate::views::object::ObjectView;
use crate::views::problem::ProblemView;
use crate::views::proposal::ProposalView;
use crate::views::shard::ShardView;
use crate::views::token::TokenView;
use crate::views::{Query, Spread, View, Whole};

/// Lists, once or again and again.
///
/// # Errors
/// [`Exit::NotFound`] when something that was named is not there.
pub(super) async fn run(
    target: &Target,
    deadline: Duration,
    arguments: &GetArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let listed = arguments.subject.kind;
    refuse_foreign_options(listed, &arguments.selection)?;
    let hub = Hub::connect(target, deadline).await?;
    let query = question(&hub, arguments).await?;
    let list = List { hub, target, query, arguments };
    match listed {
        Listed::Clusters => list.show::<ClusterView>(output).await,
        Listed::Addons => list.show::<AddonView>(output).await,
        Listed::Assignments => list.show::<AssignmentView>(output).await,
        Listed::Objects => list.show::<ObjectView>(output).await,
        Listed::Installs => list.show::<InstallView>(output).await,
        Listed::Problems => list.show::<ProblemView>(output).await,
        Listed::Proposals => list.show::<ProposalView>(output).await,
        Listed::Tokens => list.show::<TokenView>(output).await,
        Listed::Shards => list.show::<ShardView>(output).await,
    }
}

struct List<'a> {
    hub: Hub,
    target: &'a Target,
    query: Query,
    arguments: &'a GetArguments,
}

impl List<'_> {
    async fn show<T: View>(self, output: &mut Output) -> Result<(), Failure> {
        let (format, header) = (self.arguments.output, !self.arguments.no_headers);
        if self.arguments.watch {
            return watch::run::<T>(self.hub, self.target, &self.query, format, header, output).await;
        }
        let mut printer = Printer::begin::<T>(format, header, output)?;
        let mut missing = self.query.names.clone();
        let (mut token, mut whole) = (String::new(), Whole::default());
        loop {
            let page = T::page(&self.hub, &self.query, token).await?;
            page.items.iter().for_each(|item| {
                missing.remove(item.name());
            });
            printer.items(&page.items, output)?;
            self.hub.miss(&page.whole.unanswered);
            whole.unanswered.extend(page.whole.unanswered);
            whole.spread = page.whole.spread.or(whole.spread);
            if page.next.is_empty() {
                break;
            }
            token = page.next;
        }
        let empty = printer.end(&whole, output)?;
        let listed = self.arguments.subject.kind;
        if !missing.is_empty() {
            output.flush()?;
            let names: Vec<&str> = missing.iter().map(String::as_str).collect();
            return Err(self.hub.not_found(&format!("{} {}", listed.singular(), names.join(", ")), listed.plural()));
        }
        if empty && matches!(format, ListFormat::Table | ListFormat::Wide) {
            note(&format!("no {} found", listed.plural()));
        }
        if let Some(spread) = whole.spread.filter(|_| matches!(format, ListFormat::Table | ListFormat::Wide)) {
            output.flush()?;
            tell_spread(&spread);
        }
        Ok(())
    }
}

/// Prints a list in one format, page by page.
struct Printer {
    empty: bool,
    inner: Inner,
}

enum Inner {
    Table(Table),
    Document(ListWriter),
    Names,
}

impl Printer {
    fn begin<T: View>(format: ListFormat, header: bool, output: &mut Output) -> Result<Self, Failure> {
        let inner = match format {
            ListFormat::Table => Inner::Table(Table::new(T::COLUMNS, false, header, output.terminal.width())),
            ListFormat::Wide => Inner::Table(Table::new(T::COLUMNS, true, header, None)),
            ListFormat::Json => Inner::Document(ListWriter::begin(output, Notation::Json, T::KIND)?),
            ListFormat::Yaml => Inner::Document(ListWriter::begin(output, Notation::Yaml, T::KIND)?),
            ListFormat::Name => Inner::Names,
        };
        Ok(Self { empty: true, inner })
    }

    fn items<T: View>(&mut self, items: &[T], output: &mut Output) -> Result<(), Failure> {
        self.empty &= items.is_empty();
        match &mut self.inner {
            Inner::Table(table) => {
                let now = now();
                let rows: Vec<_> = items.iter().map(|item| item.cells(now)).collect();
                table.rows(output, &rows)
            }
            Inner::Document(writer) => items.iter().try_for_each(|item| writer.item(output, item)),
            Inner::Names => items.iter().try_for_each(|item| output.line(item.reference())),
        }
    }

    /// Ends the output and tells whether there was nothing.
    fn end(self, whole: &Whole, output: &mut Output) -> Result<bool, Failure> {
        if let Inner::Document(writer) = self.inner {
            writer.end_with(output, whole)?;
        }
        Ok(self.empty)
    }
}

/// Tells how the fleet is spread over the hub's processes, beside the table of these.
fn tell_spread(spread: &Spread) {
    if let Some(epoch) = spread.epoch {
        let moving = match spread.moving {
            0 => "nothing is moving".to_owned(),
            count => format!("{count} are moving to their owners"),
        };
        note(&format!("epoch {epoch}: {} clusters, {moving}", spread.clusters));
    }
    spread.reasons.iter().for_each(|reason| note(&format!("  {}", one_line(reason))));
    if !spread.note.is_empty() {
        note(&one_line(&spread.note));
    }
}

async fn question(hub: &Hub, arguments: &GetArguments) -> Result<Query, Failure> {
    let mut query = resolve::query(hub, &arguments.selection).await?;
    let names: Vec<String> = arguments.subject.name.iter().chain(&arguments.names).cloned().collect();
    match arguments.subject.kind {
        Listed::Objects => name_objects(&mut query, &names)?,
        Listed::Clusters | Listed::Addons | Listed::Assignments | Listed::Problems | Listed::Tokens => {
            // On the hub a namespace is a workspace.
            let workspace = match (query.workspace.as_str(), query.namespace.as_str()) {
                (workspace, "") => workspace,
                ("", namespace) => namespace,
                (workspace, namespace) if workspace == namespace => workspace,
                (workspace, namespace) => {
                    return Err(Failure::usage(format!(
                        "`--workspace {workspace}` and `--namespace {namespace}` name two workspaces"
                    )));
                }
            };
            let (workspace, names) = cluster_names(&names, Some(workspace).filter(|name| !name.is_empty()))?;
            query.workspace = workspace.unwrap_or_default();
            query.names = names.into_iter().collect();
        }
        Listed::Installs => {
            for text in &names {
                let namespace = Some(query.namespace.as_str()).filter(|name| !name.is_empty());
                let reference = Reference::parse(text, namespace)?;
                query.namespace = reference.namespace.unwrap_or_default();
                query.names.insert(reference.name);
            }
        }
        Listed::Shards => query.names = names.into_iter().collect(),
        Listed::Proposals => query.names = names.into_iter().map(|name| name.to_lowercase()).collect(),
    }
    Ok(query)
}

/// Names objects: any number by bare names, or one by a longer form.
fn name_objects(query: &mut Query, names: &[String]) -> Result<(), Failure> {
    let references: Result<Vec<ObjectReference>, Failure> =
        names.iter().map(|text| ObjectReference::parse(text)).collect();
    let references = references?;
    if references.len() > 1 && references.iter().any(|reference| reference.kind.is_some()) {
        return Err(Failure::usage("only one object can be named as KIND/NAME")
            .next("name several by bare names, with `--kind` and `-n` beside them"));
    }
    if let [reference] = references.as_slice() {
        narrow(query, reference)?;
    }
    query.names = references.into_iter().map(|reference| reference.name).collect::<BTreeSet<_>>();
    Ok(())
}

/// Narrows a question to the one object that was named, as far as it was.
///
/// # Errors
/// Of usage, when an option beside it says another thing.
pub(super) fn narrow(query: &mut Query, reference: &ObjectReference) -> Result<(), Failure> {
    let set = |field: &mut String, value: &Option<String>, option: &str| match value {
        Some(value) if !field.is_empty() && field != value => {
            Err(Failure::usage(format!("the object's name says {value:?} and `{option}` says {field:?}")))
        }
        Some(value) => {
            field.clone_from(value);
            Ok(())
        }
        None => Ok(()),
    };
    set(&mut query.workspace, &reference.workspace, "--workspace")?;
    set(&mut query.kind, &reference.kind, "--kind")?;
    set(&mut query.namespace, &reference.namespace, "--namespace")?;
    if let Some(cluster) = &reference.cluster {
        if query.clusters.iter().any(|other| other != cluster) {
            return Err(Failure::usage(format!("the object's name says cluster {cluster:?} and `--cluster` another")));
        }
        query.clusters = vec![cluster.clone()];
    }
    query.object.clone_from(&reference.name);
    Ok(())
}

/// Refuses options that would be ignored: a filter that does not filter misleads.
fn refuse_foreign_options(listed: Listed, selection: &Selection) -> Result<(), Failure> {
    let given = [
        ("--workspace", selection.workspace.is_some()),
        ("--namespace", selection.namespace.is_some()),
        ("--selector", selection.labels.is_some()),
        ("--cluster", !selection.clusters.is_empty()),
        ("--health", !selection.health.is_empty()),
        ("--assignment", selection.assignment.is_some()),
        ("--kind", selection.kind.is_some()),
    ];
    let understood: &[&str] = match listed {
        Listed::Clusters => &["--workspace", "--namespace", "--selector", "--health"],
        Listed::Addons | Listed::Assignments | Listed::Problems | Listed::Tokens => &["--workspace", "--namespace"],
        Listed::Objects => {
            &["--workspace", "--namespace", "--selector", "--cluster", "--health", "--assignment", "--kind"]
        }
        Listed::Installs => &["--workspace", "--namespace", "--selector", "--cluster", "--health", "--assignment"],
        Listed::Proposals | Listed::Shards => &[],
    };
    match given.into_iter().find(|(option, given)| *given && !understood.contains(option)) {
        None => Ok(()),
        Some((option, _)) => Err(Failure::usage(format!("`{option}` does not select {}", listed.plural()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_named_object_narrows_the_question() {
        let mut query = Query { namespace: "apps".into(), ..Query::default() };
        let names = ["retail/edge-1/hr/apps/podinfo".to_owned()];
        name_objects(&mut query, &names).unwrap();
        assert_eq!((query.workspace.as_str(), query.clusters.as_slice()), ("retail", &["edge-1".to_owned()][..]));
        assert_eq!((query.kind.as_str(), query.object.as_str()), ("HelmRelease", "podinfo"));
        let mut other = Query { namespace: "other".into(), ..Query::default() };
        assert_eq!(name_objects(&mut other, &names).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn several_objects_have_bare_names() {
        let mut query = Query::default();
        name_objects(&mut query, &["a".into(), "b".into()]).unwrap();
        assert_eq!((query.object.as_str(), query.names.len()), ("", 2));
        assert!(name_objects(&mut query, &["hr/a".into(), "b".into()]).is_err());
    }

    #[test]
    fn an_option_that_would_be_ignored_is_refused() {
        let selection = Selection { kind: Some("hr".into()), ..Selection::default() };
        assert!(refuse_foreign_options(Listed::Objects, &selection).is_ok());
        let refused = refuse_foreign_options(Listed::Clusters, &selection).unwrap_err();
        assert!(refused.to_string().contains("--kind"), "{refused}");
    }
}
