//! A storm of statuses at a pace: open loop, so that a slow hub does not slow it down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::sleep_until;

use super::Answer;
use crate::cluster::SimulatedCluster;
use crate::latency::Latency;

/// How often some are changed: often enough that they come evenly, seldom enough that agents in this process get their turn.
const TICK: Duration = Duration::from_millis(5);

/// Changes statuses of objects that are drawn, each to a revision of its own.
pub(super) async fn storm(clusters: &[Arc<SimulatedCluster>], per_second: u64, length: Duration, seed: u64) -> Answer {
    let mut random = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let (mut changed, mut late) = (0_u64, Latency::new());
    let total = (per_second as f64 * length.as_secs_f64()) as u64;
    let mut due = began;
    while changed < total {
        due += TICK;
        sleep_until(due.into()).await;
        late.record(due.elapsed());
        let wanted = ((due - began).as_secs_f64() * per_second as f64) as u64;
        while changed < wanted.min(total) {
            let cluster = &clusters[random.random_range(0..clusters.len())];
            let object = random.random_range(0..cluster.background_count().max(1));
            // One without objects of its own has no status to change, and none of them is without by a scenario's bounds.
            drop(cluster.touch_background(object, true));
            changed += 1;
        }
    }
    Answer::Stormed { changed, late }
}
