//! The steps in which clusters come and go: they flap, join and leave, while the others stay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use futures::StreamExt as _;
use futures::stream;
use rand::RngExt as _;
use rand::rngs::StdRng;
use starling_proto::v1::DetachRequest;
use tokio::time::sleep;

use super::Run;
use super::drivers::{Driver, order_all};
use super::steps::PATIENCE;
use crate::drive::{Answer, Order};
use crate::fixture::OWN_WORKSPACE;
use crate::fleet;
use crate::report::results::StepResult;
use crate::scenario::{Range, Share};

/// Detachments that are asked for at the same time.
const DETACHMENTS: usize = 8;

/// How long a status may be on its way that a probe changed just before its cluster was spared: more than any that was measured.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

impl Run {
    /// Breaks the connections of some clusters again and again, and times how long it takes until all are back.
    pub(super) async fn flap(
        &mut self,
        step: &mut StepResult,
        share: Share,
        length: Duration,
        every_ms: Range,
    ) -> Result<()> {
        self.probes.spare(Some(share));
        sleep(ON_ITS_WAY).await;
        let before = self.counter("starling_sessions_opened_total").await;
        let order = Order::Flap { share, millis: length.as_millis() as u64, every_ms };
        let flapped = order_all(&self.drivers, &order, length + PATIENCE).await?;
        let began = Instant::now();
        let (mut all_cuts, mut all_clusters) = (0, 0);
        for answer in flapped {
            let Answer::Flapped { cuts, clusters } = answer else { bail!("a driver does not say what it cut") };
            (all_cuts, all_clusters) = (all_cuts + cuts, all_clusters + clusters);
        }
        ensure!(all_cuts > 0, "no connection was cut: raise per-mille or seconds, or lower every-ms");
        step.figures.insert("cuts".into(), all_cuts as f64);
        step.figures.insert("clusters-cut".into(), all_clusters as f64);
        let all = u64::from(self.clusters);
        let live = self.hub.wait_for("every cluster to be live", self.patience(), |counts| counts.live == all).await?;
        step.figures.insert("live-seconds".into(), live.duration_since(began).as_secs_f64());
        self.probes.spare(None);
        if let (Some(before), Some(after)) = (before, self.counter("starling_sessions_opened_total").await) {
            step.figures.insert("sessions-opened".into(), after - before);
        }
        Ok(())
    }

    /// Adopts further clusters, and times how long it takes until all of them are live and ready.
    pub(super) async fn join(&mut self, step: &mut StepResult, clusters: u32) -> Result<()> {
        let began = Instant::now();
        let joining = self.adopt(clusters)?;
        let all = u64::from(self.clusters);
        let hub = Arc::clone(&self.hub);
        let live = hub.wait_for("every cluster to be live", self.patience(), |counts| counts.live == all);
        let ((), live) = futures::future::try_join(joining, live).await?;
        step.figures.insert("live-seconds".into(), live.duration_since(began).as_secs_f64());
        let ready = hub.wait_for("every cluster to be ready", self.patience(), |counts| counts.ready == all).await?;
        step.figures.insert("ready-seconds".into(), ready.duration_since(began).as_secs_f64());
        Ok(())
    }

    /// Detaches clusters, and times how long it takes until the hub counts the others alone.
    pub(super) async fn leave(&mut self, step: &mut StepResult, clusters: u32, random: &mut StdRng) -> Result<()> {
        ensure!(clusters < self.clusters, "{clusters} of {} clusters cannot leave: one has to stay", self.clusters);
        let leaving = self.draw_leaving(clusters, random);
        for (driver, numbers) in self.drivers.iter().zip(&leaving) {
            // From now on nobody asks for anything of them.
            driver.numbers().retain(|number| !numbers.contains(number));
        }
        sleep(ON_ITS_WAY).await;
        let began = Instant::now();
        let mut asked = stream::iter(leaving.iter().flatten().copied().map(|number| self.detach(number)))
            .buffer_unordered(DETACHMENTS);
        while let Some(outcome) = asked.next().await {
            outcome?;
        }
        drop(asked);
        self.clusters -= clusters;
        let all = u64::from(self.clusters);
        let gone = self.hub.wait_for("clusters to be gone", self.patience(), |counts| counts.clusters == all).await?;
        step.figures.insert("gone-seconds".into(), gone.duration_since(began).as_secs_f64());
        let others = self.hub.wait_for("the others to be live", self.patience(), |counts| counts.live == all);
        others.await?;
        let told = self.drivers.iter().zip(leaving).map(|(driver, clusters)| {
            let order = Order::LetGo { clusters };
            driver.order(order, PATIENCE)
        });
        futures::future::try_join_all(told).await.map(drop)
    }

    /// Draws which clusters leave, by their drivers; never the first one, which changes to one cluster go to.
    fn draw_leaving(&self, clusters: u32, random: &mut StdRng) -> Vec<Vec<u32>> {
        let own = |driver: &Driver| driver.numbers().iter().copied().filter(|number| *number > 0).collect::<Vec<_>>();
        let mut candidates: Vec<(usize, u32)> = Vec::new();
        for (index, driver) in self.drivers.iter().enumerate() {
            candidates.extend(own(driver).into_iter().map(|number| (index, number)));
        }
        let mut leaving = vec![Vec::new(); self.drivers.len()];
        for _ in 0..clusters.min(u32::try_from(candidates.len()).unwrap_or(u32::MAX)) {
            let (driver, number) = candidates.swap_remove(random.random_range(0..candidates.len()));
            leaving[driver].push(number);
        }
        leaving
    }

    async fn detach(&self, number: u32) -> Result<()> {
        let (workspace, name) = (OWN_WORKSPACE.workspaces[0].to_owned(), fleet::name(number));
        let request = DetachRequest { workspace, name, ..DetachRequest::default() };
        self.hub.call(request, |mut hub, request| async move { hub.detach(request).await }).await.map(drop)
    }
}
