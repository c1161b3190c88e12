//! Statuses that change by themselves all the time, as in clusters in which people work.

use std::sync::Arc;

use rand::RngExt as _;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::agenda::{Agenda, gap};
use crate::cluster::SimulatedCluster;
use crate::fleet::SimulatedFleet;

/// One change in so many is a failure, until the object changes again.
const FAILURE_IN: u32 = 10;

/// Lets statuses change from now on, each cluster's at its own pace; `None` where none are to.
pub(super) fn begin(fleet: &SimulatedFleet, seed: u64) -> Option<AbortOnDropHandle<()>> {
    let churning: Vec<_> =
        fleet.churning().filter(|(_, per_minute)| *per_minute > 0).map(|(it, rate)| (Arc::clone(it), rate)).collect();
    (!churning.is_empty()).then(|| AbortOnDropHandle::new(tokio::spawn(churn(churning, seed))))
}

async fn churn(clusters: Vec<(Arc<SimulatedCluster>, u64)>, seed: u64) {
    let draw = |random: &mut StdRng, index: usize| gap(random, clusters[index].1);
    let mut agenda = Agenda::new(clusters.len(), StdRng::seed_from_u64(seed), draw);
    let began = Instant::now();
    while let Some((at, index, random)) = agenda.next(draw) {
        sleep_until(began + at).await;
        let cluster = &clusters[index].0;
        let object = random.random_range(0..cluster.background_count().max(1));
        let is_ready = random.random_range(0..FAILURE_IN) > 0;
        drop(cluster.touch_background(object, is_ready));
    }
}
