//! `starling-loadtest drive`: one of the processes that run the clusters of a load test; it does what the coordinator tells it.
//!
//! Owns the clusters of its share and what is timed inside them. It ends when its standard input does.

mod agenda;
mod churn;
mod doors;
mod flap;
mod orders;
mod storm;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use starling_agent_core::judge::judge;
use starling_model::{Limits, ObjectKey};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::alternative::AlternativeFleet;
use crate::cluster::SimulatedCluster;
use crate::fixture::PROBE_LABEL;
use crate::fleet::{FleetOptions, SimulatedFleet};
use crate::floor::Connections;
use crate::hostile;
use crate::latency::Latency;
use crate::link::Wire;
use crate::run::process::cpu_time;

pub(crate) use doors::Doors;
pub(crate) use orders::{Answer, Held, Moment, Numbered, Order, StartOrder, TouchedKey};

/// How often clusters are looked at; what is timed are the cluster's own instants.
const LOOK: Duration = Duration::from_millis(20);

/// Answers that wait to be written.
const ANSWERS: usize = 64;

/// A driver.
#[derive(Default)]
struct Driver {
    fleet: Option<SimulatedFleet>,
    /// What its clusters send and receive is counted here.
    wire: Arc<Wire>,
    /// Statuses that change by themselves.
    churning: Vec<AbortOnDropHandle<()>>,
    /// Clusters that were let go: nobody was to remove anything there, either.
    gone: Vec<Arc<SimulatedCluster>>,
    /// What each cluster had stored.
    baseline: Vec<u64>,
    /// Instead of a fleet: sessions with a floor.
    floor: Connections,
    /// Instead of a fleet: clusters of the alternative.
    alternative: AlternativeFleet,
}

