//! Notices that an answer may have changed.

use std::time::Duration;

use futures::stream;
use starling_proto::v1;

use super::{Admin, Answers};

/// The shortest time between two notices of one watch.
const PACE: Duration = Duration::from_millis(200);

impl Admin {
    /// Sends a notice at once, then one whenever something changed; many changes are one notice.
    pub(super) fn tell_changes(&self) -> Answers<v1::WatchResponse> {
        let fleet = self.parts.fleet.clone();
        let changes = self.parts.shard.changes();
        let follow = stream::unfold((fleet, changes, true), |(mut fleet, mut changes, first)| async move {
            if !first {
                tokio::time::sleep(PACE).await;
                tokio::select! {
                    biased;
                    changed = fleet.changed() => changed.ok()?,
                    changed = changes.changed() => changed.ok()?,
                }
            }
            let position = fleet.borrow_and_update().position().0;
            changes.borrow_and_update();
            Some((Ok(v1::WatchResponse { position }), (fleet, changes, false)))
        });
        Box::pin(follow)
    }
}
