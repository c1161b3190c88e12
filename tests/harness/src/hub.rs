//! A hub, as its users see it: a process, and the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use starling_realparts::{Clock, Launch, Namespace, Port, Process, Side, wait_for};

use crate::command_line::{CommandLine, Printed, Status};
use crate::management::{KubernetesSource, SYSTEM_NAMESPACE};
use crate::programs::StarlingPrograms;

/// How long a hub may take to answer after its start.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// How to start a hub.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// The fleet's name.
    pub fleet: String,
    /// The folder of the store, the keys and the context file.
    pub state: PathBuf,
    /// The directory of YAML.
    pub directory: PathBuf,
    /// The folder of its log.
    pub logs: PathBuf,
    /// The management cluster that takes the directory's place; `None` where the directory is the source.
    pub kubernetes: Option<KubernetesSource>,
    /// What it is among others; `None` where it is the only process of its hub.
    pub member: Option<HubMember>,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// One process of a hub of several.
#[derive(Clone, Debug)]
pub struct HubMember {
    /// Its name, the same across restarts.
    pub name: String,
    /// The address that all agents dial first.
    pub advertise: String,
    /// The folder of the fleet's secrets, shared by processes on one machine.
    pub keys: PathBuf,
    /// The network namespace that it runs in; `None` for loopback.
    pub namespace: Option<Namespace>,
    /// The clock that it sees; `None` for the machine's.
    pub clock: Option<Clock>,
}

/// A hub's process.
#[derive(Debug)]
pub struct Hub {
    process: Process,
    programs: StarlingPrograms,
    options: HubOptions,
    command_line: CommandLine,
    agents: Port,
    http: Port,
}

impl HubOptions {
    /// Puts everything of a hub below one folder: `state`, `fleet` (the directory) and `logs`.
    #[must_use]
    pub fn below(folder: &Path, fleet: &str) -> Self {
        Self {
            fleet: fleet.to_owned(),
            state: folder.join("state"),
            directory: folder.join("fleet"),
            logs: folder.join("logs"),
            kubernetes: None,
            member: None,
            arguments: Vec::new(),
        }
    }

    /// The host that its listeners are on.
    fn host(&self) -> IpAddr {
        let namespace = self.member.as_ref().and_then(|member| member.namespace.as_ref());
        namespace.map_or(Ipv4Addr::LOCALHOST, |namespace| namespace.address(Side::Front)).into()
    }

    fn launch(&self, programs: &StarlingPrograms, own: &str, http: SocketAddr) -> Launch {
        let name = self.member.as_ref().map_or("hub", |member| &member.name);
        let launch = Launch::new(name, &programs.path("starling-hub"), &self.logs)
            .args(["--fleet", &self.fleet, "--listen", own, "--http", &http.to_string()])
            .arg("--state")
            .arg(&self.state);
        let launch = match &self.member {
            None => launch.args(["--advertise", own]),
            Some(member) => member.launch(launch, own),
        };
        let launch = match &self.kubernetes {
            None => launch.arg("--directory").arg(&self.directory),
            Some(source) => launch
                .args(["--source", "kubernetes", "--namespace", SYSTEM_NAMESPACE, "--kubeconfig"])
                .arg(&source.hub),
        };
        launch.args(&self.arguments)
    }

    fn command_line(&self, programs: &StarlingPrograms, own: &str) -> CommandLine {
        let command_line = match &self.kubernetes {
            None => CommandLine::of_context(programs, &self.state.join("admin.yaml")),
            Some(source) => CommandLine::of_kubeconfig(programs, &source.person, &self.logs),
        };
        // Its context names what is advertised, behind which any of several processes may answer.
        if self.member.is_some() { command_line.at(own) } else { command_line }
    }
}

impl HubMember {
    fn launch(&self, launch: Launch, own: &str) -> Launch {
        let launch = launch.args(["--name", &self.name, "--own-address", own, "--advertise", &self.advertise]);
        let launch = launch.arg("--keys").arg(&self.keys);
        let launch = match &self.namespace {
            None => launch,
            Some(namespace) => launch.inside(namespace),
        };
        match &self.clock {
            None => launch,
            Some(clock) => launch.clock(clock),
        }
    }
}

impl Hub {
    /// Starts a hub on ports of its own, and waits until it answers.
    ///
    /// # Errors
    /// It ended or did not answer in time, with the end of its log.
    pub fn start(programs: &StarlingPrograms, options: &HubOptions) -> Result<Self> {
        let hub = Self::launch(programs, options, Port::reserve()?, Port::reserve()?)?;
        hub.wait_until_it_answers()?;
        Ok(hub)
    }

