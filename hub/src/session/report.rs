//! What sessions learn and only the writer of the store can settle.

use std::sync::Arc;

use async_trait::async_trait;
use starling_hub_core::steward::{Refusal, Request};

use crate::steward::StewardHandle;

/// Takes what sessions learn.
#[async_trait]
pub trait Reports: Send + Sync + 'static {
    /// Hands a request over and waits until it is settled; `actor` is for the audit record.
    ///
    /// # Errors
    /// Why it was not granted.
    async fn report(&self, actor: &str, request: Request) -> Result<(), Refusal>;
}

#[async_trait]
impl Reports for StewardHandle {
    async fn report(&self, actor: &str, request: Request) -> Result<(), Refusal> {
        self.submit(actor, request).await.map(drop)
    }
}

#[async_trait]
impl<T: Reports + ?Sized> Reports for Arc<T> {
    async fn report(&self, actor: &str, request: Request) -> Result<(), Refusal> {
        self.as_ref().report(actor, request).await
    }
}
