//! The composition root: the one place that knows every component of the hub.
//!
//! Owns which component gets which, and the order in which they start and stop. Sockets, clocks, entropy, store and secrets are
//! handed in, so that a simulation runs exactly this.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use starling_hub_core::fleet::Fleet;
use starling_hub_core::hold::{self, Start};
use starling_hub_core::steward::Request;
use starling_model::Limits;
use starling_proto::v1::FILE_DESCRIPTOR_SET;
use starling_proto::v1::admin_service_server::AdminServiceServer;
use starling_proto::v1::enrolment_service_server::EnrolmentServiceServer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::accept::{self, AcceptLimits, AcceptParts};
use crate::access::{Access, AccessMetrics, AccessParts, AdminToken, Authenticated, Reviews};
use crate::api::{Admin, AdminParts};
use crate::enrolment::{Enrolment, EnrolmentParts};
use crate::gather::Gather;
use crate::inputs::{InputParts, Source};
use crate::keyring::Keyring;
use crate::load::Load;
use crate::many::{Many, ManyParts, Place};
use crate::metrics::{CertificateCollector, Metrics};
use crate::peers::ToSteward;
use crate::ports::{Clock, Entropy, Listener};
use crate::session::Sessions;
use crate::settling::Settling;
use crate::shard::{self, Shard, ShardParts, WholeHub};
use crate::shutdown::Shutdown;
use crate::steward::{Audit, Authority, Hold, Steward, StewardHandle, StewardParts};
use crate::store::{Store, keys};
use crate::tasks::{Deaths, Task, TaskDied, TaskError, Tasks};
use crate::tls::{self, Tls};
use crate::traced::Traced;
use crate::traces::Traces;
use crate::view::FleetView;
use crate::web::Readiness;

pub use crate::inputs::Inputs;
pub use crate::many::{OneOfMany, Process};

/// The largest admin message, in bytes: what `starling apply` sends at once.
const ADMIN_MESSAGE: usize = 16 * 1024 * 1024;

/// What [`Readiness`] waits for until a hub answers.
pub const READY: &str = "hub";

/// How long calls may take to end after the port is closed.
const ANSWERS: Duration = Duration::from_secs(2);

/// How long agents may take to leave when the process stops.
const DRAIN: Duration = Duration::from_secs(5);

/// What of an orderly end is kept for the steps after the process has left the ring.
const LAST_STEPS: Duration = Duration::from_secs(8);

/// How often a process that is one of several reads store and mark before it believes that they do not fit: they are read one
/// after the other, and others write them meanwhile.
const LOADS: usize = 3;

/// Everything that a hub is made of.
pub struct HubParts {
    /// Whether the process is the whole hub, or which of several it is.
    pub process: Process,
    /// The address that agents dial, `host:port`.
    pub agent_address: String,
    /// The fleet's secrets.
    pub keyring: Arc<Keyring>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Where resources come from.
    pub inputs: Inputs,
    /// Whoever knows people and what they may do; `None` where there is only the local administrator.
    pub reviews: Option<Arc<dyn Reviews>>,
    /// The port of agents and of the admin API.
    pub listener: Arc<dyn Listener>,
    /// How many connections it takes on.
    pub accept: AcceptLimits,
    /// What each session may send.
    pub limits: Limits,
    /// The audit record.
    pub audit: Audit,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Where everything is counted.
    pub metrics: Metrics,
    /// Told when the hub answers; made with [`READY`].
    pub readiness: Readiness,
    /// How long clusters' certificates last.
    pub certificate_lifetime: Duration,
}

/// A running hub.
pub struct Hub {
    /// The way to ask the steward.
    pub steward: StewardHandle,
    /// The clusters.
    pub shard: Arc<Shard>,
    /// The clusters of all processes.
    pub gather: Gather,
    /// The fleet at each position.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// Whether the fleet holds.
    pub hold: Hold,
    sessions: Sessions,
    tasks: Tasks,
    deaths: Deaths,
    /// Cancelled to close the port.
    serving: CancellationToken,
    /// Cancelled when the last answer is out.
    served: CancellationToken,
    /// Its place among others, where it is one of several.
    place: Option<Place>,
}

