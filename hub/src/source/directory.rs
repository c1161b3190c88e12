//! A directory of YAML files, read whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use starling_hub_core::resources::{InputKey, Resource};
use starling_hub_core::steward::SourceFile;

use super::parsed::{ParsedFiles, Version, read_bounded, unreadable};
use super::{EditError, Scan, edit, yaml};

/// How deep folders are followed.
const DEPTH: usize = 16;

/// A directory of YAML files (`*.yaml` and `*.yml`, hidden ones left out), shared by its readers and writers.
#[derive(Clone, Debug)]
pub struct Directory {
    root: Arc<Path>,
    parsed: Arc<Mutex<ParsedFiles>>,
    scans: Arc<AtomicU64>,
}

impl Directory {
    /// Names a directory; it need not exist yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.into(), parsed: Arc::default(), scans: Arc::default() }
    }

    /// Returns the directory's path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the number of the newest scan that was begun.
    #[must_use]
    pub fn newest_scan(&self) -> u64 {
        self.scans.load(Ordering::Relaxed)
    }

    /// Reads everything; what cannot be read is in the answer, not an error.
    ///
    /// A file that has not changed for a while costs one look at its times.
    #[must_use]
    pub fn scan(&self) -> Scan {
        let mut scan = Scan { number: self.scans.fetch_add(1, Ordering::Relaxed) + 1, ..Scan::default() };
        let mut listed = Listed::default();
        list(&self.root, "", 0, &mut listed);
        for (folder, error) in listed.unlisted {
            scan.unreadable.push(unreadable(&folder, &error.to_string()));
            scan.inputs.unlisted.insert(folder);
        }
        let mut parsed = self.parsed();
        parsed.keep(&listed.files);
        for (file, (path, version)) in listed.files {
            let read = parsed.read(&file, &path, version);
            // Looked at after the reading, so that no write falls between the two.
            if !read.is_remembered && parsed.is_being_written(&file, &path) {
                let content = SourceFile { unreadable: true, ..SourceFile::default() };
                scan.inputs.files.insert(file, Arc::new(content));
                scan.unsettled = true;
            } else {
                scan.unreadable.extend(read.unreadable);
                scan.inputs.files.insert(file, read.content);
            }
        }
        scan
    }

    /// Returns the files in which documents were read last, each in just one that nobody is writing; `None` if there is any other.
    #[must_use]
    pub fn places_of(&self, keys: &[InputKey]) -> Option<BTreeSet<String>> {
        keys.iter().map(|key| self.known_place(key)).collect()
    }

    /// Reads some files; `None` if any of them is not there, cannot be read, or is being written.
    #[must_use]
    pub fn read(&self, files: &BTreeSet<String>) -> Option<BTreeMap<String, Arc<SourceFile>>> {
        let mut parsed = self.parsed();
        let read = files.iter().map(|file| {
            let path = self.root.join(file);
            let read = parsed.read(file, &path, Version::at(&path).ok()?);
            let is_whole = read.unreadable.is_empty() && !parsed.is_being_written(file, &path);
            is_whole.then(|| (file.clone(), read.content))
        });
        read.collect()
    }

    /// Writes documents: each takes the place of its own older text, or gets a file of its own; blocks for the disk.
    ///
    /// # Errors
    /// The first edit that could not be made; those before it are made.
    pub(super) fn put_blocking(&self, resources: &[Resource]) -> Result<(), EditError> {
        let mut places = None;
        for resource in resources {
            let (key, text) = (resource.key(), edit::to_yaml(resource));
            if let Some(file) = self.known_place(&key)
                && self.rewrite(&file, |old| edit::replace(old, &key, &text)).is_ok()
            {
                continue;
            }
            // Where it was read it is no more, or it was read in several: look everywhere.
            match places.get_or_insert_with(|| self.places()).get(&key) {
                Some(file) => self.rewrite(file, |old| edit::replace(old, &key, &text))?,
                None => self.put_new(&edit::own_file(&key), &text)?,
            }
        }
        Ok(())
    }

    /// Writes a document that is in no file but perhaps its own, where what somebody wrote stays; blocks for the disk, and costs one
    /// file however many there are.
    ///
    /// # Errors
    /// The edit could not be made.
    pub(super) fn create_blocking(&self, resource: &Resource) -> Result<(), EditError> {
        let (key, text) = (resource.key(), edit::to_yaml(resource));
        let file = edit::own_file(&key);
        match read_bounded(&self.root.join(&file)) {
            Ok(old) if edit::replace(&old, &key, &text).is_some() => Ok(()),
            Ok(_) | Err(_) => self.put_new(&file, &text),
        }
    }

    /// Writes a document that is in no file; what its file may hold already stays.
    fn put_new(&self, file: &str, text: &str) -> Result<(), EditError> {
        let path = self.root.join(file);
        match read_bounded(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.write(file, text),
            Err(error) => Err(EditError::NotWritable { path, error }),
            Ok(old) if yaml::chunks(&old).iter().all(|chunk| yaml::resource(chunk).is_ok()) => {
                let line = if old.ends_with('\n') || old.is_empty() { "" } else { "\n" };
                let separator = if old.trim().is_empty() { "" } else { "---\n" };
                self.write(file, &format!("{old}{line}{separator}{text}"))
            }
            Ok(_) => Err(EditError::Refused {
                file: file.to_owned(),
                reason: "it holds a document that cannot be read; correct it first".into(),
            }),
        }
    }

    /// Removes a document; a file that then holds none is removed too. A document that is not there is no error. Blocks for
    /// the disk.
    ///
    /// # Errors
    /// The edit could not be made.
    pub(super) fn remove_blocking(&self, key: &InputKey) -> Result<(), EditError> {
        let Some(file) = self.places().remove(key) else { return Ok(()) };
        self.rewrite(&file, |old| edit::remove(old, key))
    }

    /// Returns the one file in which a document was read last, unless somebody may be writing it just now.
    fn known_place(&self, key: &InputKey) -> Option<String> {
        let parsed = self.parsed();
        parsed.place(key).filter(|file| !parsed.is_being_written(file, &self.root.join(file)))
    }

    /// Returns the file of each document.
    fn places(&self) -> BTreeMap<InputKey, String> {
        // The first of several, as the steward takes it.
        let files = self.scan().inputs.files.into_iter().rev();
        files
            .flat_map(|(file, content)| {
                let keys: Vec<InputKey> = content.documents.iter().map(|(_, resource)| resource.key()).collect();
                keys.into_iter().map(move |key| (key, file.clone()))
            })
            .collect()
    }

    fn rewrite(&self, file: &str, change: impl Fn(&str) -> Option<String>) -> Result<(), EditError> {
        let path = self.root.join(file);
        let old = read_bounded(&path).map_err(|error| EditError::NotWritable { path: path.clone(), error })?;
        let Some(new) = change(&old) else {
            return Err(EditError::Refused { file: file.to_owned(), reason: "it changed meanwhile; try again".into() });
        };
        if new.trim().is_empty() {
            return fs::remove_file(&path).map_err(|error| EditError::NotWritable { path, error });
        }
        self.write(file, &new)
    }

    /// Writes a file whole or not at all.
    fn write(&self, file: &str, text: &str) -> Result<(), EditError> {
        let path = self.root.join(file);
        let write = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(&self.root);
            fs::create_dir_all(folder)?;
            // Hidden, so that a scan does not read it half written.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let scratch = folder.join(format!(".{name}.new"));
            fs::write(&scratch, text)?;
            fs::rename(&scratch, &path)
        };
        write().map_err(|error| EditError::NotWritable { path: path.clone(), error })?;
        self.parsed().wrote(file, &path);
        Ok(())
    }

    fn parsed(&self) -> MutexGuard<'_, ParsedFiles> {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of a directory, and the folders that could not be looked into; each by its path relative to the directory.
