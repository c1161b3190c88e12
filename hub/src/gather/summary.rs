//! The last known truth about clusters, in the store: what is shown of them until their agents are back, or while the process that
//! has them does not answer.
//!
//! Owns what a summary says, when it is written (every few minutes and when a process leaves, in a few large records; never for a
//! heartbeat) and finding the newest. Does not own what is true now: a process's own clusters always come first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use starling_hub_core::index::HealthCounts;
use starling_hub_core::session::standing::ClusterStanding;
use starling_model::{ClusterId, Millis};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Gather;
use crate::shard::ClusterView;
use crate::store::{Compare, Outcome, Store, StoreError, Transaction, Write, keys};

/// How often summaries are written, if they changed.
const EVERY: Duration = Duration::from_secs(300);

/// Clusters of one record: 250 bytes each, far below the limit of a value.
const CLUSTERS: usize = 1_000;

/// What was last known of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The cluster.
    pub id: ClusterId,
    /// When its agent was last heard, wall time.
    pub seen: Millis,
    /// The agent's version.
    #[serde(default)]
    pub agent: String,
    /// Its Kubernetes version.
    #[serde(default)]
    pub kubernetes: String,
    /// Its objects by health.
    pub health: HealthCounts,
    /// How far its installs were.
    pub standing: ClusterStanding,
}

/// The summaries that are stored, by record: of which process, and which of its records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summaries(pub BTreeMap<(String, u32), Arc<Vec<Summary>>>);

/// Writes the summaries of this process.
pub struct SummaryWriter {
    gather: Gather,
    store: Arc<dyn Store>,
    /// What each record said when it was written last.
    written: Vec<[u8; 32]>,
}

impl Summaries {
    /// Tells whether two are of the very same records.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let records = |summaries: &Self| -> Vec<((String, u32), *const Vec<Summary>)> {
            summaries.0.iter().map(|(place, record)| (place.clone(), Arc::as_ptr(record))).collect()
        };
        records(self) == records(other)
    }

    /// Returns the newest summary of each of these clusters that there is one of.
    #[must_use]
    pub fn find(&self, ids: &BTreeSet<ClusterId>) -> BTreeMap<ClusterId, Summary> {
        let mut found: BTreeMap<ClusterId, Summary> = BTreeMap::new();
        for summary in self.0.values().flat_map(|record| record.iter()).filter(|summary| ids.contains(&summary.id)) {
            match found.get(&summary.id) {
                Some(present) if present.seen >= summary.seen => {}
                Some(_) | None => drop(found.insert(summary.id, summary.clone())),
            }
        }
        found
    }
}

impl Summary {
    fn of(view: &ClusterView) -> Self {
        Self {
            id: view.id,
            seen: view.last_seen,
            agent: view.agent_version.clone(),
            kubernetes: view.facts.kubernetes_version.clone(),
            health: view.health,
            standing: view.standing,
        }
    }

    /// Returns what is shown of the cluster: as it was, and no longer live.
    pub(super) fn into_view(self) -> ClusterView {
        let facts = starling_model::Facts { kubernetes_version: self.kubernetes, ..starling_model::Facts::default() };
        ClusterView {
            id: self.id,
            connected: false,
            last_seen: self.seen,
            agent_version: self.agent,
            facts: Arc::new(facts),
            quarantine: None,
            problem: None,
            standing: ClusterStanding { live: false, ready: false, ..self.standing },
            health: self.health,
            untracked: 0,
            dropped: 0,
            refused: 0,
            inherited: true,
        }
    }
}

impl SummaryWriter {
    /// Makes the writer of this process's summaries.
    #[must_use]
    pub fn new(gather: Gather, store: Arc<dyn Store>) -> Self {
        Self { gather, store, written: Vec::new() }
    }

    /// Writes every few minutes, and at once when the process leaves; until dropped.
    pub async fn run(mut self, mut draining: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                changed = draining.changed() => if changed.is_err() { return },
                () = sleep(EVERY) => {}
            }
            if let Err(error) = self.write().await {
                tracing::warn!(%error, "cannot write the summaries of clusters, trying again in some minutes");
            }
        }
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        let name = self.gather.own_name().to_owned();
        let mut summaries: BTreeMap<ClusterId, Summary> =
            self.gather.own_views().iter().map(|view| (view.id, Summary::of(view))).collect();
        let (inherited, records) = self.gather.inherited(&summaries.keys().copied().collect());
        // Of clusters that are not back, what was last known stays.
        summaries.extend(inherited);
        self.written.resize(self.written.len().max(records), [0; 32]);
        let summaries: Vec<Summary> = summaries.into_values().collect();
        let records: Vec<&[Summary]> = summaries.chunks(CLUSTERS).collect();
        for (number, record) in records.iter().enumerate() {
            let value = serde_json::to_vec(record).expect("a summary is JSON");
            let digest: [u8; 32] = Sha256::digest(&value).into();
            if self.written.get(number) == Some(&digest) {
                continue;
            }
            let number_written = u32::try_from(number).unwrap_or(u32::MAX);
            self.put(&name, Write::put(keys::summary(&name, number_written), value)).await?;
            self.written.resize(self.written.len().max(number + 1), [0; 32]);
            self.written[number] = digest;
        }
        // What is left of a time with more clusters.
        for number in records.len()..self.written.len() {
            let key = keys::summary(&name, u32::try_from(number).unwrap_or(u32::MAX));
            self.put(&name, Write::delete(key)).await?;
        }
        self.written.truncate(records.len());
        Ok(())
    }

    /// Writes as long as the process has its seat: one that lost it may have been succeeded.
    async fn put(&self, name: &str, write: Write) -> Result<(), StoreError> {
        let transaction =
            Transaction { compares: vec![Compare::Exists(keys::member(name).into())], writes: vec![write] };
        match self.store.transact(transaction).await? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict => {
                let problem = "this process has no seat at present".to_owned();
                Err(StoreError::Unavailable { doing: "write a summary to", problem })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(id: u8, seen: u64) -> Summary {
        Summary {
            id: ClusterId([id; 16]),
            seen: Millis(seen),
            agent: String::new(),
            kubernetes: "1.35.4".into(),
            health: HealthCounts::default(),
            standing: ClusterStanding::default(),
        }
    }

    #[test]
    fn the_newest_of_several_is_found() {
        let record = |name: &str, summaries| ((name.to_owned(), 0), Arc::new(summaries));
        let summaries = Summaries(
            [record("hub-1", vec![summary(1, 5), summary(2, 9)]), record("hub-2", vec![summary(1, 7)])].into(),
        );
        let found = summaries.find(&[ClusterId([1; 16]), ClusterId([3; 16])].into());
        assert_eq!(found.len(), 1);
        assert_eq!(found[&ClusterId([1; 16])].seen, Millis(7));
        assert!(found[&ClusterId([1; 16])].clone().into_view().inherited);
    }
}
