//! The composition root: the one place that knows every part of an agent.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use starling_agent_core::hello::Speaker;
use starling_model::Facts;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::applier::Applier;
use crate::client::Client;
use crate::cluster::{ClusterApi, ClusterError};
use crate::config::AgentConfig;
use crate::identity::{Enrolment, Keeper};
use crate::metrics::Metrics;
use crate::observer;
use crate::ports::Ports;
use crate::shared::Shared;
use crate::standby::Leadership;
use crate::tasks::Task;

/// Waits between attempts to reach the cluster's API server at the start: first and longest.
const CLUSTER_RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// How long a stopping agent may take to say farewell and to finish the install that it is at.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Runs one agent until `shutdown` is cancelled.
///
/// Dropping the future ends the agent as a crash would: nothing is lost, for everything that counts is in the cluster.
///
/// # Errors
/// A task that ended before its time, which is a defect.
pub async fn run(
    config: AgentConfig,
    cluster: Arc<dyn ClusterApi>,
    ports: Ports,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    run_measured(config, cluster, ports, shutdown, Metrics::new()).await
}

/// Runs one agent as [`run`] does, and counts in metrics that somebody else shows.
///
/// # Errors
/// As [`run`].
pub async fn run_measured(
    config: AgentConfig,
    cluster: Arc<dyn ClusterApi>,
    ports: Ports,
    shutdown: CancellationToken,
    metrics: Metrics,
) -> anyhow::Result<()> {
    run_term(config, cluster, ports, shutdown, metrics, Leadership::always()).await
}

/// Runs one agent as [`run`] does, which begins nothing once it is no longer the active one.
pub(crate) async fn run_term(
    config: AgentConfig,
    cluster: Arc<dyn ClusterApi>,
    ports: Ports,
    shutdown: CancellationToken,
    metrics: Metrics,
    leadership: Leadership,
) -> anyhow::Result<()> {
    let start = know_cluster(&*cluster, &ports);
    let Some((fingerprint, facts)) = shutdown.run_until_cancelled(start).await else { return Ok(()) };
    let speaker = Speaker { fingerprint, instance: ports.draw_uid(), agent_version: config.version.clone() };
    tracing::info!(
        fleet = %config.fleet,
        hub = %config.hub,
        kubernetes = %facts.kubernetes_version,
        instance = %speaker.instance,
        "agent started"
    );
    let config = Arc::new(config);
    let shared = Arc::new(Shared::new(config.hub.clone(), facts, metrics, leadership));
    shared.metrics.follow(&shared, Arc::clone(&ports.clock));
    let enrolment = Enrolment::new(Arc::clone(&config), Arc::clone(&cluster), ports.clone());
    let keeper = Keeper::new(enrolment, Arc::clone(&shared), ports.clone(), config.trust_pem.clone());
    let applier = Applier::new(Arc::clone(&shared), Arc::clone(&cluster), ports.clone());
    let client = Client::new(Arc::clone(&shared), Arc::clone(&cluster), ports.clone(), speaker);

    let mut tasks = JoinSet::new();
    spawn(&mut tasks, Task::Observer, observer::follow(Arc::clone(&shared), Arc::clone(&cluster)));
    spawn(&mut tasks, Task::Facts, observer::follow_facts(Arc::clone(&shared), cluster, ports));
    spawn(&mut tasks, Task::Applier, applier.run(shutdown.clone()));
    spawn(&mut tasks, Task::Identity, keeper.run());
    spawn(&mut tasks, Task::Session, client.run(shutdown.clone()));
    let given_up = async {
        shutdown.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        biased;
        outcome = until_stopped(&mut tasks, &shutdown) => outcome?,
        () = given_up => tracing::info!("what was under way did not end in time; it is finished at the next start"),
    }
    tracing::info!("agent stopped");
    Ok(())
}

/// Waits until the agent was stopped, its session said farewell and its applier came between two installs. The other
/// tasks have nothing to finish.
async fn until_stopped(tasks: &mut JoinSet<Task>, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut finishing = vec![Task::Session, Task::Applier];
    while let Some(ended) = tasks.join_next().await {
        let task = ended?;
        if !shutdown.is_cancelled() {
            bail!("task {task} ended before the agent");
        }
        finishing.retain(|finishing| *finishing != task);
        if finishing.is_empty() {
            break;
        }
    }
    Ok(())
}

fn spawn(tasks: &mut JoinSet<Task>, task: Task, work: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(async move {
        work.await;
        task
    });
}

/// Learns what the agent has to know of its cluster before anything else, however long that takes.
async fn know_cluster(cluster: &dyn ClusterApi, ports: &Ports) -> (String, Facts) {
    let mut failures = 0;
    loop {
        let error = match ask(cluster).await {
            Ok(known) => return known,
            Err(error) => error,
        };
        tracing::warn!(%error, "cannot reach the cluster's API server, trying again");
        let longest = CLUSTER_RETRY.0.saturating_mul(1 << failures.min(8)).min(CLUSTER_RETRY.1);
        failures += 1;
        tokio::time::sleep(ports.draw_wait(CLUSTER_RETRY.0 / 2, longest)).await;
    }
}

async fn ask(cluster: &dyn ClusterApi) -> Result<(String, Facts), ClusterError> {
    Ok((cluster.fingerprint().await?, cluster.facts().await?))
}
