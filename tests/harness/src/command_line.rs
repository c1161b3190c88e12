//! `starling`, the command line, run as its users run it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::programs::StarlingPrograms;

/// The exit code of `starling` while the fleet holds; `status` prints everything all the same.
pub const FLEET_HOLDS: i32 = 6;

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
    /// Processes of the hub that did not answer in time, whose clusters count as not live.
    #[serde(default)]
    pub unanswered: Vec<String>,
}

/// The command line of somebody who asks one hub, always the same way.
#[derive(Clone, Debug)]
pub struct CommandLine {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl CommandLine {
    /// Asks the hub of a context file.
    #[must_use]
    pub fn of_context(programs: &StarlingPrograms, context_file: &Path) -> Self {
        let arguments = vec!["--config".into(), context_file.into()];
        Self { program: programs.path("starling"), arguments, environment: Vec::new() }
    }

    /// Asks the hub that a kubeconfig leads to, without a context of its own, as with kubectl; `home` has no file of contexts.
    #[must_use]
    pub fn of_kubeconfig(programs: &StarlingPrograms, kubeconfig: &Path, home: &Path) -> Self {
        let arguments = vec!["--kubeconfig".into(), kubeconfig.into()];
        let environment = vec![("XDG_CONFIG_HOME".into(), home.into())];
        Self { program: programs.path("starling"), arguments, environment }
    }

    /// Asks another address than the context's.
    #[must_use]
    pub fn at(mut self, server: &str) -> Self {
        self.arguments.extend(["--server".into(), server.into()]);
        self
    }

    /// Waits only so long for an answer, such as `5s`.
    #[must_use]
    pub fn within(mut self, time: &str) -> Self {
        self.arguments.extend(["--timeout".into(), time.into()]);
        self
    }

    /// Runs `starling` and returns what it printed, whatever its exit code.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn starling(&self, arguments: &[&str]) -> Result<Printed> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
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
    /// As [`CommandLine::ask`], or the answer is of another shape.
    pub fn ask_json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let text = self.ask(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("read what `starling {}` printed", arguments.join(" ")))
    }

    /// Asks how many clusters there are, and how they are.
    ///
    /// # Errors
    /// As [`CommandLine::ask_json`].
    pub fn status(&self) -> Result<Status> {
        let printed = self.starling(&["status", "-o", "json"])?;
        if ![0, FLEET_HOLDS].contains(&printed.code) {
            bail!("starling status exited with {}: {}", printed.code, printed.stderr.trim());
        }
        serde_json::from_str(&printed.stdout).context("read what `starling status` printed")
    }
}
