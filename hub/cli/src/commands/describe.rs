//! `starling describe`: one thing with everything around it.

use std::collections::{BTreeMap, BTreeSet};

use starling_model::{Health, Millis};

use super::get::narrow;
use crate::arguments::look::DescribeArguments;
use crate::failure::{Exit, Failure};
use crate::hub::Hub;
use crate::kind::{Listed, flux_kind};
use crate::reference::ObjectReference;
use crate::render::age::{Moment, now};
use crate::render::paint::Paint;
use crate::render::table::Table;
use crate::resolve::{cluster_names, find_one};
use crate::terminal::Output;
use crate::views::addon::AddonView;
use crate::views::assignment::AssignmentView;
use crate::views::cluster::{ClusterView, labels_text};
use crate::views::install::InstallView;
use crate::views::object::ObjectView;
use crate::views::{Query, View, list_all};

/// Rows of a part that are shown; the others are counted.
const ROWS_SHOWN: usize = 20;

/// Describes one thing.
pub(super) async fn run(hub: &Hub, arguments: &DescribeArguments, output: &mut Output) -> Result<(), Failure> {
    let listed = arguments.subject.kind;
    let Some(name) = arguments.subject.name.as_deref().or(arguments.name.as_deref()) else {
        return Err(Failure::usage(format!("name the {} to describe", listed.singular())));
    };
    let workspace = arguments.workspace.as_deref().or(arguments.namespace.as_deref());
    match listed {
        Listed::Clusters => cluster(hub, &find_one(hub, name, workspace, "cluster").await?, output).await,
        Listed::Addons => addon(hub, &find_one(hub, name, workspace, "addon").await?, output).await,
        Listed::Assignments => assignment(hub, &find_one(hub, name, workspace, "assignment").await?, output).await,
        Listed::Objects => object(hub, name, arguments, output).await,
        Listed::Installs | Listed::Problems | Listed::Proposals | Listed::Tokens | Listed::Shards => {
            Err(Failure::usage(format!("{} cannot be described", listed.plural()))
                .next(format!("`starling get {} -o wide` shows everything", listed.plural())))
        }
    }
}

async fn cluster(hub: &Hub, cluster: &ClusterView, output: &mut Output) -> Result<(), Failure> {
    let now = now();
    let connection = output.terminal.paint(&cluster.connection, Paint::of_connection(&cluster.connection));
    field(output, "Name", &format!("{}/{}", cluster.workspace, cluster.name))?;
    field(output, "ID", &cluster.id)?;
    field(output, "Labels", &labels_text(&cluster.labels))?;
    field(output, "Connection", &connection)?;
    field(output, "Last seen", &moment(cluster.last_seen, now))?;
    field(output, "Agent", &cluster.agent_version)?;
    field(output, "Kubernetes", &cluster.facts.kubernetes_version)?;
    field(output, "Flux", &cluster.facts.flux_version)?;
    field(output, "Nodes", &cluster.facts.nodes.to_string())?;
    field(output, "Platform", &cluster.facts.platform)?;
    for (name, value) in &cluster.facts.extra {
        field(output, name, value)?;
    }
    field(output, "Objects", &counts_text(&cluster.health, output))?;
    field(
        output,
        "Installs",
        &format!("{} of {} ready, {} blocked", cluster.installs_ready, cluster.installs, cluster.blocked),
    )?;
    problem(output, &cluster.problem, cluster.source_missing)?;
    let here = Query { workspace: cluster.workspace.clone(), clusters: vec![cluster.name.clone()], ..Query::default() };
    let installs: Vec<InstallView> = list_all(hub, &here).await?;
    part(output, "Installs", &installs, now)?;
    let trouble = Query { health: trouble(), ..here };
    let objects: Vec<ObjectView> = list_all(hub, &trouble).await?;
    part(output, "Objects in trouble", &objects, now)
}

async fn addon(hub: &Hub, addon: &AddonView, output: &mut Output) -> Result<(), Failure> {
    let now = now();
    field(output, "Name", &format!("{}/{}", addon.namespace, addon.name))?;
    field(output, "Title", &addon.title)?;
    field(output, "Description", &addon.description)?;
    field(output, "Source", &addon.source)?;
    field(output, "Versions", &addon.versions.join(", "))?;
    problem(output, "", addon.source_missing)?;
    let full = format!("{}/{}", addon.namespace, addon.name);
    let mut assignments: Vec<AssignmentView> = list_all(hub, &Query::default()).await?;
    assignments.retain(|assignment| {
        assignment.addon == full || (assignment.addon == addon.name && assignment.namespace == addon.namespace)
    });
    part(output, "Assignments", &assignments, now)
}

