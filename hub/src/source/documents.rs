//! The documents that people write, as the hub itself edits them.

use std::fmt;

use async_trait::async_trait;
use starling_hub_core::resources::{InputKey, Resource};

use super::{Directory, EditError};

/// A place of documents that the hub may edit: a directory of YAML, or the objects of a Kubernetes API.
#[async_trait]
pub trait Documents: fmt::Debug + Send + Sync {
    /// Writes documents: each takes the place of its own older one, or is made.
    ///
    /// # Errors
    /// The first edit that could not be made; those before it are made.
    async fn put(&self, resources: &[Resource]) -> Result<(), EditError>;

    /// Writes a document that whoever decides has just made, and that no source has; repeating it changes nothing.
    ///
    /// # Errors
    /// The edit could not be made.
    async fn create(&self, resource: &Resource) -> Result<(), EditError> {
        self.put(std::slice::from_ref(resource)).await
    }

    /// Removes a document; one that is not there is no error.
    ///
    /// # Errors
    /// The edit could not be made.
    async fn remove(&self, key: &InputKey) -> Result<(), EditError>;
}

#[async_trait]
impl Documents for Directory {
    async fn put(&self, resources: &[Resource]) -> Result<(), EditError> {
        let (directory, resources) = (self.clone(), resources.to_vec());
        blocking(move || directory.put_blocking(&resources)).await
    }

    async fn create(&self, resource: &Resource) -> Result<(), EditError> {
        let (directory, resource) = (self.clone(), resource.clone());
        blocking(move || directory.create_blocking(&resource)).await
    }

    async fn remove(&self, key: &InputKey) -> Result<(), EditError> {
        let (directory, key) = (self.clone(), key.clone());
        blocking(move || directory.remove_blocking(&key)).await
    }
}

async fn blocking(work: impl FnOnce() -> Result<(), EditError> + Send + 'static) -> Result<(), EditError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(EditError::BrokeOff))
}
