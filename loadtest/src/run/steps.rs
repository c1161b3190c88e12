//! The steps of a scenario, one by one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::RngExt as _;
use rustix::process::Signal;
use tokio::time::sleep;

use super::Run;
use super::drivers::order_all;
use super::hub::rest;
use super::probes::Probed;
use super::{sampler, usage};
use crate::drive::{Answer, Moment, Order};
use crate::fixture::{EVERYBODY, ONE, OWN_WORKSPACE, Subject};
use crate::latency::Latency;
use crate::report::results::StepResult;
use crate::scenario::{Action, Share};

/// How often an assignment's counts are looked at while a change goes out.
const LOOK: Duration = Duration::from_millis(10);

/// How long one change may take before something is wrong.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// The wait between changes: each meets agents at rest.
const PAUSE: Duration = Duration::from_millis(437);

/// A storm's driver that was later than this with its changes at the 99th percentile measured itself.
const DRIVER_LATE_MS: f64 = 50.0;

impl Run {
    /// Runs something as a step: what the probes and the hub's process say of it is put down, too.
    pub(super) async fn step(
        &mut self,
        name: &str,
        kind: &str,
        results: &mut Vec<StepResult>,
        work: impl AsyncFnOnce(&mut Self, &mut StepResult) -> Result<()>,
    ) -> Result<()> {
        let mut step = StepResult { name: name.to_owned(), kind: kind.to_owned(), ..StepResult::default() };
        self.booked.push(self.probes.begin());
        step.began_seconds = self.began.elapsed().as_secs_f64();
        self.live.step(name, &self.samples, &self.probes, self.began);
        let carried = self.carried().await?;
        let recorder = self.profiling.begin(name, &self.hub);
        let outcome = work(self, &mut step).await;
        self.defects.extend(self.hub.take_defects().into_iter().map(|defect| format!("step {name}: {defect}")));
        step.ended_seconds = self.began.elapsed().as_secs_f64();
        if outcome.is_ok() {
            self.put_down_wire(&mut step, carried).await?;
        }
        self.put_down_usage(&mut step);
        let recorded = self.profiling.end(recorder).await.context("profile the hub");
        results.push(step);
        outcome.and(recorded)
    }

    pub(super) async fn action(
        &mut self,
        name: &str,
        action: &Action,
        number: u64,
        results: &mut Vec<StepResult>,
    ) -> Result<()> {
        let mut random = self.scenario.random(1 + number);
        let kind = action.kind();
        match action {
            Action::Steady { seconds } => {
                let length = Duration::from_secs(seconds.draw(&mut random));
                self.step(name, kind, results, async |_, _| {
                    sleep(length).await;
                    Ok(())
                })
                .await
            }
            Action::Change { rounds } => {
                let rounds = rounds.draw(&mut random);
                self.step(name, kind, results, async |run, step| run.changes(step, &EVERYBODY, rounds).await).await
            }
            Action::ChangeOne { rounds } => {
                let rounds = rounds.draw(&mut random);
                self.step(name, kind, results, async |run, step| run.changes(step, &ONE, rounds).await).await
            }
            Action::Storm { seconds, per_second } => {
                let (length, rate) = (Duration::from_secs(seconds.draw(&mut random)), per_second.draw(&mut random));
                self.step(name, kind, results, async |run, step| run.storm(step, length, rate).await).await
            }
            Action::Reconnect { away_seconds } => {
                let away = Duration::from_secs(away_seconds.draw(&mut random));
                self.step(name, kind, results, async |run, step| run.reconnect(step, away).await).await
            }
            Action::Flap { per_mille, seconds, every_ms } => {
                let length = Duration::from_secs(seconds.draw(&mut random));
                let share = Share { per_mille: *per_mille, seed: random.random() };
                self.step(name, kind, results, async |run, step| run.flap(step, share, length, *every_ms).await).await
            }
            Action::Join { clusters } => {
                let clusters = u32::try_from(clusters.draw(&mut random)).context("count clusters")?;
                self.step(name, kind, results, async |run, step| run.join(step, clusters).await).await
            }
            Action::Leave { clusters } => {
                let clusters = u32::try_from(clusters.draw(&mut random)).context("count clusters")?;
                self.step(name, kind, results, async |run, step| run.leave(step, clusters, &mut random).await).await
            }
            Action::Hostile { seconds, crew } => {
                let length = Duration::from_secs(seconds.draw(&mut random));
                self.step(name, kind, results, async |run, step| run.hostile(step, length, *crew).await).await
            }
            Action::KillHub { away_seconds } => {
                let away = Duration::from_secs(away_seconds.draw(&mut random));
                self.step(name, kind, results, async |run, step| run.hub_away(step, Signal::KILL, away).await).await
            }
            Action::RestartHub { away_seconds } => {
                let away = Duration::from_secs(away_seconds.draw(&mut random));
                self.step(name, kind, results, async |run, step| run.hub_away(step, Signal::TERM, away).await).await
            }
            Action::KillShard { away_seconds, which } => {
                let away = Duration::from_secs(away_seconds.draw(&mut random));
                self.step(name, kind, results, async |run, step| run.kill_shard(step, *which, away).await).await
            }
            Action::RollingRestart { away_seconds } => {
                let away = Duration::from_secs(away_seconds.draw(&mut random));
                self.step(name, kind, results, async |run, step| run.rolling_restart(step, away).await).await
            }
            Action::JoinShard {} => self.step(name, kind, results, async |run, step| run.join_shard(step).await).await,
        }
    }

