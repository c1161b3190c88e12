//! The steps that happen to single processes of a hub of several.
//!
//! Owns who it happens to, and when all is as it was. Does not own the processes ([`super::hub`]), nor what a step has in common with
//! others ([`super::steps`]).

mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join;
use rustix::process::Signal;
use starling_proto::v1::{ListShardsResponse, Shard};
use tokio::time::sleep;

use self::watch::Watched;
use super::hub::{HubUnderTest, rest};
use super::totals::Totals;
use super::{Run, sampler};
use crate::report::results::StepResult;
use crate::scenario::Which;

/// How often the hub's counts are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What counts sessions.
const SESSIONS: &str = "starling_sessions_opened_total";

impl Run {
    /// Kills one process, brings it back after a while, and waits until it has its clusters again.
    pub(super) async fn kill_shard(&mut self, step: &mut StepResult, which: Which, away: Duration) -> Result<()> {
        let mut fleet = self.at_rest().await?;
        let victim = victim(&self.hub.shards().await?.shards, which)?;
        let began = Instant::now();
        self.hub.stop_process(&victim, Signal::KILL).await?;
        let back = async {
            sleep(away).await;
            let began = Instant::now();
            self.hub.start_process(&victim).await?;
            Ok(self.settled().await?.duration_since(began))
        };
        let (back, watched) = self.watching(&fleet, began, back).await?;
        let seconds = [("live-seconds", watched.live), ("whole-seconds", watched.whole), ("back-seconds", Some(back))];
        step.figures
            .extend(seconds.iter().filter_map(|(name, time)| Some(((*name).to_owned(), time.as_ref()?.as_secs_f64()))));
        fleet.put_down(step, &watched, &self.hub).await
    }

    /// Stops each process as an upgrade does, the newest first, and starts it again; the next one once it is a member of the ring again.
    pub(super) async fn rolling_restart(&mut self, step: &mut StepResult, away: Duration) -> Result<()> {
        let fleet = self.at_rest().await?;
        let (mut counted, hub) = (fleet.clone(), Arc::clone(&self.hub));
        let began = Instant::now();
        let work = async {
            for name in hub.process_names().iter().rev() {
                counted.count(&hub).await?;
                hub.stop_process(name, Signal::TERM).await?;
                sleep(away).await;
                hub.start_process(name).await.with_context(|| format!("restart {name}"))?;
            }
            Ok((began.elapsed(), self.settled().await?.duration_since(began)))
        };
        let ((restarted, settled), watched) = self.watching(&fleet, began, work).await?;
        step.figures.insert("restarted-seconds".into(), restarted.as_secs_f64());
        step.figures.insert("settled-seconds".into(), settled.as_secs_f64());
        counted.put_down(step, &watched, &self.hub).await
    }

    /// Starts one process more, and waits until it has its share.
    pub(super) async fn join_shard(&mut self, step: &mut StepResult) -> Result<()> {
        let mut fleet = self.at_rest().await?;
        let began = Instant::now();
        let work = async {
            self.hub.add_process().await?;
            Ok((began.elapsed(), self.settled().await?.duration_since(began)))
        };
        let ((serves, settled), watched) = self.watching(&fleet, began, work).await?;
        step.figures.insert("serves-seconds".into(), serves.as_secs_f64());
        step.figures.insert("settled-seconds".into(), settled.as_secs_f64());
        fleet.put_down(step, &watched, &self.hub).await?;
        let processes = self.hub.process_names().len() as f64;
        // Of a fleet in equal shares, this much has to move.
        let ideal = 1.0 / processes;
        let moved = step.figures.get("moves-per-cluster").copied().unwrap_or_default();
        step.figures.insert("moved-per-ideal".into(), moved / ideal);
        Ok(())
    }

    /// Waits until every cluster is where it belongs, and remembers what the fleet is then.
    async fn at_rest(&self) -> Result<Fleet> {
        self.settled().await?;
        let all = u64::from(self.clusters);
        let ready = self.hub.wait_for("every cluster to be ready", self.patience(), |counts| counts.ready == all);
        ready.await?;
        let objects = self.hub.counts().await?.objects;
        let mut fleet = Fleet { clusters: self.clusters.into(), objects, sessions: Totals::default(), before: 0.0 };
        fleet.count(&self.hub).await?;
        fleet.before = fleet.sessions.sum(SESSIONS).unwrap_or_default();
        Ok(fleet)
    }

    /// Waits until every process serves, and every cluster is connected to its owner; returns when that was first seen.
    async fn settled(&self) -> Result<Instant> {
        let (began, names) = (Instant::now(), self.hub.process_names());
        loop {
            let looked = Instant::now();
            let unsettled = match self.hub.shards().await {
                Ok(shards) => unsettled(&shards, &names, self.clusters.into()),
                Err(error) => Some(format!("{error:#}")),
            };
            let Some(unsettled) = unsettled else { return Ok(Instant::now()) };
            let waited = began.elapsed();
            ensure!(waited < self.patience(), "waited {} s for the shards to settle: {unsettled}", waited.as_secs());
            sleep(rest(LOOK, looked.elapsed())).await;
        }
    }

