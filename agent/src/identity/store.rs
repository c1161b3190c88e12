//! Where an identity is kept: a Secret in the cluster, or a file where the agent runs outside of one.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cluster::{ClusterApi, ClusterError, StoredIdentity};

/// Where to keep the identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityPlace {
    /// A Secret of this name in the agent's namespace.
    Secret(String),
    /// A file, readable by its owner alone.
    File(PathBuf),
}

/// An identity that could not be loaded or stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityStoreError {
    /// The Secret.
    #[error("secret {0}: {1}")]
    Secret(String, ClusterError),
    /// The file.
    #[error("file {path}: {error}", path = .0.display(), error = .1)]
    File(PathBuf, io::Error),
}

/// Loads and stores the identity.
pub(crate) struct IdentityStore {
    place: IdentityPlace,
    cluster: Arc<dyn ClusterApi>,
}

#[derive(Serialize, Deserialize)]
struct FileContent {
    certificate_pem: String,
    key_pem: String,
    trust_pem: String,
}

impl IdentityStore {
    /// Makes a store for the place.
    #[must_use]
    pub(crate) fn new(place: IdentityPlace, cluster: Arc<dyn ClusterApi>) -> Self {
        Self { place, cluster }
    }

    /// Reads the identity; a key without a certificate is an identity that is still to be got.
    ///
    /// # Errors
    /// A Secret or file that is there and cannot be read.
    pub(crate) async fn load(&self) -> Result<Option<StoredIdentity>, IdentityStoreError> {
        match &self.place {
            IdentityPlace::Secret(name) => {
                self.cluster.load_identity(name).await.map_err(|error| IdentityStoreError::Secret(name.clone(), error))
            }
            IdentityPlace::File(path) => {
                let path = path.clone();
                blocking(move || read_file(&path).map_err(|error| IdentityStoreError::File(path, error))).await
            }
        }
    }

    /// Writes the identity whole.
    ///
    /// # Errors
    /// A Secret or file that cannot be written.
    pub(crate) async fn store(&self, identity: &StoredIdentity) -> Result<(), IdentityStoreError> {
        match &self.place {
            IdentityPlace::Secret(name) => self
                .cluster
                .store_identity(name, identity)
                .await
                .map_err(|error| IdentityStoreError::Secret(name.clone(), error)),
            IdentityPlace::File(path) => {
                let (path, identity) = (path.clone(), identity.clone());
                blocking(move || write_file(&path, &identity).map_err(|error| IdentityStoreError::File(path, error)))
                    .await
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("reading and writing a small file does not panic")
}

fn read_file(path: &Path) -> io::Result<Option<StoredIdentity>> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let FileContent { certificate_pem, key_pem, trust_pem } = serde_json::from_slice(&content)?;
    Ok(Some(StoredIdentity { certificate_pem, key_pem, trust_pem }))
}

/// Writes beside the file and renames, so that a crash leaves the old identity or the new one.
fn write_file(path: &Path, identity: &StoredIdentity) -> io::Result<()> {
    let StoredIdentity { certificate_pem, key_pem, trust_pem } = identity.clone();
    let content = serde_json::to_vec(&FileContent { certificate_pem, key_pem, trust_pem })?;
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    io::Write::write_all(&mut file, &content)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(directory)?.sync_all()
}
