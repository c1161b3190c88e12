//! The processes that run the clusters, as the coordinator holds them.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::drive::{Answer, Numbered, Order};

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
    /// The number of its first cluster.
    pub(super) first: u32,
    /// How many it runs.
    pub(super) clusters: u32,
}

impl Driver {
    /// Starts a driver for some clusters; they are not adopted yet.
    pub(super) fn start(first: u32, clusters: u32) -> Result<Self> {
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
        Ok(Self { child, input: input.into(), waiting, next: AtomicU64::new(1), first, clusters })
    }

    /// Returns its process id; `None` once it has ended.
    pub(super) fn process(&self) -> Option<u32> {
        self.child.id()
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
