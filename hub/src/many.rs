//! What a process has besides when it is one of several, wired: its seat, its terms, and the ways to the others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use starling_hub_core::fleet::Fleet;
use starling_proto::v1::peer_service_server::PeerServiceServer;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::gather::{Gather, SummaryWriter};
use crate::hub::{HubParts, READY, endless, until};
use crate::inputs::Source;
use crate::keyring::Keyring;
use crate::member::{
    Election, ElectionParts, HoldKeeper, HoldParts, Identity, ProcessLease, Seat, SeatParts, Seen, Term, TermParts,
    run_terms,
};
use crate::peers::{self, Peers, PeersParts};
use crate::ports::{Clock, Dialer};
use crate::shard::{Routing, Shard};
use crate::steward::{Hold, StewardHandle};
use crate::store::{LeaseId, Store};
use crate::tasks::{Task, Tasks};
use crate::view::FleetView;
use crate::web::Readiness;

/// The name of a process that is the whole hub, in its own records.
const WHOLE: &str = "hub";

/// How long a process that leaves waits to see that others are there to own its clusters.
const OTHERS_WITHIN: Duration = Duration::from_secs(2);

/// How often a process that leaves looks how far it is.
const LOOK: Duration = Duration::from_millis(100);

/// Whether a process is the whole hub.
#[derive(Clone)]
pub enum Process {
    /// It is: it has the store to itself.
    Whole,
    /// It is one of several over one store.
    OneOfMany(OneOfMany),
}

/// Which of several processes this is, and how it reaches the others.
#[derive(Clone)]
pub struct OneOfMany {
    /// Which it is.
    pub identity: Identity,
    /// How agents reach the process that owns their cluster.
    pub routing: Routing,
    /// The network, towards the others.
    pub dialer: Arc<dyn Dialer>,
}

/// What is made before the parts that need it.
pub(crate) struct Many {
    process: OneOfMany,
    pub(crate) lease: Arc<ProcessLease>,
    pub(crate) term: watch::Receiver<Option<Term>>,
    telling: watch::Sender<Option<Term>>,
    pub(crate) peers: Arc<Peers>,
    fleet: watch::Receiver<Arc<Fleet>>,
    seen: Seen,
}

/// What it is started with.
pub(crate) struct ManyParts<'a> {
    pub(crate) tasks: &'a Tasks,
    pub(crate) store: &'a Arc<dyn Store>,
    pub(crate) shard: &'a Arc<Shard>,
    pub(crate) gather: &'a Gather,
    pub(crate) steward: &'a StewardHandle,
    pub(crate) source: &'a Source,
    pub(crate) hold: &'a Hold,
    pub(crate) keyring: &'a Arc<Keyring>,
    pub(crate) clock: &'a Arc<dyn Clock>,
}

/// A process's place among the others, while it runs.
#[derive(Clone)]
pub(crate) struct Place {
    identity: Identity,
    pub(crate) peers: Arc<Peers>,
    store: Arc<dyn Store>,
    fleet: watch::Receiver<Arc<Fleet>>,
    pub(crate) seen: Seen,
    seated: watch::Receiver<Option<LeaseId>>,
    draining: Arc<watch::Sender<bool>>,
}

impl Process {
    /// Returns the process's name: for people, and in the ring.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Whole => WHOLE,
            Self::OneOfMany(process) => &process.identity.name,
        }
    }

    pub(crate) fn one_of_many(&self) -> Option<&OneOfMany> {
        match self {
            Self::Whole => None,
            Self::OneOfMany(process) => Some(process),
        }
    }

    pub(crate) fn routing(&self) -> Routing {
        self.one_of_many().map_or_else(Routing::default, |process| process.routing)
    }
}

impl Many {
    pub(crate) fn new(process: &OneOfMany, parts: &HubParts, view: &FleetView) -> Self {
        let (telling, term) = watch::channel(None);
        let (fleet, seen) = (view.subscribe(), view.processes());
        let peers = Peers::new(PeersParts {
            identity: process.identity.clone(),
            keyring: Arc::clone(&parts.keyring),
            dialer: Arc::clone(&process.dialer),
            fleet: fleet.clone(),
            seen: seen.clone(),
            term: term.clone(),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
        });
        Self { process: process.clone(), lease: Arc::default(), term, telling, peers, fleet, seen }
    }