/// Does what it is told until nobody tells it anything any more.
///
/// # Errors
/// Standard input or output cannot be used, or says what no coordinator says.
pub async fn run() -> Result<()> {
    let driver = Arc::new(Mutex::new(Driver::default()));
    let (answers, mut written) = mpsc::channel::<Numbered<Answer>>(ANSWERS);
    let writing = tokio::spawn(async move {
        let mut output = tokio::io::stdout();
        while let Some(answer) = written.recv().await {
            let mut line = serde_json::to_vec(&answer)?;
            line.push(b'\n');
            output.write_all(&line).await?;
            output.flush().await?;
        }
        anyhow::Ok(())
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut orders = JoinSet::new();
    while let Some(line) = lines.next_line().await.context("read an order")? {
        let Numbered { number, message } = serde_json::from_str(&line).context("understand an order")?;
        let (driver, answers) = (Arc::clone(&driver), answers.clone());
        orders.spawn(async move {
            let message =
                obey(&driver, message).await.unwrap_or_else(|error| Answer::Failed { why: format!("{error:#}") });
            // The coordinator may have gone, which ends the driver.
            let _ = answers.send(Numbered { number, message }).await;
        });
    }
    orders.shutdown().await;
    if let Some(fleet) = &mut driver.lock().await.fleet {
        // Nobody hears any more of agents that ended by themselves.
        drop(fleet.stop_agents().await);
    }
    drop(answers);
    writing.await.context("write answers")?
}

async fn obey(driver: &Mutex<Driver>, order: Order) -> Result<Answer> {
    match order {
        Order::Start(start) => {
            let wire = Arc::clone(&driver.lock().await.wire);
            let (config, seed) = (start.config.clone(), start.seed ^ u64::from(start.first));
            // Adopted beside those that there are, which are asked and told things meanwhile.
            let started = SimulatedFleet::start(&config, &options(*start, wire)).await?;
            let mut driver = driver.lock().await;
            driver.churning.extend(churn::begin(&started, seed));
            match &mut driver.fleet {
                Some(fleet) => fleet.take_in(started),
                none => *none = Some(started),
            }
            Ok(Answer::Done)
        }
        Order::LetGo { clusters } => {
            let mut driver = driver.lock().await;
            let gone = driver.fleet()?.take_out(&clusters).await;
            driver.gone.extend(gone);
            Ok(Answer::Done)
        }
        Order::Calm => {
            driver.lock().await.churning.clear();
            Ok(Answer::Done)
        }
        Order::Flap { share, millis, every_ms } => {
            let links: Vec<_> = {
                let mut driver = driver.lock().await;
                let shared = driver.fleet()?.links().filter(|(number, _)| share.has(*number));
                shared.map(|(number, link)| (number, Arc::clone(link))).collect()
            };
            Ok(flap::flap(&links, Duration::from_millis(millis), every_ms, share.seed).await)
        }
        Order::Beset { config, workspace, crew, millis } => {
            let counts = hostile::beset(&config, &workspace, &crew, Duration::from_millis(millis)).await?;
            let cpu_seconds = cpu_time(std::process::id())?.as_secs_f64();
            Ok(Answer::Beset { counts, cpu_seconds })
        }
        Order::Wire => {
            let (sent, received) = driver.lock().await.wire.carried();
            Ok(Answer::Wire { sent, received })
        }
        Order::Baseline => {
            let mut driver = driver.lock().await;
            driver.baseline = driver.clusters()?.iter().map(|cluster| cluster.commits().count).collect();
            Ok(Answer::Done)
        }
        Order::Received { since, first_alone, patience_ms } => {
            let (clusters, baseline) = {
                let driver = driver.lock().await;
                (driver.clusters()?, driver.baseline.clone())
            };
            let wanted = if first_alone { 1 } else { clusters.len() };
            Ok(received(&clusters[..wanted.min(clusters.len())], &baseline, since, Duration::from_millis(patience_ms))
                .await)
        }
        Order::Storm { per_second, millis, seed } => {
            let clusters = driver.lock().await.clusters()?;
            Ok(storm::storm(&clusters, per_second, Duration::from_millis(millis), seed).await)
        }
        Order::Touch { cluster, object } => {
            let driver = driver.lock().await;
            let fleet = driver.fleet.as_ref().context("the clusters were not started")?;
            let cluster = fleet.cluster(cluster).context("the cluster is not one of this driver's")?;
            let objects = cluster.background_count().max(1);
            let touched = cluster.touch_background(object % objects, true);
            let (key, revision) = touched.context("the cluster has no object of its own")?;
            let key = TouchedKey { kind: key.kind, namespace: key.namespace, name: key.name };
            Ok(Answer::Touched { cluster: cluster.name().to_owned(), key, revision, at: Moment::now() })
        }
        Order::StopAgents => Ok(Answer::Stopped { ended: driver.lock().await.fleet()?.stop_agents().await }),
        Order::StartAgents => {
            driver.lock().await.fleet()?.start_agents();
            Ok(Answer::Done)
        }
        Order::Truth => {
            let driver = driver.lock().await;
            let removals_of_gone = driver.gone.iter().map(|cluster| cluster.removals().len() as u64).sum();
            let clusters = driver.clusters()?;
            Ok(Answer::Truth { clusters: clusters.iter().map(|cluster| held(cluster)).collect(), removals_of_gone })
        }
        Order::Floor(order) => driver.lock().await.floor.obey(order).await,
        Order::Alternative(order) => driver.lock().await.alternative.obey(order).await,
    }
}

fn options(start: StartOrder, wire: Arc<Wire>) -> FleetOptions {
    let StartOrder { config: _, doors, first, clusters, shape, seed, workspaces } = start;
    let probe_label = Some(PROBE_LABEL);
    FleetOptions { first, clusters, shape, seed, workspaces, labelled: false, probe_label, wire, doors }
}

impl Driver {
    fn fleet(&mut self) -> Result<&mut SimulatedFleet> {
        self.fleet.as_mut().context("the clusters were not started")
    }

    fn clusters(&self) -> Result<Vec<Arc<SimulatedCluster>>> {
        Ok(self.fleet.as_ref().context("the clusters were not started")?.clusters.clone())
    }
}

/// Waits until each cluster has stored a further render, and times when it did.
async fn received(clusters: &[Arc<SimulatedCluster>], baseline: &[u64], since: Moment, patience: Duration) -> Answer {
    let until = Instant::now() + patience;
    let mut waiting: Vec<usize> = (0..clusters.len()).collect();
    let mut latency = Latency::new();
    loop {
        waiting.retain(|index| {
            let (commits, before) = (clusters[*index].commits(), baseline.get(*index).copied().unwrap_or_default());
            let newest = commits.newest.filter(|_| commits.count > before);
            if let Some(newest) = newest {
                latency.record(Moment::of(newest).since(since));
            }
            newest.is_none()
        });
        if waiting.is_empty() || Instant::now() > until {
            return Answer::Received { latency, missing: waiting.len() as u64 };
        }
        sleep(LOOK).await;
    }
}

fn held(cluster: &SimulatedCluster) -> Held {
    let text_bytes = Limits::DEFAULT.text_bytes as usize;
    let (mut objects, mut sum) = (0, 0_u64);
    for document in cluster.truth().values() {
        let status = judge(document, text_bytes);
        objects += 1;
        sum = sum.wrapping_add(digest(&status.key, &status.revision, status.health.as_str()));
    }
    Held { name: cluster.name().to_owned(), objects, digest: sum, removals: cluster.removals().len() as u64 }
}

/// Returns a number for one object; those of a cluster's objects are added up, in any order.
pub(crate) fn digest(key: &ObjectKey, revision: &str, health: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&key.group, &key.kind, &key.namespace, &key.name, revision, health).hash(&mut hasher);
    hasher.finish()
}
