//! Where the fleet's secrets are kept: a few named texts, outside the store.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::files;

/// The secrets by name, such as `ca.crt`.
pub type Entries = BTreeMap<String, Vec<u8>>;

/// A place of secrets that survives the loss of the store: a private directory, or a Secret.
#[async_trait]
pub trait KeyStorage: Send + Sync {
    /// Names the place for people.
    fn place(&self) -> String;

    /// Tells whether the hub's own certificate is kept here, too; where not, each start issues another.
    fn keeps_server_certificate(&self) -> bool;

    /// Reads everything; nothing is there before [`KeyStorage::create`].
    ///
    /// # Errors
    /// The place cannot be read.
    async fn read(&self) -> io::Result<Entries>;

    /// Writes the first entries, all or none, where there is none yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if another hub was faster, or the place cannot be written.
    async fn create(&self, entries: Entries) -> io::Result<()>;

    /// Replaces one entry, durably, unless somebody else changed it since it was last read or written here.
    ///
    /// # Errors
    /// It could not be written; then the old one holds.
    async fn replace(&self, name: &str, content: Vec<u8>) -> io::Result<()>;
}

/// Secrets as files of mode 0600 in a directory of mode 0700, which the store's lock protects from other hubs.
#[derive(Clone, Debug)]
pub struct KeyDirectory {
    path: PathBuf,
    is_shared: bool,
}

impl KeyDirectory {
    /// Names a directory; it need not exist yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), is_shared: false }
    }

    /// Names a directory that several processes of one hub share: each keeps its own certificate to itself.
    #[must_use]
    pub fn shared(path: &Path) -> Self {
        Self { path: path.to_owned(), is_shared: true }
    }

    fn read_all(&self) -> io::Result<Entries> {
        let mut entries = Entries::new();
        let listed = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(entries),
            listed => listed?,
        };
        files::make_private_directory(&self.path)?;
        for entry in listed {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if let Some(content) = files::read(&path)? {
                entries.insert(name.to_owned(), content);
            }
        }
        Ok(entries)
    }

    /// Makes the directory beside, and renames it, so that a crash leaves all or nothing.
    fn create_all(&self, entries: &Entries) -> io::Result<()> {
        let beside = match self.is_shared {
            true => self.path.with_extension(format!("new-{}", std::process::id())),
            false => self.path.with_extension("new"),
        };
        if beside.exists() {
            fs::remove_dir_all(&beside)?;
        }
        files::make_private_directory(&beside)?;
        for (name, content) in entries {
            files::replace(&beside.join(name), content)?;
        }
        // A rename replaces an empty directory, and refuses any other.
        if let Err(error) = fs::rename(&beside, &self.path) {
            let is_late = matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists);
            if !is_late {
                return Err(error);
            }
            fs::remove_dir_all(&beside)?;
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another process of the hub was faster"));
        }
        self.path.parent().map_or(Ok(()), files::sync_directory)
    }
}

#[async_trait]
impl KeyStorage for KeyDirectory {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn keeps_server_certificate(&self) -> bool {
        !self.is_shared
    }

    async fn read(&self) -> io::Result<Entries> {
        let directory = self.clone();
        blocking(move || directory.read_all()).await
    }

    async fn create(&self, entries: Entries) -> io::Result<()> {
        let directory = self.clone();
        blocking(move || directory.create_all(&entries)).await
    }

    async fn replace(&self, name: &str, content: Vec<u8>) -> io::Result<()> {
        let path = self.path.join(name);
        blocking(move || files::replace(&path, &content)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
