//! The processes that run the clusters, as the coordinator holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::drive::{Answer, Numbered, Order};
use crate::scenario::{Scenario, Share};

/// Answers that are waited for, by number; `None` once the driver says nothing any more.
type Waiting = Arc<Mutex<Option<BTreeMap<u64, oneshot::Sender<Answer>>>>>;

/// How long a driver may take to let its agents go.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What says how much is logged.
const LOG: &str = "RUST_LOG";

/// What drivers log unless somebody wants more: what each of thousands of agents warns of when its hub goes is done to it on purpose.
const LOGGED: &str = "warn,starling_agent=error";

/// One driver process. It ends when this is dropped.
pub(super) struct Driver {
    child: Child,
    input: tokio::sync::Mutex<ChildStdin>,
    waiting: Waiting,
    next: AtomicU64,
    /// The numbers of its clusters.
    numbers: Mutex<BTreeSet<u32>>,
}

impl Driver {
    /// Starts a driver, which has no clusters yet.
    pub(super) fn start() -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut command = Command::new(program);
        if std::env::var_os(LOG).is_none() {
            command.env(LOG, LOGGED);
        }
        let mut child = command
            .arg("drive")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C is for the coordinator, which lets the drivers end when their clusters are no longer needed.
            .process_group(0)
            .spawn()
            .context("start a driver process")?;
        let input = child.stdin.take().context("a driver has no input")?;
        let output = child.stdout.take().context("a driver has no output")?;
        let waiting: Waiting = Arc::new(Mutex::new(Some(BTreeMap::new())));
        tokio::spawn(hear(output, Arc::clone(&waiting)));
        Ok(Self { child, input: input.into(), waiting, next: AtomicU64::new(1), numbers: Mutex::default() })
    }

    /// Returns its process id; `None` once it has ended.
    pub(super) fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns how many clusters it runs.
    pub(super) fn clusters(&self) -> u32 {
        u32::try_from(self.numbers().len()).unwrap_or(u32::MAX)
    }

    /// Returns the numbers of its clusters.
    pub(super) fn numbers(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells it to do something, and waits until it has, for a while.
    pub(super) async fn order(&self, order: Order, patience: Duration) -> Result<Answer> {
        timeout(patience, self.ordered(order)).await.context("a driver process does not answer")?
    }

    async fn ordered(&self, order: Order) -> Result<Answer> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        match &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waiting) => drop(waiting.insert(number, sender)),
            None => bail!("a driver process ended"),
        }
        let mut line = serde_json::to_vec(&Numbered { number, message: order }).context("write an order")?;
        line.push(b'\n');
        self.input.lock().await.write_all(&line).await.context("a driver process ended")?;
        match answer.await.context("a driver process ended")? {
            Answer::Failed { why } => bail!("a driver: {why}"),
            answer => Ok(answer),
        }
    }

    /// Lets it end: its input closes, and its agents stop.
    pub(super) async fn end(self) -> Result<()> {
        let Self { mut child, input, .. } = self;
        drop(input);
        // Killed when it takes too long, as it is dropped then.
        let ended = timeout(ENDS_WITHIN, child.wait()).await.context("a driver process does not end")?;
        let status = ended.context("wait for a driver process")?;
        if !status.success() {
            bail!("a driver process failed ({status})");
        }
        Ok(())
    }
}

/// Takes answers to whoever waits for them, until the driver ends; whoever waits then learns that.
async fn hear(output: ChildStdout, waiting: Waiting) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(Numbered { number, message }) = serde_json::from_str::<Numbered<Answer>>(&line) else {
            tracing::error!("a driver says what no driver says");
            break;
        };
        let waiter = waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|it| it.remove(&number));
        if let Some(waiter) = waiter {
            // It may have given up.
            let _ = waiter.send(message);
        }
    }
    *waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Tells every driver to do the same, and waits for all.
pub(super) async fn order_all(drivers: &[Driver], order: &Order, patience: Duration) -> Result<Vec<Answer>> {
    try_join_all(drivers.iter().map(|driver| driver.order(order.clone(), patience))).await
}

/// Starts as many drivers as a scenario wants for its clusters; they have none yet.
pub(super) fn start_drivers(scenario: &Scenario, clusters: u32) -> Result<Vec<Driver>> {
    let count = scenario.fleet.drivers(u64::from(clusters)).min(u64::from(clusters));
    (0..count).map(|_| Driver::start()).collect()
}

/// Shares clusters out: each driver gets as many consecutive numbers as the others, or one more.
pub(super) fn shares(first: u32, clusters: u32, drivers: u32) -> Vec<Range<u32>> {
    let (share, rest) = (clusters / drivers, clusters % drivers);
    let mut next = first;
    (0..drivers)
        .map(|number| {
            let begins = next;
            next += share + u32::from(number < rest);
            begins..next
        })
        .collect()
}

/// Picks a cluster by a number that was drawn, none of those that are spared; `None` if no other is there.
pub(super) fn pick(drivers: &[Driver], drawn: u32, spared: Option<Share>) -> Option<(&Driver, u32)> {
    let all = drivers.iter().flat_map(|driver| {
        let numbers: Vec<u32> = driver.numbers().iter().copied().collect();
        numbers.into_iter().map(move |number| (driver, number))
    });
    let all: Vec<_> = all.filter(|(_, number)| spared.is_none_or(|spared| !spared.has(*number))).collect();
    all.get((drawn as usize).checked_rem(all.len())?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_one_share() {
        assert_eq!(shares(0, 5, 2), [0..3, 3..5]);
        assert_eq!(shares(7, 1, 3), [7..8, 8..8, 8..8]);
    }
}
