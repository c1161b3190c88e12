//! A storm of statuses: objects of every cluster fail and succeed in turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::SimulatedCluster;

/// The objects of each cluster that change.
const OBJECTS: u32 = 10;

/// How long an object stays as it is.
const BETWEEN: Duration = Duration::from_secs(1);

/// Changes objects of every cluster until dropped; none of them fails in the end if it ends after whole turns.
pub async fn storm(clusters: &[Arc<SimulatedCluster>]) {
    let mut ticks = interval(BETWEEN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0_u64.. {
        ticks.tick().await;
        for cluster in clusters {
            (0..OBJECTS).for_each(|object| drop(cluster.touch_background(object, turn % 2 == 1)));
            // Agents live in the same process, and are let in between.
            tokio::task::yield_now().await;
        }
    }
}

/// Ends a storm: every object that it changed is ready.
pub fn calm(clusters: &[Arc<SimulatedCluster>]) {
    for cluster in clusters {
        (0..OBJECTS).for_each(|object| drop(cluster.touch_background(object, true)));
    }
}