impl Hub {
    /// Starts a hub; it answers as soon as this returns.
    ///
    /// # Errors
    /// The store cannot be read, or holds what this build does not understand; the keyring cannot serve TLS; another process
    /// has the name of this one.
    pub async fn start(parts: HubParts) -> anyhow::Result<Self> {
        keys::ensure_format(parts.store.as_ref(), parts.keyring.fleet()).await?;
        let (view, start) = read_store(&parts).await?;
        let fleet = view.subscribe();
        let hold = Hold::new(None);
        if let Start::Hold(reason) = start {
            hold.engage(reason);
        }
        let traces = Traces::default();
        let many = parts.process.one_of_many().map(|process| Many::new(process, &parts, &view));
        let name = parts.process.name().to_owned();
        let shard = Shard::new(ShardParts {
            fleet: fleet.clone(),
            fleet_key: parts.keyring.fleet_key().clone(),
            hold: hold.clone(),
            lease: many.as_ref().map_or_else(|| Arc::new(WholeHub) as _, |many| Arc::clone(&many.lease) as _),
            clock: Arc::clone(&parts.clock),
            limits: parts.limits,
            hub: name.clone(),
            is_one_of_many: many.is_some(),
            routing: parts.process.routing(),
            forwarder: many.as_ref().map(|many| Arc::clone(&many.peers) as _),
            traces: traces.clone(),
        });
        let others = many.as_ref().map(|many| Arc::clone(&many.peers) as _);
        let load = Load::default();
        let summaries = many.as_ref().map(|_| view.summaries());
        let gather = Gather::new(Arc::clone(&shard), others, summaries, load.clone());
        let (steward_task, steward) = Steward::new(StewardParts {
            store: Arc::clone(&parts.store),
            fleet: fleet.clone(),
            keyring: Arc::clone(&parts.keyring),
            gather: gather.clone(),
            authority: many.as_ref().map_or(Authority::Whole, |many| Authority::Elected(many.term.clone())),
            elsewhere: many.as_ref().map(|many| Arc::clone(&many.peers) as _),
            hold: hold.clone(),
            audit: parts.audit,
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
            process: name,
            metrics: parts.metrics.steward.clone(),
            traces,
        });
        let serving = CancellationToken::new();
        let (tasks, deaths) = Tasks::new();
        let working = tasks.stopping();
        tasks.spawn(Task::View, endless(view.run(working.clone(), hold.clone())));
        tasks.spawn(Task::Steward, endless(steward_task.run(working.clone())));
        tasks.spawn(Task::Load, until(working.clone(), load.run(Arc::clone(&parts.clock))));
        tasks.spawn(Task::Planner, until(working.clone(), Arc::clone(&shard).run_planner()));
        let source = Source::open(
            parts.inputs,
            InputParts {
                steward: steward.clone(),
                fleet: fleet.clone(),
                hold: hold.clone(),
                keyring: Arc::clone(&parts.keyring),
                agent_address: parts.agent_address.clone(),
                metrics: parts.metrics.source.clone(),
                gather: gather.clone(),
                statuses: parts.metrics.statuses.clone(),
                clock: Arc::clone(&parts.clock),
            },
        );
        let place = match many {
            None => {
                if start == Start::NewFleet {
                    steward.submit("hub", Request::Begin).await?;
                }
                source.read(&tasks).await;
                None
            }
            Some(many) => Some(
                many.start(ManyParts {
                    tasks: &tasks,
                    store: &parts.store,
                    shard: &shard,
                    gather: &gather,
                    steward: &steward,
                    source: &source,
                    hold: &hold,
                    keyring: &parts.keyring,
                    clock: &parts.clock,
                })
                .await?,
            ),
        };

        let tls = Arc::new(Tls::new(&parts.keyring, Arc::clone(&parts.clock))?);
        tasks.spawn(
            Task::CertificateRenewal,
            until(
                working.clone(),
                tls::renew(
                    Arc::clone(&tls),
                    Arc::clone(&parts.keyring),
                    Arc::clone(&parts.clock),
                    Arc::clone(&parts.entropy),
                ),
            ),
        );
        shard::metrics::register(&parts.metrics, &shard);
        let certificates = CertificateCollector(Arc::clone(&parts.keyring));
        parts.metrics.register(|registry| registry.register_collector(Box::new(certificates)));
        let access = Access::new(AccessParts {
            admin_token: AdminToken::new(parts.keyring.admin_token()),
            reviews: parts.reviews,
            clock: Arc::clone(&parts.clock),
            metrics: AccessMetrics::register(&parts.metrics),
        });
        let admin = Admin::new(AdminParts {
            fleet: fleet.clone(),
            shard: Arc::clone(&shard),
            gather: gather.clone(),
            steward: steward.clone(),
            sync: source.sync.clone(),
            source: source.kind,
            documents: source.documents.clone(),
            seen: place.as_ref().map(|place| place.seen.clone()),
            hold: hold.clone(),
            access: access.clone(),
            keyring: Arc::clone(&parts.keyring),
            agent_address: parts.agent_address,
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
        });
        let admin = AdminServiceServer::new(admin).max_decoding_message_size(ADMIN_MESSAGE);
        let admin = Traced::new(admin, parts.metrics.calls.clone());
        // Behind whoever decides who calls: nobody without a token has anything passed on.
        let admin = ToSteward::new(admin, place.as_ref().map(|place| Arc::clone(&place.peers)));
        let admin = Authenticated::new(admin, access);
        let enrolment = Enrolment::new(EnrolmentParts {
            keyring: Arc::clone(&parts.keyring),
            steward: Arc::new(steward.clone()),
            documents: source.documents.clone(),
            lifetime: parts.certificate_lifetime,
            metrics: parts.metrics.edge.clone(),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
        });
        let sessions = Sessions::new(
            Arc::clone(&shard),
            Settling { steward: steward.clone(), documents: source.documents.clone() },
        );
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_service_status("", tonic_health::ServingStatus::Serving).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .build_v1()?;

        let (accepting, connections) = accept::incoming(AcceptParts {
            listener: parts.listener,
            tls,
            limits: parts.accept,
            metrics: parts.metrics.edge.clone(),
        });
        let accepting = async move {
            accepting.await;
            Ok::<(), TaskError>(())
        };
        tasks.spawn(Task::Accept, asked(serving.clone(), working.clone(), accepting));
        let server = accept::server(Arc::clone(&parts.clock))
            .add_service(sessions.clone().into_server())
            .add_service(EnrolmentServiceServer::new(enrolment))
            .add_service(admin)
            .add_optional_service(place.as_ref().map(|place| place.service(&gather, &steward, &parts.keyring)))
            .add_service(health_service)
            .add_service(reflection)
            .serve_with_incoming_shutdown(connections, serving.clone().cancelled_owned());
        let served = CancellationToken::new();
        let server = {
            let served = served.clone();
            async move {
                let outcome = server.await;
                served.cancel();
                outcome
            }
        };
        tasks.spawn(Task::Serve, asked(serving.clone(), working.clone(), server));
        match &place {
            None => parts.readiness.ready(READY),
            // Whoever restarts processes one after another goes on once this one owns clusters.
            Some(place) => tasks.spawn(Task::Member, until(working, place.clone().join(parts.readiness))),
        }
        Ok(Self { steward, shard, gather, fleet, hold, sessions, tasks, deaths, serving, served, place })
    }