    /// Takes the process's seat, and starts what keeps it.
    pub(crate) async fn start(self, parts: ManyParts<'_>) -> anyhow::Result<Place> {
        let Self { process, lease, term, telling, peers, fleet, seen } = self;
        let (draining, is_draining) = watch::channel(false);
        let working = parts.tasks.stopping();
        let mut seat = Seat::new(
            SeatParts {
                identity: process.identity.clone(),
                store: Arc::clone(parts.store),
                fleet: fleet.clone(),
                shard: Arc::clone(parts.shard),
                lease: Arc::clone(&lease),
                hold: parts.hold.clone(),
                neighbour: Arc::clone(&peers) as _,
                clock: Arc::clone(parts.clock),
            },
            is_draining.clone(),
        );
        seat.take().await.context("take this process's place among the others")?;
        let seated = seat.seated();
        let election = ElectionParts {
            identity: process.identity.clone(),
            store: Arc::clone(parts.store),
            fleet: fleet.clone(),
            seen: seen.clone(),
            keyring: Arc::clone(parts.keyring),
            lease,
            seated: seated.clone(),
            draining: is_draining.clone(),
            clock: Arc::clone(parts.clock),
        };
        let hold = HoldKeeper::new(HoldParts {
            identity: process.identity.clone(),
            store: Arc::clone(parts.store),
            fleet: fleet.clone(),
            seen: seen.clone(),
            shard: Arc::clone(parts.shard),
            keyring: Arc::clone(parts.keyring),
            hold: parts.hold.clone(),
            clock: Arc::clone(parts.clock),
        });
        let terms = run_terms(TermParts {
            term,
            steward: parts.steward.clone(),
            source: parts.source.clone(),
            fleet: fleet.clone(),
            seen: seen.clone(),
            keyring: Arc::clone(parts.keyring),
            hold: parts.hold.clone(),
            clock: Arc::clone(parts.clock),
        });
        let ending = working.clone();
        let terms = async move { ending.run_until_cancelled(terms).await.unwrap_or(Ok(())) };
        parts.tasks.spawn(Task::Seat, endless(seat.run(working.clone())));
        parts.tasks.spawn(Task::Election, endless(Election::new(election, telling).run(working.clone())));
        parts.tasks.spawn(Task::Hold, until(working.clone(), hold.run()));
        parts.tasks.spawn(Task::Peers, until(working.clone(), Arc::clone(&peers).follow()));
        parts.tasks.spawn(Task::Mover, until(working.clone(), Arc::clone(parts.shard).run_mover()));
        let summaries = SummaryWriter::new(parts.gather.clone(), Arc::clone(parts.store));
        parts.tasks.spawn(Task::Summaries, until(working.clone(), summaries.run(is_draining)));
        parts.tasks.spawn(Task::Release, until(working, parts.gather.clone().run_release()));
        parts.tasks.spawn(Task::Terms, terms);
        let (store, draining) = (Arc::clone(parts.store), Arc::new(draining));
        Ok(Place { identity: process.identity, peers, store, fleet, seen, seated, draining })
    }
}

impl Place {
    /// Returns the service that the other processes call.
    pub(crate) fn service(
        &self,
        gather: &Gather,
        steward: &StewardHandle,
        keyring: &Keyring,
    ) -> PeerServiceServer<peers::Peer> {
        peers::Peer::server(peers::ServiceParts {
            identity: self.identity.clone(),
            fleet: keyring.fleet().to_owned(),
            gather: gather.clone(),
            steward: steward.clone(),
        })
    }

    /// Says that the process is ready once it is in the ring; never ends.
    pub(crate) async fn join(mut self, readiness: Readiness) {
        let name = self.identity.name.clone();
        let is_member = |fleet: &Arc<Fleet>| fleet.ring().is_some_and(|ring| ring.member(&name).is_some());
        if self.fleet.wait_for(is_member).await.is_ok() {
            readiness.ready(READY);
        }
        std::future::pending::<()>().await;
    }

    /// Leaves the ring, and waits until the agents are at their new owners and these have their pictures whole, for a time; without others there is nobody to go to.
    pub(crate) async fn hand_over(&self, shard: &Shard, within: Duration) {
        self.draining.send_replace(true);
        let deadline = Instant::now() + within;
        let alone_until = Instant::now() + OTHERS_WITHIN;
        let mut served = BTreeSet::new();
        loop {
            let is_alone = self.seen.borrow().members.keys().all(|name| *name == self.identity.name);
            let is_owner = self.fleet.borrow().ring().is_some_and(|ring| ring.member(&self.identity.name).is_some());
            let connected = shard.connected();
            served.extend(connected.iter().copied());
            // A stream that is passed on ends before its agent is at the new owner, which has its picture only then.
            let strangers = shard.strangers();
            let left = connected.iter().chain(served.intersection(&strangers)).collect::<BTreeSet<_>>().len();
            if (!is_owner && left == 0) || (is_alone && Instant::now() >= alone_until) {
                return;
            }
            if Instant::now() >= deadline {
                tracing::warn!(left, "agents did not leave in time");
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// Gives the process's lease up, so that nobody waits for its end.
    pub(crate) async fn give_up(&self) {
        Seat::leave(self.store.as_ref(), &self.seated).await;
    }
}
