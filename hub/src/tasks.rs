//! What runs in the background, and what it means when it ends.
//!
//! Owns starting tasks by name, noticing that one ended, and naming those that are late when the hub stops. Sessions and
//! connections are not listed: they come and go with their agents, and each belongs to the gRPC server.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Every background task of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Accepts connections on the TLS port.
    Accept,
    /// Serves gRPC on what was accepted.
    Serve,
    /// Serves metrics and health on the plain port.
    Web,
    /// Commits decisions.
    Steward,
    /// Follows the store into the fleet that everybody reads.
    View,
    /// Follows the directory of documents, or the objects of a Kubernetes API.
    Source,
    /// Hands what the directory holds to the steward; shows what of the objects was not taken.
    Sync,
    /// Tells the management cluster how to reach the hub.
    Publish,
    /// Writes the statuses of resources back to the Kubernetes API.
    Status,
    /// Plans clusters when the fleet changes.
    Planner,
    /// Issues the hub's own certificate again before it ends.
    CertificateRenewal,
    /// Keeps this process's lease and its key, where it is one of several.
    Seat,
    /// Says that this process is ready once it owns clusters.
    Member,
    /// Takes part in elections of the process that decides.
    Election,
    /// Begins and ends what only the process that decides does.
    Terms,
    /// Writes the ring as processes come and go.
    Ring,
    /// Keeps the hold of all processes the same.
    Hold,
    /// Sends agents to their new owners when the ring changes.
    Mover,
    /// Forgets clusters whose new owners have their whole picture.
    Release,
    /// Follows the other processes.
    Peers,
    /// Writes what is known of this process's clusters into the store, now and then.
    Summaries,
    /// Looks at how busy the process is.
    Load,
}

/// What the end of a task means while the hub is not stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The hub cannot do its work any more: it stops, with an error, and whoever runs it starts it again. Clusters keep
    /// what they have meanwhile.
    StopsTheHub,
    /// Something is worse than before and the rest goes on: it is an ERROR in the log.
    IsReported,
}

/// Why a task ended.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// A task that ended although the hub is not stopping.
#[derive(Debug)]
pub struct TaskDied {
    /// Which.
    pub task: Task,
    /// Why, for people.
    pub problem: String,
}

/// Starts tasks and knows which are running; cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    running: Arc<Mutex<BTreeMap<Task, usize>>>,
    died: mpsc::Sender<TaskDied>,
}

/// The deaths of tasks that stop the hub.
pub struct Deaths(mpsc::Receiver<TaskDied>);

/// Counts a task as running until it is dropped.
struct Running {
    task: Task,
    running: Arc<Mutex<BTreeMap<Task, usize>>>,
}

impl Task {
    /// Returns what it means when the task ends.
    #[must_use]
    pub fn death(self) -> Death {
        match self {
            Self::Accept
            | Self::Serve
            | Self::Web
            | Self::Steward
            | Self::View
            | Self::Source
            | Self::Sync
            | Self::Planner
            | Self::Seat
            | Self::Member
            | Self::Election
            | Self::Terms
            | Self::Ring
            | Self::Hold
            | Self::Mover
            | Self::Release
            | Self::Peers => Death::StopsTheHub,
            // The certificate that is there serves for weeks, and a restart issues another.
            Self::CertificateRenewal => Death::IsReported,
            // What is known is shown all the same, and older words of it are there.
            Self::Summaries => Death::IsReported,
            // The figure stands still, and nothing is decided by it.
            Self::Load => Death::IsReported,
            // What was published or written stays there.
            Self::Publish | Self::Status => Death::IsReported,
        }
    }

    /// Returns the task's name in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Serve => "serve",
            Self::Web => "web",
            Self::Steward => "decisions",
            Self::View => "view",
            Self::Source => "source",
            Self::Sync => "sync",
            Self::Publish => "publish",
            Self::Status => "status",
            Self::Planner => "planner",
            Self::CertificateRenewal => "certificate-renewal",
            Self::Seat => "seat",
            Self::Member => "member",
            Self::Election => "election",
            Self::Terms => "terms",
            Self::Ring => "ring",
            Self::Hold => "hold",
            Self::Mover => "mover",
            Self::Release => "release",
            Self::Peers => "peers",
            Self::Summaries => "summaries",
            Self::Load => "load",
        }
    }
}