#[derive(Default)]
struct Listed {
    files: BTreeMap<String, (PathBuf, Version)>,
    unlisted: Vec<(String, io::Error)>,
}

/// Lists a folder and what is below it; `relative` is its path from the directory, which itself is the empty path.
fn list(folder: &Path, relative: &str, depth: usize, listed: &mut Listed) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return listed.unlisted.push((relative.to_owned(), error)),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return listed.unlisted.push((relative.to_owned(), error)),
        };
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let file = if relative.is_empty() { name.into_owned() } else { format!("{relative}/{name}") };
        // Not the entry's own, which does not follow links.
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() && depth < DEPTH => list(&path, &file, depth + 1, listed),
            Ok(metadata) if metadata.is_dir() => {
                listed.unlisted.push((file, io::Error::other(format!("more than {DEPTH} folders deep"))));
            }
            Ok(metadata) if is_yaml(&path) => match Version::of(&metadata) {
                Ok(version) => drop(listed.files.insert(file, (path, version))),
                Err(error) => listed.unlisted.push((file, error)),
            },
            Ok(_) => {}
            Err(error) if is_yaml(&path) || path.extension().is_none() => listed.unlisted.push((file, error)),
            Err(_) => {}
        }
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

#[cfg(test)]
mod tests {
    use starling_hub_core::resources::Kind;