    /// Watches the fleet while something is done, and until every object is known.
    async fn watching<T>(
        &self,
        fleet: &Fleet,
        began: Instant,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(T, Watched)> {
        let is_done = AtomicBool::new(false);
        let work = async {
            let done = work.await?;
            is_done.store(true, Ordering::Relaxed);
            Ok(done)
        };
        let watching = async {
            let mut watched = Watched::new(fleet.clusters, fleet.objects);
            loop {
                let looked = Instant::now();
                // After the last of what is done there is one look more.
                let may_be_over = is_done.load(Ordering::Relaxed);
                let counts = self.hub.counts().await;
                if let Ok(counts) = &counts {
                    watched.look(began.elapsed(), counts);
                }
                if may_be_over && watched.whole.is_some() {
                    return Ok(watched);
                }
                let waited = began.elapsed();
                if watched.whole.is_none() && waited > self.patience() {
                    // The process that was asked is gone for a moment now and then; the next one is asked then.
                    let counts = counts?;
                    bail!("waited {} s for every object to be known: {counts:?}", waited.as_secs());
                }
                sleep(rest(LOOK, looked.elapsed())).await;
            }
        };
        try_join(work, watching).await
    }
}

/// The fleet before something happens to its hub, and the sessions that agents opened since.
#[derive(Clone)]
struct Fleet {
    clusters: u64,
    objects: u64,
    sessions: Totals,
    before: f64,
}

impl Fleet {
    /// Reads how many sessions each process counted, which a process takes along when it ends.
    async fn count(&mut self, hub: &HubUnderTest) -> Result<()> {
        sampler::counted(hub, &mut self.sessions).await.map(drop).context("read how many sessions were opened")
    }

    /// Puts down what every step of this kind tells.
    async fn put_down(&mut self, step: &mut StepResult, watched: &Watched, hub: &HubUnderTest) -> Result<()> {
        self.count(hub).await?;
        let opened = self.sessions.sum(SESSIONS).unwrap_or_default() - self.before;
        step.figures.insert("moves-per-cluster".into(), opened / self.clusters.max(1) as f64);
        step.figures.insert("unserved-seconds".into(), watched.unserved.as_secs_f64());
        step.figures.insert("unserved-clusters".into(), watched.unserved_clusters as f64);
        Ok(())
    }
}

/// Chooses the process that is killed: of those that are not the steward, the one with most clusters.
fn victim(shards: &[Shard], which: Which) -> Result<String> {
    let serving = shards.iter().filter(|shard| shard.state == "serving");
    let chosen = match which {
        Which::Steward => serving.clone().find(|shard| shard.steward),
        Which::Other => serving.clone().filter(|shard| !shard.steward).max_by_key(|shard| shard.clusters_owned),
    };
    let chosen =
        chosen.with_context(|| format!("no process that serves is the one to kill ({which:?}): {shards:?}"))?;
    Ok(chosen.name.clone())
}

/// Tells what moves or is missing; `None` if these processes serve the whole fleet, each what it owns.
fn unsettled(shards: &ListShardsResponse, names: &[String], clusters: u64) -> Option<String> {
    for name in names {
        let Some(shard) = shards.shards.iter().find(|shard| shard.name == *name) else {
            return Some(format!("{name} is not there"));
        };
        let Shard { state, clusters_owned, clusters_connected, clusters_moving, .. } = shard;
        if state != "serving" || clusters_owned != clusters_connected || *clusters_moving > 0 {
            return Some(format!(
                "{name} is {state} with {clusters_connected} of {clusters_owned} clusters, {clusters_moving} moving"
            ));
        }
    }
    let owned: u64 = shards.shards.iter().map(|shard| shard.clusters_owned).sum();
    (owned != clusters || shards.shards.len() != names.len())
        .then(|| format!("{} processes own {owned} of {clusters} clusters", shards.shards.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(name: &str, steward: bool, owned: u64, connected: u64) -> Shard {
        Shard {
            name: name.to_owned(),
            state: "serving".to_owned(),
            steward,
            clusters_owned: owned,
            clusters_connected: connected,
            ..Shard::default()
        }
    }

    #[test]
    fn the_steward_or_the_largest_other_one_is_killed() {
        let shards = [shard("a", false, 3, 3), shard("b", true, 9, 9), shard("c", false, 5, 5)];
        assert_eq!(victim(&shards, Which::Steward).expect("one"), "b");
        assert_eq!(victim(&shards, Which::Other).expect("one"), "c");
        assert!(victim(&shards[1..2], Which::Other).is_err());
    }

    #[test]
    fn shards_are_settled_when_each_serves_what_it_owns_and_all_is_owned() {
        let names = ["a".to_owned(), "b".to_owned()];
        let told =
            |shards: Vec<Shard>| unsettled(&ListShardsResponse { shards, ..ListShardsResponse::default() }, &names, 10);
        assert_eq!(told(vec![shard("a", true, 4, 4), shard("b", false, 6, 6)]), None);
        let one = told(vec![shard("a", true, 10, 10)]).expect("b is missing");
        assert_eq!(one, "b is not there");
        let moving = told(vec![shard("a", true, 4, 5), shard("b", false, 6, 5)]).expect("one is elsewhere");
        assert!(moving.contains("a is serving with 5 of 4"), "{moving}");
        assert!(told(vec![shard("a", true, 4, 4), shard("b", false, 5, 5)]).is_some(), "one is nobody's");
        let more = told(vec![shard("a", true, 4, 4), shard("b", false, 6, 6), shard("c", false, 0, 0)]);
        assert!(more.is_some(), "one is there that should not be");
    }
}
