//! The high-water mark of positions, `mark.json`: outside the store, so that a lost or restored store is noticed.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use starling_hub_core::hold::Mark;
use starling_model::{Era, Position};

use super::storage::{Entries, KeyStorage};

/// The entry that holds the mark.
const ENTRY: &str = "mark.json";

/// Keeps the mark, beside the fleet's secrets or (for simulation) in memory alone.
pub struct HighWaterMark {
    storage: Option<Arc<dyn KeyStorage>>,
    mark: Mutex<Option<Mark>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    era: Era,
    reserved: Position,
}

impl HighWaterMark {
    /// Reads the mark among what was read of a storage, which later reservations are written to.
    ///
    /// # Errors
    /// The entry is not a mark.
    pub fn read(storage: Arc<dyn KeyStorage>, entries: &Entries) -> io::Result<Self> {
        Ok(Self { storage: Some(storage), mark: Mutex::new(read(entries)?) })
    }

    /// Keeps a mark in memory.
    #[must_use]
    pub fn in_memory(mark: Option<Mark>) -> Self {
        Self { storage: None, mark: Mutex::new(mark) }
    }

    /// Takes over the mark among what was read of the storage again.
    pub(super) fn refresh(&self, entries: &Entries) -> io::Result<()> {
        *self.present() = read(entries)?;
        Ok(())
    }

    /// Returns the mark; `None` for a new fleet, or when it was lost.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        *self.present()
    }

    /// Writes the mark so that it survives a power cut before this returns. The steward alone calls this, one at a time.
    ///
    /// # Errors
    /// It could not be written; then the old mark holds.
    pub async fn reserve(&self, mark: Mark) -> io::Result<()> {
        if let Some(storage) = &self.storage {
            let content = Content { era: mark.era, reserved: mark.reserved };
            storage.replace(ENTRY, serde_json::to_vec(&content)?).await?;
        }
        *self.present() = Some(mark);
        Ok(())
    }

    fn present(&self) -> MutexGuard<'_, Option<Mark>> {
        self.mark.lock().expect("no holder of the mark panics")
    }
}

fn read(entries: &Entries) -> io::Result<Option<Mark>> {
    let Some(json) = entries.get(ENTRY) else { return Ok(None) };
    let content: Content = serde_json::from_slice(json)?;
    Ok(Some(Mark { era: content.era, reserved: content.reserved }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use starling_model::Uid;

    use super::super::storage::KeyDirectory;
    use super::*;

    async fn open(directory: &Path) -> io::Result<HighWaterMark> {
        let storage = KeyDirectory::new(directory);
        let entries = storage.read().await?;
        HighWaterMark::read(Arc::new(storage), &entries)
    }

    #[tokio::test]
    async fn a_mark_survives_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let file = open(directory.path()).await.unwrap();
        assert_eq!(file.mark(), None);
        let mark = Mark { era: Era { number: 2, id: Uid([4; 16]) }, reserved: Position(2048) };
        file.reserve(mark).await.unwrap();
        assert_eq!(file.mark(), Some(mark));
        assert_eq!(open(directory.path()).await.unwrap().mark(), Some(mark));
        let path = directory.path().join(ENTRY);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_mark_that_cannot_be_written_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let file = open(&directory.path().join("missing")).await.unwrap();
        let mark = Mark { era: Era { number: 1, id: Uid([4; 16]) }, reserved: Position(1024) };
        assert!(file.reserve(mark).await.is_err());
        assert_eq!(file.mark(), None);
    }

    #[tokio::test]
    async fn a_damaged_mark_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(ENTRY), "{}").unwrap();
        assert!(open(directory.path()).await.is_err());
    }
}
