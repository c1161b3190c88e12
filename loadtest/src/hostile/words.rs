//! What hostile agents say.

use std::ops::Range;

use starling_model::limits::LARGEST_BATCH_BYTES;
use starling_model::{ClusterId, Limits};
use starling_proto::v1;
use starling_proto::v1::connect_request::Message;

use crate::fleet;

/// Statuses of one batch of a flood: small, so that it is their number that counts.
pub(super) const FLOOD_BATCH: u64 = 7;

/// Statuses of one part of a snapshot that does not end: nearly as large as it may be.
pub(super) const SNAPSHOT_PART: u64 = 7;

/// Wraps a message.
pub(super) fn message(message: Message) -> v1::ConnectRequest {
    v1::ConnectRequest { message: Some(message), traceparent: String::new() }
}

/// Returns the fingerprint that a simulated cluster of a name has.
pub(super) fn fingerprint(name: &str) -> String {
    ClusterId::derive("simulated", "kube-system", name).to_string()
}

/// Says hello as the cluster of a name does; with a fence where there is one to be claimed.
pub(super) fn hello(name: &str, newest_fence: Option<v1::Fence>) -> v1::ConnectRequest {
    let newest_epoch = if newest_fence.is_some() { u64::MAX } else { 0 };
    message(Message::Hello(v1::Hello {
        protocol_min: 1,
        protocol_max: 1,
        fingerprint: fingerprint(name),
        instance: vec![7; 16],
        agent_version: "wild".to_owned(),
        facts: Some(v1::Facts { nodes: 1, platform: "simulated".to_owned(), ..v1::Facts::default() }),
        installs_digest: vec![0; 32],
        newest_fence,
        newest_epoch,
        ..v1::Hello::default()
    }))
}

/// Returns what is wrong in one of several ways, in turn.
pub(super) fn junk(turn: usize) -> Vec<v1::ConnectRequest> {
    let limits = Limits::DEFAULT;
    let (whole, piece) = (limits.message_bytes as usize, LARGEST_BATCH_BYTES as usize);
    match turn % 6 {
        // Many pieces of one message that never ends.
        0 => (0..=whole / piece).map(|_| fragment(piece, false)).collect(),
        // One piece that is too large by itself.
        1 => vec![fragment(whole + 1024, true)],
        // Pieces that are put together to nothing.
        2 => vec![fragment(piece, true)],
        // A second Hello.
        3 => vec![hello("again", None)],
        // A batch without a kind.
        4 => vec![message(Message::Status(v1::StatusBatch { sequence: 1, ..v1::StatusBatch::default() }))],
        // Nothing at all.
        _ => vec![v1::ConnectRequest::default()],
    }
}

/// Returns claims of what never was: a plan received under a fence that the hub never gave, a detachment that nobody asked for,
/// commands that were never run, installs of assignments that are not there.
pub(super) fn lies() -> Vec<v1::ConnectRequest> {
    let claimed = v1::InstallReport {
        install: Some(v1::InstallKey { namespace: "kube-system".to_owned(), name: "not-ours".to_owned() }),
        assignment: vec![9; 16],
        assignment_name: "starling-platform/not-ours".to_owned(),
        render: vec![9; 32],
        revision: vec![9; 32],
        recorded_era: u64::MAX,
        recorded_position: u64::MAX,
        state: v1::InstallState::Applied.into(),
        ..v1::InstallReport::default()
    };
    let statuses = v1::StatusBatch {
        sequence: 1,
        kind: v1::BatchKind::SnapshotWhole.into(),
        installs: vec![claimed],
        ..v1::StatusBatch::default()
    };
    vec![
        message(Message::Status(statuses)),
        message(Message::Receipt(v1::Receipt {
            fence: Some(fence(u64::MAX)),
            plan_digest: vec![9; 32],
            refused: String::new(),
        })),
        message(Message::Detached(v1::Detached { fence: Some(fence(u64::MAX)) })),
        message(Message::CommandResult(v1::CommandResult { id: vec![9; 16], outcomes: Vec::new() })),
        heartbeat(1),
    ]
}

/// Makes a fence of an era that the hub never began, with a signature that it never made.
pub(super) fn fence(era_number: u64) -> v1::Fence {
    v1::Fence { era_number, era_id: vec![9; 16], position: u64::MAX / 2, mac: vec![9; 32] }
}

/// Returns one batch of a flood or of a snapshot that does not end; the names of its objects count on.
pub(super) fn statuses(sequence: u64, kind: v1::BatchKind, objects: Range<u64>) -> v1::ConnectRequest {
    let status = |number: u64| v1::ObjectStatus {
        key: Some(v1::ObjectKey {
            group: "kustomize.toolkit.fluxcd.io".to_owned(),
            kind: "Kustomization".to_owned(),
            namespace: "wild".to_owned(),
            name: format!("app-{number}"),
        }),
        health: v1::Health::Failing.into(),
        reason: "HealthCheckFailed".to_owned(),
        message: "x".repeat(400),
        revision: format!("main@sha1:{sequence:040x}"),
        generation: 1,
        assignment: Vec::new(),
    };
    let objects = objects.map(status).collect();
    message(Message::Status(v1::StatusBatch { sequence, kind: kind.into(), objects, ..v1::StatusBatch::default() }))
}

/// Returns a heartbeat.
pub(super) fn heartbeat(sequence: u64) -> v1::ConnectRequest {
    message(Message::Heartbeat(v1::Heartbeat { sequence, dropped: 0 }))
}

/// Returns the name of a cluster of the fleet that behaves.
pub(super) fn victim() -> String {
    fleet::name(1)
}

fn fragment(bytes: usize, last: bool) -> v1::ConnectRequest {
    message(Message::Fragment(v1::Fragment { message: 1, content: vec![0xff; bytes].into(), last }))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_batch_is_within_the_limits_so_that_only_its_pace_is_wrong() {
        let names = u64::MAX - SNAPSHOT_PART.max(FLOOD_BATCH)..u64::MAX;
        let batch = statuses(u64::MAX, v1::BatchKind::Delta, names);
        assert!(batch.encoded_len() <= Limits::DEFAULT.batch_bytes as usize, "{}", batch.encoded_len());
    }

    #[test]
    fn junk_is_another_in_each_turn() {
        let all: Vec<_> = (0..6).map(junk).collect();
        assert!(all.iter().enumerate().all(|(index, one)| !all[..index].contains(one)));
        let pieces: usize = all[0].iter().map(prost::Message::encoded_len).sum();
        assert!(pieces > Limits::DEFAULT.message_bytes as usize);
    }
}
