//! The files that `-f` names, and which resources stand in them.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::failure::{Exit, Failure, one_line};

/// The text of one file, or of standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// The file's path as it was found; `-` is standard input.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) text: String,
}

/// What a document says of its own name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Heading {
    /// The kind.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) metadata: HeadingName,
}

/// The name in a document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct HeadingName {
    /// The name.
    pub(crate) name: String,
    /// The namespace; empty for what has none.
    #[serde(default)]
    pub(crate) namespace: String,
}

/// Reads everything that `-f` names, directories in the order of their file names.
///
/// # Errors
/// When something cannot be read, or nothing is there.
pub(crate) fn read_all(paths: &[PathBuf], recursive: bool) -> Result<Vec<Document>, Failure> {
    let mut documents = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
            documents.push(Document { path: path.clone(), text });
        } else if path.is_dir() {
            let before = documents.len();
            read_directory(path, recursive, &mut documents)?;
            if documents.len() == before {
                return Err(Failure::new(Exit::NotFound, format!("{} holds no *.yaml or *.yml", path.display()))
                    .next("`-R` looks into directories of directories too"));
            }
        } else {
            documents.push(read_file(path)?);
        }
    }
    Ok(documents)
}

/// Returns the names of the resources in a document.
///
/// # Errors
/// Says where it is not a resource.
pub(crate) fn headings(document: &Document) -> Result<Vec<Heading>, Failure> {
    serde_saphyr::from_multiple(&document.text).map_err(|error| {
        let location = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
        let message = error.to_string();
        let message = one_line(message.lines().next().unwrap_or_default());
        Failure::usage(format!("{}{location}: {message}", document.path.display()))
    })
}

fn read_directory(directory: &Path, recursive: bool, documents: &mut Vec<Document>) -> Result<(), Failure> {
    let entries: Result<Vec<_>, _> =
        fs::read_dir(directory).and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    let mut paths = entries.map_err(|error| unreadable(directory, &error))?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if recursive {
                read_directory(&path, recursive, documents)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            documents.push(read_file(&path)?);
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Document, Failure> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    Ok(Document { path: path.to_owned(), text })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
    Failure::new(exit, format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_read_in_order() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yml", "notes.txt"] {
            fs::write(scratch.path().join(name), name).unwrap();
        }
        fs::create_dir(scratch.path().join("deep")).unwrap();
        fs::write(scratch.path().join("deep/c.yaml"), "c").unwrap();
        let names = |recursive| -> Vec<String> {
            let documents = read_all(&[scratch.path().to_owned()], recursive).unwrap();
            documents.iter().map(|document| document.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(false), ["a.yml", "b.yaml"]);
        assert_eq!(names(true), ["a.yml", "b.yaml", "c.yaml"]);
        let nothing = read_all(&[scratch.path().join("none")], false).unwrap_err();
        assert_eq!(nothing.exit(), Exit::NotFound);
    }

    #[test]
    fn headings_name_the_resources() {
        let text =
            "kind: Addon\nmetadata: {name: a, namespace: p}\nspec: {x: 1}\n---\nkind: Workspace\nmetadata: {name: w}\n";
        let document = Document { path: "x.yaml".into(), text: text.into() };
        let headings = headings(&document).unwrap();
        assert_eq!(headings.len(), 2);
        assert_eq!((headings[0].kind.as_str(), headings[0].metadata.namespace.as_str()), ("Addon", "p"));
        assert_eq!(headings[1].metadata.namespace, "");
        let broken = Document { path: "x.yaml".into(), text: "kind: Addon\n".into() };
        assert!(super::headings(&broken).unwrap_err().to_string().starts_with("x.yaml:"));
    }
}
