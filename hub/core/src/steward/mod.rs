//! The steward's decisions: for a request and the fleet at a position, what to write and what to answer.
//!
//! Owns the requests and their rules. Does not own committing a decision, the directory's files, or certificates: the
//! shell does these, in the order that each request documents. A decision is a value; nothing here performs it.

mod adopt;
mod apply;
mod approve;
mod delete;
mod detach;
mod draft;
mod empty;
mod evidence;
mod join;
mod mint;
mod objects;
mod recover;
mod register;
mod revise;
mod ring;
mod settle;
mod sync;
mod take;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use starling_model::{ClusterId, Era, ErrorCode, Fence, InstallKey, Millis, Position, ResourceName, Uid};

use crate::change::Change;
use crate::enrolment::{CredentialRefusal, JoinToken};
use crate::fleet::{Fleet, Problem};
use crate::records::JoinTokenRecord;
use crate::resources::{InputKey, Kind, Resource};

pub use adopt::{Adopt, Adopted};
pub use detach::{Detach, DetachStage};
pub use evidence::{Evidence, SourceDeleted, SourceDeletion};
pub use join::{Join, Renew, SeeCluster};
pub use objects::{SourceObject, SyncObjects};
pub use ring::{UpdateRing, first_epoch};
pub use sync::with_names_kept;
pub use token::{CreateJoinToken, RevokeJoinToken};

/// What somebody asks the steward.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Begins era 1 of a fleet that has neither a store nor a mark.
    Begin,
    /// Copies what the directory holds now.
    SyncInputs(SyncInputs),
    /// Copies the files of the directory that changed since it was copied; refused as a conflict where the rest of the directory
    /// has to be read, too.
    SyncFiles(SyncFiles),
    /// Copies objects of a Kubernetes API that changed.
    SyncObjects(SyncObjects),
    /// Judges an object that is being deleted under our finalizer. The shell lets the finalizer go after the commit.
    SourceDeleted(SourceDeleted),
    /// Tells what applying documents does, and unless it is dry lets what was deleted come back. The shell asks dry, writes the
    /// files, asks in earnest, and syncs, which is what makes it so.
    ApplyResources(ApplyResources),
    /// Makes a ManagedCluster (harmless when repeated) and a join token. The shell writes the file after the commit.
    Adopt(Adopt),
    /// Makes a join token of a workspace.
    CreateJoinToken(CreateJoinToken),
    /// Voids a join token of a workspace; clusters that joined with it stay.
    RevokeJoinToken(RevokeJoinToken),
    /// Lets an agent in by its token. The shell writes the document that the answer carries and issues the certificate after
    /// the commit.
    Join(Join),
    /// Accepts another key of a known cluster. The shell issues the certificate after the commit.
    Renew(Renew),
    /// Records what a session showed that the store does not know yet; see [`crate::enrolment::admit`].
    SeeCluster(SeeCluster),
    /// Begins a detachment, with or without a removal of what is installed, or ends it without the agent's word.
    Detach(Detach),
    /// The agent of a cluster that is being emptied holds nothing any more.
    Emptied(ClusterId),
    /// The agent let go of everything.
    DetachAcknowledged(ClusterId),
    /// Tells what deleting would remove, or deletes when the count is approved. The shell edits the file after the commit.
    Delete(Delete),
    /// Approves a proposal.
    Approve(Approve),
    /// Begins a new era after a loss of the store.
    Recover(Recover),
    /// Writes the next record of the ring; see [`crate::ring::Membership`].
    UpdateRing(UpdateRing),
}

/// Everything that the directory holds now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncInputs {
    /// The files, by path relative to the directory. A file that is not listed is not there.
    pub files: BTreeMap<String, Arc<SourceFile>>,
    /// Folders that could not be looked into, by path relative to the directory, which itself is the empty path: nothing below
    /// them counts as gone.
    pub unlisted: BTreeSet<String>,
}

/// Files that changed since the directory was copied, while all others are as they were and nothing was wrong with any.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncFiles {
    /// The files, by path relative to the directory. One that has gone holds nothing.
    pub files: BTreeMap<String, Arc<SourceFile>>,
    /// What these files named when they were copied last.
    pub named_before: BTreeSet<InputKey>,
    /// The fleet into which the rest was copied.
    pub since: Arc<Fleet>,
}

/// What was read from one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceFile {
    /// The documents that could be read, in order, each with the number of its first line.
    pub documents: Vec<(u64, Resource)>,
    /// Set if the file, or a document in it, could not be read: then nothing that came from it counts as gone.
    pub unreadable: bool,
}