    use super::*;

    fn workspace(name: &str) -> String {
        format!(
            "# about {name}\napiVersion: starling.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: {name}\nspec: {{}}\n"
        )
    }

    /// Makes every file of a folder look as if it was written some time ago.
    fn settle(folder: &Path) {
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        for entry in fs::read_dir(folder).expect("list") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                fs::File::options()
                    .write(true)
                    .open(&path)
                    .and_then(|file| file.set_modified(then))
                    .expect("set the time");
            }
        }
    }

    fn documents(directory: &Directory) -> Vec<Resource> {
        let files = directory.scan().inputs.files;
        files.into_values().flat_map(|file| file.documents.clone()).map(|(_, resource)| resource).collect()
    }

    fn names(directory: &Directory) -> Vec<String> {
        documents(directory).iter().map(|resource| resource.name().to_owned()).collect()
    }

    #[test]
    fn one_bad_file_does_not_hide_the_others() {
        let folder = tempfile::tempdir().expect("make a directory");
        fs::write(folder.path().join("a.yaml"), workspace("a")).expect("write");
        fs::write(folder.path().join("b.yaml"), "kind: [\n").expect("write");
        fs::write(folder.path().join("c.yml"), format!("{}---\nkind: Nonsense\n", workspace("c"))).expect("write");
        fs::write(folder.path().join("notes.txt"), "not yaml").expect("write");
        settle(folder.path());
        let directory = Directory::new(folder.path());
        assert_eq!(names(&directory), ["a", "c"]);
        let scan = directory.scan();
        let bad: Vec<&str> = scan.unreadable.iter().map(|bad| bad.file.as_str()).collect();
        assert_eq!(bad, ["b.yaml", "c.yml"]);
    }

    #[test]
    fn a_missing_directory_is_unreadable_and_not_empty() {
        let scan = Directory::new(Path::new("/nonexistent/starling")).scan();
        assert_eq!((scan.inputs.files.len(), scan.unreadable.len()), (0, 1));
    }

    #[test]
    fn an_edit_leaves_other_documents_as_they_are() {
        let folder = tempfile::tempdir().expect("make a directory");
        let directory = Directory::new(folder.path());
        let text = format!("{}---\n{}---\n{}", workspace("a"), workspace("b"), workspace("c"));
        fs::write(folder.path().join("all.yaml"), text).expect("write");
        settle(folder.path());
        directory.remove_blocking(&InputKey::new(Kind::Workspace, "", "b")).expect("remove");
        assert_eq!(names(&directory), ["a", "c"]);
        let text = fs::read_to_string(folder.path().join("all.yaml")).expect("read");
        assert!(text.contains("# about a") && text.contains("# about c") && !text.contains("name: b"));
        directory.remove_blocking(&InputKey::new(Kind::Workspace, "", "a")).expect("remove");
        directory.remove_blocking(&InputKey::new(Kind::Workspace, "", "c")).expect("remove");
        assert!(!folder.path().join("all.yaml").exists());
    }

    #[test]
    fn put_replaces_in_place_or_makes_a_file() {
        let folder = tempfile::tempdir().expect("make a directory");
        let directory = Directory::new(folder.path());
        fs::write(folder.path().join("all.yaml"), format!("{}---\n{}", workspace("a"), workspace("b"))).expect("write");
        settle(folder.path());
        let mut resources = documents(&directory);
        if let Resource::Workspace(workspace) = &mut resources[1] {
            workspace.spec.namespace = "elsewhere".into();
        }
        let chunk_text = workspace("new");
        let fresh = yaml::resource(&yaml::chunks(&chunk_text)[0]).expect("a workspace");
        directory.put_blocking(&[resources[1].clone(), fresh]).expect("put");
        assert_eq!(names(&directory), ["a", "b", "new"]);
        let text = fs::read_to_string(folder.path().join("all.yaml")).expect("read");
        assert!(text.contains("# about a") && text.contains("namespace: elsewhere"));
        assert!(folder.path().join("workspace/new.yaml").exists());
    }

    #[test]
    fn a_new_document_gets_a_file_of_its_own_once() {
        let folder = tempfile::tempdir().expect("make a directory");
        let directory = Directory::new(folder.path());
        let text = workspace("new");
        let fresh = yaml::resource(&yaml::chunks(&text)[0]).expect("a workspace");
        directory.create_blocking(&fresh).expect("create");
        directory.create_blocking(&fresh).expect("create it again, as after a lost answer");
        assert_eq!(names(&directory), ["new"]);
        let file = folder.path().join("workspace/new.yaml");
        let by_hand = format!("{}# and more\n", workspace("new"));
        fs::write(&file, &by_hand).expect("write by hand");
        directory.create_blocking(&fresh).expect("create what somebody wrote");
        assert_eq!(fs::read_to_string(file).expect("read"), by_hand);
    }

    #[test]
    fn a_file_that_may_be_half_written_counts_as_unreadable() {
        let folder = tempfile::tempdir().expect("make a directory");
        fs::write(folder.path().join("a.yaml"), workspace("a")).expect("write");
        let directory = Directory::new(folder.path());
        let scan = directory.scan();
        assert!(scan.unsettled && scan.inputs.files["a.yaml"].unreadable && names(&directory).is_empty());
        settle(folder.path());
        assert!(!directory.scan().unsettled);
        assert_eq!(names(&directory), ["a"]);
    }

    #[test]
    fn what_the_hub_writes_itself_is_read_at_once() {
        let folder = tempfile::tempdir().expect("make a directory");
        let directory = Directory::new(folder.path());
        let text = workspace("new");
        directory.put_blocking(&[yaml::resource(&yaml::chunks(&text)[0]).expect("a workspace")]).expect("put");
        assert_eq!(names(&directory), ["new"]);
        assert!(!directory.scan().unsettled);
    }

    #[test]
    fn a_file_with_something_unreadable_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("make a directory");
        let directory = Directory::new(folder.path());
        fs::create_dir(folder.path().join("workspace")).expect("make a folder");
        fs::write(folder.path().join("workspace/new.yaml"), "kind: [\n").expect("write");
        let text = workspace("new");
        let fresh = yaml::resource(&yaml::chunks(&text)[0]).expect("a workspace");
        assert!(matches!(directory.put_blocking(&[fresh]), Err(EditError::Refused { .. })));
        assert_eq!(fs::read_to_string(folder.path().join("workspace/new.yaml")).expect("read"), "kind: [\n");
    }
}
