//! `starling detach cluster`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use starling_proto::v1;
use tokio::time::{Instant, sleep};

use super::confirm::{approve, many};
use crate::arguments::change::DetachArguments;
use crate::failure::{Exit, Failure};
use crate::hub::Hub;
use crate::kind::ResourceKind;
use crate::kubernetes::objects::ObjectName;
use crate::reference::Reference;
use crate::resolve::find_one;
use crate::source::Source;
use crate::terminal::{Output, note, warn};
use crate::views::cluster::ClusterView;
use crate::views::{Query, list_all};

/// How often a waiting command looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The cluster that is to leave.
struct Leaving<'a> {
    hub: &'a Hub,
    workspace: String,
    name: String,
    arguments: &'a DetachArguments,
}

/// Begins or forces a detachment, and waits for its end where that is asked for.
///
/// # Errors
/// [`Exit::ApprovalRequired`] when installs would be removed and nobody approved their count.
pub(super) async fn run(
    hub: &Hub,
    source: &Source,
    arguments: &DetachArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let given = Reference::parse(&arguments.name, arguments.workspace.as_deref())?;
    let (workspace, name) = match given.namespace {
        Some(workspace) => (workspace, given.name),
        None => {
            let found: ClusterView = find_one(hub, &given.name, None, "cluster").await?;
            (found.workspace, found.name)
        }
    };
    if let Source::Kubernetes(kubernetes) = source {
        let object =
            ObjectName { kind: ResourceKind::ManagedCluster, namespace: workspace.clone(), name: name.clone() };
        // At the end the hub removes the resource: where Flux applies it, it would come back.
        kubernetes.get_to_edit(&object).await?;
    }
    let leaving = Leaving { hub, workspace, name, arguments };
    let answer = leaving.begin(output).await?;
    let said = match answer.stage.as_str() {
        "removing" => format!("is being emptied: {} left, then it is detached", many(answer.installs, "install")),
        "requested" => {
            "is being detached: syncing stops, what is installed stays; waiting for its agent's word".to_owned()
        }
        "acknowledged" => "is detached: its agent has stopped, what is installed stays".to_owned(),
        "forgotten" => "is forgotten: its identity is dropped".to_owned(),
        stage => stage.to_owned(),
    };
    output.line(format!("{} {said}", leaving.text()))?;
    if !answer.edit_to_make.is_empty() {
        note("the hub cannot write its directory; make this edit there:");
        output.line(answer.edit_to_make.trim_end())?;
    }
    output.flush()?;
    if !arguments.wait || !matches!(answer.stage.as_str(), "removing" | "requested") {
        return Ok(());
    }
    leaving.wait(answer.stage == "removing", output).await?;
    let removed = if answer.stage == "removing" { "; what Starling installed there is removed" } else { "" };
    output.line(format!("{} has left the fleet{removed}", leaving.text()))
}

impl Leaving<'_> {
    fn text(&self) -> String {
        format!("cluster {}/{}", self.workspace, self.name)
    }

    /// Asks for the detachment; where installs would go, a second time with their approved count.
    async fn begin(&self, output: &Output) -> Result<v1::DetachResponse, Failure> {
        let asked = self.ask(None).await?;
        if asked.stage != "asked" {
            return Ok(asked);
        }
        note(&match asked.installs {
            0 => format!("{}: nothing is installed there", self.text()),
            installs => format!("{}: {} go from it, in order", self.text(), many(installs, "install")),
        });
        approve(asked.installs, self.arguments.approve, output)?;
        self.ask(Some(asked.installs)).await
    }

    async fn ask(&self, approved_count: Option<u64>) -> Result<v1::DetachResponse, Failure> {
        let request = v1::DetachRequest {
            workspace: self.workspace.clone(),
            name: self.name.clone(),
            forget: self.arguments.forget,
            delete: self.arguments.delete,
            approved_count,
        };
        self.hub.call(request, |mut client, request| async move { client.detach(request).await }).await
    }

    async fn wait(&self, removes: bool, output: &Output) -> Result<(), Failure> {
        let names = BTreeSet::from([self.name.clone()]);
        let query = Query { workspace: self.workspace.clone(), names, ..Query::default() };
        let limit = self.arguments.wait_timeout;
        let end = Instant::now() + limit;
        let mut progress = Progress::new(output);
        let mut problem = String::new();
        loop {
            let clusters: Vec<ClusterView> = list_all(self.hub, &query).await?;
            // Where the hub cannot write its directory the resource stays, without an identity: pending again.
            let Some(cluster) = clusters.iter().find(|cluster| cluster.connection != "pending") else {
                progress.end();
                return Ok(());
            };
            if removes {
                progress.show(&self.left().await?);
            }
            if cluster.problem != problem {
                problem.clone_from(&cluster.problem);
                progress.end();
                if !problem.is_empty() {
                    warn(&output.terminal, &format!("{}: {problem}", self.text()));
                }
            }
            if Instant::now() >= end {
                progress.end();
                let text = self.text();
                return Err(Failure::new(
                    Exit::Failed,
                    format!("the agent of {text} did not confirm within {limit:?}; the detachment goes on"),
                )
                .next(format!(
                    "if the agent is gone for good: starling detach cluster {} -w {} --forget",
                    self.name, self.workspace
                )));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks what is left, which changes nothing: nobody approves anything.
    async fn left(&self) -> Result<String, Failure> {
        let request = v1::DetachRequest {
            workspace: self.workspace.clone(),
            name: self.name.clone(),
            delete: true,
            ..v1::DetachRequest::default()
        };
        let asked = self.hub.call(request, |mut client, request| async move { client.detach(request).await }).await;
        Ok(match asked {
            Ok(answer) if answer.installs > 0 => format!("{} left", many(answer.installs, "install")),
            Ok(_) => "everything is removed; waiting for the agent's word".to_owned(),
            // It has left between the two questions.
            Err(failure) if failure.exit() == Exit::NotFound => "it has left".to_owned(),
            Err(failure) => return Err(failure),
        })
    }
}

/// Tells how far something is, on standard error: in one place on a terminal, else each change on a line of its own.
struct Progress {
    interactive: bool,
    last: String,
}

impl Progress {
    fn new(output: &Output) -> Self {
        Self { interactive: output.terminal.is_interactive(), last: String::new() }
    }

    fn show(&mut self, text: &str) {
        if self.last == text {
            return;
        }
        text.clone_into(&mut self.last);
        if !self.interactive {
            return note(text);
        }
        let mut stderr = std::io::stderr().lock();
        // A progress line that cannot be shown is no reason to stop.
        let _ = write!(stderr, "\r\u{1b}[K{text}");
        let _ = stderr.flush();
    }

    fn end(&mut self) {
        if self.interactive && !std::mem::take(&mut self.last).is_empty() {
            let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}
