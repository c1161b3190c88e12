//! Agents whose hub was set up anew, with other authorities, or that was given another manifest.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::ClusterApi;
use crate::config::{AgentConfig, TokenSource};
use crate::identity::IdentityPlace;
use crate::testing::{FakeCluster, FakeHub, PipeDialer, TOKEN, ports};

struct Agent {
    task: JoinHandle<anyhow::Result<()>>,
    shutdown: CancellationToken,
}

/// Runs an agent with what a manifest brings: the hub's authorities and a token.
fn start(cluster: &Arc<FakeCluster>, trust_pem: &[u8], dialer: &PipeDialer, token: &str) -> Agent {
    let config = AgentConfig {
        hub: "hub.test:8443".to_owned(),
        fleet: "demo".to_owned(),
        trust_pem: trust_pem.to_vec(),
        token: TokenSource::Text(token.to_owned()),
        cluster_name: "edge-1".to_owned(),
        identity: IdentityPlace::Secret("identity".to_owned()),
        version: "0.1.0".to_owned(),
    };
    let shutdown = CancellationToken::new();
    let cluster: Arc<dyn ClusterApi> = Arc::clone(cluster) as _;
    let agent = crate::run(config, cluster, ports(PipeDialer(dialer.0.clone())), shutdown.clone());
    Agent { task: tokio::spawn(agent), shutdown }
}

impl Agent {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("no panic").expect("no defect");
    }
}

/// A cluster that joined a hub, which is gone now; and that hub's authorities.
async fn joined() -> (Arc<FakeCluster>, Vec<u8>) {
    let (cluster, (mut hub, dialer)) = (Arc::new(FakeCluster::new()), FakeHub::start());
    let agent = start(&cluster, &hub.trust_pem, &dialer, TOKEN);
    let connection = hub.welcome().await;
    agent.stop().await;
    drop(connection);
    (cluster, hub.trust_pem.clone())
}

#[tokio::test(start_paused = true)]
async fn the_token_of_a_hub_that_was_set_up_anew_is_used() {
    let (cluster, old_trust) = joined().await;
    let (mut hub, dialer) = FakeHub::start();
    assert_ne!(hub.trust_pem, old_trust);
    let agent = start(&cluster, &hub.trust_pem, &dialer, TOKEN);
    let connection = hub.welcome().await;
    assert_eq!(*hub.enrolled.lock().unwrap(), ["join"]);
    agent.stop().await;
    drop(connection);
    // From then on it is the hub's own.
    let agent = start(&cluster, &hub.trust_pem, &dialer, TOKEN);
    let _connection = hub.welcome().await;
    assert_eq!(*hub.enrolled.lock().unwrap(), ["join"]);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_comes_late_is_joined_nevertheless() {
    let (cluster, _) = joined().await;
    let (mut hub, dialer) = FakeHub::start();
    let (away, mut unheard) = tokio::sync::mpsc::channel(4);
    let agent = start(&cluster, &hub.trust_pem, &PipeDialer(away), TOKEN);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(hub.enrolled.lock().unwrap().is_empty());
    tokio::spawn(async move {
        while let Some(stream) = unheard.recv().await {
            let _ = dialer.0.send(stream).await;
        }
    });
    let _connection = hub.welcome().await;
    assert_eq!(*hub.enrolled.lock().unwrap(), ["join"]);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_tried_once_and_the_identity_stays() {
    let (cluster, _) = joined().await;
    let (hub, dialer) = FakeHub::start();
    let before = cluster.state().identity.clone();
    let agent = start(&cluster, &hub.trust_pem, &dialer, "st1.demo.used");
    tokio::time::sleep(Duration::from_secs(900)).await;
    assert_eq!(*hub.enrolled.lock().unwrap(), ["join"]);
    assert!(cluster.state().identity == before, "the identity was thrown away");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn authorities_that_were_announced_beside_the_pinned_ones_are_no_reason() {
    let (cluster, old_trust) = joined().await;
    let (other, _) = FakeHub::start();
    // The hub changes its authority; the manifest still has the old one.
    let both = [&old_trust[..], &other.trust_pem[..]].concat();
    cluster.state().identity.as_mut().unwrap().trust_pem = String::from_utf8(both).unwrap();
    let (hub, dialer) = FakeHub::start();
    let agent = start(&cluster, &old_trust, &dialer, TOKEN);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(hub.enrolled.lock().unwrap().is_empty());
    agent.stop().await;
}
