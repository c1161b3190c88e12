//! Leases: one of etcd's for each.

use std::time::Duration;

use etcd_client::{Client, Error};

use super::Inner;
use super::endpoints::Failure;
use super::failure::Refusal;
use crate::store::{LeaseId, StoreError};

impl Inner {
    /// Makes a lease, in whole seconds; one that an answer was not heard of ends by itself.
    pub(super) async fn grant(&self, time_to_live: Duration) -> Result<LeaseId, StoreError> {
        let seconds = time_to_live.as_secs() + u64::from(time_to_live.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds.max(1)).unwrap_or(i64::MAX);
        Ok(LeaseId(self.grant_seconds(seconds).await?.cast_unsigned()))
    }

    pub(super) async fn grant_seconds(&self, seconds: i64) -> Result<i64, StoreError> {
        let ask = |client: Client| async move { client.lease_client().grant(seconds, None).await };
        Ok(self.endpoints.call("make a lease in", ask).await?.value.id())
    }

    /// Renews a lease once.
    pub(super) async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        let ask = |client: Client| async move {
            match client.lease_client().keep_alive(lease.signed()).await {
                Ok(_) => Ok(true),
                Err(Error::LeaseKeepAliveError(_)) => Ok(false),
                Err(error) => Err(error),
            }
        };
        match self.endpoints.call("renew a lease in", ask).await {
            Ok(answer) if answer.value => Ok(()),
            Ok(_) | Err(Failure { refusal: Refusal::LeaseNotFound, .. }) => Err(StoreError::LeaseEnded(lease)),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn is_alive(&self, lease: LeaseId) -> Result<bool, StoreError> {
        let ask = |client: Client| async move { client.lease_client().time_to_live(lease.signed(), None).await };
        Ok(self.endpoints.call("read", ask).await?.value.ttl() > 0)
    }

    /// Ends a lease; one that has ended already is as well.
    pub(super) async fn revoke_lease(&self, lease: i64) -> Result<(), StoreError> {
        let ask = |client: Client| async move { client.lease_client().revoke(lease).await };
        match self.endpoints.call("end a lease in", ask).await {
            Ok(_) | Err(Failure { refusal: Refusal::LeaseNotFound, .. }) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }
}