    /// Changes an assignment again and again, each time until everybody concerned is ready with it.
    async fn changes(&mut self, step: &mut StepResult, subject: &Subject, rounds: u64) -> Result<()> {
        for _ in 0..rounds {
            sleep(PAUSE).await;
            order_all(&self.drivers, &Order::Baseline, PATIENCE).await?;
            self.changes += 1;
            let document = OWN_WORKSPACE.assignment(subject, &format!("change {}", self.changes));
            let (since, began) = (Moment::now(), Instant::now());
            let hub = std::sync::Arc::clone(&self.hub);
            let all_received = AtomicBool::new(false);
            let received = async {
                let received = self.received(since, subject.name == ONE.name).await?;
                all_received.store(true, Ordering::Relaxed);
                anyhow::Ok(received)
            };
            let answered = async {
                hub.apply(document).await?;
                anyhow::Ok(began.elapsed())
            };
            let curves = self.acknowledged(subject, began, &all_received);
            let ((latency, missing), answered, curves) = futures::future::try_join3(received, answered, curves).await?;
            ensure!(missing == 0, "{missing} clusters did not receive a change within {} s", PATIENCE.as_secs());
            add(step, "received", &latency);
            let mut answer = Latency::new();
            answer.record(answered);
            add(step, "answered", &answer);
            add(step, "acknowledged", &latency_of(&curves.applied, &latency));
            add(step, "ready", &latency_of(&curves.ready, &latency));
            // How far apart the looks were from which these two are read off.
            let apart = step.figures.entry("looks-ms.max".to_owned()).or_default();
            *apart = apart.max(curves.apart.as_secs_f64() * 1000.0);
        }
        Ok(())
    }

    async fn received(&self, since: Moment, first_alone: bool) -> Result<(Latency, u64)> {
        let order = Order::Received { since, first_alone, patience_ms: PATIENCE.as_millis() as u64 };
        let drivers = if first_alone { &self.drivers[..1] } else { &self.drivers[..] };
        let (mut all, mut none) = (Latency::new(), 0);
        for answer in order_all(drivers, &order, PATIENCE + PATIENCE).await? {
            let Answer::Received { latency, missing } = answer else { bail!("a driver does not say what it received") };
            all.add(&latency);
            none += missing;
        }
        Ok((all, none))
    }