/// Documents that somebody applies.
#[derive(Clone, Debug, PartialEq)]
pub struct ApplyResources {
    /// The documents.
    pub resources: Vec<Resource>,
    /// Only tells what would happen.
    pub dry_run: bool,
}

/// A deletion.
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    /// What is deleted.
    pub key: InputKey,
    /// The number of installs that the caller was shown; `None` asks for the count alone.
    pub approved_count: Option<u64>,
}

/// The approval of a proposal.
#[derive(Clone, Debug, PartialEq)]
pub struct Approve {
    /// Which proposal.
    pub proposal: Uid,
    /// The number of installs that the caller was shown.
    pub count: u64,
}

/// The recovery of a lost or restored store.
#[derive(Clone, Debug, PartialEq)]
pub struct Recover {
    /// The fleet's name, as a confirmation.
    pub fleet: String,
    /// The mark beside the store, if there is one: era and reserved position.
    pub mark: Option<(Era, Position)>,
    /// The newest genuine fence that an agent has shown.
    pub shown: Option<Fence>,
}

/// What a decision may use besides the fleet and the request.
pub struct Context<'a> {
    /// Wall time.
    pub now: Millis,
    /// Who asks, for the audit: an administrator's name, a cluster's identity, `directory`.
    pub actor: String,
    /// The position that the decision's transaction will take.
    pub position: Position,
    /// Random bytes.
    pub entropy: &'a mut dyn Entropy,
    /// What clusters say they hold.
    pub heard: &'a dyn Heard,
}

/// A source of random bytes.
pub trait Entropy {
    /// Fills a buffer with bytes that nobody can foresee.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// What clusters said they hold.
pub trait Heard {
    /// Returns the installs that a cluster holds, each with its assignment; `None` if it was not heard in this era.
    fn installs(&self, cluster: &ClusterId) -> Option<BTreeSet<(InstallKey, Uid)>>;
}

/// What to write, and what to answer once that is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The changes, applied in order in one transaction; none means that nothing is to be committed.
    pub changes: Vec<Change>,
    /// The position of the transaction: the context's, or a greater one after a recovery.
    pub position: Position,
    /// The answer.
    pub answer: Answer,
    /// Who changed what, for the audit record.
    pub audit: Vec<AuditEntry>,
}

