//! Where an agent belongs: here, at another process, or wherever this process cannot tell yet.
//!
//! Owns sending agents to their owner, and sending away, paced, those whose owner is another after the ring changed. Does not own
//! the ring.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use starling_hub_core::fleet::Fleet;
use starling_model::ClusterId;
use starling_model::session::Hello;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Shard;

/// How many agents are sent away at once, and how long it is until the next are: 500 a second.
const PACE: (usize, Duration) = (50, Duration::from_millis(100));

/// After this time an agent that did not leave is sent away again.
const AGAIN: Duration = Duration::from_secs(20);

/// How long an agent whose owner cannot be reached waits here for another: less than it waits for a welcome.
const KEPT: Duration = Duration::from_secs(20);

/// The agents that waited leave over this time for each step of the last byte of their clusters' identities: a second for all.
const LEAVE_STEP: Duration = Duration::from_millis(4);

/// How agents reach the process that owns their cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Routing {
    /// A process that is not the owner sends them to the owner's own address.
    #[default]
    Redirect,
    /// They can reach the advertised address alone: a process that is not the owner passes their stream on.
    Forward,
}

/// Where an agent belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Here.
    Here,
    /// At another process, which it is told.
    Redirect {
        /// The other's own address.
        address: String,
        /// The ring that says so.
        epoch: u64,
    },
    /// At another process, which its stream is passed on to.
    Forward {
        /// The other's own address.
        address: String,
    },
    /// This process does not know: its ring is older than the agent's, or there is none yet.
    Behind,
}

impl Shard {
    /// Tells where an agent belongs; `forwarded` if another process passed its stream on.
    pub(crate) fn route(&self, id: ClusterId, hello: &Hello, forwarded: bool) -> Route {
        if !self.parts.is_one_of_many {
            return Route::Here;
        }
        let fleet = self.fleet();
        let (Some(ring), Some(owner)) = (fleet.ring(), fleet.owner(&id)) else { return Route::Behind };
        // A process that is behind never redirects, or agents would go in circles. In a hold the store may be older than what
        // agents have seen, and is served all the same.
        if hello.newest_epoch > ring.epoch && self.parts.hold.reason().is_none() {
            return Route::Behind;
        }
        if owner.name == self.parts.hub {
            return Route::Here;
        }
        let address = owner.address.clone();
        match (forwarded, self.parts.routing, hello.forward) {
            // Whoever passed it on has another ring: it looks again.
            (true, _, _) => Route::Behind,
            (false, Routing::Forward, _) | (false, Routing::Redirect, true) => Route::Forward { address },
            (false, Routing::Redirect, false) => Route::Redirect { address, epoch: ring.epoch },
        }
    }

    /// Returns the epoch of the ring; zero where there is none.
    pub(crate) fn epoch(&self) -> u64 {
        self.fleet().ring().map_or(0, |ring| ring.epoch)
    }

    /// Waits until the ring is another than the one that named an owner that cannot be reached. Returns the owner's address then,
    /// and the epoch; `None` if nothing changed in time.
    pub(crate) async fn next_owner(&self, id: ClusterId, epoch: u64) -> Option<(String, u64)> {
        let mut fleets = self.parts.fleet.clone();
        let is_newer = |fleet: &Arc<Fleet>| fleet.ring().is_some_and(|ring| ring.epoch > epoch);
        let fleet = timeout(KEPT, fleets.wait_for(is_newer)).await.ok()?.ok().map(|fleet| Arc::clone(&fleet))?;
        // So that those who waited do not all arrive at once.
        sleep(LEAVE_STEP * u32::from(id.0[15])).await;
        let epoch = fleet.ring()?.epoch;
        Some((fleet.owner(&id)?.address.clone(), epoch))
    }