    /// Starts a hub on ports of its own without waiting for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin(programs: &StarlingPrograms, options: &HubOptions) -> Result<Self> {
        Self::launch(programs, options, Port::reserve()?, Port::reserve()?)
    }

    /// Starts a hub in the place of one that ended: same ports, other state perhaps.
    ///
    /// # Errors
    /// As [`Hub::start`].
    pub fn succeed(self, options: &HubOptions) -> Result<Self> {
        self.process.kill9()?;
        let hub = Self::launch(&self.programs, options, self.agents, self.http)?;
        hub.wait_until_it_answers()?;
        Ok(hub)
    }

    fn launch(programs: &StarlingPrograms, options: &HubOptions, agents: Port, http: Port) -> Result<Self> {
        let own = SocketAddr::new(options.host(), agents.number()).to_string();
        let http_address = SocketAddr::new(options.host(), http.number());
        let process = Process::start(options.launch(programs, &own, http_address)).context("start the hub")?;
        let command_line = options.command_line(programs, &own);
        Ok(Self { process, programs: programs.clone(), options: options.clone(), command_line, agents, http })
    }

    /// Kills it as a crash would.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill9(&self) -> Result<()> {
        Ok(self.process.kill9()?)
    }

    /// Starts it again over the same state, and waits until it answers.
    ///
    /// # Errors
    /// As [`Hub::start`].
    pub fn restart(&self) -> Result<()> {
        self.process.restart()?;
        self.wait_until_it_answers()
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// It did not end in time, or ended with a failure.
    pub fn stop(&self, patience: Duration) -> Result<()> {
        let status = self.process.terminate(patience)?;
        if !status.success() {
            bail!("the hub ended with {status}\n{}", self.process.log_tail());
        }
        Ok(())
    }

    /// Runs `starling` and returns what it printed, whatever its exit code.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn starling(&self, arguments: &[&str]) -> Result<Printed> {
        self.command_line.starling(arguments)
    }

    /// Runs `starling`, which must succeed, and returns its standard output.
    ///
    /// # Errors
    /// It failed, with what it said.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        self.command_line.ask(arguments)
    }

    /// Runs `starling ... -o json`, which must succeed, and reads its answer.
    ///
    /// # Errors
    /// As [`Hub::ask`], or the answer is of another shape.
    pub fn ask_json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        self.command_line.ask_json(arguments)
    }

    /// Asks how many clusters there are, and how they are.
    ///
    /// # Errors
    /// As [`Hub::ask_json`].
    pub fn status(&self) -> Result<Status> {
        self.command_line.status()
    }

    /// The command line that asks this very process.
    #[must_use]
    pub fn command_line(&self) -> &CommandLine {
        &self.command_line
    }

    /// The command line's configuration that the hub wrote.
    #[must_use]
    pub fn context_file(&self) -> PathBuf {
        self.options.state.join("admin.yaml")
    }

    /// How it was started.
    #[must_use]
    pub fn options(&self) -> &HubOptions {
        &self.options
    }

    /// The address that agents dial first.
    #[must_use]
    pub fn address(&self) -> String {
        self.options.member.as_ref().map_or_else(|| self.own_address().to_string(), |member| member.advertise.clone())
    }

    /// The address at which this very process answers.
    #[must_use]
    pub fn own_address(&self) -> SocketAddr {
        SocketAddr::new(self.options.host(), self.agents.number())
    }

    /// The address of `/metrics`, `/healthz` and `/readyz`.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        SocketAddr::new(self.options.host(), self.http.number())
    }

    /// The port of `/metrics`, `/healthz` and `/readyz`.
    #[must_use]
    pub fn http_port(&self) -> u16 {
        self.http.number()
    }

    /// Its name among others, or `hub`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// The process, to pause it or to read what it uses.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The programs that it was started from.
    #[must_use]
    pub fn programs(&self) -> &StarlingPrograms {
        &self.programs
    }

    /// Waits until it answers questions.
    ///
    /// # Errors
    /// It ended or did not answer in time, with the end of its log.
    pub fn wait_until_it_answers(&self) -> Result<()> {
        let ask = || {
            self.process.check_running().map_err(|error| error.to_string())?;
            self.status().map(drop).map_err(|error| format!("{error:#}"))
        };
        wait_for(&format!("{} to answer", self.name()), ANSWERS_WITHIN, ask)
            .map_err(|error| anyhow!("{error}\n{}", self.process.log_tail()))
    }
}
