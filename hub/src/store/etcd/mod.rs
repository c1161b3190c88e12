//! The store in etcd, which many processes share.
//!
//! Owns how the trait's words become etcd's: the prefix before each key, endpoints that fail ([`endpoints`]), transactions that happen
//! once ([`transact`]) and may be larger than etcd's ([`redo`]), reading at one revision ([`read`]), watching ([`watch`]) and leases. Does not own etcd: its
//! members, backups, compaction and users are the administrator's.
//!
//! Revisions are etcd's, which counts what others write in it as well. A key that a large transaction wrote shows first that
//! transaction's revision and later that of the step that carried it out, so a [`ModifiedAt`](super::Compare::ModifiedAt) of it can
//! conflict for no other reason: read again. Keys that the transaction compared keep one revision.

mod chunk;
mod endpoints;
mod failure;
mod lease;
mod names;
mod options;
mod read;
mod redo;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod transact;
mod watch;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

pub use self::options::{EtcdLogin, EtcdOptions, EtcdTls};

use self::endpoints::Endpoints;
use self::names::Names;
use self::transact::Writer;
use self::watch::EtcdWatch;
use super::{KeyValue, LeaseId, Outcome, Range, Revision, Store, StoreError, Transaction, Watch};
use crate::ports::{Clock, Dialer, Entropy};

/// A store in etcd.
#[derive(Clone)]
pub struct EtcdStore {
    inner: Arc<Inner>,
}

struct Inner {
    endpoints: Endpoints,
    names: Names,
    entropy: Arc<dyn Entropy>,
    writer: Mutex<Writer>,
}

impl EtcdStore {
    /// Opens a store, once etcd answers.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for what somebody has to change, [`StoreError::Unavailable`] if no endpoint answers in time: the caller
    /// may try again.
    pub async fn connect(
        options: EtcdOptions,
        dialer: Arc<dyn Dialer>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        options.check()?;
        let EtcdOptions { endpoints, prefix, tls, login, process } = options;
        if let Some(login) = &login {
            login.read().map_err(|error| StoreError::Refused(format!("read the password of etcd: {error}")))?;
        }
        let tls = tls.map(|tls| tls.config(&clock)).transpose()?;
        let endpoints = Endpoints::new(&endpoints, &dialer, tls.as_ref(), login)?;
        let names = Names::new(&prefix, &process);
        let inner = Arc::new(Inner { endpoints, names, entropy, writer: Mutex::default() });
        inner.any(b"").await.map_err(first_answer)?;
        if let Err(error) = inner.sweep().await {
            tracing::warn!(%error, "cannot look for parts of transactions that were never committed");
        }
        Ok(Self { inner })
    }
}

/// Says what to look at when etcd has never answered.
fn first_answer(error: StoreError) -> StoreError {
    let StoreError::Unavailable { doing, problem } = error else { return error };
    let problem = format!(
        "{problem}; check --etcd-endpoints, that etcd runs, and --etcd-ca-file if its certificate is not taken"
    );
    StoreError::Unavailable { doing, problem }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("names", &self.inner.names).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, StoreError> {
        self.inner.get(key).await
    }

    async fn range(&self, prefix: &[u8]) -> Result<Range, StoreError> {
        self.inner.range(prefix).await
    }

    async fn any(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.any(prefix).await
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, StoreError> {
        transaction.check()?;
        let inner = Arc::clone(&self.inner);
        // Of its own, because a transaction does not stop in the middle when its caller stops waiting.
        let done = tokio::spawn(async move { inner.transact(&transaction).await }).await;
        done.map_err(|error| StoreError::Unavailable { doing: "write to", problem: error.to_string() })?
    }

    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        let mut watch = EtcdWatch::new(Arc::clone(&self.inner), prefix, after);
        watch.open().await?;
        Ok(Box::new(watch))
    }

    async fn grant(&self, time_to_live: Duration) -> Result<LeaseId, StoreError> {
        self.inner.grant(time_to_live).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.inner.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.inner.revoke_lease(lease.signed()).await
    }
}
