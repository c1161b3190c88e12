//! From a change to the agents' receipts: an assignment's value is changed through the admin API, and timed until the
//! simulated cluster stores the new render in its inventory, which is the first part of acting on it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

use super::Bench;
use super::figures::{Rounds, Times};

use super::report::{ChangeToEverybody, ChangeToOne};
use crate::cluster::SimulatedCluster;
use crate::fixture::{EVERYBODY, ONE, Subject, WHOLE_FLEET};

/// How often a cluster is looked at; the instants themselves are the cluster's own.
const LOOK: Duration = Duration::from_millis(1);

/// How long one change may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits between changes, so that each meets an agent at rest, and not always at the same phase of a timer.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(400),
    Duration::from_millis(413),
    Duration::from_millis(427),
    Duration::from_millis(439),
    Duration::from_millis(453),
];

/// One change, as one or more clusters received it.
struct Change {
    /// From the call's begin to the hub's answer.
    answered: Duration,
    /// From the call's begin to each cluster's store.
    received: Vec<Duration>,
}

impl Bench<'_> {
    /// Changes what one cluster is assigned, again and again.
    pub(super) async fn changes_for_one(&self) -> Result<ChangeToOne> {
        let (mut answered, mut received) = (Vec::new(), Vec::new());
        for number in 0..self.options.samples {
            sleep(PAUSES[number as usize % PAUSES.len()]).await;
            let change = self.change(&ONE, number, 1).await?;
            answered.push(change.answered);
            received.extend(change.received);
        }
        let none = "no change was measured";
        Ok(ChangeToOne { received: Times::of(&received).context(none)?, answered: Times::of(&answered).context(none)? })
    }

    /// Changes what every cluster is assigned.
    pub(super) async fn changes_for_everybody(&self) -> Result<ChangeToEverybody> {
        let (mut each, mut last) = (Vec::new(), Vec::new());
        for number in 0..self.options.rounds {
            sleep(super::QUIET).await;
            let change = self.change(&EVERYBODY, number, self.fleet.clusters.len()).await?;
            last.extend(change.received.iter().max().map(Duration::as_secs_f64));
            each.extend(change.received);
        }
        let none = "no change was measured";
        Ok(ChangeToEverybody { all_seconds: Rounds::of(&last).context(none)?, each: Times::of(&each).context(none)? })
    }

    /// Makes one change and times it on the first clusters.
    async fn change(&self, subject: &Subject, number: u32, clusters: usize) -> Result<Change> {
        let clusters = &self.fleet.clusters[..clusters];
        let before: Vec<u64> = clusters.iter().map(|cluster| cluster.commits().count).collect();
        let began = Instant::now();
        self.hub.apply(WHOLE_FLEET.assignment(subject, &format!("change {number}"))).await?;
        let answered = began.elapsed();
        let mut received = Vec::with_capacity(clusters.len());
        for (cluster, before) in clusters.iter().zip(before) {
            received.push(receipt(cluster, before, began).await?);
        }
        Ok(Change { answered, received })
    }
}

/// Waits until a cluster has stored one more render; returns when it did.
async fn receipt(cluster: &SimulatedCluster, before: u64, began: Instant) -> Result<Duration> {
    loop {
        let commits = cluster.commits();
        if commits.count > before + 1 {
            bail!("a cluster stored {} renders for one change", commits.count - before);
        }
        if let (true, Some(newest)) = (commits.count > before, commits.newest) {
            return Ok(newest.duration_since(began));
        }
        if began.elapsed() > PATIENCE {
            bail!("a change did not reach a cluster within {} s", PATIENCE.as_secs());
        }
        sleep(LOOK).await;
    }
}
