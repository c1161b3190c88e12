//! Why sessions end, for the agent, for people and for metrics.

use std::time::Duration;

use starling_hub_core::enrolment::CredentialRefusal;
use starling_model::ErrorCode;
use tonic::Status;
use tonic::metadata::{MetadataKey, MetadataValue};

use crate::api::error::status;

/// The metadata key that carries after how many milliseconds a refused agent may try again.
pub const RETRY_AFTER: &str = "starling-retry-after-millis";

/// Why a session ends, or why it was not let in.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The agent went.
    Gone,
    /// Nothing was heard for longer than a session may be silent.
    Silent,
    /// The first message did not come, or cannot be understood.
    Hello(String),
    /// A message cannot be understood.
    Garbled(String),
    /// A limit was exceeded.
    Limit(String),
    /// The identity is refused.
    Refused(CredentialRefusal),
    /// The certificate's time is over.
    Expired,
    /// The same process opened another session.
    Replaced,
    /// Another process has the session and responds.
    SecondAgent(Duration),
    /// Two processes alternate under one identity.
    Quarantined(Duration),
    /// The cluster is connected under another name.
    SecondName(String),
    /// Sessions were opened too often.
    TooOften(Duration),
    /// The cluster belongs to another process, which its agent is told.
    Elsewhere {
        /// The other's own address.
        address: String,
        /// The ring that says so.
        epoch: u64,
    },
    /// The cluster belongs to another process, which the stream is passed on to.
    PassOn {
        /// The other's own address.
        address: String,
    },
    /// The stream could not be passed on.
    NotPassedOn(String),
    /// The process that the stream was passed on to ended it.
    Passed(Box<Status>),
    /// This process does not know yet where the cluster belongs.
    Behind,
    /// The cluster, whose stream another process passes on, belongs to another one by now.
    Moved,
    /// The hub stops.
    Draining,
}

/// Every reason's name besides those of a refused identity.
pub(crate) const NAMES: [&str; 18] = [
    "gone",
    "silent",
    "hello",
    "garbled",
    "limit",
    "expired",
    "replaced",
    "second-agent",
    "quarantined",
    "second-name",
    "too-often",
    "elsewhere",
    "pass-on",
    "not-passed-on",
    "passed",
    "behind",
    "moved",
    "draining",
];

/// After how long an agent tries again whose place is not known yet; below a second, which agents take for "in a moment" and do
/// not double.
const KNOWN_SOON: Duration = Duration::from_millis(900);

impl End {
    /// Returns the reason's name in metrics and logs.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Hello(_) => "hello",
            Self::Garbled(_) => "garbled",
            Self::Limit(_) => "limit",
            Self::Refused(reason) => reason.as_str(),
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::SecondAgent(_) => "second-agent",
            Self::Quarantined(_) => "quarantined",
            Self::SecondName(_) => "second-name",
            Self::TooOften(_) => "too-often",
            Self::Elsewhere { .. } => "elsewhere",
            Self::PassOn { .. } => "pass-on",
            Self::NotPassedOn(_) => "not-passed-on",
            Self::Passed(_) => "passed",
            Self::Behind => "behind",
            Self::Moved => "moved",
            Self::Draining => "draining",
        }
    }

    /// Returns what people are shown beside the cluster; `None` where nothing is wrong with it.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::SecondAgent(_) => Some("a second agent shows this cluster's identity and is refused".into()),
            Self::Quarantined(_) => Some(
                "two agents alternate under this cluster's identity and both are refused: stop one, or adopt its \
                 cluster under a name of its own"
                    .into(),
            ),
            Self::SecondName(other) => {
                Some(format!("the same cluster is connected as {other}: remove the agent of one of the two names"))
            }
            Self::Limit(what) => Some(what.clone()),
            Self::Gone
            | Self::Silent
            | Self::Hello(_)
            | Self::Garbled(_)
            | Self::Refused(_)
            | Self::Expired
            | Self::Replaced
            | Self::TooOften(_)
            | Self::Elsewhere { .. }
            | Self::PassOn { .. }
            | Self::NotPassedOn(_)
            | Self::Passed(_)
            | Self::Behind
            | Self::Moved
            | Self::Draining => None,
        }
    }

    /// Returns the status that the agent gets.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Gone => status(ErrorCode::Unavailable, "the session is over"),
            Self::Silent => status(ErrorCode::Unavailable, "nothing was heard of the agent for too long"),
            Self::Hello(what) | Self::Garbled(what) => status(ErrorCode::InvalidRequest, what.as_str()),
            Self::Limit(what) => status(ErrorCode::LimitExceeded, what.as_str()),
            Self::Refused(reason) => status(ErrorCode::CredentialRefused, reason.to_string()),
            Self::Expired => status(ErrorCode::CredentialRefused, "the certificate has expired: renew it"),
            Self::Replaced => status(ErrorCode::Conflict, "the same agent opened another session"),
            Self::SecondAgent(after) => {
                let message = "another agent of this identity is connected and responds";
                retry(status(ErrorCode::Conflict, message), *after)
            }
            Self::Quarantined(after) => {
                let message = "two agents alternate under this identity, both are refused for a while";
                retry(status(ErrorCode::Conflict, message), *after)
            }
            Self::SecondName(other) => status(ErrorCode::Conflict, format!("this cluster is connected as {other}")),
            Self::TooOften(after) => retry(status(ErrorCode::LimitExceeded, "sessions are opened too often"), *after),
            Self::Elsewhere { address, .. } | Self::PassOn { address } => {
                status(ErrorCode::Unavailable, format!("the cluster belongs to the hub process at {address}"))
            }
            Self::NotPassedOn(why) => {
                let message = format!("the hub process that the cluster belongs to cannot be reached: {why}");
                retry(status(ErrorCode::Unavailable, message), KNOWN_SOON)
            }
            Self::Passed(status) => status.as_ref().clone(),
            Self::Behind => {
                let message = "this hub process does not know yet where the cluster belongs";
                retry(status(ErrorCode::Unavailable, message), KNOWN_SOON)
            }
            Self::Moved => {
                let message = "the cluster belongs to another hub process by now";
                retry(status(ErrorCode::Unavailable, message), Duration::ZERO)
            }
            Self::Draining => status(ErrorCode::Unavailable, "the hub process stops"),
        }
    }
}

fn retry(mut status: Status, after: Duration) -> Status {
    let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    status.metadata_mut().insert(MetadataKey::from_static(RETRY_AFTER), MetadataValue::from(millis));
    status
}
