//! The inventory in memory together with the version at which it is stored.
//!
//! Owns compare-and-set: a change is made on a copy, stored, and only then used. When storing fails nothing is assumed
//! about what is stored; whoever holds this loads anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_agent_core::inventory::Inventory;
use starling_agent_core::records::{RecordError, is_whole};

use crate::cluster::{ClusterApi, ClusterError, InventoryChange};

/// The inventory as it is stored in the cluster.
pub(super) struct Stored {
    cluster: Arc<dyn ClusterApi>,
    inventory: Arc<Inventory>,
    version: Option<String>,
    bodies: BTreeSet<String>,
}

/// An inventory that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Stored {
    /// Reads what is stored; an agent that never stored anything starts empty.
    pub(super) async fn load(cluster: Arc<dyn ClusterApi>) -> Result<Self, LoadError> {
        let Some(stored) = cluster.load_inventory().await? else {
            return Ok(Self { cluster, inventory: Arc::default(), version: None, bodies: BTreeSet::new() });
        };
        let loaded = Inventory::from_records(&stored.head, &stored.bodies)?;
        for install in &loaded.damaged {
            tracing::warn!(%install, "the stored render is lost; the install is held on until the hub sends it again");
        }
        // What was tampered with counts as not stored, and is written anew when it is needed.
        let whole = stored.bodies.into_iter().filter(|(name, page)| is_whole(name, page));
        let bodies = whole.map(|(name, _)| name).collect();
        Ok(Self { cluster, inventory: Arc::new(loaded.inventory), version: Some(stored.version), bodies })
    }

    /// Returns what is held.
    pub(super) fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// Changes the inventory in memory alone: for what is stored with the next commit.
    pub(super) fn note(&mut self, change: impl FnOnce(&mut Inventory)) {
        change(Arc::make_mut(&mut self.inventory));
    }

    /// Stores another inventory in place of this one.
    pub(super) async fn swap(&mut self, next: Inventory) -> Result<(), ClusterError> {
        let records = next.to_records();
        let wanted: BTreeSet<String> = records.bodies.keys().cloned().collect();
        let missing: BTreeMap<String, String> =
            records.bodies.into_iter().filter(|(name, _)| !self.bodies.contains(name)).collect();
        let change = InventoryChange { head: records.head, bodies: missing };
        let version = self.cluster.swap_inventory(self.version.as_deref(), &change).await?;
        self.version = Some(version);
        self.inventory = Arc::new(next);
        let has_surplus = !self.bodies.is_subset(&wanted);
        self.bodies.extend(wanted.iter().cloned());
        if has_surplus {
            match self.cluster.collect_inventory(&wanted).await {
                Ok(()) => self.bodies = wanted,
                // Bodies that stay are found again after the next commit.
                Err(error) => tracing::debug!(%error, "cannot remove bodies that no longer belong to the inventory"),
            }
        }
        Ok(())
    }
}
