//! Notices that an answer may have changed.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use starling_hub_core::fleet::Fleet;
use starling_proto::v1;
use tokio::sync::watch::Receiver;
use tokio::sync::watch::error::RecvError;
use tonic::Status;

use super::{Admin, Answers};
use crate::access::{REMEMBERED, Resource, Standing, Verb};

/// The shortest time between two notices of one watch.
const PACE: Duration = Duration::from_millis(200);

/// A watch under way.
struct Watching {
    admin: Admin,
    standing: Standing,
    fleet: Receiver<Arc<Fleet>>,
    changes: Receiver<u64>,
    /// What changes at other processes, where there are any.
    elsewhere: Option<Receiver<u64>>,
    notices: u64,
}

impl Admin {
    /// Sends a notice at once, then one whenever something changed; many changes are one notice. It ends when the caller's token
    /// is no longer good.
    pub(super) fn tell_changes(&self, standing: Standing) -> Answers<v1::WatchResponse> {
        let (fleet, (changes, elsewhere)) = (self.parts.fleet.clone(), self.parts.gather.changes());
        let watching = Watching { admin: self.clone(), standing, fleet, changes, elsewhere, notices: 0 };
        Box::pin(stream::unfold(Some(watching), |watching| async move {
            let mut watching = watching?;
            match watching.next().await? {
                Ok(notice) => Some((Ok(notice), Some(watching))),
                Err(refused) => Some((Err(refused), None)),
            }
        }))
    }
}

impl Watching {
    /// Waits for the next notice; `None` when the hub stops.
    async fn next(&mut self) -> Option<Result<v1::WatchResponse, Status>> {
        if self.notices > 0 {
            tokio::time::sleep(PACE).await;
            while !self.wait().await? {
                if let Err(refused) = self.standing.recheck().await {
                    return Some(Err(refused));
                }
            }
        }
        let position = self.fleet.borrow_and_update().position().0;
        self.changes.borrow_and_update();
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.borrow_and_update();
        }
        Some(self.notice(position).await)
    }

    /// Waits for a change, or until it is time to look at the token again; tells whether there was a change.
    async fn wait(&mut self) -> Option<bool> {
        tokio::select! {
            biased;
            changed = self.fleet.changed() => changed.ok().map(|()| true),
            changed = self.changes.changed() => changed.ok().map(|()| true),
            changed = changed(&mut self.elsewhere) => changed.ok().map(|()| true),
            () = tokio::time::sleep(REMEMBERED) => Some(false),
        }
    }

    async fn notice(&mut self, position: u64) -> Result<v1::WatchResponse, Status> {
        let caller = self.standing.recheck().await?;
        self.notices += 1;
        // A position counts what is decided in the whole fleet; who does not see it all gets the number of the notice.
        let sees_all = self.admin.may(&caller, Verb::List, Resource::Clusters, "", "").await?;
        Ok(v1::WatchResponse { position: if sees_all { position } else { self.notices } })
    }
}

/// Waits for a change elsewhere, for ever where there is nothing else.
async fn changed(elsewhere: &mut Option<Receiver<u64>>) -> Result<(), RecvError> {
    match elsewhere {
        Some(elsewhere) => elsewhere.changed().await,
        None => std::future::pending().await,
    }
}
