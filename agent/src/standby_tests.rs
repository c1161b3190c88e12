//! Several agents of one cluster around one Lease in memory, against a hub in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use starling_agent_core::standby::{Lease, LeaseWrite};
use starling_model::Uid;
use starling_model::plan::Detach;
use starling_model::session::Desired;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::run_term;
use crate::cluster::{ClusterApi, ClusterError, LeaseApi};
use crate::config::{AgentConfig, TokenSource};
use crate::identity::IdentityPlace;
use crate::metrics::Metrics;
use crate::standby::{Candidate, Leadership, run_elected};
use crate::testing::{FakeCluster, FakeHub, HubConnection, PipeDialer, TOKEN, digest, fence, ports};

/// A Lease in memory.
#[derive(Default)]
struct FakeLease {
    lease: Mutex<Option<Lease>>,
    is_away: Mutex<bool>,
}

struct Rig {
    cluster: Arc<FakeCluster>,
    lease: Arc<FakeLease>,
    hub: FakeHub,
    dialer: PipeDialer,
}

struct Process {
    task: JoinHandle<anyhow::Result<()>>,
    shutdown: CancellationToken,
    metrics: Metrics,
}

#[async_trait]
impl LeaseApi for FakeLease {
    async fn read(&self) -> Result<Option<Lease>, ClusterError> {
        self.answer()?;
        Ok(self.lease.lock().unwrap().clone())
    }

    async fn write(&self, write: &LeaseWrite) -> Result<Lease, ClusterError> {
        self.answer()?;
        let mut stored = self.lease.lock().unwrap();
        if stored.as_ref().map(|lease| lease.version.clone()) != write.expected {
            return Err(ClusterError::Conflict("another version".to_owned()));
        }
        let version = stored.as_ref().map_or(0, |lease| lease.version.parse().unwrap()) + 1_u64;
        let lease = Lease {
            holder: write.holder.clone(),
            duration: write.duration,
            transitions: write.transitions,
            version: version.to_string(),
        };
        *stored = Some(lease.clone());
        Ok(lease)
    }
}

impl FakeLease {
    fn answer(&self) -> Result<(), ClusterError> {
        match *self.is_away.lock().unwrap() {
            true => Err(ClusterError::Unavailable("gone fishing".to_owned())),
            false => Ok(()),
        }
    }

    fn holder(&self) -> String {
        self.lease.lock().unwrap().as_ref().map(|lease| lease.holder.clone()).unwrap_or_default()
    }
}

impl Rig {
    fn new() -> Self {
        let (hub, dialer) = FakeHub::start();
        Self { cluster: Arc::new(FakeCluster::new()), lease: Arc::default(), hub, dialer }
    }

    fn config(&self) -> AgentConfig {
        AgentConfig {
            hub: "hub.test:8443".to_owned(),
            fleet: "demo".to_owned(),
            trust_pem: self.hub.trust_pem.clone(),
            token: TokenSource::Text(TOKEN.to_owned()),
            cluster_name: String::new(),
            identity: IdentityPlace::Secret("identity".to_owned()),
            version: "0.1.0".to_owned(),
        }
    }

    fn start(&self, name: &str) -> Process {
        let cluster: Arc<dyn ClusterApi> = Arc::clone(&self.cluster) as _;
        let candidate = Candidate { lease: Arc::clone(&self.lease) as _, name: name.to_owned() };
        let (shutdown, metrics) = (CancellationToken::new(), Metrics::new());
        let ports = ports(PipeDialer(self.dialer.0.clone()));
        let agent = run_elected(self.config(), cluster, ports, candidate, shutdown.clone(), metrics.clone());
        Process { task: tokio::spawn(agent), shutdown, metrics }
    }

    /// Starts two, of which the first is active when this returns.
    async fn pair(&mut self) -> (Process, Process, HubConnection) {
        let first = self.start("one");
        let mut connection = self.hub.welcome().await;
        let second = self.start("two");
        connection.serve(Duration::from_secs(60)).await;
        assert_eq!((self.lease.holder().as_str(), standings(&first, &second)), ("one", ("active", "standby")));
        (first, second, connection)
    }
}

