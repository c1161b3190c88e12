//! Where resources come from, wired: the tasks that read them, and the ways to edit and to await them.
//!
//! Every process has the ways to edit; only the one that decides for the fleet reads, as long as it does.

use std::sync::Arc;
use std::time::Duration;

use starling_hub_core::fleet::Fleet;
use starling_hub_core::status::Pace;
use starling_hub_core::steward::DocumentProblem;
use tokio::sync::{Mutex, mpsc, watch};

use crate::api::Problems;
use crate::gather::Gather;
use crate::hub::{endless, until};
use crate::keyring::Keyring;
use crate::kubernetes::status::{StatusParts, StatusWriter};
use crate::kubernetes::{self, Connection, KubernetesDocuments, KubernetesSource, Published, SourceParts, Untaken};
use crate::metrics::{SourceMetrics, StatusMetrics};
use crate::ports::Clock;
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
#[derive(Clone)]
pub(crate) struct InputParts {
    pub(crate) steward: StewardHandle,
    pub(crate) fleet: watch::Receiver<Arc<Fleet>>,
    pub(crate) hold: Hold,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) agent_address: String,
    pub(crate) metrics: SourceMetrics,
    pub(crate) gather: Gather,
    pub(crate) statuses: StatusMetrics,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The ways to a source.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) kind: SourceKind,
    /// Reads the directory at once; of another source it has nothing to read.
    pub(crate) sync: Sync,
    /// The documents that the hub edits; `None` where there are none.
    pub(crate) documents: Option<Arc<dyn Documents>>,
    /// What could not be taken.
    pub(crate) problems: Problems,
    origin: Origin,
    parts: InputParts,
}

/// What is read.
#[derive(Clone)]
enum Origin {
    Directory(Directory),
    Kubernetes(Connection),
    Scans(Arc<Mutex<mpsc::Receiver<Scan>>>),
}

impl Source {
    /// Opens the ways to edit; nothing is read yet.
    pub(crate) fn open(inputs: Inputs, parts: InputParts) -> Self {
        let problems = parts.gather.own_problems().clone();
        let (kind, directory, documents, origin): (_, _, Option<Arc<dyn Documents>>, _) = match inputs {
            Inputs::Scans(scans) => (SourceKind::Directory, None, None, Origin::Scans(Arc::new(Mutex::new(scans)))),
            Inputs::Directory(directory) => {
                let documents = Arc::new(directory.clone());
                (SourceKind::Directory, Some(directory.clone()), Some(documents), Origin::Directory(directory))
            }
            Inputs::Kubernetes(connection) => {
                let documents = KubernetesDocuments::new(connection.client.clone(), parts.fleet.clone());
                (SourceKind::Kubernetes, None, Some(Arc::new(documents)), Origin::Kubernetes(connection))
            }
        };
        let sync = Sync::new(SyncParts {
            fleet: parts.fleet.clone(),
            steward: parts.steward.clone(),
            problems: problems.clone(),
            hold: parts.hold.clone(),
            directory,
            metrics: parts.metrics.clone(),
        });
        Self { kind, sync, documents, problems, origin, parts }
    }

    /// Starts reading, and waits until everything was read once; a source that is never quiet, or away, does not keep the hub.
    pub(crate) async fn read(&self, tasks: &Tasks) {
        let working = tasks.stopping();
        self.sync.forget();
        match &self.origin {
            Origin::Scans(scans) => {
                let (scans, sync) = (Arc::clone(scans), self.sync.clone());
                let reading = async move { sync.run(&mut *scans.lock().await).await };
                tasks.spawn(Task::Sync, until(working, reading));
            }
            Origin::Directory(directory) => {
                let (sender, mut scans) = mpsc::channel(SCANS);
                let following = source::follow(directory.clone(), sender, working.clone());
                tasks.spawn(Task::Source, endless(following));
                let sync = self.sync.clone();
                let reading = async move { sync.run(&mut scans).await };
                tasks.spawn(Task::Sync, until(working, reading));
                // So that the first question is answered from the whole directory.
                await_first(&self.parts.hold, self.sync.settled()).await;
            }
            Origin::Kubernetes(connection) => self.read_kubernetes(connection, tasks).await,
        }
    }

    /// Notes that another process reads from now on.
    pub(crate) fn is_read_elsewhere(&self) {
        self.parts.metrics.set_available(false);
    }

    async fn read_kubernetes(&self, connection: &Connection, tasks: &Tasks) {
        let Some(documents) = &self.documents else { return };
        let (parts, working) = (&self.parts, tasks.stopping());
        let untaken = Untaken::default();
        let (statuses, sightings) = StatusWriter::new(StatusParts {
            client: connection.client.clone(),
            fleet: parts.fleet.clone(),
            gather: parts.gather.clone(),
            hold: parts.hold.clone(),
            untaken: untaken.clone(),
            pace: Pace::default(),
            metrics: parts.statuses.clone(),
            clock: Arc::clone(&parts.clock),
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
        tasks.spawn(Task::Source, until(working.clone(), reading.run()));
        tasks.spawn(Task::Status, until(working.clone(), statuses.run()));
        tasks.spawn(Task::Sync, until(working.clone(), show(untaken, self.problems.clone())));
        let published = Published {
            address: parts.agent_address.clone(),
            trust_pem: parts.keyring.authority().pem().to_owned(),
            fleet: parts.keyring.fleet().to_owned(),
        };
        let publishing = kubernetes::publish(connection.clone(), published, parts.hold.clone());
        tasks.spawn(Task::Publish, until(working, publishing));
        await_first(&parts.hold, async move { drop(settled.wait_for(|settled| *settled).await) }).await;
    }
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