/// One line of the audit record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who.
    pub actor: String,
    /// What was done, such as `tombstone-minted`.
    pub action: &'static str,
    /// To what.
    pub subject: String,
    /// Details for people.
    pub detail: String,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Request::Begin`].
    Begun,
    /// To [`Request::SyncInputs`], [`Request::SyncFiles`] and [`Request::SyncObjects`].
    Synced(Synced),
    /// To [`Request::SourceDeleted`].
    SourceDeletion(SourceDeletion),
    /// To [`Request::ApplyResources`]: what applying does to each.
    Checked(Vec<Checked>),
    /// To [`Request::Adopt`].
    Adopted(Adopted),
    /// To [`Request::Join`] and [`Request::Renew`].
    Admitted {
        /// The cluster that the certificate is to name.
        cluster: ClusterId,
        /// The cluster's name; `None` if it has no ManagedCluster.
        name: Option<ResourceName>,
        /// The ManagedCluster that a cluster which registered by itself needs written, where it is not there yet.
        put: Option<Box<Resource>>,
    },
    /// To [`Request::CreateJoinToken`].
    TokenCreated {
        /// The token; shown once and stored nowhere.
        token: JoinToken,
        /// What is stored of it.
        record: JoinTokenRecord,
    },
    /// To [`Request::RevokeJoinToken`].
    TokenRevoked,
    /// To [`Request::SeeCluster`].
    Seen,
    /// To [`Request::Detach`], [`Request::Emptied`] and [`Request::DetachAcknowledged`].
    Detached {
        /// How far it is.
        stage: DetachStage,
        /// The document that the shell is to remove from its file; `None` if there is none.
        remove: Option<(String, InputKey)>,
    },
    /// To [`Request::Delete`].
    Deletion(Deletion),
    /// To [`Request::Approve`].
    Approved {
        /// The installs that go.
        installs: u64,
    },
    /// To [`Request::Recover`].
    Recovered {
        /// The new era.
        era: Era,
        /// Its first position.
        position: Position,
    },
    /// To [`Request::UpdateRing`].
    RingUpdated,
}

/// What a sync found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Synced {
    /// Documents that were not taken, by file. Problems of what was taken are [`Fleet::problems`].
    pub problems: Vec<DocumentProblem>,
    /// How many resources were made, changed, marked missing or found again.
    pub changed: u64,
}

/// A document that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentProblem {
    /// The file.
    pub file: String,
    /// The number of the document's first line.
    pub line: u64,
    /// What is wrong, and what to do.
    pub problem: Problem,
}

/// What applying a document would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Which resource.
    pub key: InputKey,
    /// What would happen.
    pub outcome: Outcome,
    /// The file that holds its document now; `None` for a new one.
    pub file: Option<String>,
}

/// What happens to a resource that is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It changes.
    Configured,
    /// It is the same.
    Unchanged,
}

/// What a deletion removes or would remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// The resource's identity, which a Tombstone document names.
    pub uid: Option<Uid>,
    /// The installs that go.
    pub installs: u64,
    /// The clusters that they are on.
    pub clusters: u64,
    /// Of these, clusters that were not heard in this era and count as holding it.
    pub unheard: u64,
    /// Names of some of the clusters.
    pub examples: Vec<ResourceName>,
    /// True when it was carried out.
    pub deleted: bool,
    /// The document that the shell is to remove from its file; `None` if nothing was deleted or its document is not there.
    pub remove: Option<(String, InputKey)>,
}

/// Why a request was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of thing is wrong.
    pub code: ErrorCode,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// Which rule refused a credential, for the metric.
    pub credential: Option<CredentialRefusal>,
}

/// Decides one request.
///
/// # Errors
/// Why the request is not granted; then nothing is to be written.
pub fn decide(fleet: &Fleet, request: &Request, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    match request {
        Request::Begin => recover::begin(fleet, context),
        Request::SyncInputs(sync) => sync::decide(fleet, sync, context),
        Request::SyncFiles(sync) => sync::decide_files(fleet, sync, context),
        Request::SyncObjects(sync) => objects::decide(fleet, sync, context),
        Request::SourceDeleted(deleted) => evidence::decide(fleet, deleted, context),
        Request::ApplyResources(apply) => apply::decide(fleet, apply, context),
        Request::Adopt(adopt) => adopt::decide(fleet, adopt, context),
        Request::CreateJoinToken(create) => token::create(fleet, create, context),
        Request::RevokeJoinToken(revoke) => token::revoke(fleet, revoke, context),
        Request::Join(join) => join::join(fleet, join, context),
        Request::Renew(renew) => join::renew(fleet, renew, context),
        Request::SeeCluster(see) => join::see(fleet, see, context),
        Request::Detach(detach) => detach::decide(fleet, detach, context),
        Request::Emptied(cluster) => detach::emptied(fleet, *cluster, context),
        Request::DetachAcknowledged(cluster) => detach::acknowledged(fleet, *cluster, context),
        Request::Delete(delete) => delete::decide(fleet, delete, context),
        Request::Approve(approve) => approve::decide(fleet, approve, context),
        Request::Recover(recover) => recover::decide(fleet, recover, context),
        Request::UpdateRing(update) => ring::decide(fleet, update, context),
    }
}

impl Request {
    /// Returns the request's name in logs and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::SyncInputs(_) => "sync-inputs",
            Self::SyncFiles(_) => "sync-files",
            Self::SyncObjects(_) => "sync-objects",
            Self::SourceDeleted(_) => "source-deleted",
            Self::ApplyResources(_) => "apply-resources",
            Self::Adopt(_) => "adopt",
            Self::CreateJoinToken(_) => "create-join-token",
            Self::RevokeJoinToken(_) => "revoke-join-token",
            Self::Join(_) => "join",
            Self::Renew(_) => "renew",
            Self::SeeCluster(_) => "see-cluster",
            Self::Detach(_) => "detach",
            Self::Emptied(_) => "emptied",
            Self::DetachAcknowledged(_) => "detach-acknowledged",
            Self::Delete(_) => "delete",
            Self::Approve(_) => "approve",
            Self::Recover(_) => "recover",
            Self::UpdateRing(_) => "update-ring",
        }
    }
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), credential: None }
    }

    pub(crate) fn credential(reason: CredentialRefusal) -> Self {
        Self { code: ErrorCode::CredentialRefused, message: reason.to_string(), credential: Some(reason) }
    }

    pub(crate) fn not_found(kind: Kind, qualified: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("{} {qualified} does not exist", kind.word()))
    }
}

#[cfg(test)]
mod tests;