impl Tasks {
    /// Makes a set without tasks, and the way to hear of deaths.
    #[must_use]
    pub fn new() -> (Self, Deaths) {
        let (died, deaths) = mpsc::channel(1);
        let tasks =
            Self { tracker: TaskTracker::new(), stopping: CancellationToken::new(), running: Arc::default(), died };
        (tasks, Deaths(deaths))
    }

    /// Starts a task. It ends of itself once [`Tasks::stopping`] is cancelled; before, its end is a death.
    pub fn spawn<E: Into<TaskError>>(&self, task: Task, future: impl Future<Output = Result<(), E>> + Send + 'static) {
        let running = Running::start(task, Arc::clone(&self.running));
        let work = tokio::spawn(async move { future.await.map_err(Into::into) });
        let (stopping, died) = (self.stopping.clone(), self.died.clone());
        self.tracker.spawn(async move {
            let problem = match work.await {
                Ok(Ok(())) => "it returned".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            drop(running);
            if stopping.is_cancelled() {
                return;
            }
            tracing::error!(task = task.as_str(), problem, "a background task ended");
            match task.death() {
                // The first death stops the hub; those after it are in the log, and nobody waits for them.
                Death::StopsTheHub => drop(died.try_send(TaskDied { task, problem })),
                Death::IsReported => {}
            }
        });
    }

    /// Returns what is cancelled when tasks shall end.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Tells tasks to end, and waits until they did.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Returns the tasks that are running.
    #[must_use]
    pub fn running(&self) -> Vec<Task> {
        lock(&self.running).keys().copied().collect()
    }
}

impl Deaths {
    /// Waits for a death that stops the hub.
    pub async fn next(&mut self) -> TaskDied {
        match self.0.recv().await {
            Some(died) => died,
            None => std::future::pending().await,
        }
    }
}

impl Running {
    fn start(task: Task, running: Arc<Mutex<BTreeMap<Task, usize>>>) -> Self {
        *lock(&running).entry(task).or_default() += 1;
        Self { task, running }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        let left = running.get(&self.task).map_or(0, |count| count - 1);
        if left == 0 {
            running.remove(&self.task);
        } else {
            running.insert(self.task, left);
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TaskDied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task {} ended: {}", self.task, self.problem)
    }
}

impl std::error::Error for TaskDied {}

fn lock(running: &Mutex<BTreeMap<Task, usize>>) -> MutexGuard<'_, BTreeMap<Task, usize>> {
    running.lock().expect("no holder of the counts panics")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn within<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens in time")
    }

    #[tokio::test]
    async fn a_death_is_told_with_its_reason() {
        let (tasks, mut deaths) = Tasks::new();
        tasks.spawn(Task::Steward, async { Err("the disk is gone") });
        let died = within(deaths.next()).await;
        assert_eq!(died.to_string(), "the task decisions ended: the disk is gone");
        tasks.spawn(Task::View, async { Ok::<(), TaskError>(()) });
        assert_eq!(within(deaths.next()).await.task, Task::View);
    }

    #[tokio::test]
    async fn stopping_is_no_death_and_late_tasks_are_named() {
        let (tasks, mut deaths) = Tasks::new();
        let stopping = tasks.stopping();
        tasks.spawn(Task::View, async move {
            stopping.cancelled().await;
            Ok::<(), TaskError>(())
        });
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn(Task::Source, finished);
        assert_eq!(tasks.running(), [Task::View, Task::Source]);
        let late = tokio::time::timeout(Duration::from_millis(100), tasks.stop()).await;
        assert!(late.is_err());
        assert_eq!(tasks.running(), [Task::Source]);
        finish.send(()).unwrap();
        within(tasks.stop()).await;
        assert!(tasks.running().is_empty());
        let none = tokio::time::timeout(Duration::from_millis(10), deaths.next()).await;
        assert!(none.is_err());
    }
}
