//! The alternative: one API server as the hub. Each simulated cluster watches a work object of its own in a namespace of its own, and
//! patches that object's status, as the pull patterns of Open Cluster Management and KubeFleet do.
//!
//! Owns its servers, its clusters and when it counts as stopped. Wherever there is a choice it is made in the alternative's favour: etcd
//! does not wait for the disk, everybody is exempt from authorization and from fair queueing, a watch begins from the API server's
//! cache without a list, and clients decode next to nothing. Does not own what is timed in which order ([`crate::run`]).

mod cluster;
mod documents;
mod http;
mod servers;
mod stop;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use starling_model::limits;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use self::cluster::{Cluster, Seen};
use crate::drive::{Answer, Moment};
use crate::fixture::OBJECTS_OF_AN_ASSIGNMENT;
use crate::fleet;
use crate::latency::Latency;
use crate::scenario::FleetSpec;

pub(crate) use documents::{WORKS, change_patch, objects_limit, work_path};
pub(crate) use http::{Caller, Connection, ServerPlace};
pub(crate) use servers::{Programs, Servers};
pub(crate) use stop::{Limits, Stop};

/// Objects that are made at the same time.
const MAKING: usize = 64;

/// Connections over which they are made.
const MAKERS: usize = 4;

/// Connections that are being opened at the same time.
const DIALLING: usize = 128;

/// Statuses and leases of a driver that are written at the same time.
const WRITING: usize = 64;

/// How often clusters are looked at; what is timed are their own instants.
const LOOK: Duration = Duration::from_millis(5);

/// How long one status may take to be in an answer before something is wrong.
const VISIBLE_WITHIN: Duration = Duration::from_secs(60);

/// What a driver is told to do with the alternative.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "alternative")]
pub(crate) enum AlternativeOrder {
    /// Makes a namespace, a work object and a lease for each cluster.
    Make(Box<MakeOrder>),
    /// Connects every cluster; returns when all watch.
    Connect,
    /// Every cluster writes its status.
    Report,
    /// Waits until clusters have received a change, or their status with it is stored: the first one alone, or all.
    Received { change: u64, since: Moment, first_alone: bool, acknowledged: bool, patience_ms: u64 },
    /// Clusters write one status after another, as fast as they can.
    Storm { millis: u64 },
    /// Statuses are written one by one, each until somebody who reads sees it.
    Visible { rounds: u32 },
    /// Nothing but leases, each renewed as often as agents send heartbeats.
    Idle { millis: u64 },
    /// Waits until every cluster watches again.
    Back { since: Moment, patience_ms: u64 },
}

/// Which clusters there are, and where their API server is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct MakeOrder {
    pub(crate) server: ServerPlace,
    pub(crate) first: u32,
    pub(crate) clusters: u32,
    pub(crate) shape: FleetSpec,
    pub(crate) seed: u64,
}

/// The clusters of a driver.
#[derive(Default)]
pub(crate) struct AlternativeFleet {
    caller: Option<Caller>,
    clusters: Vec<Arc<Cluster>>,
    running: Vec<AbortOnDropHandle<()>>,
}

impl AlternativeFleet {
    /// Does what the coordinator wants.
    pub(crate) async fn obey(&mut self, order: AlternativeOrder) -> Result<Answer> {
        match order {
            AlternativeOrder::Make(order) => self.make(&order).await.map(|()| Answer::Done),
            AlternativeOrder::Connect => self.connect().await.map(|()| Answer::Done),
            AlternativeOrder::Report => {
                let writing = self.clusters.iter().map(|cluster| cluster.write_status());
                futures::future::try_join_all(writing).await?;
                Ok(Answer::Done)
            }
            AlternativeOrder::Received { change, since, first_alone, acknowledged, patience_ms } => {
                let wanted = if first_alone { 1 } else { self.clusters.len() };
                let clusters = &self.clusters[..wanted.min(self.clusters.len())];
                let is_there = |seen: Seen| {
                    let at = if acknowledged { seen.acknowledged } else { seen.received };
                    at.filter(|_| seen.change >= change)
                };
                Ok(times(clusters, since, Duration::from_millis(patience_ms), is_there).await)
            }
            AlternativeOrder::Storm { millis } => self.storm(Duration::from_millis(millis)).await,
            AlternativeOrder::Visible { rounds } => self.visible(rounds).await,
            AlternativeOrder::Idle { millis } => self.idle(Duration::from_millis(millis)).await.map(|()| Answer::Done),
            AlternativeOrder::Back { since, patience_ms } => {
                let is_back = |seen: Seen| seen.watching.filter(|at| *at > since);
                Ok(times(&self.clusters, since, Duration::from_millis(patience_ms), is_back).await)
            }
        }
    }

