//! Where resources come from: a directory of YAML.
//!
//! Owns reading, watching and editing the files. Does not own what a document means for the fleet: each scan is handed
//! whole to the steward, which alone decides, and for which a file that is not there is no evidence of anything.

pub mod directory;
mod documents;
mod edit;
mod parsed;
mod watch;
pub mod yaml;

use std::path::PathBuf;

use starling_hub_core::steward::SyncInputs;

pub use directory::Directory;
pub use documents::Documents;
pub use edit::{own_file, to_yaml};
pub use watch::follow;

/// Everything that a directory says at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// What could be read, by file.
    pub inputs: SyncInputs,
    /// What could not.
    pub unreadable: Vec<Unreadable>,
    /// A file may be in the middle of being written: it counts as unreadable, and the directory is to be read again soon.
    pub unsettled: bool,
    /// Which scan of the directory it is, in the order in which they began, from 1; zero where that is not counted.
    pub number: u64,
}

/// A file or document that could not be read; what it held before stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The file, relative to the directory.
    pub file: String,
    /// The line, from 1; zero where none is known.
    pub line: u64,
    /// The column, from 1; zero where none is known.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

/// Where resources come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SourceKind {
    /// A directory of YAML, which the hub edits.
    #[default]
    Directory,
    /// Custom resources of a Kubernetes API, which people edit under their own identity.
    Kubernetes,
}

impl SourceKind {
    /// Returns the name used in flags and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// An edit of documents that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The directory or the file cannot be written.
    #[error("write {}: {error}", path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The Kubernetes API refuses it, or does not answer.
    #[error("{object}: {reason}")]
    Api {
        /// The object.
        object: String,
        /// What the API says.
        reason: String,
    },
    /// The edit broke off; it may have been made.
    #[error("the edit broke off")]
    BrokeOff,
    /// The file changed in the meantime, or holds what cannot be edited without loss.
    #[error("{file}: {reason}")]
    Refused {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
}
