//! Where a fleet's documents are, and what people do to them there.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;
use starling_harness::{Hub, ManagementCluster, SYSTEM_NAMESPACE};
use starling_realparts::Kubectl;

/// What the resources are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A directory of YAML.
    Directory,
    /// Custom resources of a management cluster.
    Kubernetes,
}

/// The documents of one fleet.
pub(crate) enum Documents {
    Directory(PathBuf),
    Kubernetes(Box<CustomResources>),
}

/// Custom resources, and in which file a person would have each of them.
pub(crate) struct CustomResources {
    pub(crate) management: ManagementCluster,
    files: Mutex<BTreeMap<String, String>>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "directory",
            Self::Kubernetes => "kubernetes",
        })
    }
}

impl Documents {
    pub(crate) fn of(management: ManagementCluster) -> Self {
        Self::Kubernetes(Box::new(CustomResources { management, files: Mutex::default() }))
    }

    /// Writes a file, or applies what would be in it.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result<()> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(file);
                fs::create_dir_all(path.parent().context("a file is in a folder")?).context("make its folder")?;
                fs::write(&path, text).with_context(|| format!("write {}", path.display()))
            }
            Self::Kubernetes(resources) => {
                resources.admin().apply(text)?;
                resources.files().insert(file.to_owned(), text.to_owned());
                Ok(())
            }
        }
    }

    /// Takes a file away, or its custom resources, without anybody's having asked for their deletion.
    pub(crate) fn vanish(&self, hub: &Hub, file: &str) -> Result<()> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(file);
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
            }
            Self::Kubernetes(resources) => {
                let text = resources.files().remove(file).with_context(|| format!("{file} was never written"))?;
                unseen_by(hub, || {
                    let admin = resources.admin();
                    let release = ["patch", "-f", "-", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
                    // What somebody deleted in order is gone already.
                    let _ = admin.run_with_input(&release, &text);
                    Ok(admin.run_with_input(&["delete", "--ignore-not-found", "-f", "-"], &text).map(drop)?)
                })
            }
        }
    }

    /// Takes everything away, without anybody's having asked for its deletion.
    pub(crate) fn vanish_all(&self, hub: &Hub) -> Result<()> {
        match self {
            Self::Directory(directory) => {
                fs::remove_dir_all(directory).context("remove the hub's directory")?;
                fs::create_dir_all(directory).context("make the hub's directory")
            }
            Self::Kubernetes(resources) => unseen_by(hub, || {
                resources.files().clear();
                let list = resources.admin().get_json(&["starling", "--all-namespaces"])?;
                for object in list["items"].as_array().context("a list of custom resources")? {
                    resources.tear_out(object)?;
                }
                Ok(())
            }),
        }
    }

    /// Tells whether a document is where it was written.
    pub(crate) fn is_there(&self, file: &str) -> Result<bool> {
        match self {
            Self::Directory(directory) => Ok(directory.join(file).exists()),
            Self::Kubernetes(resources) => {
                let text = resources.files().get(file).cloned().with_context(|| format!("{file} was never written"))?;
                let found = resources.admin().run_with_input(&["get", "--ignore-not-found", "-f", "-"], &text)?;
                Ok(!found.trim().is_empty())
            }
        }
    }

    /// Removes the mark that tells how far the store was, of a hub that does not run.
    pub(crate) fn lose_mark(&self, state: &Path) -> Result<()> {
        match self {
            Self::Directory(_) => fs::remove_file(state.join("keys/mark.json")).context("remove the mark"),
            Self::Kubernetes(resources) => {
                let patch = r#"{"data":{"mark.json":null}}"#;
                let secret = ["secret", "starling-hub-keys", "-n", SYSTEM_NAMESPACE, "--type=merge"];
                Ok(resources.admin().run(&[&["patch"], &secret[..], &["-p", patch]].concat()).map(drop)?)
            }
        }
    }

    /// Returns how the hub names the place of an assignment's document.
    pub(crate) fn place(&self, assignment: &str) -> String {
        match self {
            Self::Directory(_) => format!("{assignment}.yaml"),
            Self::Kubernetes(_) => "kubectl".to_owned(),
        }
    }

    /// Returns the document of an adopted cluster, fit to be written again.
    pub(crate) fn managed_cluster(&self, workspace: &str, name: &str) -> Result<String> {
        match self {
            Self::Directory(directory) => fs::read_to_string(directory.join(cluster_file(workspace, name)))
                .context("read the document that the adoption wrote"),
            Self::Kubernetes(resources) => {
                let mut found = resources.admin().get_json(&["managedcluster", name, "-n", workspace])?;
                let metadata = serde_json::json!({
                    "name": name, "namespace": workspace, "labels": found["metadata"]["labels"].take(),
                });
                let document = serde_json::json!({
                    "apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": metadata, "spec": found["spec"],
                });
                Ok(document.to_string())
            }
        }
    }
}

impl CustomResources {
    fn admin(&self) -> &Kubectl {
        self.management.admin()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tear_out(&self, object: &Value) -> Result<()> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object_name = format!("{}.starling.dev/{}", text(&object["kind"]), text(&object["metadata"]["name"]));
        let namespace = text(&object["metadata"]["namespace"]);
        let place: &[&str] = if namespace.is_empty() { &[] } else { &["-n", &namespace] };
        let release = ["patch", &object_name, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
        self.admin().run(&[&release, place].concat())?;
        self.admin().run(&[&["delete", &object_name], place].concat())?;
        Ok(())
    }
}

/// Returns the file that an adoption writes, relative to the directory.
pub(crate) fn cluster_file(workspace: &str, name: &str) -> String {
    format!("cluster/{workspace}/{name}.yaml")
}

/// Does something while the hub, if it runs, sleeps: it finds things gone, and has seen nobody ask for it.
fn unseen_by(hub: &Hub, something: impl FnOnce() -> Result<()>) -> Result<()> {
    if hub.process().check_running().is_err() {
        return something();
    }
    hub.process().pause()?;
    let outcome = something();
    hub.process().resume()?;
    outcome
}
