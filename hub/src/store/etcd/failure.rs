//! What an error of etcd means: try elsewhere, an answer of its own kind, or nothing that a retry helps.
//!
//! Owns reading gRPC codes and etcd's texts. Does not own who is asked next: that is [`super::endpoints`].

use std::error::Error as _;

use etcd_client::Error;
use tonic::{Code, Status};

use crate::store::StoreError;

/// What to do about an error of one attempt.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Another endpoint may do it; whether this one did is not known.
    Elsewhere(String),
    /// The login is stale: log in again.
    LogInAgain(String),
    /// Every endpoint would say the same.
    Final(Refusal),
}

/// An error that another endpoint would answer with as well; nothing was done.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The revision is too long ago.
    Compacted,
    /// A lease does not exist or has ended.
    LeaseNotFound,
    /// The answer is larger than this process takes in.
    AnswerTooLarge,
    /// Anything else, for people.
    Error(StoreError),
}

/// What etcd says, in part, and what people can do about it; nothing was done in any of these cases.
const KNOWN: [(&str, Kind); 14] = [
    ("revision has been compacted", Kind::Compacted),
    ("requested lease not found", Kind::LeaseNotFound),
    ("decoded message length too large", Kind::AnswerTooLarge),
    ("invalid auth token", Kind::LogInAgain),
    ("revision of auth store is old", Kind::LogInAgain),
    (
        "database space exceeded",
        Kind::Full(
            "etcd is full (alarm NOSPACE) and takes no writes: compact and defragment it or raise --quota-backend-bytes, then run \
             `etcdctl alarm disarm`",
        ),
    ),
    ("user name is empty", Kind::LogInAgain),
    (
        "authentication failed",
        Kind::Advice("etcd does not know this user with this password: check --etcd-user and --etcd-password-file"),
    ),
    (
        "permission denied",
        Kind::Advice("etcd's user may not read and write this prefix: grant its role readwrite on --etcd-prefix"),
    ),
    (
        "request is too large",
        Kind::Advice("etcd takes smaller requests than by default: set its --max-request-bytes to 1572864 or more"),
    ),
    (
        "too many operations in txn",
        Kind::Advice("etcd takes smaller transactions than by default: set its --max-txn-ops to 128 or more"),
    ),
    ("corrupt", Kind::Damaged),
    ("too large lease TTL", Kind::Advice("the lease is longer than etcd allows")),
    ("learner", Kind::Elsewhere),
];

#[derive(Clone, Copy)]
enum Kind {
    Compacted,
    LeaseNotFound,
    AnswerTooLarge,
    LogInAgain,
    Elsewhere,
    Damaged,
    Full(&'static str),
    Advice(&'static str),
}

impl Verdict {
    /// Judges an error of an attempt at `doing`.
    pub(super) fn of(doing: &'static str, error: &Error) -> Self {
        let Error::GRpcStatus(status) = error else { return Self::Elsewhere(chain(error)) };
        let (code, message) = (status.code(), status.message());
        let known = KNOWN.iter().find(|(text, _)| message.contains(text)).map(|(_, kind)| *kind);
        match known {
            Some(Kind::Compacted) => Self::Final(Refusal::Compacted),
            Some(Kind::LeaseNotFound) => Self::Final(Refusal::LeaseNotFound),
            Some(Kind::AnswerTooLarge) => Self::Final(Refusal::AnswerTooLarge),
            Some(Kind::LogInAgain) => Self::LogInAgain(message.to_owned()),
            Some(Kind::Elsewhere) => Self::Elsewhere(message.to_owned()),
            Some(Kind::Damaged) => Self::Final(Refusal::Error(StoreError::Damaged(message.to_owned()))),
            Some(Kind::Full(advice)) => {
                Self::Final(Refusal::Error(StoreError::Unavailable { doing, problem: advice.to_owned() }))
            }
            Some(Kind::Advice(advice)) => Self::refused(format!("{advice} (it says: {message})")),
            None if code == Code::Unauthenticated => Self::LogInAgain(message.to_owned()),
            None if is_transient(code) => Self::Elsewhere(explain(status)),
            None => Self::refused(format!("it says: {}", explain(status))),
        }
    }

    /// Says that a login is asked for and none is configured.
    pub(super) fn no_login(problem: &str) -> Self {
        Self::refused(format!("etcd asks for a user: set --etcd-user and --etcd-password-file (it says: {problem})"))
    }

    fn refused(problem: String) -> Self {
        Self::Final(Refusal::Error(StoreError::Refused(problem)))
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        let problem = match refusal {
            Refusal::Error(error) => return error,
            Refusal::Compacted => "what was asked for was compacted meanwhile",
            Refusal::LeaseNotFound => "a lease has ended meanwhile",
            Refusal::AnswerTooLarge => "an answer is larger than this process takes in",
        };
        Self::Unavailable { doing: "use", problem: problem.to_owned() }
    }
}

/// Tells whether login is off in etcd, so that a user and a password are of no use.
pub(super) fn login_is_off(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains("authentication is not enabled"))
}

/// Returns an error with its causes: what a channel says by itself is only "transport error".
pub(super) fn chain(error: &Error) -> String {
    match error {
        Error::GRpcStatus(status) => explain(status),
        other => other.to_string(),
    }
}

fn is_transient(code: Code) -> bool {
    match code {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::Aborted
        | Code::ResourceExhausted => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

fn explain(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // What a channel says of every problem is no news.
        if !text.contains(&next) && next != "transport error" {
            text = if text.is_empty() { next } else { format!("{text}: {next}") };
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(code: Code, message: &str) -> Verdict {
        Verdict::of("write to", &Error::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn errors_say_who_can_do_what_about_them() {
        for (code, message) in [
            (Code::Unavailable, "etcdserver: no leader"),
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unknown, "h2 protocol error"),
            (Code::ResourceExhausted, "etcdserver: too many requests"),
            (Code::Unavailable, "etcdserver: rpc not supported for learner"),
        ] {
            assert!(matches!(verdict(code, message), Verdict::Elsewhere(_)), "{message}");
        }
        for (code, message, expected) in [
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", "alarm disarm"),
            (Code::PermissionDenied, "etcdserver: permission denied", "grant its role readwrite"),
            (Code::InvalidArgument, "etcdserver: request is too large", "--max-request-bytes"),
            (Code::Unimplemented, "unknown service", "unknown service"),
        ] {
            let Verdict::Final(Refusal::Error(error)) = verdict(code, message) else { panic!("{message}") };
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.retry_helps(), message.contains("space"), "{error}");
        }
        let compacted = verdict(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted");
        assert!(matches!(compacted, Verdict::Final(Refusal::Compacted)));
        let lease = verdict(Code::NotFound, "etcdserver: requested lease not found");
        assert!(matches!(lease, Verdict::Final(Refusal::LeaseNotFound)));
        for message in ["etcdserver: invalid auth token", "etcdserver: user name is empty"] {
            assert!(matches!(verdict(Code::InvalidArgument, message), Verdict::LogInAgain(_)));
        }
    }
}
