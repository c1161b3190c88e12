//! The hosts of a simulation: the hub's own composition root, and the agent's, each over the simulated network.

use std::sync::Arc;
use std::time::Duration;

use starling_agent::config::{AgentConfig, TokenSource};
use starling_agent::identity::IdentityPlace;
use starling_agent::ports::Ports;
use starling_hub::accept::AcceptLimits;
use starling_hub::hub::{Hub, HubParts, Inputs, Process, READY};
use starling_hub::metrics::Metrics;
use starling_hub::source::Scan;
use starling_hub::steward::Audit;
use starling_hub::store::memory::MemoryStore;
use starling_hub::web::Readiness;
use starling_model::Limits;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Machine, Managed};
use crate::people;
use crate::ports::{Balancer, Direct, SimDialer, SimListener};
use crate::random::Random;
use crate::world::{FLEET, HUB, LiveHub, PORT, TWIN, World};

/// How often the directory is read.
const READ: Duration = Duration::from_millis(500);

/// How long the certificates of clusters last: some are renewed in each scenario.
const LIFETIME: Duration = Duration::from_secs(300);

/// How often an agent that has no token yet looks for one.
const TOKEN: Duration = Duration::from_millis(200);

/// Adds the hub, with the people beside it.
pub(crate) fn add_hub(sim: &mut turmoil::Sim<'_>, world: &Arc<World>, seed: u64) {
    let world = Arc::clone(world);
    let starts = std::cell::Cell::new(0);
    sim.host(HUB, move || {
        starts.set(starts.get() + 1);
        // The people of each start do other things.
        run_hub(Arc::clone(&world), Random::new(seed, 1_000 + starts.get()))
    });
}

/// Adds the agent of a cluster.
pub(crate) fn add_agent(sim: &mut turmoil::Sim<'_>, world: &Arc<World>, number: usize) {
    let (world, managed) = (Arc::clone(world), Arc::clone(&world.clusters[number]));
    let machine = Arc::clone(&managed.machine);
    sim.host(machine.host.clone(), move || {
        run_agent(Arc::clone(&world), Arc::clone(&managed), Arc::clone(&machine), Arc::new(Direct))
    });
}

/// Adds a second agent of the first cluster, which begins once it is wanted.
pub(crate) fn add_twin(sim: &mut turmoil::Sim<'_>, world: &Arc<World>) {
    let world = Arc::clone(world);
    sim.host(TWIN, move || {
        let world = Arc::clone(&world);
        async move {
            while !world.people().twin {
                sleep(TOKEN).await;
            }
            let (managed, machine) = (Arc::clone(&world.clusters[0]), Arc::clone(&world.twin));
            run_agent(world, managed, machine, Arc::new(Direct)).await
        }
    });
}

async fn run_hub(world: Arc<World>, draws: Random) -> turmoil::Result {
    world.trace.note(HUB, "started");
    let (scans, inputs) = mpsc::channel(1);
    let mut hub = Hub::start(HubParts {
        process: Process::Whole,
        agent_address: format!("{HUB}:{PORT}"),
        keyring: Arc::clone(&world.keyring),
        store: Arc::new(MemoryStore::over(&world.medium(), Arc::clone(&world.clock) as _)),
        inputs: Inputs::Scans(inputs),
        reviews: None,
        listener: Arc::new(SimListener::bind(PORT).await?),
        accept: AcceptLimits::for_connections(100),
        limits: Limits::DEFAULT,
        audit: Audit::to_log(),
        clock: Arc::clone(&world.clock) as _,
        entropy: Arc::clone(&world.entropy) as _,
        metrics: Metrics::new(),
        readiness: Readiness::waiting_for(&[READY]),
        certificate_lifetime: LIFETIME,
    })
    .await?;
    let live = LiveHub {
        steward: hub.steward.clone(),
        host: HUB.to_owned(),
        gather: hub.gather.clone(),
        keyring: Arc::clone(&world.keyring),
        shard: Arc::clone(&hub.shard),
        fleet: hub.fleet.clone(),
        hold: hub.hold.clone(),
    };
    world.set_live(Some(live.clone()));
    tokio::select! {
        biased;
        died = hub.died() => Err(format!("{died:?}").into()),
        () = follow(&world, &live) => Err("the fleet's view ended".into()),
        () = read_documents(&world, scans) => Err("nobody takes what is read".into()),
        () = people::work(Arc::clone(&world), live.clone(), draws) => Err("the people left".into()),
    }
}

/// Takes in each position that the hub commits.
async fn follow(world: &World, live: &LiveHub) {
    let mut fleets = live.fleet.clone();
    let mut begins = true;
    loop {
        let fleet = Arc::clone(&fleets.borrow_and_update());
        world.see(&fleet, begins);
        begins = false;
        if fleets.changed().await.is_err() {
            return;
        }
    }
}

/// Hands the documents over whenever they changed.
pub(crate) async fn read_documents(world: &World, scans: mpsc::Sender<Scan>) {
    let mut read = None;
    loop {
        // Room first, so that what is handed over is what is there now.
        let Ok(room) = scans.reserve().await else { return };
        let (version, scan) = loop {
            if let Some(newer) = world.read_documents(read) {
                break newer;
            }
            sleep(READ).await;
        };
        read = Some(version);
        room.send(scan);
    }
}

/// Runs an agent, once it has a token.
pub(crate) async fn run_agent(
    world: Arc<World>,
    managed: Arc<Managed>,
    machine: Arc<Machine>,
    balancer: Arc<dyn Balancer>,
) -> turmoil::Result {
    world.trace.note(&machine.host, "started");
    let token = world.token(&managed.name);
    while !token.exists() {
        sleep(TOKEN).await;
    }
    let config = AgentConfig {
        hub: format!("{HUB}:{PORT}"),
        fleet: FLEET.into(),
        trust_pem: world.keyring.authority().pem().into(),
        token: TokenSource::File(token),
        cluster_name: String::new(),
        identity: IdentityPlace::Secret("starling-agent-identity".into()),
        version: "simulated".into(),
    };
    let (link, trace) = (Arc::clone(&machine.link), world.trace.clone());
    let dialer = SimDialer { host: machine.host.clone(), link, trace, balancer };
    let ports = Ports {
        clock: Arc::clone(&machine.clock) as _,
        entropy: Arc::clone(&machine.entropy) as _,
        dialer: Arc::new(dialer),
    };
    starling_agent::run(config, Arc::new(managed.api(&machine)), ports, CancellationToken::new()).await?;
    Err("the agent ended".into())
}