async fn assignment(hub: &Hub, assignment: &AssignmentView, output: &mut Output) -> Result<(), Failure> {
    let now = now();
    field(output, "Name", &format!("{}/{}", assignment.namespace, assignment.name))?;
    field(output, "UID", &assignment.uid)?;
    field(output, "Addon", &format!("{} {}", assignment.addon, assignment.version))?;
    field(output, "Revision", &assignment.revision)?;
    field(output, "Instance", &assignment.instance)?;
    field(output, "Selector", &assignment.selector)?;
    field(output, "Created", &moment(assignment.created, now))?;
    let counts = format!(
        "{} selected, {} applied, {} ready, {} failing, {} blocked",
        assignment.selected, assignment.applied, assignment.ready, assignment.failing, assignment.blocked
    );
    field(output, "Clusters", &counts)?;
    problem(output, &assignment.problem, assignment.source_missing)?;
    let query = Query { assignment: format!("{}/{}", assignment.namespace, assignment.name), ..Query::default() };
    let installs: Vec<InstallView> = list_all(hub, &query).await?;
    let mut planned: BTreeMap<&str, u64> = BTreeMap::new();
    for install in &installs {
        *planned.entry(&install.planned).or_default() += 1;
    }
    let planned: Vec<String> = planned.iter().map(|(planned, count)| format!("{planned}={count}")).collect();
    field(output, "Planned", &planned.join(","))?;
    let (trouble, well): (Vec<_>, Vec<_>) = installs.into_iter().partition(InstallView::is_trouble);
    part(output, "Installs in trouble", &trouble, now)?;
    part(output, "Other installs", &well, now)
}

async fn object(hub: &Hub, name: &str, arguments: &DescribeArguments, output: &mut Output) -> Result<(), Failure> {
    let given: Vec<String> = arguments.cluster.iter().cloned().collect();
    let (workspace, clusters) = cluster_names(&given, arguments.workspace.as_deref())?;
    let mut query = Query {
        workspace: workspace.unwrap_or_default(),
        clusters,
        namespace: arguments.namespace.clone().unwrap_or_default(),
        ..Query::default()
    };
    narrow(&mut query, &ObjectReference::parse(name)?)?;
    let objects: Vec<ObjectView> = list_all(hub, &query).await?;
    if objects.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("there is no object {name:?}"))
            .next(format!("`starling get objects {}` looks everywhere", flux_kind(&query.object))));
    }
    let now = now();
    for (index, object) in objects.iter().take(ROWS_SHOWN).enumerate() {
        if index > 0 {
            output.line("")?;
        }
        describe_object(object, now, output)?;
    }
    more(output, objects.len())
}

fn describe_object(object: &ObjectView, now: Millis, output: &mut Output) -> Result<(), Failure> {
    let health = output.terminal.paint(object.health.as_str(), Paint::of_health(object.health));
    let since = object.since.map(|since| format!(" for {}", since.age(now))).unwrap_or_default();
    field(output, "Cluster", &object.cluster_text())?;
    field(output, "Kind", &format!("{}.{}", object.kind, object.group))?;
    field(output, "Namespace", &object.namespace)?;
    field(output, "Name", &object.name)?;
    field(output, "Health", &format!("{health}{since}"))?;
    if let Some(old) = object.old_since {
        let warning = format!("the agent has not been heard for {}: this may have changed", old.age(now));
        field(output, "Old", &output.terminal.paint(&warning, Paint::Busy))?;
    }
    field(output, "Reason", &object.reason)?;
    field(output, "Message", &object.message)?;
    field(output, "Revision", &object.revision)?;
    field(output, "Generation", &object.generation.to_string())?;
    field(output, "Assignment", &object.assignment)
}

fn trouble() -> BTreeSet<Health> {
    Health::ALL.into_iter().filter(|health| health.is_trouble()).collect()
}

fn counts_text(counts: &BTreeMap<Health, u64>, output: &Output) -> String {
    let text = |(health, count): (&Health, &u64)| {
        output.terminal.paint(&format!("{count} {health}"), Paint::of_health(*health))
    };
    counts.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn moment(moment: Option<Moment>, now: Millis) -> String {
    moment.map_or_else(|| "never".to_owned(), |moment| format!("{} ago", moment.age(now)))
}

fn field(output: &mut Output, label: &str, value: &str) -> Result<(), Failure> {
    let value = if value.trim().is_empty() { "-" } else { value };
    // Further lines of a message stand under its first.
    output.line(format!("{:<13}{}", format!("{label}:"), value.trim_end().replace('\n', "\n             ")))
}

fn problem(output: &mut Output, problem: &str, source_missing: bool) -> Result<(), Failure> {
    if !problem.is_empty() {
        field(output, "Problem", &output.terminal.paint(problem, Paint::Bad))?;
    }
    if source_missing {
        let text =
            "its file or object has vanished; nothing changes until it is back or deleted with `starling delete`";
        field(output, "Source", &output.terminal.paint(text, Paint::Busy))?;
    }
    Ok(())
}

fn part<T: View>(output: &mut Output, title: &str, items: &[T], now: Millis) -> Result<(), Failure> {
    if items.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.line(output.terminal.paint(&format!("{title} ({})", items.len()), Paint::Strong))?;
    let rows: Vec<_> = items.iter().take(ROWS_SHOWN).map(|item| item.cells(now)).collect();
    Table::print(output, T::COLUMNS, &rows)?;
    more(output, items.len())
}

fn more(output: &mut Output, count: usize) -> Result<(), Failure> {
    match count.saturating_sub(ROWS_SHOWN) {
        0 => Ok(()),
        more => output.line(format!("... and {more} more: `starling get` lists all")),
    }
}
