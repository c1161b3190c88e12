//! From a status to an answer: an object of a simulated cluster gets another revision, and the hub is asked for that object
//! until the revision is there. Other clusters change meanwhile: one in a hundred each second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Bench;
use super::figures::Times;
use super::report::StatusTimes;
use crate::cluster::SimulatedCluster;
use crate::fleet::name;

/// Clusters of which one changes each second.
const CLUSTERS_FOR_A_CHANGE_A_SECOND: u32 = 100;

/// How long one status may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// The wait before each sample; odd, so that samples do not always meet the same phase of a timer.
const PAUSE: Duration = Duration::from_millis(37);

impl Bench<'_> {
    /// Times statuses under a light load.
    pub(super) async fn statuses(&self) -> Result<StatusTimes> {
        // The last object of each cluster is the load's, the others are timed.
        let objects = super::background_objects(self.options) - 1;
        let mut load = JoinSet::new();
        load.spawn(change_others(self.fleet.clusters.clone(), objects));
        let (mut visible, mut queries) = (Vec::new(), Vec::new());
        for number in 0..self.options.samples {
            sleep(PAUSE).await;
            // Strides that share no factor with usual fleet sizes reach every part of the fleet.
            let index = (u64::from(number) * 7919 % self.fleet.clusters.len() as u64) as usize;
            visible.push(self.status(index, number % objects, &mut queries).await?);
        }
        let none = "no status was measured";
        Ok(StatusTimes { visible: Times::of(&visible).context(none)?, query: Times::of(&queries).context(none)? })
    }

    async fn status(&self, index: usize, object: u32, queries: &mut Vec<Duration>) -> Result<Duration> {
        let began = Instant::now();
        let touched = self.fleet.clusters[index].touch_background(object, true);
        let (key, wanted) = touched.context("a cluster has no such object")?;
        let cluster = name(u32::try_from(index).context("count clusters")?);
        loop {
            let asked = Instant::now();
            let revision = self.hub.revision_of(&cluster, &key).await?;
            let answered = Instant::now();
            queries.push(answered - asked);
            if revision == wanted {
                return Ok(answered - began);
            }
            if began.elapsed() > PATIENCE {
                bail!("a status of {cluster} was not visible within {} s", PATIENCE.as_secs());
            }
        }
    }
}

/// Changes one object of one cluster after another, for ever.
async fn change_others(clusters: Vec<Arc<SimulatedCluster>>, object: u32) {
    let fleet = u32::try_from(clusters.len()).unwrap_or(u32::MAX);
    let mut ticks = interval(Duration::from_secs(1) * CLUSTERS_FOR_A_CHANGE_A_SECOND / fleet.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u32.. {
        ticks.tick().await;
        let cluster = &clusters[(number.wrapping_mul(104_729) % fleet.max(1)) as usize];
        cluster.touch_background(object, number % 2 == 0);
    }
}
