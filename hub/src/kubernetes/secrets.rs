//! The fleet's secrets as a Secret of the hub's own namespace, apart from the store's volume.

use std::collections::BTreeMap;
use std::io;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::Mutex;

use super::api::{ApiError, within};
use super::{FIELD_MANAGER, KEYS_SECRET, PART_OF};
use crate::keyring::{Entries, KeyStorage};

/// The Secret [`KEYS_SECRET`], written by compare-and-set alone.
pub struct KeySecret {
    api: Api<Secret>,
    namespace: String,
    /// The Secret as it was last read or written here.
    known: Mutex<Option<Secret>>,
}

impl KeySecret {
    /// Names the Secret; it need not exist yet.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, namespace: namespace.to_owned(), known: Mutex::new(None) }
    }

    async fn get(&self) -> io::Result<Option<Secret>> {
        match within(self.api.get(KEYS_SECRET)).await {
            Ok(secret) => Ok(Some(secret)),
            Err(ApiError::NotFound) => Ok(None),
            Err(error) => Err(io_error(error)),
        }
    }
}

#[async_trait]
impl KeyStorage for KeySecret {
    fn place(&self) -> String {
        format!("Secret {}/{KEYS_SECRET}", self.namespace)
    }

    fn keeps_server_certificate(&self) -> bool {
        false
    }

    async fn read(&self) -> io::Result<Entries> {
        let secret = self.get().await?;
        let entries = secret.as_ref().map(entries_of).unwrap_or_default();
        *self.known.lock().await = secret;
        Ok(entries)
    }

    async fn create(&self, entries: Entries) -> io::Result<()> {
        let mut known = self.known.lock().await;
        let data = entries.into_iter().map(|(name, content)| (name, ByteString(content)));
        // One that is there is empty of ours: somebody made it for its labels.
        let written = match known.clone() {
            Some(mut secret) => {
                secret.data.get_or_insert_default().extend(data);
                within(self.api.replace(KEYS_SECRET, &params(), &secret)).await
            }
            None => {
                let labels = BTreeMap::from([(PART_OF.0.to_owned(), PART_OF.1.to_owned())]);
                let name = Some(KEYS_SECRET.to_owned());
                let metadata = ObjectMeta { name, labels: Some(labels), ..ObjectMeta::default() };
                let secret = Secret { metadata, data: Some(data.collect()), ..Secret::default() };
                within(self.api.create(&params(), &secret)).await
            }
        };
        *known = Some(written.map_err(io_error)?);
        Ok(())
    }

    async fn replace(&self, name: &str, content: Vec<u8>) -> io::Result<()> {
        let mut known = self.known.lock().await;
        let content = ByteString(content);
        let before = known.as_ref().and_then(|secret| secret.data.as_ref()?.get(name)).cloned();
        let mut base = known.clone();
        // Once more where only something else of the Secret was written by others, such as a label.
        for is_last in [false, true] {
            let Some(mut secret) = base.take() else {
                let gone = format!("{} is gone; restore it from a backup", self.place());
                return Err(io::Error::new(io::ErrorKind::NotFound, gone));
            };
            secret.data.get_or_insert_default().insert(name.to_owned(), content.clone());
            match within(self.api.replace(KEYS_SECRET, &params(), &secret)).await {
                Ok(written) => {
                    *known = Some(written);
                    return Ok(());
                }
                Err(ApiError::Conflict(_)) if !is_last => {
                    base = self.get().await?;
                    let present = base.as_ref().and_then(|secret| secret.data.as_ref()?.get(name));
                    if base.is_some() && present != before.as_ref() {
                        return Err(io::Error::other(format!("{}: another hub wrote {name}", self.place())));
                    }
                }
                Err(error) => return Err(io_error(error)),
            }
        }
        Err(io::Error::other(format!("{}: others write it all the time", self.place())))
    }
}

fn entries_of(secret: &Secret) -> Entries {
    let data = secret.data.iter().flatten();
    data.map(|(name, content)| (name.clone(), content.0.clone())).collect()
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn io_error(error: ApiError) -> io::Error {
    let kind = match &error {
        ApiError::NotFound => io::ErrorKind::NotFound,
        ApiError::Conflict(_) => io::ErrorKind::AlreadyExists,
        ApiError::Forbidden(_) => io::ErrorKind::PermissionDenied,
        ApiError::Unreachable(_) => io::ErrorKind::NotConnected,
        ApiError::Refused(_) => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
