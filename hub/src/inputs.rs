//! Where resources come from, wired: the tasks that read them, and the ways to edit and to await them.

use std::sync::Arc;
use std::time::Duration;

use starling_hub_core::fleet::Fleet;
use starling_hub_core::status::Pace;
use starling_hub_core::steward::DocumentProblem;
use tokio::sync::{mpsc, watch};

use crate::api::Problems;
use crate::hub::{endless, until};
use crate::keyring::Keyring;
use crate::kubernetes::status::{StatusParts, StatusWriter};
use crate::kubernetes::{self, Connection, KubernetesDocuments, KubernetesSource, Published, SourceParts, Untaken};
use crate::metrics::{SourceMetrics, StatusMetrics};
use crate::ports::Clock;
use crate::shard::Shard;
use crate::source::{self, Directory, Documents, Scan, SourceKind};
use crate::steward::{Hold, StewardHandle};
use crate::sync::{Sync, SyncParts};
use crate::tasks::{Task, Tasks};

/// Scans that wait for the steward: a newer one takes the place of none, the reader waits.
const SCANS: usize = 1;

/// How long the first reading may keep the hub from answering.
const FIRST_READING: Duration = Duration::from_secs(5);

/// Where resources come from.
pub enum Inputs {
    /// A directory of YAML.
    Directory(Directory),
    /// The objects of a Kubernetes API.
    Kubernetes(Connection),
    /// Whoever sends scans, such as a simulation.
    Scans(mpsc::Receiver<Scan>),
}

/// What reading resources works with.
pub(crate) struct InputParts<'a> {
    pub(crate) tasks: &'a Tasks,
    pub(crate) steward: &'a StewardHandle,
    pub(crate) fleet: &'a watch::Receiver<Arc<Fleet>>,
    pub(crate) hold: &'a Hold,
    pub(crate) keyring: &'a Keyring,
    pub(crate) agent_address: &'a str,
    pub(crate) metrics: &'a SourceMetrics,
    pub(crate) shard: &'a Arc<Shard>,
    pub(crate) statuses: &'a StatusMetrics,
    pub(crate) clock: &'a Arc<dyn Clock>,
}

/// The ways to a running source.
pub(crate) struct Source {
    pub(crate) kind: SourceKind,
    /// Reads the directory at once; of another source it has nothing to read.
    pub(crate) sync: Sync,
    /// The documents that the hub edits; `None` where there are none.
    pub(crate) documents: Option<Arc<dyn Documents>>,
    /// What could not be taken.
    pub(crate) problems: Problems,
}

/// Starts reading, and waits until everything was read once; a source that is never quiet, or away, does not keep the hub.
pub(crate) async fn start(inputs: Inputs, parts: &InputParts<'_>) -> Source {
    let problems = Problems::default();
    let sync = |directory: Option<Directory>| {
        let (steward, problems, hold) = (parts.steward.clone(), problems.clone(), parts.hold.clone());
        Sync::new(SyncParts { steward, problems, hold, directory, metrics: parts.metrics.clone() })
    };
    let working = parts.tasks.stopping();
    let source = |kind, sync, documents| Source { kind, sync, documents, problems: problems.clone() };
    match inputs {
        Inputs::Scans(scans) => {
            let sync = sync(None);
            parts.tasks.spawn(Task::Sync, until(working, sync.clone().run(scans)));
            source(SourceKind::Directory, sync, None)
        }
        Inputs::Directory(directory) => {
            let (sender, scans) = mpsc::channel(SCANS);
            let following = source::follow(directory.clone(), sender, working.clone());
            parts.tasks.spawn(Task::Source, endless(following));
            let sync = sync(Some(directory.clone()));
            parts.tasks.spawn(Task::Sync, until(working, sync.clone().run(scans)));
            // So that the first question is answered from the whole directory.
            await_first(parts.hold, sync.settled()).await;
            source(SourceKind::Directory, sync, Some(Arc::new(directory)))
        }
        Inputs::Kubernetes(connection) => {
            let documents: Arc<dyn Documents> =
                Arc::new(KubernetesDocuments::new(connection.client.clone(), parts.fleet.clone()));
            start_kubernetes(connection, &documents, &problems, parts).await;
            source(SourceKind::Kubernetes, sync(None), Some(documents))
        }
    }
}

async fn start_kubernetes(
    connection: Connection,
    documents: &Arc<dyn Documents>,
    problems: &Problems,
    parts: &InputParts<'_>,
) {
    let working = parts.tasks.stopping();
    let untaken = Untaken::default();
    let (statuses, sightings) = StatusWriter::new(StatusParts {
        client: connection.client.clone(),
        fleet: parts.fleet.clone(),
        shard: Arc::clone(parts.shard),
        hold: parts.hold.clone(),
        untaken: untaken.clone(),
        pace: Pace::default(),
        metrics: parts.statuses.clone(),
        clock: Arc::clone(parts.clock),
    });
    let (reading, mut settled) = KubernetesSource::new(SourceParts {
        client: connection.client.clone(),
        steward: parts.steward.clone(),
        fleet: parts.fleet.clone(),
        hold: parts.hold.clone(),
        documents: Arc::clone(documents),
        untaken: untaken.clone(),
        observers: vec![sightings],
        metrics: parts.metrics.clone(),
    });
    parts.tasks.spawn(Task::Source, until(working.clone(), reading.run()));
    parts.tasks.spawn(Task::Status, until(working.clone(), statuses.run()));
    parts.tasks.spawn(Task::Sync, until(working.clone(), show(untaken, problems.clone())));
    let published = Published {
        address: parts.agent_address.to_owned(),
        trust_pem: parts.keyring.authority().pem().to_owned(),
        fleet: parts.keyring.fleet().to_owned(),
    };
    let publishing = kubernetes::publish(connection, published, parts.hold.clone());
    parts.tasks.spawn(Task::Publish, until(working, publishing));
    await_first(parts.hold, async move { drop(settled.wait_for(|settled| *settled).await) }).await;
}

/// Waits for the first reading, for a time; while the fleet holds, nothing of it would be taken.
async fn await_first(hold: &Hold, settled: impl Future<Output = ()>) {
    if hold.reason().is_none() && tokio::time::timeout(FIRST_READING, settled).await.is_err() {
        tracing::warn!("serving before everything was read once");
    }
}

/// Shows what could not be taken of the objects, as it changes; ends with the source.
async fn show(untaken: Untaken, problems: Problems) {
    let mut changes = untaken.subscribe();
    while changes.changed().await.is_ok() {
        let untaken = changes.borrow_and_update().values().cloned().collect::<Vec<_>>();
        let untaken = untaken.into_iter().map(|problem| DocumentProblem { file: String::new(), line: 0, problem });
        problems.replace_untaken(untaken.collect());
    }
}
