//! The messages of a session as both cores understand them; the wire form is `starling-proto`'s.

use std::sync::Arc;
use std::time::Duration;

use crate::digest::Digest;
use crate::facts::Facts;
use crate::fence::Fence;
use crate::health::ObjectStatus;
use crate::ids::{InstallKey, Uid};
use crate::install::InstallReport;
use crate::limits::Limits;
use crate::object::ObjectKey;
use crate::plan::{Detach, Render, Tombstone};

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentMessage {
    /// First of a session.
    Hello(Box<Hello>),
    /// A part of a snapshot, or a delta.
    Status(StatusBatch),
    /// A plan was received whole, or refused.
    Receipt(Receipt),
    /// Sent every heartbeat interval.
    Heartbeat(Heartbeat),
    /// The outcome of a command.
    CommandResult(CommandResult),
    /// The agent stopped syncing, as the plan under this fence asked.
    Detached(Fence),
}

/// What the hub says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubMessage {
    /// First of a session.
    Welcome(Welcome),
    /// What the cluster should have.
    Desired(Box<Desired>),
    /// The answer to a heartbeat.
    Lease(Lease),
    /// A snapshot is wanted, for this reason.
    Resync(String),
    /// Something to do once.
    Command(Command),
    /// The agent belongs to another process.
    Redirect {
        /// Where to dial, `host:port`.
        address: String,
        /// The ring epoch that says so; an older one than seen is ignored.
        epoch: u64,
    },
    /// New certificate authorities to trust, PEM.
    TrustBundle(Vec<u8>),
    /// The process stops; the agent reconnects within the window.
    Drain {
        /// The window to spread over.
        window: Duration,
    },
}

/// What an agent says first; its identity is in its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest and newest protocol that it speaks.
    pub protocols: (u32, u32),
    /// UID of the cluster's `kube-system` namespace.
    pub fingerprint: String,
    /// Drawn when the agent's process started.
    pub instance: Uid,
    /// For people.
    pub agent_version: String,
    /// What it observed about its cluster.
    pub facts: Facts,
    /// Digest of the newest plan that was received whole.
    pub plan_digest: Option<Digest>,
    /// The renders that the inventory holds.
    pub held: Vec<Held>,
    /// Digests of the statuses, one a kind, sorted.
    pub kinds: Vec<KindDigest>,
    /// Digest of the install reports.
    pub installs_digest: Digest,
    /// The newest fence that was seen.
    pub newest_fence: Option<Fence>,
    /// The newest ring epoch that was seen.
    pub newest_epoch: u64,
    /// True when the address of a redirect could not be reached, so that the stream is to be forwarded to the owner.
    pub forward: bool,
}

/// An install that an inventory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which install.
    pub install: InstallKey,
    /// The assignment it is held for.
    pub assignment: Uid,
    /// The digest of the render.
    pub render: Digest,
}

/// The digest of all statuses of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KindDigest {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The digest over all statuses, sorted by key.
    pub digest: Digest,
}

/// The hub's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The chosen protocol.
    pub protocol: u32,
    /// The hub process's name, for people.
    pub hub: String,
    /// Zero is no lease; counted from when Hello was sent.
    pub lease: Duration,
    /// How often to send heartbeats.
    pub heartbeat: Duration,
    /// The window over which to spread reconnecting.
    pub reconnect_window: Duration,
    /// What the hub accepts.
    pub limits: Limits,
    /// True when the hub's picture equals Hello's digests.
    pub status_known: bool,
    /// The ring epoch.
    pub epoch: u64,
    /// Why no lease is lent, for people.
    pub hold_reason: Option<String>,
}

/// Statuses and install reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusBatch {
    /// Counts the batches of the session from 1.
    pub sequence: u64,
    /// What the batch belongs to.
    pub kind: BatchKind,
    /// New or changed statuses.
    pub objects: Vec<ObjectStatus>,
    /// Objects that are gone.
    pub removed: Vec<ObjectKey>,
    /// New or changed install reports.
    pub installs: Vec<InstallReport>,
    /// Installs that are gone.
    pub removed_installs: Vec<InstallKey>,
    /// Objects beyond the limit, which are not reported.
    pub untracked: u64,
    /// New facts, where they changed.
    pub facts: Option<Facts>,
}

/// What a batch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    /// Changes since the batch before.
    Delta,
    /// The first part of a snapshot.
    SnapshotStart,
    /// A further part.
    SnapshotPart,
    /// The last part: what was not in the snapshot is gone.
    SnapshotEnd,
    /// A snapshot in one batch.
    SnapshotWhole,
}

/// The agent's word about a plan that it received; cumulative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The fence of the plan.
    pub fence: Fence,
    /// The digest of the plan.
    pub plan_digest: Digest,
    /// Why it was refused; `None` when it was parked.
    pub refused: Option<String>,
}

/// Sent every heartbeat interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Counts the heartbeats of the session from 1.
    pub sequence: u64,
    /// Statuses dropped since the agent started because a bound was reached.
    pub dropped: u64,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The heartbeat that is answered.
    pub heartbeat: u64,
    /// Counted from when that heartbeat was sent; zero is no lease.
    pub lease: Duration,
    /// Why there is none, for people.
    pub hold_reason: Option<String>,
}

/// What the cluster should have, under a fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The proof of position.
    pub fence: Fence,
    /// The digest of the whole plan.
    pub plan_digest: Digest,
    /// The digest of the facts that were used.
    pub facts: Digest,
    /// True when only the position advances; nothing below is set then.
    pub unchanged: bool,
    /// All entries of the plan.
    pub entries: Vec<DesiredEntry>,
    /// All tombstones of the plan.
    pub tombstones: Vec<Tombstone>,
    /// Set when the cluster is being detached.
    pub detach: Option<Detach>,
}

/// One install of a plan, as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredEntry {
    /// Which install.
    pub install: InstallKey,
    /// The assignment behind it.
    pub assignment: Uid,
    /// The assignment's name, for people.
    pub assignment_name: String,
    /// The assignment's revision.
    pub revision: Digest,
    /// What to do.
    pub action: DesiredAction,
}

/// What to do with an install, as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesiredAction {
    /// Apply the render that the agent holds already.
    HeldRender(Digest),
    /// Apply this render.
    Render(Arc<Render>),
    /// What is held stays, for this reason.
    Keep(String),
    /// Nothing can be applied, for this reason; what is held stays.
    Blocked(String),
}

/// Something to do once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its identity, for the result.
    pub id: Uid,
    /// What to do.
    pub verb: CommandVerb,
    /// With which objects.
    pub objects: Vec<ObjectKey>,
    /// The token of a reconcile request.
    pub token: String,
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommandVerb {
    /// Asks Flux to reconcile now.
    Reconcile,
    /// Sets `spec.suspend`.
    Suspend,
    /// Unsets `spec.suspend`.
    Resume,
}

/// The outcome of a command for each of its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandResult {
    /// Which command.
    pub id: Uid,
    /// `None` is success, else the API server's message.
    pub outcomes: Vec<(ObjectKey, Option<String>)>,
}

impl CommandVerb {
    /// Returns the verb's name on the command line and in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconcile => "reconcile",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        }
    }

    /// Reads a verb from its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Reconcile, Self::Suspend, Self::Resume].into_iter().find(|verb| verb.as_str() == name)
    }
}