    /// Follows the hub's own counts of an assignment: each look tells how many more were there by then.
    async fn acknowledged(&self, subject: &Subject, began: Instant, all_received: &AtomicBool) -> Result<Curves> {
        let (mut applied, mut ready, mut apart) = (Vec::new(), Vec::new(), Duration::ZERO);
        let mut before = began;
        loop {
            let looked = Instant::now();
            // A cluster that has not received it yet is counted with what was before.
            let may_be_over = all_received.load(Ordering::Relaxed);
            let assignment = self.hub.assignment(OWN_WORKSPACE.namespace, subject.name).await?;
            let (at, selected) = (began.elapsed(), assignment.selected);
            applied.push((at, assignment.applied));
            ready.push((at, assignment.ready));
            apart = apart.max(before.elapsed());
            before = Instant::now();
            let is_over = assignment.applied >= selected && assignment.ready >= selected;
            if may_be_over && selected > 0 && is_over {
                return Ok(Curves { applied, ready, apart });
            }
            if at > PATIENCE {
                bail!(
                    "of {selected} clusters {} applied a change and {} are ready",
                    assignment.applied,
                    assignment.ready
                );
            }
            sleep(rest(LOOK, looked.elapsed())).await;
        }
    }

    /// Changes statuses in the whole fleet at a pace.
    async fn storm(&mut self, step: &mut StepResult, length: Duration, per_second: u64) -> Result<()> {
        let clusters: u64 = self.drivers.iter().map(|driver| u64::from(driver.clusters())).sum();
        let before = self.counter("starling_status_changes_total").await;
        let began = Instant::now();
        let orders = self.drivers.iter().enumerate().map(|(number, driver)| {
            let own = (per_second * u64::from(driver.clusters())).div_ceil(clusters);
            let seed = self.scenario.seed ^ (number as u64 + 1) << 32;
            driver.order(Order::Storm { per_second: own, millis: length.as_millis() as u64, seed }, length + PATIENCE)
        });
        let (mut changed, mut late) = (0, Latency::new());
        for answer in futures::future::try_join_all(orders).await? {
            let Answer::Stormed { changed: own, late: own_late } = answer else {
                bail!("a driver does not say what it changed")
            };
            changed += own;
            late.add(&own_late);
        }
        let took = began.elapsed().as_secs_f64();
        step.figures.insert("changed-per-second".into(), changed as f64 / took);
        if let Some(p99) = late.quantile_ms(0.99) {
            step.figures.insert("driver-late-ms.p99".into(), p99);
            if p99 > DRIVER_LATE_MS {
                self.notes.push(format!(
                    "step {}: the drivers themselves were {p99:.0} ms late: the machine is too small for this pace",
                    step.name
                ));
            }
        }
        // What was changed last is on its way for a moment.
        sleep(PAUSE).await;
        if let (Some(before), Some(after)) = (before, self.counter("starling_status_changes_total").await) {
            step.figures.insert("hub-changes-per-second".into(), (after - before) / took);
        }
        Ok(())
    }

    /// Lets all agents go and come back.
    async fn reconnect(&mut self, step: &mut StepResult, away: Duration) -> Result<()> {
        let all = u64::from(self.clusters);
        self.stop_agents(PATIENCE).await?;
        self.hub.wait_for("every session to end", self.patience(), |counts| counts.live == 0).await?;
        sleep(away).await;
        let began = Instant::now();
        order_all(&self.drivers, &Order::StartAgents, PATIENCE).await?;
        let live = self.hub.wait_for("every cluster to be live", self.patience(), |counts| counts.live == all).await?;
        step.figures.insert("live-seconds".into(), live.duration_since(began).as_secs_f64());
        Ok(())
    }

    /// Takes the hub away and brings it back.
    async fn hub_away(&mut self, step: &mut StepResult, signal: Signal, away: Duration) -> Result<()> {
        let all = u64::from(self.clusters);
        let objects = self.hub.counts().await?.objects;
        let began = self.hub.restart(signal, away).await?;
        step.figures.insert("answers-seconds".into(), began.elapsed().as_secs_f64());
        let live = self.hub.wait_for("every cluster to be live", self.patience(), |counts| counts.live == all);
        step.figures.insert("live-seconds".into(), live.await?.duration_since(began).as_secs_f64());
        let whole = self.hub.wait_for("every object to be known", self.patience(), |counts| {
            counts.ready == all && counts.objects >= objects
        });
        step.figures.insert("whole-seconds".into(), whole.await?.duration_since(began).as_secs_f64());
        Ok(())
    }