    /// Sends agents to their new owners as the ring changes, until dropped.
    pub async fn run_mover(self: Arc<Self>) {
        let mut fleets = self.parts.fleet.clone();
        let (mut again, mut before) = (Instant::now() + AGAIN, None);
        loop {
            let fleet = Arc::clone(&fleets.borrow_and_update());
            let epoch = self.epoch();
            if before.replace(epoch) != Some(epoch) {
                // Another process tells of some clusters now.
                self.changed();
            }
            self.send_away(&fleet, epoch, &self.strangers()).await;
            loop {
                tokio::select! {
                    biased;
                    changed = fleets.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        if self.epoch() != epoch {
                            break;
                        }
                    }
                    () = sleep_until(again) => {
                        again = Instant::now() + AGAIN;
                        break;
                    }
                }
            }
        }
    }

    async fn send_away(&self, fleet: &Fleet, epoch: u64, strangers: &BTreeSet<ClusterId>) {
        let mut sent = 0;
        for id in strangers {
            let Some(address) = fleet.owner(id).map(|owner| owner.address.clone()) else { continue };
            let session = self.cluster(id).and_then(|cluster| cluster.state().session.clone());
            let Some(session) = session else { continue };
            session.redirect(address, epoch);
            self.counters.redirected.add(1);
            sent += 1;
            if sent % PACE.0 == 0 {
                sleep(PACE.1).await;
            }
            // A newer ring may leave it here.
            if self.epoch() != epoch {
                return;
            }
        }
        if sent > 0 {
            tracing::info!(epoch, clusters = sent, "sent agents to the processes that own their clusters now");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use starling_hub_core::change::Change;
    use starling_hub_core::ring::{RingMember, RingRecord};
    use starling_model::{Digest, Facts, FleetKey, Limits, Uid};
    use tokio::sync::watch;

    use super::*;
    use crate::ports::SystemClock;
    use crate::shard::{ShardParts, WholeHub};
    use crate::steward::Hold;
    use crate::traces::Traces;

    fn fleet(epoch: u64, members: &[&str]) -> Arc<Fleet> {
        let member = |name: &&str| RingMember {
            name: (*name).to_owned(),
            incarnation: Uid([1; 16]),
            address: format!("{name}:8443"),
            weight: 100,
        };
        let mut fleet = Fleet::new("demo");
        if !members.is_empty() {
            let members = members.iter().map(member).collect();
            fleet.apply(&Change::PutRing(RingRecord { epoch, members }));
        }
        Arc::new(fleet)
    }

    fn shard(name: &str, routing: Routing, members: &[&str]) -> Arc<Shard> {
        shard_of(name, routing, watch::channel(fleet(7, members)).1)
    }

    fn shard_of(name: &str, routing: Routing, fleet: watch::Receiver<Arc<Fleet>>) -> Arc<Shard> {
        Shard::new(ShardParts {
            fleet,
            fleet_key: FleetKey::new([7; 32]),
            hold: Hold::new(None),
            lease: Arc::new(WholeHub),
            clock: Arc::new(SystemClock),
            limits: Limits::DEFAULT,
            hub: name.to_owned(),
            is_one_of_many: true,
            routing,
            forwarder: None,
            traces: Traces::default(),
        })
    }

    fn hello(newest_epoch: u64, forward: bool) -> Hello {
        Hello {
            protocols: (1, 1),
            fingerprint: String::new(),
            instance: Uid([2; 16]),
            agent_version: String::new(),
            facts: Facts::default(),
            plan_digest: None,
            held: Vec::new(),
            kinds: Vec::new(),
            installs_digest: Digest::default(),
            newest_fence: None,
            newest_epoch,
            forward,
        }
    }

    #[test]
    fn an_agent_is_taken_sent_or_passed_on_or_waits() {
        let cluster = ClusterId([3; 16]);
        let (here, there) = (["hub-1"], ["hub-2"]);
        let address = "hub-2:8443".to_owned();
        let route = |members: &[&str], routing, hello: &Hello, forwarded| {
            shard("hub-1", routing, members).route(cluster, hello, forwarded)
        };
        use Routing::{Forward, Redirect};
        assert_eq!(route(&here, Redirect, &hello(7, false), false), Route::Here);
        assert_eq!(route(&here, Redirect, &hello(7, false), true), Route::Here);
        let redirected = Route::Redirect { address: address.clone(), epoch: 7 };
        assert_eq!(route(&there, Redirect, &hello(0, false), false), redirected);
        let passed_on = Route::Forward { address };
        assert_eq!(route(&there, Redirect, &hello(7, true), false), passed_on, "it cannot go there");
        assert_eq!(route(&there, Forward, &hello(7, false), false), passed_on);
        assert_eq!(route(&there, Forward, &hello(7, false), true), Route::Behind, "not in circles");
        assert_eq!(route(&here, Redirect, &hello(8, false), false), Route::Behind, "the agent knows a newer ring");
        assert_eq!(route(&[], Redirect, &hello(0, false), false), Route::Behind, "there is no ring yet");
    }

    #[tokio::test(start_paused = true)]
    async fn who_lost_its_owner_waits_for_the_next_ring_and_not_forever() {
        let (ring, follow) = watch::channel(fleet(7, &["hub-2"]));
        let shard = shard_of("hub-1", Routing::Redirect, follow);
        let cluster = ClusterId([3; 16]);
        let waiting = tokio::spawn({
            let shard = Arc::clone(&shard);
            async move { shard.next_owner(cluster, 7).await }
        });
        sleep(Duration::from_secs(19)).await;
        assert!(!waiting.is_finished());
        ring.send_replace(fleet(8, &["hub-3"]));
        assert_eq!(waiting.await.unwrap(), Some(("hub-3:8443".to_owned(), 8)));
        assert_eq!(shard.next_owner(cluster, 8).await, None, "nothing changed in time");
    }
}
