//! One active agent and standbys that take over: runs an agent for as long as the Lease is this process's.
//!
//! Owns the requests for the Lease and beginning and ending an agent's term. Does not own when the Lease may be taken nor
//! when a holder has to stop: these are the core's. A standby holds no session and no watch.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use starling_agent_core::standby::{Election, Failure, Request};
use starling_model::Millis;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::agent::run_term;
use crate::cluster::{ClusterApi, ClusterError, LeaseApi};
use crate::config::AgentConfig;
use crate::metrics::Metrics;
use crate::ports::Ports;

/// How long one request for the Lease may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// How long an agent whose term ended may take to finish what it has begun: less than others wait for its Lease to end.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// After how many failures in a row it is said again: about once a minute.
const FAILURES_A_LINE: u32 = 30;

/// How long releasing the Lease may take; without it the standby takes over a little later.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// One of several agents of a cluster.
pub struct Candidate {
    /// The Lease that decides.
    pub lease: Arc<dyn LeaseApi>,
    /// This process's name in it, another than that of every other candidate: the pod's.
    pub name: String,
}

/// Until when an agent may begin something (boot time), as its tasks ask; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Leadership(Arc<AtomicU64>);

struct Elector {
    candidate: Candidate,
    election: Election,
    leadership: Leadership,
    ports: Ports,
    metrics: Metrics,
    /// Requests that failed in a row.
    failures: u32,
}

impl Leadership {
    /// For an agent that has no standby.
    pub(crate) fn always() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    fn none() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    pub(crate) fn set(&self, until: Option<Millis>) {
        self.0.store(until.map_or(0, |until| until.0), Ordering::Release);
    }

    /// Tells whether the agent may begin something.
    pub(crate) fn holds(&self, uptime: Millis) -> bool {
        uptime.0 < self.0.load(Ordering::Acquire)
    }
}

/// Runs an agent whenever the Lease is this process's, until `shutdown` is cancelled; then releases it.
///
/// # Errors
/// As [`crate::run`].
pub async fn run_elected(
    config: AgentConfig,
    cluster: Arc<dyn ClusterApi>,
    ports: Ports,
    candidate: Candidate,
    shutdown: CancellationToken,
    metrics: Metrics,
) -> anyhow::Result<()> {
    let mut elector = Elector::new(candidate, ports.clone(), metrics.clone());
    let outcome = loop {
        if shutdown.run_until_cancelled(elector.until_active()).await.is_none() {
            break Ok(());
        }
        metrics.set_standby(false);
        metrics.activations.inc();
        let stop = CancellationToken::new();
        let leadership = elector.leadership.clone();
        let mut term = pin!(run_term(
            config.clone(),
            Arc::clone(&cluster),
            ports.clone(),
            stop.clone(),
            metrics.clone(),
            leadership,
        ));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = elector.until_lost() => {
                metrics.step_downs.inc();
            }
            ended = &mut term => break ended,
        };
        stop.cancel();
        metrics.set_standby(true);
        match timeout(STOP_GRACE, &mut term).await {
            Ok(Err(error)) => break Err(error),
            Ok(Ok(())) => {}
            Err(_) => tracing::warn!("what was under way did not end in time and is given up"),
        }
    };
    // Whatever was under way has ended with its term.
    elector.release().await;
    outcome
}

impl Elector {
    fn new(candidate: Candidate, ports: Ports, metrics: Metrics) -> Self {
        let election = Election::new(candidate.name.clone(), ports.clock.uptime());
        Self { candidate, election, leadership: Leadership::none(), ports, metrics, failures: 0 }
    }

    /// Waits until the Lease is this process's.
    async fn until_active(&mut self) {
        let mut shown: Option<String> = None;
        loop {
            self.turn().await;
            if self.election.is_active(self.uptime()) {
                tracing::info!(name = %self.candidate.name, "active: this agent holds the lease");
                return;
            }
            if self.failures == 0 {
                // Not before: whoever may not read the Lease would never take over.
                self.metrics.set_standby(true);
                let holder = self.election.holder().unwrap_or("nobody");
                if shown.as_deref() != Some(holder) {
                    tracing::info!(name = %self.candidate.name, %holder, "standby: another agent holds the lease");
                    shown = Some(holder.to_owned());
                }
            }
            sleep(self.election.due().since(self.uptime())).await;
        }
    }

    /// Renews until the Lease is lost, or could not be renewed in time.
    async fn until_lost(&mut self) {
        loop {
            let now = self.uptime();
            let Some(until) = self.election.active_until().filter(|until| now < *until) else { break };
            if now < self.election.due() {
                sleep(self.election.due().min(until).since(now)).await;
            } else {
                // The right ends while a request waits, too.
                let _ = timeout(until.since(now), self.turn()).await;
            }
        }
        self.election.stepped_down();
        self.leadership.set(None);
        let holder = self.election.holder().unwrap_or("nobody");
        tracing::warn!(name = %self.candidate.name, %holder, "the lease is lost: this agent stops and stands by");
    }

    /// Does what is due.
    async fn turn(&mut self) {
        let ports = self.ports.clone();
        let mut entropy = || ports.draw();
        let asked = self.uptime();
        let write = match self.election.request(asked) {
            Request::Write(write) => Some(write),
            Request::Read => match answered(self.candidate.lease.read()).await {
                Ok(lease) => self.election.read(lease, self.uptime(), &mut entropy),
                Err(error) => {
                    self.failed(&error);
                    return;
                }
            },
        };
        self.leadership.set(self.election.active_until());
        let Some(write) = write else {
            self.failures = 0;
            return;
        };
        let asked = self.uptime();
        match answered(self.candidate.lease.write(&write)).await {
            Ok(lease) => {
                self.failures = 0;
                self.election.wrote(lease, asked, self.uptime());
            }
            Err(error) => self.failed(&error),
        }
        self.leadership.set(self.election.active_until());
    }

    fn failed(&mut self, error: &ClusterError) {
        let ports = self.ports.clone();
        let failure = match error {
            ClusterError::Conflict(_) => Failure::Conflict,
            ClusterError::NotFound | ClusterError::Rejected(_) | ClusterError::Unavailable(_) => Failure::Unavailable,
        };
        self.election.failed(failure, self.uptime(), &mut || ports.draw());
        if failure == Failure::Conflict {
            tracing::debug!(%error, "somebody else wrote the lease");
            return;
        }
        if self.failures.is_multiple_of(FAILURES_A_LINE) {
            tracing::warn!(%error, "cannot read or write the lease, trying again");
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// Lets a standby take over at once.
    async fn release(&mut self) {
        self.leadership.set(None);
        let Some(write) = self.election.release() else { return };
        match timeout(RELEASE_TIMEOUT, self.candidate.lease.write(&write)).await {
            Ok(Ok(_)) => tracing::info!(name = %self.candidate.name, "lease released"),
            Ok(Err(error)) => tracing::info!(%error, "the lease was not released; it ends by itself"),
            Err(_) => tracing::info!("the lease was not released in time; it ends by itself"),
        }
    }

    fn uptime(&self) -> Millis {
        self.ports.clock.uptime()
    }
}

async fn answered<T>(request: impl Future<Output = Result<T, ClusterError>>) -> Result<T, ClusterError> {
    match timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer,
        Err(_) => Err(ClusterError::Unavailable(format!("no answer in {} s", REQUEST_TIMEOUT.as_secs()))),
    }
}
