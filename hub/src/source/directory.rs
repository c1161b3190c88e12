//! A directory of YAML files, read whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use starling_hub_core::resources::{InputKey, Resource};

use super::{EditError, Scan, Unreadable, edit, yaml};

/// The largest file that is read, in bytes.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// How deep folders are followed.
const DEPTH: usize = 16;

/// A directory of YAML files (`*.yaml` and `*.yml`, hidden ones left out), shared by its readers and writers.
#[derive(Clone, Debug)]
pub struct Directory {
    root: Arc<Path>,
}

impl Directory {
    /// Names a directory; it need not exist yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Returns the directory's path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads everything; what cannot be read is in the answer, not an error.
    #[must_use]
    pub fn scan(&self) -> Scan {
        let mut scan = Scan::default();
        let mut files = Vec::new();
        if let Err((path, error)) = list(&self.root, 0, &mut files) {
            scan.unreadable.push(unreadable(&self.relative(&path), &error.to_string()));
        }
        files.sort();
        for path in files {
            self.read_file(&path, &mut scan);
        }
        scan
    }

    /// Writes documents: each takes the place of its own older text, or gets a file of its own.
    ///
    /// # Errors
    /// The first edit that could not be made; those before it are made.
    pub fn put(&self, resources: &[Resource]) -> Result<(), EditError> {
        let places = self.places();
        for resource in resources {
            let text = edit::to_yaml(resource);
            match places.get(&resource.key()) {
                Some(file) => self.rewrite(file, |old| edit::replace(old, &resource.key(), &text))?,
                None => self.write(&self.root.join(edit::own_file(&resource.key())), &text)?,
            }
        }
        Ok(())
    }

    /// Removes a document; a file that then holds none is removed too. A document that is not there is no error.
    ///
    /// # Errors
    /// The edit could not be made.
    pub fn remove(&self, key: &InputKey) -> Result<(), EditError> {
        let Some(file) = self.places().remove(key) else { return Ok(()) };
        self.rewrite(&file, |old| edit::remove(old, key))
    }

    /// Returns the file of each document.
    fn places(&self) -> BTreeMap<InputKey, String> {
        // The first of several, as the steward takes it.
        let files = self.scan().inputs.files.into_iter().rev();
        files
            .flat_map(|(file, content)| {
                content.documents.into_iter().map(move |(_, resource)| (resource.key(), file.clone()))
            })
            .collect()
    }

    fn read_file(&self, path: &Path, scan: &mut Scan) {
        let file = self.relative(path);
        let content = scan.inputs.files.entry(file.clone()).or_default();
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(error) => {
                content.unreadable = true;
                return scan.unreadable.push(unreadable(&file, &error.to_string()));
            }
        };
        for chunk in yaml::chunks(&text) {
            match yaml::resource(&chunk) {
                Ok(resource) => content.documents.push((chunk.first_line as u64 + 1, resource)),
                Err(error) => {
                    content.unreadable = true;
                    scan.unreadable.push(Unreadable {
                        file: file.clone(),
                        line: error.line,
                        column: error.column,
                        message: error.message,
                    });
                }
            }
        }
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
        self.write(&path, &new)
    }

    /// Writes a file whole or not at all.
    fn write(&self, path: &Path, text: &str) -> Result<(), EditError> {
        let write = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(&self.root);
            fs::create_dir_all(folder)?;
            // Hidden, so that a scan does not read it half written.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let scratch = folder.join(format!(".{name}.new"));
            fs::write(&scratch, text)?;
            fs::rename(&scratch, path)
        };
        write().map_err(|error| EditError::NotWritable { path: path.to_owned(), error })
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

fn unreadable(file: &str, message: &str) -> Unreadable {
    Unreadable { file: file.to_owned(), line: 0, column: 0, message: message.to_owned() }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let bytes = fs::metadata(path)?.len();
    if bytes > FILE_BYTES {
        return Err(io::Error::other(format!("file of {bytes} bytes exceeds {FILE_BYTES} bytes")));
    }
    fs::read_to_string(path)
}

fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (folder.to_owned(), error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() {
            if depth < DEPTH {
                list(&path, depth + 1, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use starling_hub_core::resources::Kind;

    use super::*;

    fn workspace(name: &str) -> String {
        format!("# about {name}\napiVersion: starling.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: {name}\nspec: {{}}\n")
    }

    fn documents(directory: &Directory) -> Vec<Resource> {
        let files = directory.scan().inputs.files;
        files.into_values().flat_map(|file| file.documents).map(|(_, resource)| resource).collect()
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
        directory.remove(&InputKey::new(Kind::Workspace, "", "b")).expect("remove");
        assert_eq!(names(&directory), ["a", "c"]);
        let text = fs::read_to_string(folder.path().join("all.yaml")).expect("read");
        assert!(text.contains("# about a") && text.contains("# about c") && !text.contains("name: b"));
        directory.remove(&InputKey::new(Kind::Workspace, "", "a")).expect("remove");
        directory.remove(&InputKey::new(Kind::Workspace, "", "c")).expect("remove");
        assert!(!folder.path().join("all.yaml").exists());
    }

    #[test]
    fn put_replaces_in_place_or_makes_a_file() {
        let folder = tempfile::tempdir().expect("make a directory");
        let directory = Directory::new(folder.path());
        fs::write(folder.path().join("all.yaml"), format!("{}---\n{}", workspace("a"), workspace("b"))).expect("write");
        let mut resources = documents(&directory);
        if let Resource::Workspace(workspace) = &mut resources[1] {
            workspace.spec.namespace = "elsewhere".into();
        }
        let chunk_text = workspace("new");
        let fresh = yaml::resource(&yaml::chunks(&chunk_text)[0]).expect("a workspace");
        directory.put(&[resources[1].clone(), fresh]).expect("put");
        assert_eq!(names(&directory), ["a", "b", "new"]);
        let text = fs::read_to_string(folder.path().join("all.yaml")).expect("read");
        assert!(text.contains("# about a") && text.contains("namespace: elsewhere"));
        assert!(folder.path().join("workspace/new.yaml").exists());
    }
}
