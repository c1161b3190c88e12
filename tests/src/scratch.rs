//! The folder of a tier's files: one run of the tier at a time, one folder for each test, kept for whoever wants to read logs.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A tier's folder, locked while the process lives.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Takes a tier's folder below cargo's (`CARGO_TARGET_TMPDIR`); waits for the end of another run of the tier.
    ///
    /// # Errors
    /// The folder cannot be made or locked.
    pub fn of_tier(target_folder: &str, tier: &str) -> Result<Self> {
        let folder = Path::new(target_folder).join(tier);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let lock = File::create(folder.join("lock")).context("create the lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("another run of these tests uses {}: waiting for its end", folder.display());
                lock.lock().context("wait for the lock")?;
            }
            Err(TryLockError::Error(error)) => return Err(error).context("take the lock"),
        }
        Ok(Self { folder, _lock: lock })
    }

    /// Returns an empty folder of a name.
    ///
    /// # Errors
    /// It cannot be emptied or made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(folder)
    }
}
