//! A program that prints a line whenever something changes, with the instant at which each line arrived.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The running program; killed on drop.
pub(super) struct Watcher {
    name: &'static str,
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Watcher {
    pub(super) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let stdout = child.stdout.take().with_context(|| format!("{name} has no output"))?;
        // A line for each change of one object, read as it comes: bounded by the changes that this process makes.
        let (arrived, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if arrived.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name, child, lines })
    }

    /// Waits for the next line that is wanted; returns when it arrived. Lines before it are thrown away.
    pub(super) fn wait_for(&self, patience: Duration, is_wanted: impl Fn(&str) -> bool) -> Result<Instant> {
        let deadline = Instant::now() + patience;
        let mut last = String::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((arrived, line)) if is_wanted(&line) => return Ok(arrived),
                Ok((_, line)) => last = line,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} said nothing of it within {} s; last: {last}", self.name, patience.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended; last: {last}", self.name),
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It has ended by itself otherwise.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
