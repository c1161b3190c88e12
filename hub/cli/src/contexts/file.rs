//! The file of contexts, in the format that a hub writes as `<state>/admin.yaml`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure, one_line};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ContextFile {
    /// The context that is used when none is named; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) current_context: String,
    /// The contexts, in the order of the file.
    #[serde(default)]
    pub(crate) contexts: Vec<Context>,
}

/// One hub as one person sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Context {
    /// The context's name.
    pub(crate) name: String,
    /// The hub's address, `host:port`; empty where the hub's own cluster tells it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) server: String,
    /// The authorities to trust, in PEM.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) ca_pem: String,
    /// A file with the authorities, instead of `ca-pem`; relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// A file with the administrator's token; relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// The kubeconfig that leads to the hub's own cluster, instead of kubectl's; relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig, instead of its current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kube_context: Option<String>,
    /// The namespace of the hub in its own cluster, instead of `starling-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hub_namespace: Option<String>,
    /// The ServiceAccount in whose name the hub is called, `namespace/name`, instead of the kubeconfig's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service_account: Option<String>,
}

impl Context {
    /// Tells whether a kubeconfig leads to the hub.
    pub(crate) fn names_kubernetes(&self) -> bool {
        self.kubeconfig.is_some()
            || self.kube_context.is_some()
            || self.hub_namespace.is_some()
            || self.service_account.is_some()
    }
}

impl ContextFile {
    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is not a file of contexts; says where.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, Failure> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::new(Exit::Failed, format!("cannot read {}: {error}", path.display()))),
        };
        if text.trim().is_empty() {
            return Ok(Some(Self::default()));
        }
        let file: Self = serde_saphyr::from_str(&text).map_err(|error| {
            let location = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
            Failure::new(
                Exit::Usage,
                format!("{}{location} is not a file of contexts: {}", path.display(), first_words(&error.to_string())),
            )
            .next("mend it, or move it away and make contexts anew with `starling config import <state>/admin.yaml`")
        })?;
        Ok(Some(file.with_absolute_paths(path)))
    }

    /// Writes the file so that only its owner can read it, and never half of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        let cannot = |error: &dyn std::error::Error| {
            Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
        };
        let text = serde_saphyr::to_string(self).map_err(|error| cannot(&error))?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(|error| cannot(&error))?;
        let mut scratch = tempfile::NamedTempFile::new_in(directory).map_err(|error| cannot(&error))?;
        scratch.write_all(text.as_bytes()).map_err(|error| cannot(&error))?;
        scratch.persist(path).map_err(|error| cannot(&error.error))?;
        Ok(())
    }

    /// Finds a context.
    pub(crate) fn find(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().find(|context| context.name == name)
    }

    /// Finds a context that was asked for by name.
    ///
    /// # Errors
    /// When there is none, naming those that there are.
    pub(crate) fn get(&self, name: &str) -> Result<&Context, Failure> {
        self.find(name).ok_or_else(|| {
            let names: Vec<&str> = self.contexts.iter().map(|context| context.name.as_str()).collect();
            let next = match names.as_slice() {
                [] => "add one with `starling config import <state>/admin.yaml`".to_owned(),
                names => format!("there are: {}", names.join(", ")),
            };
            Failure::new(Exit::NotFound, format!("there is no context {name:?}")).next(next)
        })
    }

    /// Adds a context, or puts it in the place of the one with its name.
    pub(crate) fn put(&mut self, context: Context) {
        match self.contexts.iter_mut().find(|old| old.name == context.name) {
            Some(old) => *old = context,
            None => self.contexts.push(context),
        }
    }

    /// Makes relative paths start at the file's own directory, so that they mean the same from anywhere.
    fn with_absolute_paths(mut self, path: &Path) -> Self {
        let directory = path.parent().unwrap_or(Path::new(""));
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        for context in &mut self.contexts {
            let files = [&mut context.ca_file, &mut context.token_file, &mut context.kubeconfig];
            for file in files.into_iter().flatten() {
                *file = directory.join(&file);
            }
        }
        self
    }
}

/// Keeps the first line of a parser's message; the snippet that follows it belongs on no single line.
fn first_words(message: &str) -> String {
    one_line(message.lines().next().unwrap_or(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_as_it_was_written() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("deep/config.yaml");
        assert_eq!(ContextFile::load(&path).unwrap(), None);
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let mut file = ContextFile { current_context: "demo".into(), ..ContextFile::default() };
        file.put(Context {
            name: "demo".into(),
            server: "127.0.0.1:8443".into(),
            ca_pem: pem.into(),
            ..Context::default()
        });
        file.save(&path).unwrap();
        assert_eq!(ContextFile::load(&path).unwrap(), Some(file));
    }

    #[test]
    fn token_files_are_relative_to_the_file() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("admin.yaml");
        fs::write(&path, "current-context: a\ncontexts:\n- name: a\n  server: h:1\n  token-file: keys/admin.token\n")
            .unwrap();
        let file = ContextFile::load(&path).unwrap().unwrap();
        assert_eq!(file.get("a").unwrap().token_file, Some(scratch.path().join("keys/admin.token")));
        assert_eq!(file.get("b").unwrap_err().exit(), Exit::NotFound);
    }

    #[test]
    fn an_unknown_field_is_shown_with_its_place() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("config.yaml");
        fs::write(&path, "contexts:\n- name: a\n  sever: h:1\n").unwrap();
        let failure = ContextFile::load(&path).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.to_string().contains("config.yaml:3:"), "{failure}");
        assert!(failure.to_string().contains("sever"), "{failure}");
    }
}
