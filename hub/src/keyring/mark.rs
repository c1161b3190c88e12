//! The high-water mark of positions, `mark.json`: outside the store, so that a lost or restored store is noticed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use starling_hub_core::hold::Mark;
use starling_model::{Era, Position};

use super::files;

/// Keeps the mark, in a file or (for simulation) in memory alone.
#[derive(Debug)]
pub struct MarkFile {
    path: Option<PathBuf>,
    mark: Mutex<Option<Mark>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    era: Era,
    reserved: Position,
}

impl MarkFile {
    /// Reads the mark.
    ///
    /// # Errors
    /// The file cannot be read, or is not a mark.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mark = match files::read(path)? {
            None => None,
            Some(json) => {
                let content: Content = serde_json::from_slice(&json)?;
                Some(Mark { era: content.era, reserved: content.reserved })
            }
        };
        Ok(Self { path: Some(path.to_owned()), mark: Mutex::new(mark) })
    }

    /// Keeps a mark in memory.
    #[must_use]
    pub fn in_memory(mark: Option<Mark>) -> Self {
        Self { path: None, mark: Mutex::new(mark) }
    }

    /// Returns the mark; `None` for a new fleet, or when the file was lost.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        *self.mark.lock().expect("no holder of the mark panics")
    }

    /// Writes the mark so that it survives a power cut before this returns; blocks for the disk.
    ///
    /// # Errors
    /// It could not be written; then the old mark holds.
    pub fn reserve(&self, mark: Mark) -> io::Result<()> {
        let mut present = self.mark.lock().expect("no holder of the mark panics");
        if let Some(path) = &self.path {
            let content = Content { era: mark.era, reserved: mark.reserved };
            files::replace(path, &serde_json::to_vec(&content)?)?;
        }
        *present = Some(mark);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use starling_model::Uid;

    use super::*;

    #[test]
    fn a_mark_survives_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark.json");
        let file = MarkFile::open(&path).unwrap();
        assert_eq!(file.mark(), None);
        let mark = Mark { era: Era { number: 2, id: Uid([4; 16]) }, reserved: Position(2048) };
        file.reserve(mark).unwrap();
        assert_eq!(file.mark(), Some(mark));
        assert_eq!(MarkFile::open(&path).unwrap().mark(), Some(mark));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_mark_that_cannot_be_written_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let file = MarkFile::open(&directory.path().join("missing/mark.json")).unwrap();
        let mark = Mark { era: Era { number: 1, id: Uid([4; 16]) }, reserved: Position(1024) };
        assert!(file.reserve(mark).is_err());
        assert_eq!(file.mark(), None);
    }

    #[test]
    fn a_damaged_mark_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark.json");
        std::fs::write(&path, "{}").unwrap();
        assert!(MarkFile::open(&path).is_err());
    }
}