impl Process {
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("no panic").expect("no defect");
    }
}

fn standings(first: &Process, second: &Process) -> (&'static str, &'static str) {
    (first.metrics.standing(), second.metrics.standing())
}

#[tokio::test(start_paused = true)]
async fn a_standby_has_neither_session_nor_watch() {
    let mut rig = Rig::new();
    let (first, second, connection) = rig.pair().await;
    assert_eq!(rig.cluster.watchers(), 1);
    assert_eq!(*rig.hub.enrolled.lock().unwrap(), ["join"]);
    drop(connection);
    second.stop().await;
    // A standby that goes takes nothing with it.
    assert_eq!(rig.lease.holder(), "one");
    first.stop().await;
    assert_eq!(rig.lease.holder(), "");
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_from_one_that_died() {
    let mut rig = Rig::new();
    let (first, second, connection) = rig.pair().await;
    let before = connection.hello.instance;
    let died = Instant::now();
    first.kill().await;
    let connection = rig.hub.welcome().await;
    let took = died.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(21), "{took:?}");
    assert_ne!(connection.hello.instance, before);
    assert_eq!((rig.lease.holder().as_str(), second.metrics.standing()), ("two", "active"));
    // The identity is the cluster's, not the process's.
    assert_eq!(*rig.hub.enrolled.lock().unwrap(), ["join"]);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_at_once_from_one_that_stops() {
    let mut rig = Rig::new();
    let (first, second, connection) = rig.pair().await;
    drop(connection);
    let stopped = Instant::now();
    first.stop().await;
    let connection = rig.hub.welcome().await;
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    assert_ne!(connection.hello.instance, Uid([0; 16]));
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_read_the_lease_is_not_ready() {
    let rig = Rig::new();
    *rig.lease.is_away.lock().unwrap() = true;
    let process = rig.start("one");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(process.metrics.standing(), "starting");
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_time_is_over_begins_nothing() {
    let mut rig = Rig::new();
    let ports = ports(PipeDialer(rig.dialer.0.clone()));
    let leadership = Leadership::always();
    let cluster: Arc<dyn ClusterApi> = Arc::clone(&rig.cluster) as _;
    let (stop, clock) = (CancellationToken::new(), Arc::clone(&ports.clock));
    let term = run_term(rig.config(), cluster, ports, stop.clone(), Metrics::new(), leadership.clone());
    let term = tokio::spawn(term);
    let facts = rig.cluster.facts().await.unwrap();
    let mut connection = rig.hub.welcome().await;
    // The word to stop is not heard yet: nobody looked at the clock but the applier itself.
    leadership.set(Some(clock.uptime()));
    let fence = fence(5);
    let desired = Desired {
        fence,
        plan_digest: digest(5),
        facts: facts.digest(),
        unchanged: false,
        entries: Vec::new(),
        tombstones: Vec::new(),
        detach: Some(Detach::Orphan),
    };
    connection.send_desired(desired);
    connection.serve(Duration::from_secs(60)).await;
    assert_eq!(rig.cluster.state().inventory, None);
    stop.cancel();
    term.await.expect("no panic").expect("no defect");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_ends_its_session_and_comes_back() {
    let mut rig = Rig::new();
    let (first, second, connection) = rig.pair().await;
    *rig.lease.is_away.lock().unwrap() = true;
    tokio::time::sleep(Duration::from_secs(12)).await;
    drop(connection);
    assert_eq!((standings(&first, &second), rig.cluster.watchers()), (("standby", "standby"), 0));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(standings(&first, &second), ("standby", "standby"));
    *rig.lease.is_away.lock().unwrap() = false;
    let _connection = rig.hub.welcome().await;
    assert!([("active", "standby"), ("standby", "active")].contains(&standings(&first, &second)));
    let steps = |process: &Process| process.metrics.step_downs.get();
    assert_eq!((steps(&first), steps(&second)), (1, 0));
    first.stop().await;
    second.stop().await;
}
