//! Forgetting clusters that moved away: once their new owners have their whole picture, and not before.

use std::collections::BTreeSet;
use std::time::Duration;

use starling_model::{ClusterId, Guard};
use tokio::time::sleep;

use super::{Answer, Gather, Question};
use crate::shard::Division;

/// How often the new owners are asked.
const LOOK: Duration = Duration::from_secs(2);

/// Clusters that are asked about at once.
const AT_ONCE: usize = 2_000;

impl Gather {
    /// Forgets clusters of other processes as these have their whole picture, until dropped.
    pub async fn run_release(self) {
        loop {
            sleep(LOOK).await;
            let strangers: Vec<ClusterId> = self.shard.strangers().into_iter().collect();
            for asked in strangers.chunks(AT_ONCE) {
                self.release(asked.iter().copied().collect()).await;
            }
        }
    }

    async fn release(&self, asked: BTreeSet<ClusterId>) {
        if Guard::Release.is_broken() {
            return self.shard.release(&asked);
        }
        let parts = self.round(&Question::Complete(asked), |_| Division::default()).await;
        let fleet = self.fleet.borrow().clone();
        let complete = parts.answers.into_iter().flat_map(|(name, part)| match part.answer {
            Answer::Complete(ids) => {
                let at_home = |id: &ClusterId| fleet.owner(id).is_some_and(|owner| owner.name == name);
                ids.into_iter().filter(at_home).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        });
        self.shard.release(&complete.collect());
    }
}
