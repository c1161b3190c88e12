//! Why a caller is not let in, or nobody can tell.

use starling_model::ErrorCode;

/// The longest reason of somebody else that is passed on, in characters.
const REASON_CHARACTERS: usize = 300;

/// Whoever knows tokens and permissions could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub cannot ask the Kubernetes API server who may do what: {0}")]
pub struct ReviewError(String);

/// Why a token does not let its bearer in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// There is none.
    #[error("no token was sent: use a context of `starling config`, or a kubeconfig")]
    NoToken,
    /// Only the local administrator is known, and it is not the administrator's.
    #[error("the token is not this hub's: use the admin.token in its keys directory")]
    NotTheAdminToken,
    /// No token looks like that.
    #[error("the token is none: it has characters that no bearer token has, or is too long")]
    Malformed,
    /// It is nobody's.
    #[error("the hub's API server does not know the token{}", reason(.0))]
    Unknown(String),
    /// Its host showed too many wrong ones.
    #[error("too many wrong tokens came from this address: wait a second")]
    TooManyFailures,
    /// Nobody can tell whose it is.
    #[error(transparent)]
    Unavailable(#[from] ReviewError),
}

impl ReviewError {
    /// Wraps what went wrong, for people.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl From<tokio::task::JoinError> for ReviewError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(format!("the question ended without an answer: {error}"))
    }
}

impl Unauthenticated {
    /// Returns the error code for other processes.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoToken | Self::NotTheAdminToken | Self::Malformed | Self::Unknown(_) => ErrorCode::Unauthenticated,
            Self::TooManyFailures => ErrorCode::LimitExceeded,
            Self::Unavailable(_) => ErrorCode::Unavailable,
        }
    }

    /// Returns the reason's name in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NoToken => "no-token",
            Self::NotTheAdminToken | Self::Unknown(_) => "unknown-token",
            Self::Malformed => "malformed-token",
            Self::TooManyFailures => "too-many-failures",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

fn reason(text: &str) -> String {
    let text: String = text.chars().filter(|char| !char.is_control()).take(REASON_CHARACTERS).collect();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
