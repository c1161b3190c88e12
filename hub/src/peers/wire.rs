//! What a process that does not decide passes on to the one that does: what sessions and enrolments report.

use serde::{Deserialize, Serialize};
use starling_hub_core::resources::{InputKey, Resource};
use starling_hub_core::steward::{Answer, DetachStage, Join, Refusal, Renew, Request, SeeCluster};
use starling_model::{ClusterId, ResourceName};

/// A request that may be passed on. All of them may be made twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    /// [`Request::Join`].
    Join(Join),
    /// [`Request::Renew`].
    Renew(Renew),
    /// [`Request::SeeCluster`].
    SeeCluster(SeeCluster),
    /// [`Request::Emptied`].
    Emptied(ClusterId),
    /// [`Request::DetachAcknowledged`].
    DetachAcknowledged(ClusterId),
}

/// The answer to a [`Report`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Settled {
    /// [`Answer::Admitted`].
    Admitted { cluster: ClusterId, name: Option<ResourceName>, put: Option<Box<Resource>> },
    /// [`Answer::Seen`].
    Seen,
    /// [`Answer::Detached`].
    Detached { stage: DetachStage, remove: Option<(String, InputKey)> },
}

/// What became of a report.
pub(super) type Outcome = Result<Settled, Refusal>;

impl Report {
    /// Takes a request that may be passed on; `None` for any other.
    pub(super) fn of(request: &Request) -> Option<Self> {
        Some(match request {
            Request::Join(join) => Self::Join(join.clone()),
            Request::Renew(renew) => Self::Renew(renew.clone()),
            Request::SeeCluster(see) => Self::SeeCluster(see.clone()),
            Request::Emptied(cluster) => Self::Emptied(*cluster),
            Request::DetachAcknowledged(cluster) => Self::DetachAcknowledged(*cluster),
            Request::Begin
            | Request::SyncInputs(_)
            | Request::SyncFiles(_)
            | Request::SyncObjects(_)
            | Request::SourceDeleted(_)
            | Request::ApplyResources(_)
            | Request::Adopt(_)
            | Request::CreateJoinToken(_)
            | Request::RevokeJoinToken(_)
            | Request::Detach(_)
            | Request::Delete(_)
            | Request::Approve(_)
            | Request::UpdateRing(_)
            | Request::Recover(_) => return None,
        })
    }
}

impl From<Report> for Request {
    fn from(report: Report) -> Self {
        match report {
            Report::Join(join) => Self::Join(join),
            Report::Renew(renew) => Self::Renew(renew),
            Report::SeeCluster(see) => Self::SeeCluster(see),
            Report::Emptied(cluster) => Self::Emptied(cluster),
            Report::DetachAcknowledged(cluster) => Self::DetachAcknowledged(cluster),
        }
    }
}

impl Settled {
    /// Takes the answer to a report; `None` for the answer to anything else.
    pub(super) fn of(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Admitted { cluster, name, put } => Some(Self::Admitted { cluster, name, put }),
            Answer::Seen => Some(Self::Seen),
            Answer::Detached { stage, remove } => Some(Self::Detached { stage, remove }),
            Answer::Begun
            | Answer::Synced(_)
            | Answer::SourceDeletion(_)
            | Answer::Checked(_)
            | Answer::Adopted(_)
            | Answer::TokenCreated { .. }
            | Answer::TokenRevoked
            | Answer::Deletion(_)
            | Answer::Approved { .. }
            | Answer::RingUpdated
            | Answer::Recovered { .. } => None,
        }
    }
}

impl From<Settled> for Answer {
    fn from(settled: Settled) -> Self {
        match settled {
            Settled::Admitted { cluster, name, put } => Self::Admitted { cluster, name, put },
            Settled::Seen => Self::Seen,
            Settled::Detached { stage, remove } => Self::Detached { stage, remove },
        }
    }
}