    /// Reads a counter now; `None` where the hub's counters cannot be read.
    pub(super) async fn counter(&self, name: &str) -> Option<f64> {
        sampler::counters(&self.hub).await.ok()?.get(name).copied()
    }

    /// Puts down what the probes said of each step, once all of them have ended or will not.
    pub(super) fn put_down_probes(&self, steps: &mut [StepResult]) {
        for (step, booked) in steps.iter_mut().zip(&self.booked) {
            put_down(step, &booked.sum());
        }
    }

    /// Puts down what the hub and the drivers used in a step: processors at work, on average, and the most memory.
    fn put_down_usage(&self, step: &mut StepResult) {
        let samples = self.samples.all();
        let within: Vec<_> = samples
            .iter()
            .filter(|sample| sample.at_seconds >= step.began_seconds && sample.at_seconds <= step.ended_seconds)
            .collect();
        let (Some(first), Some(last)) = (within.first(), within.last()) else { return };
        let seconds = last.at_seconds - first.at_seconds;
        if seconds <= 0.0 {
            return;
        }
        // Not every reading has it, and a process that was started again counts from nothing.
        let known: Vec<f64> = within.iter().filter_map(|sample| sample.hub_cpu_seconds).collect();
        if known.len() > 1 {
            let hub: f64 = known.windows(2).map(|pair| (pair[1] - pair[0]).max(0.0)).sum();
            step.figures.insert("hub-cpus".into(), hub / seconds);
        }
        step.figures.insert("driver-cpus".into(), (last.driver_cpu_seconds - first.driver_cpu_seconds) / seconds);
        let peak = within.iter().filter_map(|sample| sample.hub_resident_bytes).reduce(f64::max);
        step.figures.extend(peak.map(|peak| ("hub-resident-bytes".to_owned(), peak)));
        step.figures.extend(usage::of_processes(&within));
        step.figures.extend(usage::of_etcd(&within));
    }
}

/// Puts down what the probes said; nothing where none was due.
fn put_down(step: &mut StepResult, probed: &Probed) {
    if probed.due == 0 {
        return;
    }
    for (name, latency) in [("visible", &probed.visible), ("page", &probed.page), ("count", &probed.count)] {
        if latency.samples() > 0 {
            add(step, name, latency);
        }
    }
    for (name, count) in
        [("probes-failed", probed.failed), ("probes-unasked", probed.unasked), ("probes-lost", probed.lost)]
    {
        step.figures.insert(name.to_owned(), count as f64);
    }
}

/// Reads latencies off counts over time: a cluster is there from the first look on after which it always was. The hub also counts
/// those that it has not planned anew yet, so that a count may fall before it grows, and is never more than had received it.
fn latency_of(counts: &[(Duration, u64)], received: &Latency) -> Latency {
    let mut latency = Latency::new();
    let mut there = 0;
    for (index, (at, _)) in counts.iter().enumerate() {
        let stays = counts[index..].iter().map(|(_, count)| *count).min().unwrap_or_default();
        let stays = stays.min(received.samples_until(*at));
        latency.record_n(*at, stays.saturating_sub(there));
        there = there.max(stays);
    }
    latency
}

/// How many clusters were where, by when.
struct Curves {
    applied: Vec<(Duration, u64)>,
    ready: Vec<(Duration, u64)>,
    /// The longest time between two looks.
    apart: Duration,
}

fn add(step: &mut StepResult, name: &str, latency: &Latency) {
    step.latencies.entry(name.to_owned()).or_default().add(latency);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_fall_first_do_not_count() {
        let at = Duration::from_millis;
        let mut received = Latency::new();
        received.record_n(at(25), 10);
        let latency = latency_of(&[(at(10), 8), (at(20), 3), (at(30), 4), (at(40), 3), (at(50), 10)], &received);
        assert_eq!(latency.samples(), 10);
        let close = |quantile: f64, millis: f64| (latency.quantile_ms(quantile).expect("samples") - millis).abs() < 0.1;
        assert!(close(0.3, 30.0) && close(0.31, 50.0) && close(1.0, 50.0), "{latency:?}");
    }
}
