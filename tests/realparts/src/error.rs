//! The one error type of the crate: every variant says what was being done and what the person can do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a real part could not be built, started or used.
#[derive(thiserror::Error)]
pub enum Error {
    /// A program of the machine that is needed cannot be run.
    #[error("`{tool}` was not found: {install}")]
    MissingTool {
        /// The program.
        tool: &'static str,
        /// How to get it.
        install: &'static str,
    },
    /// There is no place for built programs.
    #[error(
        "none of STARLING_CACHE, XDG_CACHE_HOME and HOME is set: set STARLING_CACHE to a folder for the built programs"
    )]
    NoCacheFolder,
    /// Go could not build a program.
    #[error(
        "building {program} failed ({reason}). Programs come from Go modules, so `go env GOPROXY` must be reachable; \
         what was built before is kept, so run the same command again. Whole output: {log}\n--- end of the output\n{tail}",
        log = log.display()
    )]
    Build {
        /// Name and version.
        program: String,
        /// How Go ended.
        reason: String,
        /// The file with Go's whole output.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// A program is used that was not ensured before.
    #[error("{0} was not asked for in Programs::ensure")]
    NotEnsured(&'static str),
    /// A file or a socket.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, in present tense.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A command ended with a failure.
    #[error("`{command}` failed ({status})\n{output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// Everything that it printed.
        output: String,
    },
    /// A running part ended by itself.
    #[error("{name} ended ({status}) while it was needed. Whole log: {log}\n--- end of the log\n{tail}", log = log.display())]
    Exited {
        /// The part.
        name: String,
        /// How it ended.
        status: String,
        /// The file with its whole output.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// Something did not happen in time.
    #[error("waited {:.1} s for {what}; last seen: {last}", waited.as_secs_f64())]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
        /// Why it was not there yet when last looked at.
        last: String,
    },
    /// A part answered something that cannot be used.
    #[error("{what}: {detail}")]
    Unexpected {
        /// What was being done, in present tense.
        what: String,
        /// What was answered.
        detail: String,
    },
}

/// As `Display`: a failed test prints the `Debug` form, and a log's tail is not readable with its line ends escaped.
impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Lets `?` be used in the closures of `wait_for`, where an error means "not yet".
impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.to_string()
    }
}

/// Adds what was being done, in present tense, to an I/O error.
pub(crate) trait IoContext<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;

    fn at_path(self, verb: &str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { what: what(), source })
    }

    fn at_path(self, verb: &str, path: &Path) -> Result<T> {
        self.doing(|| format!("{verb} {}", path.display()))
    }
}

/// The last `lines` lines of a file, or the reason why they cannot be read.
pub(crate) fn tail_of_file(path: &Path, lines: usize) -> String {
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("(log cannot be read: {error})"),
    }
}

/// Creates a folder and its parents, and returns it as an absolute path: parts run in folders of their own.
pub(crate) fn create_folder(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).at_path("create", folder)?;
    std::path::absolute(folder).at_path("find", folder)
}
