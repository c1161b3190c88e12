//! The one restricted set of error codes that cross a process boundary.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of thing went wrong, as seen by a caller of another process.
///
/// Each has one gRPC status and one meaning for a retry; text beside it is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The request itself is wrong; the same request fails again.
    InvalidRequest,
    /// The caller did not prove who it is.
    Unauthenticated,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// What the request names does not exist.
    NotFound,
    /// It exists already, or changed since the caller looked.
    Conflict,
    /// It needs an approval that showed the count; the count is in the message.
    ApprovalRequired,
    /// The fleet holds after a loss of the store; `starling store recover` ends that.
    FleetHolds,
    /// A limit was exceeded; the limit's name and number are in the message.
    LimitExceeded,
    /// A join token or certificate was refused.
    CredentialRefused,
    /// This process cannot answer now; a retry later can succeed.
    Unavailable,
    /// A defect of Starling.
    Internal,
}

impl ErrorCode {
    /// Every code, in the order of definition.
    pub const ALL: [Self; 11] = [
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::Conflict,
        Self::ApprovalRequired,
        Self::FleetHolds,
        Self::LimitExceeded,
        Self::CredentialRefused,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Returns the code's name on the wire and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid-request",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission-denied",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::ApprovalRequired => "approval-required",
            Self::FleetHolds => "fleet-holds",
            Self::LimitExceeded => "limit-exceeded",
            Self::CredentialRefused => "credential-refused",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// Reads a code from its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// Tells whether the same request can succeed later without anybody changing anything.
    #[must_use]
    pub fn retry_helps(self) -> bool {
        match self {
            Self::Unavailable | Self::LimitExceeded => true,
            Self::InvalidRequest
            | Self::Unauthenticated
            | Self::PermissionDenied
            | Self::NotFound
            | Self::Conflict
            | Self::ApprovalRequired
            | Self::FleetHolds
            | Self::CredentialRefused
            | Self::Internal => false,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
        }
        assert_eq!(ErrorCode::parse("other"), None);
    }
}
