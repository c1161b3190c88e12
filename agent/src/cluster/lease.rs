//! The port to the Lease by which the agents of one cluster agree who of them is active.

use async_trait::async_trait;
use starling_agent_core::standby::{Lease, LeaseWrite};

use super::ClusterError;

/// One Lease on the cluster's API server.
#[async_trait]
pub trait LeaseApi: Send + Sync + 'static {
    /// Reads the Lease; `None` when there is none.
    async fn read(&self) -> Result<Option<Lease>, ClusterError>;

    /// Stores the Lease if it is still the expected one ([`ClusterError::Conflict`] otherwise) and returns what is stored.
    async fn write(&self, write: &LeaseWrite) -> Result<Lease, ClusterError>;
}
