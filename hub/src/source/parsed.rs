//! What files held when they were last read, so that one edit among ten thousand files parses one file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use starling_hub_core::steward::SourceFile;

use super::Unreadable;

/// How old a change must be before its file may be taken from memory: within the resolution of a file system's clock, two
/// changes can leave the same time.
const REMEMBERED: Duration = Duration::from_secs(2);

/// How old a change must be before a file counts as written to its end: a file that is being written in place looks like a
/// shorter one, and half a document may well be valid.
pub(super) const SETTLED: Duration = Duration::from_millis(700);

/// What one file holds.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) content: SourceFile,
    pub(super) unreadable: Vec<Unreadable>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    inode: u64,
    bytes: u64,
    modified: SystemTime,
    changed: (i64, i64),
}

/// The files of a directory as they were last read.
#[derive(Debug, Default)]
pub(super) struct ParsedFiles {
    files: BTreeMap<PathBuf, (Version, Parsed)>,
    /// Files that we put in place whole ourselves, as they were then: these need no time to settle.
    own: BTreeMap<PathBuf, Version>,
}

impl ParsedFiles {
    /// Forgets all files but these.
    pub(super) fn keep(&mut self, files: &[PathBuf]) {
        let files: BTreeSet<&PathBuf> = files.iter().collect();
        self.files.retain(|path, _| files.contains(path));
        self.own.retain(|path, _| files.contains(path));
    }

    /// Notes that a file was just put in place whole.
    pub(super) fn wrote(&mut self, path: &Path) {
        if let Ok(version) = Version::of(path) {
            self.own.insert(path.to_owned(), version);
        }
    }

    /// Tells whether somebody else may be writing a file just now.
    pub(super) fn is_being_written(&self, path: &Path) -> bool {
        let Ok(version) = Version::of(path) else { return false };
        version.is_being_written() && self.own.get(path) != Some(&version)
    }

    /// Returns what a file holds, reading it unless it is surely what it was.
    pub(super) fn get(&mut self, path: &Path, read: impl FnOnce(io::Result<Version>) -> Parsed) -> Parsed {
        let version = match Version::of(path) {
            Ok(version) => version,
            Err(error) => {
                self.files.remove(path);
                return read(Err(error));
            }
        };
        if let Some((known, parsed)) = self.files.get(path)
            && *known == version
        {
            return parsed.clone();
        }
        let parsed = read(Ok(version));
        if version.is_rememberable() {
            self.files.insert(path.to_owned(), (version, parsed.clone()));
        } else {
            self.files.remove(path);
        }
        parsed
    }
}

impl Version {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: metadata.modified()?,
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Tells whether any later change leaves another time. A time in the future never is old enough.
    fn is_rememberable(&self) -> bool {
        let changed = Duration::new(u64::try_from(self.changed.0).unwrap_or_default(), 0);
        age(self.modified).is_some_and(|age| age > REMEMBERED)
            && age(SystemTime::UNIX_EPOCH + changed).is_some_and(|age| age > REMEMBERED)
    }

    /// Tells whether somebody may be writing the file just now. A time in the future says nothing, and does not hold a file
    /// back for ever.
    fn is_being_written(&self) -> bool {
        age(self.modified).is_some_and(|age| age < SETTLED)
    }
}

fn age(time: SystemTime) -> Option<Duration> {
    SystemTime::now().duration_since(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed() -> Parsed {
        Parsed { content: SourceFile::default(), unreadable: Vec::new() }
    }

    #[test]
    fn a_settled_file_is_read_once_and_a_fresh_one_each_time() {
        let folder = tempfile::tempdir().expect("make a directory");
        let path = folder.path().join("a.yaml");
        fs::write(&path, "a").expect("write");
        let mut files = ParsedFiles::default();
        let mut reads = 0;
        let mut get = |files: &mut ParsedFiles| {
            files.get(&path, |_| {
                reads += 1;
                parsed()
            });
        };
        get(&mut files);
        get(&mut files);
        // What a scan does once the change is old enough.
        files.files.insert(path.clone(), (Version::of(&path).expect("there"), parsed()));
        get(&mut files);
        fs::write(&path, "b").expect("write");
        get(&mut files);
        assert_eq!(reads, 3);
    }
}
