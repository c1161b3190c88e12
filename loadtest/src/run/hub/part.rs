//! One process that the run started: a hub's, or etcd.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::run::process::tied_command;

/// How long it may take to stop when asked.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// A process that can be stopped and started again. It is killed when this is dropped, and when the run ends in whatever way.
pub(super) struct Part {
    /// What it is called, here and in its log's name.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Part {
    /// Describes a process that is not started yet, with its log in a folder.
    pub(super) fn new(name: &str, program: &Path, folder: &Path, arguments: Vec<OsString>) -> Self {
        let log = folder.join(format!("{name}.log"));
        Self { name: name.to_owned(), program: program.to_owned(), arguments, log, child: Mutex::default() }
    }

    /// Starts it.
    pub(super) fn start(&self) -> Result<()> {
        let Self { name, program, log, .. } = self;
        ensure!(program.exists(), "there is no {}: build it, or say where it is", program.display());
        let log = File::options().create(true).append(true).open(log).with_context(|| format!("open {name}'s log"))?;
        let mut command = tied_command(program);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().with_context(|| format!("share {name}'s log"))?)
            .stderr(log)
            // Ctrl-C is for the run, which stops this in order.
            .process_group(0);
        let child =
            command.spawn().with_context(|| format!("start setpriv, which starts {name}: install util-linux"))?;
        *self.child() = Some(child);
        Ok(())
    }

    /// Returns its process id; `None` while it is down.
    pub(super) fn id(&self) -> Option<u32> {
        self.child().as_ref().and_then(Child::id)
    }

    /// Signals it and waits until it has ended; returns how.
    pub(super) async fn stop(&self, signal: Signal) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            bail!("{}", self.ended_badly(status));
        }
        let name = &self.name;
        let mut child = self.child().take().with_context(|| format!("{name} is down already"))?;
        if let Some(process) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(process, signal).with_context(|| format!("signal {name}"))?;
        }
        let ended = tokio::time::timeout(STOPS_WITHIN, child.wait()).await;
        ended.with_context(|| format!("{name} does not stop"))?.with_context(|| format!("wait for {name}"))
    }

    /// Returns how it ended, where nobody told it to. It counts as down then, so that this is told once.
    pub(super) fn ended(&self) -> Result<Option<ExitStatus>> {
        let mut child = self.child();
        let Some(running) = child.as_mut() else { return Ok(None) };
        let ended = running.try_wait().with_context(|| format!("look at {}", self.name))?;
        if ended.is_some() {
            *child = None;
        }
        Ok(ended)
    }

    /// Says that it ended, and where to look.
    pub(super) fn ended_badly(&self, status: ExitStatus) -> String {
        format!("{} ended ({status}): see {}", self.name, self.log.display())
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &Path, script: &str) -> Part {
        let part = Part::new("shell", Path::new("/bin/sh"), folder, vec!["-c".into(), script.into()]);
        part.start().expect("it starts");
        part
    }

    #[tokio::test]
    async fn an_end_that_nobody_asked_for_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let part = shell(folder.path(), "exit 3");
        let status = loop {
            if let Some(status) = part.ended().expect("it can be looked at") {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!((status.code(), part.id()), (Some(3), None));
        assert!(part.ended().expect("it can be looked at").is_none());
        assert!(part.ended_badly(status).contains("shell.log"));
    }

    #[tokio::test]
    async fn what_is_stopped_tells_how_it_ended_and_starts_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
        let part = shell(folder.path(), script);
        let first = part.id();
        while !std::fs::read_to_string(&part.log).expect("a log").contains("ready") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(part.stop(Signal::TERM).await.expect("it stops").code(), Some(7));
        assert!(part.id().is_none() && part.stop(Signal::TERM).await.is_err());
        part.start().expect("it starts again");
        assert!(part.id().is_some() && part.id() != first);
        assert!(!part.stop(Signal::KILL).await.expect("it is killed").success());
    }
}
