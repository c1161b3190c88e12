//! Statuses as agents send them, and an index full of them.

use prost::Message as _;
use starling_hub_core::index::StatusIndex;
use starling_hub_core::session::sequence::Sequence;
use starling_model::session::{AgentMessage, BatchKind, StatusBatch};
use starling_model::{
    ClusterId, Digest, Health, InstallKey, InstallReport, InstallState, Limits, Millis, ObjectKey, ObjectStatus,
    Position, Uid,
};
use starling_proto::v1;

/// Flux objects of a cluster.
pub(crate) const OBJECTS: usize = 40;

/// Installs of a cluster.
const INSTALLS: usize = 3;

/// The identity of a cluster.
pub(crate) fn id(number: usize) -> ClusterId {
    ClusterId::derive("guarded", "retail", &format!("edge-{number:05}"))
}

/// The statuses of a cluster, sorted as snapshots are; one in twenty fails, and messages are mostly the same everywhere.
pub(crate) fn statuses(cluster: usize) -> Vec<ObjectStatus> {
    let mut statuses: Vec<ObjectStatus> = (0..OBJECTS).map(|number| status(cluster, number)).collect();
    statuses.sort_by(|one, other| one.key.cmp(&other.key));
    statuses
}

fn status(cluster: usize, number: usize) -> ObjectStatus {
    let (group, kind) = match number % 3 {
        0 => ("helm.toolkit.fluxcd.io", "HelmRelease"),
        1 => ("kustomize.toolkit.fluxcd.io", "Kustomization"),
        _ => ("source.toolkit.fluxcd.io", "HelmRepository"),
    };
    let is_failing = (cluster + number).is_multiple_of(20);
    let (health, reason) =
        if is_failing { (Health::Failing, "InstallFailed") } else { (Health::Ready, "ReconciliationSucceeded") };
    let message = if is_failing {
        format!("install failed: timed out waiting for deployment app-{number:02} of cluster {cluster}")
    } else {
        format!("applied revision main@sha1:{:040x}", number % 5)
    };
    ObjectStatus {
        key: ObjectKey::new(group, kind, "apps", &format!("app-{number:02}")),
        health,
        reason: reason.to_owned(),
        message,
        revision: format!("1.{}.0", number % 7),
        generation: 4,
        assignment: (number < INSTALLS).then(|| assignment(number)),
    }
}

fn assignment(number: usize) -> Uid {
    Uid([u8::try_from(number).expect("few installs"); 16])
}

fn installs() -> Vec<InstallReport> {
    let report = |number: usize| InstallReport {
        install: InstallKey { namespace: "starling-addons".into(), name: format!("addon-{number:02}") },
        assignment: assignment(number),
        assignment_name: format!("retail/addon-{number:02}"),
        render: Digest([7; 32]),
        revision: Digest([8; 32]),
        recorded: (1, Position(12)),
        state: InstallState::Applied,
        message: String::new(),
        drift_repairs: 0,
        last_drift: String::new(),
    };
    (0..INSTALLS).map(report).collect()
}

/// A first snapshot of a cluster.
pub(crate) fn snapshot(cluster: usize) -> StatusBatch {
    StatusBatch {
        sequence: 1,
        kind: BatchKind::SnapshotWhole,
        objects: statuses(cluster),
        removed: Vec::new(),
        installs: installs(),
        removed_installs: Vec::new(),
        untracked: 0,
        facts: None,
    }
}

/// A change of one object of a cluster.
pub(crate) fn delta(cluster: usize, number: usize, sequence: u64) -> StatusBatch {
    let mut status = status(cluster, number);
    (status.health, status.generation) = (Health::Progressing, 5);
    status.message = format!("running upgrade of app-{number:02}");
    StatusBatch { sequence, kind: BatchKind::Delta, objects: vec![status], installs: Vec::new(), ..snapshot(cluster) }
}

/// A message as it comes off the wire.
pub(crate) fn encoded(message: AgentMessage) -> Vec<u8> {
    v1::ConnectRequest::from(message).encode_to_vec()
}

/// Reads a message off the wire.
pub(crate) fn decoded(bytes: &[u8]) -> AgentMessage {
    let wire = v1::ConnectRequest::decode(bytes).expect("a message can be decoded");
    wire.try_into().expect("a message is valid")
}

/// Takes a batch as a session does.
pub(crate) fn take(index: &mut StatusIndex, sequence: &mut Sequence, cluster: ClusterId, batch: &StatusBatch) -> usize {
    let step = sequence.accept(batch.sequence, batch.kind, Millis(1_000));
    step.apply(index, cluster, batch, &Limits::DEFAULT, Millis(2_000)).changed
}

/// An index of some clusters.
pub(crate) fn index_of(clusters: usize) -> StatusIndex {
    let mut index = StatusIndex::default();
    for cluster in 0..clusters {
        take(&mut index, &mut Sequence::new(false), id(cluster), &snapshot(cluster));
    }
    index
}
