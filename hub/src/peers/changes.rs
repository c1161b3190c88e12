//! Notices of the others that an answer may have changed, as one number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use starling_model::Uid;
use starling_proto::v1;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_stream::StreamExt as _;

use super::{PeerError, Peers};

/// How long to wait before a process is followed again.
const RETRY: Duration = Duration::from_secs(1);

impl Peers {
    /// Follows every other process that lives, until dropped.
    pub async fn follow(self: Arc<Self>) {
        let mut seen = self.parts.seen.clone();
        let mut followers: BTreeMap<(String, Uid), JoinSet<()>> = BTreeMap::new();
        loop {
            let members = seen.borrow_and_update().members.clone();
            let alive = |name: &String, incarnation: &Uid| {
                members.get(name).is_some_and(|member| member.incarnation == *incarnation)
            };
            // Whoever went is followed no more: dropping its set ends its task.
            followers.retain(|(name, incarnation), _| alive(name, incarnation));
            for (name, member) in members.iter().filter(|(name, _)| **name != self.parts.identity.name) {
                followers.entry((name.clone(), member.incarnation)).or_insert_with(|| {
                    let mut follower = JoinSet::new();
                    follower.spawn(Arc::clone(&self).follow_one(name.clone()));
                    follower
                });
            }
            self.changes.send_modify(|number| *number += 1);
            if seen.changed().await.is_err() {
                return;
            }
        }
    }

    async fn follow_one(self: Arc<Self>, name: String) {
        loop {
            if let Err(error) = self.hear(&name).await {
                tracing::debug!(name, %error, "cannot follow another hub process");
                self.changes.send_modify(|number| *number += 1);
            }
            sleep(RETRY).await;
        }
    }

    async fn hear(&self, name: &str) -> Result<(), PeerError> {
        let mut client = self.client_of(name)?;
        let mut notices = client.changes(v1::ChangesRequest {}).await?.into_inner();
        // Whatever changed while nobody listened.
        self.changes.send_modify(|number| *number += 1);
        while let Some(notice) = notices.next().await {
            notice?;
            self.changes.send_modify(|number| *number += 1);
        }
        Ok(())
    }
}
