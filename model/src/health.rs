//! What Flux says of an object, normalised.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestWriter};
use crate::ids::Uid;
use crate::object::ObjectKey;

/// The health of one Flux object; worst first, so that sorting shows trouble first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Ready is False, and Flux will not try again by itself.
    Stalled,
    /// Ready is False.
    Failing,
    /// Ready is False, and Flux is trying again.
    FailingRetrying,
    /// The object says nothing that can be judged.
    Unknown,
    /// Flux has not looked at the newest spec, or has not answered a requested reconcile.
    Stale,
    /// Work is under way, or waits for a dependency.
    Progressing,
    /// The object is being deleted.
    Deleting,
    /// Somebody suspended it.
    Suspended,
    /// Ready is True for the newest spec.
    Ready,
    /// Objects of this kind have no status.
    None,
}

/// The judged state of one Flux object, as its agent reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// Which object.
    pub key: ObjectKey,
    /// The judgement.
    pub health: Health,
    /// Flux's machine-readable reason, such as `InstallFailed`; may be empty.
    pub reason: String,
    /// Flux's message, truncated to the limit; may be empty.
    pub message: String,
    /// The source revision or chart version that is applied; may be empty.
    pub revision: String,
    /// `metadata.generation`, zero where there is none.
    pub generation: u64,
    /// The assignment whose label the object carries.
    pub assignment: Option<Uid>,
}

impl Health {
    /// Every health, worst first.
    pub const ALL: [Self; 10] = [
        Self::Stalled,
        Self::Failing,
        Self::FailingRetrying,
        Self::Unknown,
        Self::Stale,
        Self::Progressing,
        Self::Deleting,
        Self::Suspended,
        Self::Ready,
        Self::None,
    ];

    /// Returns the name used in output, queries and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Failing => "failing",
            Self::FailingRetrying => "failing-retrying",
            Self::Unknown => "unknown",
            Self::Stale => "stale",
            Self::Progressing => "progressing",
            Self::Deleting => "deleting",
            Self::Suspended => "suspended",
            Self::Ready => "ready",
            Self::None => "none",
        }
    }

    /// Reads a health from its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|health| health.as_str() == name)
    }

    /// Tells whether somebody should look: failing in any way, or stalled.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        match self {
            Self::Stalled | Self::Failing | Self::FailingRetrying => true,
            Self::Unknown
            | Self::Stale
            | Self::Progressing
            | Self::Deleting
            | Self::Suspended
            | Self::Ready
            | Self::None => false,
        }
    }
}

impl ObjectStatus {
    /// Returns the digest of the whole status.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut writer = DigestWriter::new("object-status");
        writer
            .field(self.key.group.as_bytes())
            .field(self.key.kind.as_bytes())
            .field(self.key.namespace.as_bytes())
            .field(self.key.name.as_bytes())
            .field(self.health.as_str().as_bytes())
            .field(self.reason.as_bytes())
            .field(self.message.as_bytes())
            .field(self.revision.as_bytes())
            .number(self.generation)
            .field(self.assignment.as_ref().map_or(&[][..], |uid| &uid.0));
        writer.finish()
    }
}

/// Returns the digest of all statuses of one kind; they must come sorted by key and be of that kind alone.
#[must_use]
pub fn kind_digest<'a>(statuses: impl Iterator<Item = &'a ObjectStatus>) -> Digest {
    let mut writer = DigestWriter::new("kind-statuses");
    for status in statuses {
        writer.digest(&status.digest());
    }
    writer.finish()
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for health in Health::ALL {
            assert_eq!(Health::parse(health.as_str()), Some(health));
        }
    }

    #[test]
    fn trouble_sorts_first() {
        let mut sorted = Health::ALL;
        sorted.sort();
        assert_eq!(sorted, Health::ALL);
        assert!(Health::Failing < Health::Ready);
    }
}
