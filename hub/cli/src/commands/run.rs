//! `starling reconcile`, `suspend` and `resume`, of one object or of a selection.

use std::io::Write as _;

use serde::Serialize;
use starling_proto::v1;

use super::get::narrow;
use crate::arguments::change::RunArguments;
use crate::arguments::look::OneFormat;
use crate::failure::{Exit, Failure, one_line};
use crate::hub::{Answers, Hub};
use crate::reference::ObjectReference;
use crate::render::document::{self, Notation};
use crate::render::paint::Paint;
use crate::resolve;
use crate::terminal::{Output, note};
use crate::views::Query;

/// How a command ended, as documents show it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultView {
    /// reconcile, suspend or resume.
    verb: String,
    selected: u64,
    done: u64,
    failed: u64,
    failures: Vec<FailureView>,
}

/// One object that failed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureView {
    workspace: String,
    cluster: String,
    group: String,
    kind: String,
    namespace: String,
    name: String,
    error: String,
}

/// Runs a verb on what was selected.
///
/// # Errors
/// [`Exit::NotFound`] when nothing matches; [`Exit::Failed`] when any object failed.
pub(super) async fn run(hub: &Hub, verb: &str, arguments: &RunArguments, output: &mut Output) -> Result<(), Failure> {
    let query = selection(hub, verb, arguments).await?;
    let selected = execute(hub, verb, &query, arguments, true, output).await?.selected;
    if selected == 0 {
        return Err(Failure::new(Exit::NotFound, "no object matches")
            .next("`starling get objects` with the same options lists what matches"));
    }
    if arguments.dry_run {
        return match arguments.output {
            OneFormat::Text => output.line(format!("{verb}: {selected} objects selected (dry run)")),
            format => print(&ResultView { verb: verb.to_owned(), selected, ..ResultView::default() }, format, output),
        };
    }
    if selected > 1 && !arguments.yes && output.terminal.is_interactive() {
        let question = format!("{verb} {selected} objects?");
        if !output.terminal.confirm(&question)? {
            return Err(Failure::new(Exit::Failed, "not confirmed; nothing was done"));
        }
    }
    let result = execute(hub, verb, &query, arguments, false, output).await?;
    print(&result, arguments.output, output)?;
    output.flush()?;
    // Whether `done` counts the failed ones or not, all of the selection has to be accounted for.
    let unanswered = result.selected.saturating_sub(result.done.max(result.done + result.failed));
    if result.failed > 0 || unanswered > 0 {
        let lost = if unanswered > 0 { format!(", {unanswered} without an answer") } else { String::new() };
        return Err(Failure::new(
            Exit::Failed,
            format!("{verb}: {} of {} objects failed{lost}", result.failed, result.selected),
        )
        .next("`starling get clusters` shows which clusters are connected"));
    }
    Ok(())
}

async fn selection(hub: &Hub, verb: &str, arguments: &RunArguments) -> Result<Query, Failure> {
    let selection = &arguments.selection;
    let narrowed = selection.workspace.is_some()
        || selection.namespace.is_some()
        || selection.labels.is_some()
        || selection.kind.is_some()
        || selection.assignment.is_some()
        || !selection.clusters.is_empty()
        || !selection.health.is_empty();
    if arguments.object.is_none() && !narrowed && !arguments.all {
        return Err(Failure::usage(format!("name an object or a selection to {verb}")).next(
            "select with -w, -l, --cluster, --kind, --assignment or --health; `--all` is every object of the fleet",
        ));
    }
    let mut query = resolve::query(hub, selection).await?;
    if let Some(text) = &arguments.object {
        narrow(&mut query, &ObjectReference::parse(text)?)?;
    }
    Ok(query)
}

async fn execute(
    hub: &Hub,
    verb: &str,
    query: &Query,
    arguments: &RunArguments,
    dry_run: bool,
    output: &mut Output,
) -> Result<ResultView, Failure> {
    let request = v1::RunCommandRequest {
        verb: verb.to_owned(),
        objects: Some(query.objects(String::new())),
        per_second: arguments.per_second.unwrap_or(0),
        dry_run,
    };
    let mut answers: Answers<v1::RunCommandResponse> = hub
        .stream(request, Some(hub.deadline()), |mut client, request| async move { client.run_command(request).await })
        .await?;
    let mut result = ResultView { verb: verb.to_owned(), ..ResultView::default() };
    let progress = output.terminal.is_interactive() && !dry_run;
    while let Some(answer) = answers.next().await? {
        result.selected = answer.selected;
        result.done = answer.done;
        result.failed = answer.failed;
        if !answer.error.is_empty() {
            result.failures.push(FailureView::from_wire(answer));
        }
        if progress {
            show_progress(&result);
        }
    }
    if progress {
        // The progress line gives way to the result.
        let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K");
    }
    Ok(result)
}

fn show_progress(result: &ResultView) {
    let mut stderr = std::io::stderr().lock();
    // A progress line that cannot be shown is no reason to stop.
    let _ =
        write!(stderr, "\r\u{1b}[K{}: {} of {}, {} failed", result.verb, result.done, result.selected, result.failed);
    let _ = stderr.flush();
}

fn print(result: &ResultView, format: OneFormat, output: &mut Output) -> Result<(), Failure> {
    match format {
        OneFormat::Json => document::print(output, Notation::Json, "CommandResult", result),
        OneFormat::Yaml => document::print(output, Notation::Yaml, "CommandResult", result),
        OneFormat::Text => {
            for failure in &result.failures {
                note(&format!("{} {}", output.terminal.paint_error("failed:", Paint::Bad), failure.text()));
            }
            output
                .line(format!("{}: {} of {} done, {} failed", result.verb, result.done, result.selected, result.failed))
        }
    }
}

impl FailureView {
    fn from_wire(wire: v1::RunCommandResponse) -> Self {
        let key = wire.object.unwrap_or_default();
        Self {
            workspace: wire.workspace,
            cluster: wire.cluster,
            group: key.group,
            kind: key.kind,
            namespace: key.namespace,
            name: key.name,
            error: wire.error,
        }
    }

    fn text(&self) -> String {
        format!(
            "{}/{} {}/{}/{}: {}",
            self.workspace,
            self.cluster,
            self.kind,
            self.namespace,
            self.name,
            one_line(&self.error)
        )
    }
}