    async fn make(&mut self, order: &MakeOrder) -> Result<()> {
        let caller = Caller::new(&order.server)?;
        let makers = futures::future::try_join_all((0..MAKERS).map(|_| caller.connect())).await?;
        let numbers = order.first..order.first + order.clusters;
        let makers = makers.into_iter().cycle();
        let making = makers.zip(numbers.clone()).map(|(maker, number)| make(maker, number));
        stream::iter(making).buffer_unordered(MAKING).try_collect::<()>().await?;
        self.clusters = numbers
            .map(|number| {
                let objects = order.shape.draw(order.seed, number).objects + OBJECTS_OF_AN_ASSIGNMENT;
                Arc::new(Cluster::new(number, objects, caller.clone()))
            })
            .collect();
        self.caller = Some(caller);
        Ok(())
    }

    async fn connect(&mut self) -> Result<()> {
        for wave in self.clusters.chunks(DIALLING) {
            self.running.extend(wave.iter().map(|cluster| {
                let cluster = Arc::clone(cluster);
                AbortOnDropHandle::new(tokio::spawn(cluster.run()))
            }));
            while wave.iter().any(|cluster| cluster.seen().watching.is_none()) {
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Writes statuses for a while; each is timed from when it was begun.
    async fn storm(&self, length: Duration) -> Result<Answer> {
        let began = Instant::now();
        let clusters = self.clusters.clone().into_iter().cycle();
        let writing = clusters.take_while(move |_| began.elapsed() < length).map(|cluster| async move {
            let began = Instant::now();
            cluster.write_status().await?;
            anyhow::Ok(began.elapsed())
        });
        let mut written = stream::iter(writing).buffer_unordered(self.at_once());
        let mut latency = Latency::new();
        while let Some(took) = written.try_next().await? {
            latency.record(took);
        }
        Ok(Answer::Received { latency, missing: 0 })
    }

    /// Returns how many writes there are at the same time: one cluster does not write twice at once.
    fn at_once(&self) -> usize {
        WRITING.min(self.clusters.len()).max(1)
    }

    async fn visible(&self, rounds: u32) -> Result<Answer> {
        let reader = self.caller.as_ref().context("the clusters were not made")?.connect().await?;
        let mut latency = Latency::new();
        for cluster in self.clusters.iter().cycle().take(rounds as usize) {
            let began = Instant::now();
            let wanted = cluster.write_status().await?;
            let path = work_path(&cluster.name);
            while documents::number_of(&reader.get(&path).await?, "sequence").is_none_or(|seen| seen < wanted) {
                ensure!(began.elapsed() < VISIBLE_WITHIN, "a status of {} is not in any answer", cluster.name);
            }
            latency.record(began.elapsed());
        }
        Ok(Answer::Received { latency, missing: 0 })
    }

    /// Renews leases evenly over the heartbeat's interval; what is late is made up for as fast as it goes.
    async fn idle(&self, length: Duration) -> Result<()> {
        let count = u32::try_from(self.clusters.len()).context("count clusters")?.max(1);
        let (began, apart) = (Instant::now(), limits::HEARTBEAT_INTERVAL / count);
        let due = self.clusters.clone().into_iter().cycle().zip(1_u32..);
        let due = due.map(move |(cluster, number)| (cluster, apart * number));
        let due = due.take_while(move |(_, due)| *due <= length && began.elapsed() < length);
        let renewing = due.map(|(cluster, due)| async move {
            sleep(due.saturating_sub(began.elapsed())).await;
            cluster.renew().await
        });
        stream::iter(renewing).buffered(self.at_once()).try_collect::<()>().await?;
        sleep(length.saturating_sub(began.elapsed())).await;
        Ok(())
    }
}

async fn make(maker: Connection, number: u32) -> Result<()> {
    let name = fleet::name(number);
    maker.create(documents::NAMESPACES, documents::namespace(&name)).await?;
    maker.create(&documents::works_path(&name), documents::work()).await?;
    maker.create(&documents::leases_path(&name), documents::lease()).await.map(drop)
}

/// Waits until clusters are where they should be, and times when they were.
async fn times(
    clusters: &[Arc<Cluster>],
    since: Moment,
    patience: Duration,
    is_there: impl Fn(Seen) -> Option<Moment>,
) -> Answer {
    let until = Instant::now() + patience;
    let mut waiting: Vec<&Arc<Cluster>> = clusters.iter().collect();
    let mut latency = Latency::new();
    loop {
        waiting.retain(|cluster| match is_there(cluster.seen()) {
            Some(at) => {
                latency.record(at.since(since));
                false
            }
            None => true,
        });
        if waiting.is_empty() || Instant::now() > until {
            return Answer::Received { latency, missing: waiting.len() as u64 };
        }
        sleep(LOOK).await;
    }
}
