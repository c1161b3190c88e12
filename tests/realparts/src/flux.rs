//! The real Flux controllers of one cluster, as processes with ports of their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, IoContext, Result, create_folder};
use crate::kubectl::Kubectl;
use crate::ports::Port;
use crate::process::{Launch, Process};
use crate::programs::Programs;
use crate::recipes::Program;
use crate::wait::http_get_ok;

const READY_WITHIN: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "flux-system";
const ALWAYS: [Program; 3] = [Program::SourceController, Program::KustomizeController, Program::HelmController];

/// Which of Flux's controllers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FluxParts {
    /// No Flux: not even its CRDs.
    Nothing,
    /// The CRDs and no controller, for tests that write the status themselves.
    CrdsOnly,
    /// source-controller, kustomize-controller and helm-controller.
    #[default]
    Controllers,
    /// These and notification-controller, which the others send their events to.
    WithNotification,
}

impl FluxParts {
    fn crds(self) -> Vec<Program> {
        match self {
            Self::Nothing => Vec::new(),
            Self::CrdsOnly => ALWAYS.to_vec(),
            Self::Controllers | Self::WithNotification => self.controllers(),
        }
    }

    fn controllers(self) -> Vec<Program> {
        match self {
            Self::Nothing | Self::CrdsOnly => Vec::new(),
            Self::Controllers => ALWAYS.to_vec(),
            // First, so that the others find somebody to send their events to.
            Self::WithNotification => [&[Program::NotificationController], ALWAYS.as_slice()].concat(),
        }
    }
}

/// The running controllers of one cluster; killed on drop.
#[derive(Debug)]
pub struct Flux {
    controllers: BTreeMap<Program, Controller>,
}

#[derive(Debug)]
struct Controller {
    process: Process,
    health: Port,
    metrics: Port,
    /// Ports that must stay reserved while the controller may be restarted.
    _others: Vec<Port>,
}

impl Flux {
    /// Applies namespace and CRDs, starts the controllers against the cluster that `admin` speaks to, with all their
    /// files below `folder`, and waits until every one is ready.
    pub fn start(programs: &Programs, admin: &Kubectl, folder: &Path, parts: FluxParts) -> Result<Self> {
        apply_crds(programs, admin, parts)?;
        let starter = Starter { programs, kubeconfig: admin.kubeconfig(), folder };
        let mut controllers = BTreeMap::new();
        let mut events_address = String::new();
        for program in parts.controllers() {
            let controller = match program {
                Program::NotificationController => {
                    let (controller, events) = starter.notification_controller()?;
                    events_address = format!("http://{events}/");
                    controller
                }
                Program::SourceController => starter.source_controller(&events_address)?,
                other => starter.start(other, &events_address, Vec::new(), Vec::new())?,
            };
            controllers.insert(program, controller);
        }
        let flux = Self { controllers };
        flux.wait_ready()?;
        Ok(flux)
    }

    /// The process of one controller, to kill, restart, pause or measure it.
    pub fn process(&self, program: Program) -> Result<&Process> {
        self.controller(program).map(|controller| &controller.process)
    }

    /// The port of one controller's `/metrics`.
    pub fn metrics_port(&self, program: Program) -> Result<u16> {
        self.controller(program).map(|controller| controller.metrics.number())
    }

    /// Kills every controller as a crash would.
    pub fn kill9(&self) -> Result<()> {
        self.controllers.values().try_for_each(|controller| controller.process.kill9())
    }

    /// Starts every controller again on its ports and with its files, and waits until all are ready.
    pub fn restart(&self) -> Result<()> {
        self.controllers.values().try_for_each(|controller| controller.process.restart())?;
        self.wait_ready()
    }

    /// Waits until every controller says that it is ready.
    pub fn wait_ready(&self) -> Result<()> {
        self.controllers.values().try_for_each(|controller| {
            let port = controller.health.number();
            controller.process.wait_until("is ready", READY_WITHIN, || http_get_ok(port, "/readyz"))
        })
    }

    fn controller(&self, program: Program) -> Result<&Controller> {
        self.controllers.get(&program).ok_or_else(|| Error::Unexpected {
            what: format!("find {} in this cluster", program.name()),
            detail: "it was not started; see FluxParts".to_owned(),
        })
    }
}

fn apply_crds(programs: &Programs, admin: &Kubectl, parts: FluxParts) -> Result<()> {
    if parts == FluxParts::Nothing {
        return Ok(());
    }
    admin.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n"))?;
    let mut documents = String::new();
    for program in parts.crds() {
        for path in programs.crds(program)? {
            documents.push_str("---\n");
            documents.push_str(&fs::read_to_string(&path).at_path("read", &path)?);
        }
    }
    admin.apply(&documents)?;
    admin.run(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]).map(|_| ())
}

/// What all controllers of one cluster are started with.
struct Starter<'a> {
    programs: &'a Programs,
    kubeconfig: &'a Path,
    folder: &'a Path,
}

impl Starter<'_> {
    fn source_controller(&self, events_address: &str) -> Result<Controller> {
        let storage = Port::reserve()?;
        let storage_folder = create_folder(&self.folder_of(Program::SourceController).join("storage"))?;
        let arguments = vec![
            format!("--storage-path={}", storage_folder.display()),
            format!("--storage-addr={}", storage.address()),
            format!("--storage-adv-addr={}", storage.address()),
        ];
        self.start(Program::SourceController, events_address, arguments, vec![storage])
    }

    /// Returns the address for events beside the controller.
    fn notification_controller(&self) -> Result<(Controller, String)> {
        let (events, receiver) = (Port::reserve()?, Port::reserve()?);
        let address = events.address();
        let arguments = vec![format!("--receiverAddr={}", receiver.address())];
        // What is the address to send to for the others is the address to listen on for this one.
        let controller = self.start(Program::NotificationController, &address, arguments, vec![events, receiver])?;
        Ok((controller, address))
    }

    fn start(
        &self,
        program: Program,
        events_address: &str,
        arguments: Vec<String>,
        others: Vec<Port>,
    ) -> Result<Controller> {
        let folder = create_folder(&self.folder_of(program))?;
        let (health, metrics) = (Port::reserve()?, Port::reserve()?);
        let launch = Launch::new(program.name(), &self.programs.path(program)?, &folder)
            .env("KUBECONFIG", self.kubeconfig)
            .env("RUNTIME_NAMESPACE", NAMESPACE)
            .arg("--enable-leader-election=false")
            .arg(format!("--events-addr={events_address}"))
            .arg(format!("--health-addr={}", health.address()))
            .arg(format!("--metrics-addr={}", metrics.address()))
            .args(arguments);
        Ok(Controller { process: Process::start(launch)?, health, metrics, _others: others })
    }

    fn folder_of(&self, program: Program) -> PathBuf {
        self.folder.join(program.name())
    }
}