    /// Waits until a task that the hub cannot be without has ended.
    pub async fn died(&mut self) -> TaskDied {
        self.deaths.next().await
    }

    /// Returns the end of the hub, in order: agents are told to leave, the port closes, decisions end.
    #[must_use]
    pub fn shutdown(self, within: Duration) -> Shutdown {
        let Self { sessions, tasks, serving, served, place, shard, .. } = self;
        let seat = place.clone();
        // Its clusters get other owners first, so that their agents are sent there one after another.
        let leave = async move {
            if let Some(place) = place {
                place.hand_over(&shard, within.saturating_sub(LAST_STEPS)).await;
            }
        };
        let drain = async move {
            let late = sessions.drain(DRAIN).await;
            if late > 0 {
                tracing::warn!(late, "sessions did not end in time");
            }
        };
        Shutdown::within(within)
            .step("leave the ring", leave)
            .step("drain sessions", drain)
            .step("close the port", async move {
                serving.cancel();
                // A watch has no end of its own; what is left of it is cut with the tasks.
                if tokio::time::timeout(ANSWERS, served.cancelled()).await.is_err() {
                    tracing::info!("calls are cut that did not end in time");
                }
            })
            .step("end the tasks", async move { tasks.stop().await })
            .step("give up the seat", async move {
                if let Some(place) = seat {
                    place.give_up().await;
                }
            })
    }
}

/// Reads the store, and judges it by the mark beside it.
async fn read_store(parts: &HubParts) -> anyhow::Result<(FleetView, Start)> {
    let is_one_of_many = parts.process.one_of_many().is_some();
    for _ in 1..LOADS {
        let view = FleetView::load(Arc::clone(&parts.store), parts.keyring.fleet()).await?;
        if is_one_of_many {
            // Another process may have begun the fleet, or gone on, since the secrets were read.
            parts.keyring.refresh_mark().await.context("read the mark")?;
        }
        let start = at_start(&parts.keyring, &view.subscribe().borrow());
        match start {
            Start::Hold(_) if is_one_of_many => {}
            start => return Ok((view, start)),
        }
    }
    let view = FleetView::load(Arc::clone(&parts.store), parts.keyring.fleet()).await?;
    let start = at_start(&parts.keyring, &view.subscribe().borrow());
    Ok((view, start))
}

fn at_start(keyring: &Keyring, fleet: &Fleet) -> Start {
    let store = fleet.era().map(|record| (record.era, fleet.position()));
    hold::at_start(keyring.mark().mark(), store)
}

/// Runs a task that ends when it notices that the hub stops.
pub(crate) async fn endless(task: impl Future<Output = ()>) -> Result<(), TaskError> {
    task.await;
    Ok(())
}

/// Runs a task that may end once `asked` is cancelled, and is cut short when the hub stops.
async fn asked<E: Into<TaskError>>(
    asked: CancellationToken,
    stopping: CancellationToken,
    task: impl Future<Output = Result<(), E>>,
) -> Result<(), TaskError> {
    match stopping.clone().run_until_cancelled_owned(task).await {
        Some(Err(error)) => Err(error.into()),
        Some(Ok(())) if asked.is_cancelled() => {
            // Its end was wanted, and is no death before the other tasks end, too.
            stopping.cancelled().await;
            Ok(())
        }
        Some(Ok(())) | None => Ok(()),
    }
}

/// Runs a task that is cut short when the hub stops.
pub(crate) async fn until<T>(stopping: CancellationToken, task: impl Future<Output = T>) -> Result<(), TaskError> {
    stopping.run_until_cancelled_owned(task).await;
    Ok(())
}
