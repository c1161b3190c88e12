//! What an agent reports about each install it holds: how far it came, and what drifted.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestWriter};
use crate::fence::Position;
use crate::ids::{InstallKey, Uid};

/// How far an agent came with one install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallState {
    /// Committed to the inventory, not all objects written yet.
    Applying,
    /// All objects written.
    Applied,
    /// The API server refused an object; the message tells why; it is tried again.
    Rejected,
    /// A tombstone is being carried out.
    Removing,
}

/// An agent's word about one install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallReport {
    /// Which install.
    pub install: InstallKey,
    /// The assignment that it is held for.
    pub assignment: Uid,
    /// The assignment's name when it was applied, `namespace/name`, for people.
    pub assignment_name: String,
    /// The digest of the render that is held.
    pub render: Digest,
    /// The assignment's revision that is held.
    pub revision: Digest,
    /// The era number and the position at which the install was recorded.
    pub recorded: (u64, Position),
    /// How far it came.
    pub state: InstallState,
    /// The API server's message where an object was rejected, else empty.
    pub message: String,
    /// How often an object was put back after somebody changed or deleted it.
    pub drift_repairs: u64,
    /// What drifted last: object and field; empty if nothing ever did.
    pub last_drift: String,
}

impl InstallState {
    /// Returns the name used in output and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::Removing => "removing",
        }
    }
}

impl InstallReport {
    /// Returns the digest of the whole report.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut writer = DigestWriter::new("install-report");
        writer
            .field(self.install.namespace.as_bytes())
            .field(self.install.name.as_bytes())
            .field(&self.assignment.0)
            .field(self.assignment_name.as_bytes())
            .digest(&self.render)
            .digest(&self.revision)
            .number(self.recorded.0)
            .number(self.recorded.1.0)
            .field(self.state.as_str().as_bytes())
            .field(self.message.as_bytes())
            .number(self.drift_repairs)
            .field(self.last_drift.as_bytes());
        writer.finish()
    }
}

/// Returns the digest of all reports of a cluster; they must come sorted by install.
#[must_use]
pub fn installs_digest<'a>(reports: impl Iterator<Item = &'a InstallReport>) -> Digest {
    let mut writer = DigestWriter::new("install-reports");
    for report in reports {
        writer.digest(&report.digest());
    }
    writer.finish()
}

impl fmt::Display for InstallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
