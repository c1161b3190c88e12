//! Peers that are hostile, broken or stuck: what a hub has to bear from anybody who reaches its port, and from a cluster whose agent
//! somebody took over.
//!
//! Owns their connections and what became of each. They run in a process of their own, beside the drivers whose clusters behave, and
//! what they send is encoded by hand: none of the agent's own checks stands before the hub's.

mod cluster;
mod peer;
mod session;
mod words;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use starling_cli::client::connect;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout_at};

use self::cluster::WildCluster;
use self::peer::Target;
use self::session::Kind;
use crate::scenario::HostileCrew;

/// The deadline of one admin call.
const CALL: Duration = Duration::from_secs(60);

/// The wait before a peer begins anew.
const AGAIN: Duration = Duration::from_millis(100);

/// What became of peers, counted.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<BTreeMap<String, u64>>>);

/// How a peer's connection or session came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The hub ended it.
    Ended,
    /// The hub did not mind, and the peer had nothing more to say.
    HeardOut,
}

/// Returns the name of a cluster whose agent is hostile.
pub(crate) fn name(number: u32) -> String {
    format!("wild-{number:03}")
}

/// Besets a hub for a while; returns what became of the peers, by kind.
///
/// # Errors
/// The hub refuses to adopt the clusters that the peers pretend to be, or to let them join.
pub(crate) async fn beset(
    context_file: &Path,
    workspace: &str,
    crew: &HostileCrew,
    length: Duration,
) -> Result<BTreeMap<String, u64>> {
    let hub = connect(context_file, CALL).await.map_err(|failure| anyhow!("{failure}"))?;
    let mut wild = Vec::new();
    // Strangers need no cluster, but the address that one is told.
    for number in 0..crew.clusters().max(1) {
        wild.push(WildCluster::adopt(&hub, workspace, &name(number)).await?);
    }
    let target = wild[0].target.clone();
    let (tally, until) = (Tally::default(), Instant::now() + length);
    let mut peers = JoinSet::new();
    for _ in 0..crew.mute {
        peers.spawn(again(tally.clone(), "mute", until, target.clone(), async |target, _| target.stay_mute().await));
    }
    for _ in 0..crew.silent {
        peers
            .spawn(again(tally.clone(), "silent", until, target.clone(), async |target, _| target.stay_silent().await));
    }
    if crew.strangers_per_second > 0 {
        peers.spawn(strangers(tally.clone(), until, target, crew.strangers_per_second));
    }
    let kinds = [
        (Kind::Junk, crew.junk),
        (Kind::Flooding, crew.flooding),
        (Kind::Endless, crew.endless),
        (Kind::Lying, crew.lying),
        (Kind::Deaf, crew.deaf),
    ];
    let kinds = kinds.into_iter().flat_map(|(kind, count)| (0..count).map(move |_| kind));
    for (kind, wild) in kinds.zip(wild) {
        let (tally, said) = (tally.clone(), tally.clone());
        peers.spawn(again(tally, kind.name(), until, (wild, said), async move |(wild, said), turn| {
            kind.run(wild, turn, said).await
        }));
    }
    while let Some(ended) = peers.join_next().await {
        ended?;
    }
    Ok(tally.take())
}

/// Lets a peer begin again and again; counts how often it began, was ended by the hub, was heard out, or was not let in.
async fn again<P>(
    tally: Tally,
    kind: &'static str,
    until: Instant,
    peer: P,
    once: impl AsyncFn(&P, usize) -> Result<Outcome>,
) {
    for turn in 0.. {
        tally.add(kind, "begun", 1);
        match timeout_at(until.into(), once(&peer, turn)).await {
            Ok(Ok(Outcome::Ended)) => tally.add(kind, "ended", 1),
            Ok(Ok(Outcome::HeardOut)) => tally.add(kind, "heard-out", 1),
            Ok(Err(error)) => {
                tracing::debug!(kind, error = format!("{error:#}"), "a hostile peer was not let in");
                tally.add(kind, "refused", 1);
            }
            Err(_) => return tally.add(kind, "left", 1),
        }
        if timeout_at(until.into(), tokio::time::sleep(AGAIN)).await.is_err() {
            return;
        }
    }
}

/// Knocks at a pace without a certificate of the fleet, whether or not the one before was answered.
async fn strangers(tally: Tally, until: Instant, target: Target, per_second: u32) {
    // None is a figure, too: that nobody was let in is what is wanted.
    tally.add("strangers", "let-in", 0);
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    let mut knocking = JoinSet::new();
    let mut turn = 0_usize;
    while timeout_at(until.into(), ticks.tick()).await.is_ok() {
        while knocking.try_join_next().is_some() {}
        turn += 1;
        let (target, tally) = (target.clone(), tally.clone());
        knocking.spawn(async move {
            tally.add("strangers", "begun", 1);
            let outcome =
                if turn.is_multiple_of(2) { target.knock_unknown().await } else { target.knock_foreign().await };
            match outcome {
                Ok(true) => tally.add("strangers", "let-in", 1),
                Ok(false) | Err(_) => tally.add("strangers", "refused", 1),
            }
        });
    }
    knocking.shutdown().await;
}

impl Tally {
    fn add(&self, kind: &str, what: &str, count: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(format!("{kind}-{what}")).or_default() += count;
    }

    fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
