//! `starling detach cluster`.

use std::collections::BTreeSet;
use std::time::Duration;

use starling_proto::v1;
use tokio::time::{Instant, sleep};

use crate::arguments::change::DetachArguments;
use crate::failure::{Exit, Failure};
use crate::hub::Hub;
use crate::reference::Reference;
use crate::resolve::find_one;
use crate::terminal::{Output, note};
use crate::views::cluster::ClusterView;
use crate::views::{Query, list_all};

/// How often a waiting command looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Begins or forces a detachment, and waits for its end where that is asked for.
pub(super) async fn run(hub: &Hub, arguments: &DetachArguments, output: &mut Output) -> Result<(), Failure> {
    let given = Reference::parse(&arguments.name, arguments.workspace.as_deref())?;
    let (workspace, name) = match given.namespace {
        Some(workspace) => (workspace, given.name),
        None => {
            let found: ClusterView = find_one(hub, &given.name, None, "cluster").await?;
            (found.workspace, found.name)
        }
    };
    let request = v1::DetachRequest { workspace: workspace.clone(), name: name.clone(), forget: arguments.forget, ..v1::DetachRequest::default() };
    let answer = hub.call(request, |mut client, request| async move { client.detach(request).await }).await?;
    let said = match answer.stage.as_str() {
        "requested" => "is being detached: syncing stops, what is installed stays; waiting for its agent's word",
        "acknowledged" => "is detached: its agent has stopped, what is installed stays",
        "forgotten" => "is forgotten: its identity is dropped",
        stage => stage,
    };
    output.line(format!("cluster {workspace}/{name} {said}"))?;
    if !answer.edit_to_make.is_empty() {
        note("the hub cannot write its directory; make this edit there:");
        output.line(answer.edit_to_make.trim_end())?;
    }
    output.flush()?;
    if !arguments.wait || answer.stage != "requested" {
        return Ok(());
    }
    wait(hub, &workspace, &name, arguments.wait_timeout).await?;
    output.line(format!("cluster {workspace}/{name} has left the fleet"))
}

async fn wait(hub: &Hub, workspace: &str, name: &str, limit: Duration) -> Result<(), Failure> {
    let query = Query { workspace: workspace.to_owned(), names: BTreeSet::from([name.to_owned()]), ..Query::default() };
    let end = Instant::now() + limit;
    loop {
        let clusters: Vec<ClusterView> = list_all(hub, &query).await?;
        // Where the hub cannot write its directory the resource stays, without an identity: pending again.
        if clusters.iter().all(|cluster| cluster.connection == "pending") {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(Failure::new(
                Exit::Failed,
                format!("the agent of {workspace}/{name} did not confirm within {limit:?}; the detachment goes on"),
            )
            .next(format!("if the agent is gone for good: starling detach cluster {name} -w {workspace} --forget")));
        }
        sleep(LOOK_AGAIN).await;
    }
}
