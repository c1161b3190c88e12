//! The hosts: etcd, and the processes of the hub, each of them the hub's own composition root.

use std::sync::Arc;
use std::time::Duration;

use starling_hub::accept::AcceptLimits;
use starling_hub::hub::{Hub, HubParts, Inputs, OneOfMany, Process, READY};
use starling_hub::keyring::{Keyring, KeyringOptions, ServerNames};
use starling_hub::member::Identity;
use starling_hub::metrics::Metrics;
use starling_hub::ports::EntropyExt as _;
use starling_hub::shard::Routing;
use starling_hub::steward::Audit;
use starling_hub::store::etcd::{EtcdOptions, EtcdStore};
use starling_hub::web::Readiness;
use starling_model::Limits;
use tokio::sync::mpsc;

use super::answers;
use super::world::{HubMachine, Many};
use crate::etcd::{ETCD, ETCD_PORT, PREFIX};
use crate::machines::{read_documents, run_agent};
use crate::people;
use crate::ports::{HubDialer, SimListener};
use crate::random::Random;
use crate::world::{FLEET, HUB, LiveHub, PORT};

/// How long the certificates of clusters last. Their renewal is another scenario's.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How long an orderly end may take.
const ENDS_WITHIN: Duration = Duration::from_secs(40);

/// Adds etcd.
pub(crate) fn add_etcd(sim: &mut turmoil::Sim<'_>, many: &Arc<Many>) {
    let etcd = Arc::clone(&many.etcd);
    sim.host(ETCD, move || crate::etcd::run(Arc::clone(&etcd)));
}

/// Adds a process of the hub, whose people draw from the seed.
pub(crate) fn add_hub(sim: &mut turmoil::Sim<'_>, many: &Arc<Many>, number: usize, routing: Routing, seed: u64) {
    let many = Arc::clone(many);
    sim.host(many.machines[number].host, move || {
        let (many, machine) = (Arc::clone(&many), Arc::clone(&many.machines[number]));
        let draws = Random::new(seed, 2_000 + 100 * number as u64 + machine.started());
        async move {
            many.world.trace.note(machine.host, "started");
            let ended = run_hub(&many, &machine, routing, draws).await;
            let what = ended.map_or_else(|error| format!("ended: {error:#}"), |()| "ended".to_owned());
            many.world.trace.note(machine.host, what);
            machine.exit();
            // The process is over with all of its tasks, which only the driver can end.
            std::future::pending().await
        }
    });
}

/// Adds the agent of a cluster.
pub(crate) fn add_agent(sim: &mut turmoil::Sim<'_>, many: &Arc<Many>, number: usize) {
    let (many, managed) = (Arc::clone(many), Arc::clone(&many.world.clusters[number]));
    let machine = Arc::clone(&managed.machine);
    sim.host(machine.host.clone(), move || {
        run_agent(Arc::clone(&many.world), Arc::clone(&managed), Arc::clone(&machine), Arc::clone(&many) as _)
    });
}

async fn run_hub(many: &Arc<Many>, machine: &Arc<HubMachine>, routing: Routing, draws: Random) -> anyhow::Result<()> {
    let (world, mut leaving) = (&many.world, machine.leaving.subscribe());
    let (scans, inputs) = mpsc::channel(1);
    let starting = start(many, machine, routing, Inputs::Scans(inputs));
    let (mut hub, keyring) = tokio::select! {
        biased;
        started = starting => started?,
        // Somebody who is asked to end before it has begun just ends.
        _ = leaving.wait_for(|leaving| *leaving) => return Ok(()),
    };
    let live = LiveHub {
        steward: hub.steward.clone(),
        host: machine.host.to_owned(),
        gather: hub.gather.clone(),
        keyring,
        shard: Arc::clone(&hub.shard),
        fleet: hub.fleet.clone(),
        hold: hub.hold.clone(),
    };
    machine.set_live(Some(live.clone()));
    let process = async {
        tokio::select! {
            biased;
            died = hub.died() => anyhow::bail!("{died:?}"),
            _ = leaving.wait_for(|leaving| *leaving) => {}
        }
        many.world.trace.note(machine.host, "leaves");
        Ok(hub.shutdown(ENDS_WITHIN).run(std::future::pending()).await?)
    };
    tokio::select! {
        biased;
        ended = process => ended,
        () = read_documents(world, scans) => anyhow::bail!("nobody takes what is read"),
        () = people::work(Arc::clone(world), live.clone(), draws) => anyhow::bail!("the people left"),
        () = answers::ask(machine, &live.gather) => anyhow::bail!("nobody asks any more"),
    }
}

async fn start(
    many: &Arc<Many>,
    machine: &Arc<HubMachine>,
    routing: Routing,
    inputs: Inputs,
) -> anyhow::Result<(Hub, Arc<Keyring>)> {
    let trace = many.world.trace.clone();
    let dialer = Arc::new(HubDialer { host: machine.host.to_owned(), trace });
    let (clock, entropy) = (Arc::clone(&machine.clock), Arc::clone(&machine.entropy));
    let options = EtcdOptions {
        endpoints: vec![format!("http://{ETCD}:{ETCD_PORT}")],
        prefix: PREFIX.to_owned(),
        tls: None,
        login: None,
        process: machine.name.to_owned(),
    };
    let store =
        EtcdStore::connect(options, Arc::clone(&dialer) as _, Arc::clone(&clock) as _, Arc::clone(&entropy) as _);
    let store = Arc::new(store.await?);
    let names = ServerNames { dns: [HUB.to_owned(), machine.host.to_owned()].into(), ..ServerNames::default() };
    let options = KeyringOptions { fleet: FLEET.to_owned(), names, authority: None, has_store: true };
    let ports = (&*clock as &dyn starling_hub::ports::Clock, &*entropy as &dyn starling_hub::ports::Entropy);
    let keyring = Arc::new(Keyring::open(many.storage(), options, ports).await?);
    let identity =
        Identity { name: machine.name.to_owned(), incarnation: entropy.uid(), address: machine.address(), weight: 100 };
    let hub = Hub::start(HubParts {
        process: Process::OneOfMany(OneOfMany { identity, routing, dialer }),
        agent_address: format!("{HUB}:{PORT}"),
        keyring: Arc::clone(&keyring),
        store,
        inputs,
        reviews: None,
        listener: Arc::new(SimListener::bind(PORT).await?),
        accept: AcceptLimits::for_connections(100),
        limits: Limits::DEFAULT,
        audit: Audit::to_log(),
        clock,
        entropy,
        metrics: Metrics::new(),
        readiness: Readiness::waiting_for(&[READY]),
        certificate_lifetime: LIFETIME,
    })
    .await?;
    Ok((hub, keyring))
}
