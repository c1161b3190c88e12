//! What each process answers for the whole fleet, asked again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use starling_hub::gather::Gather;
use starling_hub::shard::ClusterView;
use starling_hub_core::index::Filter;
use starling_model::{ClusterId, ObjectKey, ObjectStatus};
use tokio::time::sleep;

use super::world::HubMachine;

/// How often each process is asked.
const ASK: Duration = Duration::from_millis(700);

/// What a process answered for the whole fleet.
pub(crate) struct Answer {
    /// When it was asked.
    pub(crate) asked: Duration,
    /// The clusters.
    pub(crate) views: BTreeMap<ClusterId, ClusterView>,
    /// The objects of each cluster.
    pub(crate) objects: BTreeMap<ClusterId, BTreeMap<ObjectKey, ObjectStatus>>,
    /// An object that was told of twice.
    pub(crate) twice: Option<String>,
    /// Processes that did not answer in time.
    pub(crate) unanswered: BTreeSet<String>,
}

/// Asks a process as long as it runs.
pub(crate) async fn ask(machine: &HubMachine, gather: &Gather) {
    loop {
        sleep(ASK).await;
        let asked = turmoil::sim_elapsed().unwrap_or_default();
        let views = gather.views(None).await;
        let found = gather.objects(&Filter::default(), None, usize::MAX).await;
        let mut answer = Answer {
            asked,
            views: views.value,
            objects: BTreeMap::new(),
            twice: None,
            unanswered: views.unanswered.union(&found.unanswered).cloned().collect(),
        };
        for row in found.value.page.objects {
            let key = row.status.key.clone();
            if answer.objects.entry(row.cluster).or_default().insert(key.clone(), row.status).is_some() {
                answer.twice.get_or_insert(format!("{key} of {}", row.cluster));
            }
        }
        machine.set_answer(answer);
    }
}
