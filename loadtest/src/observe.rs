//! `starling-loadtest observe`: prints a line whenever the hub's answer about one object changes.
//!
//! For timing from outside: whoever reads the lines can compare them with what another watcher printed.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde::Serialize;
use starling_cli::client::connect;
use starling_model::Health;
use starling_proto::v1::{ClusterSelector, ListObjectsRequest};
use tokio::time::sleep;

/// The deadline of one query.
const CALL: Duration = Duration::from_secs(10);

/// The wait between two queries: short against what is timed, and no load.
const LOOK: Duration = Duration::from_millis(1);

/// Which object to ask for.
#[derive(Clone, Debug, Args)]
pub struct ObserveOptions {
    /// The command line's configuration that the hub wrote.
    #[arg(long)]
    config: PathBuf,
    /// The cluster's name.
    #[arg(long)]
    cluster: String,
    /// The object's kind.
    #[arg(long)]
    kind: String,
    /// The object's namespace.
    #[arg(long)]
    namespace: String,
    /// The object's name.
    #[arg(long)]
    name: String,
}

/// What the hub says of the object; one line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    health: &'static str,
    generation: u64,
}

/// Asks until the process ends.
///
/// # Errors
/// The hub cannot be reached, or nobody reads the lines any more.
pub async fn run(options: ObserveOptions) -> Result<()> {
    let hub = connect(&options.config, CALL).await.context("connect to the hub")?;
    let request = ListObjectsRequest {
        selector: Some(ClusterSelector { names: vec![options.cluster], ..ClusterSelector::default() }),
        kind: options.kind,
        namespace: options.namespace,
        name: options.name,
        ..ListObjectsRequest::default()
    };
    let mut shown = None;
    loop {
        let call = hub.call(request.clone(), |mut hub, request| async move { hub.list_objects(request).await });
        let answer = call.await.map_err(|error| anyhow!("the hub: {error}"))?;
        let status = answer.objects.into_iter().find_map(|object| object.status);
        let line = status.map(|status| {
            let health = Health::try_from(status.health()).map_or("unspecified", |health| health.as_str());
            Line { health, generation: status.generation }
        });
        if line != shown {
            let mut stdout = std::io::stdout().lock();
            let text = serde_json::to_string(&line).context("write a line")?;
            writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("print a line")?;
            shown = line;
        }
        sleep(LOOK).await;
    }
}
