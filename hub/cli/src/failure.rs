//! How a command fails: an exit code for scripts, one line that says what, one line that says what to do next.

use std::fmt;
use std::io::{self, Write as _};

use starling_model::ErrorCode;
use tonic::{Code, Status};

use crate::render::paint::Paint;
use crate::terminal::Terminal;

/// The exit codes, documented in `starling --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Nothing to report: the reader of our output went away.
    Quiet = 0,
    /// Something failed.
    Failed = 1,
    /// The command or the request is wrong.
    Usage = 2,
    /// Somebody must approve a count.
    ApprovalRequired = 3,
    /// What was named does not exist.
    NotFound = 4,
    /// The hub cannot be reached or does not accept the caller.
    Unreachable = 5,
    /// The fleet holds.
    FleetHolds = 6,
}

/// Why a command ended without doing all that was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    what: String,
    next: Option<String>,
    passing: bool,
}

impl Failure {
    /// Makes a failure that says what went wrong.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), next: None, passing: false }
    }

    /// Makes a failure of usage.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Adds what to do next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Marks the failure as one that can pass by itself, such as a hub that restarts.
    pub(crate) fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    /// Tells whether the same command can succeed later without anybody changing anything.
    pub(crate) fn is_passing(&self) -> bool {
        self.passing
    }

    /// Puts words before what went wrong, such as the file that it is about.
    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.what = format!("{subject}: {}", self.what);
        self
    }

    /// Changes the words of what to do next, which name commands.
    pub(crate) fn reworded(mut self, words: impl Fn(&str) -> String) -> Self {
        // Some name a command alone, without anything around it.
        self.next = self.next.map(|next| words(&format!("  {next}")).trim_start().to_owned());
        self
    }

    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns what the hub's refusal means to the caller.
    pub(crate) fn from_status(status: &Status) -> Self {
        let code = error_code(status);
        let (exit, next) = meaning(code);
        let message = match status.message() {
            "" => format!("the hub answered {code} without a message"),
            message => message.to_owned(),
        };
        let what = match code {
            ErrorCode::Unavailable => format!("the hub did not answer: {message}"),
            ErrorCode::Internal => format!("the hub failed: {message}"),
            ErrorCode::InvalidRequest
            | ErrorCode::Unauthenticated
            | ErrorCode::PermissionDenied
            | ErrorCode::NotFound
            | ErrorCode::Conflict
            | ErrorCode::ApprovalRequired
            | ErrorCode::FleetHolds
            | ErrorCode::LimitExceeded
            | ErrorCode::CredentialRefused => message,
        };
        let failure = Self { passing: code.retry_helps(), ..Self::new(exit, one_line(&what)) };
        match next {
            Some(next) => failure.next(next),
            None => failure,
        }
    }

    /// Prints the failure to standard error.
    pub(crate) fn report(&self, terminal: &Terminal) {
        if self.exit == Exit::Quiet {
            return;
        }
        let mut stderr = io::stderr().lock();
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(stderr, "{} {}", terminal.paint_error("error:", Paint::Bad), self.what);
        if let Some(next) = &self.next {
            let _ = writeln!(stderr, "{} {next}", terminal.paint_error("next:", Paint::Strong));
        }
    }
}

/// Returns the code that the hub put beside the gRPC status, or the nearest to the status.
fn error_code(status: &Status) -> ErrorCode {
    let named = status.metadata().get("starling-error").and_then(|value| value.to_str().ok());
    if let Some(code) = named.and_then(ErrorCode::parse) {
        return code;
    }
    match status.code() {
        Code::InvalidArgument | Code::OutOfRange => ErrorCode::InvalidRequest,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => ErrorCode::Conflict,
        Code::ResourceExhausted => ErrorCode::LimitExceeded,
        // A broken connection arrives as `Unknown` or `Cancelled`.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => ErrorCode::Unavailable,
        Code::Ok | Code::Unimplemented | Code::Internal | Code::DataLoss => ErrorCode::Internal,
    }
}

fn meaning(code: ErrorCode) -> (Exit, Option<&'static str>) {
    match code {
        ErrorCode::InvalidRequest => (Exit::Usage, None),
        ErrorCode::Unauthenticated | ErrorCode::CredentialRefused => (
            Exit::Unreachable,
            Some(
                "`starling config` shows whose token was sent: log in again, or name another with --token-file or --service-account",
            ),
        ),
        ErrorCode::PermissionDenied => (
            Exit::Failed,
            Some("`starling whoami` shows who you are to the hub; its administrators grant the ClusterRole"),
        ),
        ErrorCode::NotFound => (Exit::NotFound, Some("`starling get` lists what there is")),
        ErrorCode::Conflict => (Exit::Failed, Some("look again with `starling get`, then repeat the command")),
        ErrorCode::ApprovalRequired => {
            (Exit::ApprovalRequired, Some("run the command again with `--approve` and the count that it shows"))
        }
        ErrorCode::FleetHolds => (
            Exit::FleetHolds,
            Some("`starling status` says why the fleet holds; `starling store recover --fleet NAME` ends it"),
        ),
        ErrorCode::LimitExceeded => (Exit::Failed, Some("ask for less at once, or try again in a minute")),
        ErrorCode::Unavailable => {
            (Exit::Unreachable, Some("check that the hub runs, then try again; `--timeout` waits longer"))
        }
        ErrorCode::Internal => {
            (Exit::Failed, Some("the hub's log says more; compare versions with `starling version`"))
        }
    }
}

/// Joins the lines of a text, so that an error stays one line.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl From<io::Error> for Failure {
    /// Reads an error of writing to standard output.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Quiet, "");
        }
        Self::new(Exit::Failed, format!("cannot write the output: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hubs_own_code_wins() {
        let mut status = Status::new(Code::FailedPrecondition, "the fleet holds");
        status.metadata_mut().insert("starling-error", "fleet-holds".parse().unwrap());
        assert_eq!(Failure::from_status(&status).exit(), Exit::FleetHolds);
        status.metadata_mut().insert("starling-error", "approval-required".parse().unwrap());
        assert_eq!(Failure::from_status(&status).exit(), Exit::ApprovalRequired);
    }

    #[test]
    fn every_status_has_an_exit_code_and_one_line() {
        for (code, exit) in [
            (Code::NotFound, Exit::NotFound),
            (Code::Unauthenticated, Exit::Unreachable),
            (Code::PermissionDenied, Exit::Failed),
            (Code::Unavailable, Exit::Unreachable),
            (Code::DeadlineExceeded, Exit::Unreachable),
            (Code::InvalidArgument, Exit::Usage),
            (Code::Internal, Exit::Failed),
        ] {
            let failure = Failure::from_status(&Status::new(code, "first\nsecond"));
            assert_eq!(failure.exit(), exit, "{code:?}");
            assert!(!failure.to_string().contains('\n'));
        }
    }

    #[test]
    fn a_broken_pipe_is_quiet() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit(), Exit::Quiet);
    }
}
