//! What files held when they were last read, so that one edit among ten thousand files parses one file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use starling_hub_core::resources::InputKey;
use starling_hub_core::steward::SourceFile;

use super::{Unreadable, yaml};

/// How old a change must be before its file may be taken from memory: within the resolution of a file system's clock, two
/// changes can leave the same time.
const REMEMBERED: Duration = Duration::from_secs(2);

/// How old a change must be before a file counts as written to its end: a file that is being written in place looks like a
/// shorter one, and half a document may well be valid.
pub(super) const SETTLED: Duration = Duration::from_millis(700);

/// The largest file that is read, in bytes.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Documents more than files whose places are noted before all are forgotten.
const PLACES: usize = 100_000;

/// What one file holds.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) content: Arc<SourceFile>,
    pub(super) unreadable: Vec<Unreadable>,
    /// The file was read; false if it could not be opened or read to its end.
    pub(super) is_of_its_text: bool,
    /// It was not read again, since it cannot have changed.
    pub(super) is_remembered: bool,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    inode: u64,
    bytes: u64,
    modified: SystemTime,
    changed: (i64, i64),
}

/// The files of a directory as they were last read, by path relative to it.
#[derive(Debug, Default)]
pub(super) struct ParsedFiles {
    files: HashMap<String, (Version, Parsed)>,
    /// Files that we put in place whole ourselves, as they were then: these need no time to settle.
    own: HashMap<String, Version>,
    /// In which files each document was ever read: where to look first, and no more than that.
    places: HashMap<InputKey, BTreeSet<String>>,
}

impl ParsedFiles {
    /// Forgets all files that are not among these.
    pub(super) fn keep<T>(&mut self, files: &BTreeMap<String, T>) {
        self.files.retain(|file, _| files.contains_key(file));
        self.own.retain(|file, _| files.contains_key(file));
        if self.places.len() > 2 * files.len() + PLACES {
            self.places.clear();
            // Read again, so that all are noted again.
            self.files.clear();
        }
    }

    /// Notes which documents a file holds.
    fn note_places(&mut self, file: &str, content: &SourceFile) {
        for (_, resource) in &content.documents {
            let places = self.places.entry(resource.key()).or_default();
            if !places.contains(file) {
                places.insert(file.to_owned());
            }
        }
    }

    /// Returns the one file in which a document was ever read; `None` if there are several, or none.
    pub(super) fn place(&self, key: &InputKey) -> Option<String> {
        let places = self.places.get(key)?;
        places.first().filter(|_| places.len() == 1).cloned()
    }

    /// Notes that a file was just put in place whole.
    pub(super) fn wrote(&mut self, file: &str, path: &Path) {
        if let Ok(version) = Version::at(path) {
            self.own.insert(file.to_owned(), version);
        }
    }

    /// Tells whether somebody else may be writing a file just now.
    pub(super) fn is_being_written(&self, file: &str, path: &Path) -> bool {
        let Ok(version) = Version::at(path) else { return false };
        version.is_being_written() && self.own.get(file) != Some(&version)
    }

    /// Reads a file that was just seen in a version, or takes what it surely holds still.
    pub(super) fn read(&mut self, file: &str, path: &Path, version: Version) -> Parsed {
        if let Some(known) = self.remembered(file, version) {
            return known;
        }
        let read = read_file(path, file);
        self.note_places(file, &read.content);
        // What could not be read now may be readable next time, and what was read may be of a later version than was listed.
        if read.is_of_its_text && Version::at(path).is_ok_and(|now| now == version) {
            self.remember(file, version, &read);
        }
        read
    }

    /// Returns what a file surely holds still; `None` if it has to be read.
    fn remembered(&self, file: &str, version: Version) -> Option<Parsed> {
        let (known, parsed) = self.files.get(file)?;
        (*known == version).then(|| Parsed { is_remembered: true, ..parsed.clone() })
    }

    /// Remembers what a file of a version holds, if any later change would leave another version.
    fn remember(&mut self, file: &str, version: Version, parsed: &Parsed) {
        if version.is_rememberable() {
            self.files.insert(file.to_owned(), (version, parsed.clone()));
        } else {
            self.files.remove(file);
        }
    }
}

impl Version {
    /// Returns the version of the file at a path.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).and_then(|metadata| Self::of(&metadata))
    }

    /// Reads it off what the file system says.
    pub(super) fn of(metadata: &fs::Metadata) -> io::Result<Self> {
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

/// Reads one file; what cannot be read is in the answer.
fn read_file(path: &Path, file: &str) -> Parsed {
    let mut content = SourceFile::default();
    let mut unreadable = Vec::new();
    let text = read_bounded(path);
    let is_of_its_text = text.is_ok();
    match text {
        Ok(text) => {
            for chunk in yaml::chunks(&text) {
                match yaml::resource(&chunk) {
                    Ok(resource) => content.documents.push((chunk.first_line as u64 + 1, resource)),
                    Err(yaml::YamlError { line, column, message }) => {
                        unreadable.push(Unreadable { file: file.to_owned(), line, column, message });
                    }
                }
            }
        }
        Err(error) => unreadable.push(self::unreadable(file, &error.to_string())),
    }
    content.unreadable = !unreadable.is_empty();
    Parsed { content: Arc::new(content), unreadable, is_of_its_text, is_remembered: false }
}

pub(super) fn unreadable(file: &str, message: &str) -> Unreadable {
    Unreadable { file: file.to_owned(), line: 0, column: 0, message: message.to_owned() }
}

pub(super) fn read_bounded(path: &Path) -> io::Result<String> {
    let bytes = fs::metadata(path)?.len();
    if bytes > FILE_BYTES {
        return Err(io::Error::other(format!("file of {bytes} bytes exceeds {FILE_BYTES} bytes")));
    }
    fs::read_to_string(path)
}

fn age(time: SystemTime) -> Option<Duration> {
    SystemTime::now().duration_since(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settled_file_is_remembered_until_it_changes_and_a_fresh_one_is_not() {
        let folder = tempfile::tempdir().expect("make a directory");
        let path = folder.path().join("a.yaml");
        fs::write(&path, "a").expect("write");
        let (content, unreadable) = (Arc::default(), Vec::new());
        let parsed = Parsed { content, unreadable, is_of_its_text: true, is_remembered: false };
        let fresh = Version::at(&path).expect("there");
        let mut files = ParsedFiles::default();
        files.remember("a.yaml", fresh, &parsed);
        assert!(files.remembered("a.yaml", fresh).is_none(), "another change may leave the same times");
        let then = SystemTime::now() - Duration::from_secs(60);
        let settled = Version { modified: then, changed: (0, 0), ..fresh };
        files.remember("a.yaml", settled, &parsed);
        assert!(files.remembered("a.yaml", settled).is_some());
        assert!(files.remembered("a.yaml", Version { bytes: 2, ..settled }).is_none());
        files.keep(&BTreeMap::from([("b.yaml".to_owned(), ())]));
        assert!(files.remembered("a.yaml", settled).is_none(), "it is not there any more");
    }
}
