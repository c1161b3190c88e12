//! A hub, as its users see it: a process, and the command line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use starling_realparts::{Launch, Port, Process, wait_for};

use crate::management::{KubernetesSource, SYSTEM_NAMESPACE};
use crate::programs::StarlingPrograms;

/// How long a hub may take to answer after its start.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// The exit code of `starling` while the fleet holds; `status` prints everything all the same.
pub const FLEET_HOLDS: i32 = 6;

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
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// A hub's process.
#[derive(Debug)]
pub struct Hub {
    process: Process,
    programs: StarlingPrograms,
    options: HubOptions,
    agents: Port,
    http: Port,
}

/// What a run of the command line printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code.
    pub code: i32,
}

/// What `starling status -o json` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Clusters that are known.
    pub clusters: u64,
    /// Clusters that are live.
    pub live: u64,
    /// Clusters whose addons are Ready.
    pub ready: u64,
    /// Why the fleet holds; absent when it does not.
    pub hold: Option<String>,
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
            arguments: Vec::new(),
        }
    }
}

impl Hub {
    /// Starts a hub on ports of its own, and waits until it answers.
    ///
    /// # Errors
    /// It ended or did not answer in time, with the end of its log.
    pub fn start(programs: &StarlingPrograms, options: &HubOptions) -> Result<Self> {
        Self::start_at(programs, options, Port::reserve()?, Port::reserve()?)
    }

    /// Starts a hub in the place of one that ended: same ports, other state perhaps.
    ///
    /// # Errors
    /// As [`Hub::start`].
    pub fn succeed(self, options: &HubOptions) -> Result<Self> {
        self.process.kill9()?;
        Self::start_at(&self.programs, options, self.agents, self.http)
    }

    fn start_at(programs: &StarlingPrograms, options: &HubOptions, agents: Port, http: Port) -> Result<Self> {
        let address = agents.address();
        let launch = Launch::new("hub", &programs.path("starling-hub"), &options.logs)
            .args(["--fleet", &options.fleet, "--listen", &address, "--advertise", &address])
            .args(["--http", &http.address()])
            .arg("--state")
            .arg(&options.state);
        let launch = match &options.kubernetes {
            None => launch.arg("--directory").arg(&options.directory),
            Some(source) => launch
                .args(["--source", "kubernetes", "--namespace", SYSTEM_NAMESPACE, "--kubeconfig"])
                .arg(&source.hub),
        };
        let process = Process::start(launch.args(&options.arguments)).context("start the hub")?;
        let hub = Self { process, programs: programs.clone(), options: options.clone(), agents, http };
        hub.wait_until_it_answers()?;
        Ok(hub)
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
        let mut command = Command::new(self.programs.path("starling"));
        match &self.options.kubernetes {
            None => command.arg("--config").arg(self.context_file()),
            // Without a context of its own, so that everything comes from the kubeconfig, as with kubectl.
            Some(source) => command.env("XDG_CONFIG_HOME", &self.options.logs).arg("--kubeconfig").arg(&source.person),
        };
        let output = command.args(arguments).output().context("run starling")?;
        Ok(Printed {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        })
    }

    /// Runs `starling`, which must succeed, and returns its standard output.
    ///
    /// # Errors
    /// It failed, with what it said.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        let printed = self.starling(arguments)?;
        if printed.code != 0 {
            bail!("starling {} exited with {}: {}", arguments.join(" "), printed.code, printed.stderr.trim());
        }
        Ok(printed.stdout)
    }

    /// Runs `starling ... -o json`, which must succeed, and reads its answer.
    ///
    /// # Errors
    /// As [`Hub::ask`], or the answer is of another shape.
    pub fn ask_json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let text = self.ask(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("read what `starling {}` printed", arguments.join(" ")))
    }

    /// Asks how many clusters there are, and how they are.
    ///
    /// # Errors
    /// As [`Hub::ask_json`].
    pub fn status(&self) -> Result<Status> {
        let printed = self.starling(&["status", "-o", "json"])?;
        if ![0, FLEET_HOLDS].contains(&printed.code) {
            bail!("starling status exited with {}: {}", printed.code, printed.stderr.trim());
        }
        serde_json::from_str(&printed.stdout).context("read what `starling status` printed")
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

    /// The address that agents dial.
    #[must_use]
    pub fn address(&self) -> String {
        self.agents.address()
    }

    /// The port of `/metrics`, `/healthz` and `/readyz`.
    #[must_use]
    pub fn http_port(&self) -> u16 {
        self.http.number()
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

    fn wait_until_it_answers(&self) -> Result<()> {
        let ask = || {
            self.process.check_running().map_err(|error| error.to_string())?;
            self.status().map(drop).map_err(|error| format!("{error:#}"))
        };
        wait_for("the hub to answer", ANSWERS_WITHIN, ask)
            .map_err(|error| anyhow!("{error}\n{}", self.process.log_tail()))
    }
}
