//! The step in which peers beset the hub that no agent would be, while the clusters that behave are watched.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::sleep;

use super::Run;
use super::drivers::Driver;
use super::sampler;
use super::steps::PATIENCE;
use crate::drive::{Answer, Order};
use crate::fixture::OWN_WORKSPACE;
use crate::hostile::name;
use crate::report::results::StepResult;
use crate::scenario::HostileCrew;

/// How often it is looked which clusters are live.
const LOOK: Duration = Duration::from_secs(1);

/// What the hub did, by its own counters, with what each is called as a figure.
const COUNTED: [(&str, &str); 5] = [
    ("starling_connections_refused_total", "hub-refused"),
    ("starling_sessions_ended_total", "hub-sessions-ended"),
    ("starling_sessions_throttled_total", "hub-throttled"),
    ("starling_status_refused_total", "hub-statuses-refused"),
    ("starling_resyncs_total", "hub-resyncs"),
];

impl Run {
    /// Lets a process of its own beset the hub, and puts down what became of its peers and of the others.
    pub(super) async fn hostile(&mut self, step: &mut StepResult, length: Duration, crew: HostileCrew) -> Result<()> {
        self.wild = crew.clusters().max(1);
        let before = sampler::counters(&self.hub).await?;
        let resident = self.samples.newest_resident();
        let peers = Driver::start()?;
        let order = Order::Beset {
            config: self.hub.context_file(0),
            workspace: OWN_WORKSPACE.workspaces[0].to_owned(),
            crew,
            millis: length.as_millis() as u64,
        };
        let mut fewest = None;
        let answer = {
            let mut besetting = pin!(peers.order(order, length + PATIENCE));
            loop {
                tokio::select! {
                    answer = &mut besetting => break answer?,
                    live = self.others_live() => fewest = Some(fewest.unwrap_or(u64::MAX).min(live?)),
                }
            }
        };
        let Answer::Beset { counts, cpu_seconds } = answer else { bail!("a driver does not say what its peers did") };
        peers.end().await?;
        let after = sampler::counters(&self.hub).await?;
        put_down(step, &counts, &before, &after);
        step.figures.extend(fewest.map(|fewest| ("others-live-min".to_owned(), fewest as f64)));
        step.figures.insert("peers-cpu-seconds".into(), cpu_seconds);
        let began = step.began_seconds;
        let peak = self
            .samples
            .all()
            .iter()
            .filter(|sample| sample.at_seconds >= began)
            .filter_map(|it| it.hub_resident_bytes)
            .reduce(f64::max);
        if let (Some(before), Some(peak)) = (resident, peak) {
            step.figures.insert("hub-growth-bytes".into(), (peak - before).max(0.0));
        }
        for number in 0..self.wild {
            self.hub.forget_cluster(&OWN_WORKSPACE, &name(number)).await?;
        }
        self.wild = 0;
        let all = u64::from(self.clusters);
        let alone = self.hub.wait_for("the fleet to be as before", self.patience(), |counts| {
            counts.clusters == all && counts.live == all
        });
        alone.await.map(drop)
    }

    /// Waits a moment and counts the live clusters that behave.
    async fn others_live(&self) -> Result<u64> {
        sleep(LOOK).await;
        let live = self.hub.live_names().await?;
        Ok(live.iter().filter(|live| (0..self.wild).all(|number| **live != name(number))).count() as u64)
    }
}

/// Puts down what became of the peers, and by how much the hub's own counters grew.
fn put_down(
    step: &mut StepResult,
    peers: &BTreeMap<String, u64>,
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
) {
    step.figures.extend(peers.iter().map(|(name, count)| (name.clone(), *count as f64)));
    for (counter, figure) in COUNTED {
        if let (Some(before), Some(after)) = (before.get(counter), after.get(counter)) {
            step.figures.insert(figure.to_owned(), after - before);
        }
    }
}
