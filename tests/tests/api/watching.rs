//! `--watch`: what changes is printed when it changes, and a hub that restarts does not end it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::bed::{Bed, cluster, on_a_hub};
use crate::documents::assignment;

/// How long a change may take until it is printed.
const PRINTED_WITHIN: Duration = Duration::from_secs(60);

/// One line of a watch.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    what: String,
    object: Watched,
}

#[derive(Debug, Deserialize)]
struct Watched {
    name: String,
    version: String,
    ready: u64,
}

/// A running watch; ends when dropped.
struct Watch {
    child: Child,
    lines: Receiver<String>,
}

#[test]
fn a_watch_prints_what_changes_and_survives_a_restart_of_the_hub() -> Result<()> {
    on_a_hub("watching", &[], |bed| {
        let machine = cluster("edge");
        let _agent = bed.run_agent(&machine, &bed.adopt("edge", &[])?, "identity");
        bed.wait_live("edge")?;
        let watch = Watch::assignments(bed)?;
        bed.write("base.yaml", &assignment("base", "{}"))?;
        let first = watch.wait("base to come", |event| event.object.name == "base")?;
        ensure!(first.what == "ADDED", "{first:?}");
        // One event may stand for many changes.
        if first.object.ready == 0 {
            watch.wait("base to be ready", |event| event.what == "MODIFIED" && event.object.ready == 1)?;
        }

        bed.hub.kill9()?;
        bed.write("base.yaml", &assignment("base", "{}").replace("1.0.0", "1.1.0"))?;
        bed.hub.restart()?;
        watch.wait("the upgrade", |event| event.object.version == "1.1.0" && event.object.ready == 1)?;
        bed.hub.ask(&["delete", "assignment", "base", "--approve", "1"])?;
        watch.wait("the deletion", |event| event.what == "DELETED" && event.object.name == "base")?;
        Ok(())
    })
}

impl Watch {
    fn assignments(bed: &Bed) -> Result<Self> {
        let mut child = Command::new(bed.hub.programs().path("starling"))
            .arg("--config")
            .arg(bed.hub.context_file())
            .args(["get", "assignments", "--watch", "-o", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start a watch")?;
        let stdout = child.stdout.take().context("the watch has an output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Reads events until one is as wanted.
    fn wait(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        let until = Instant::now() + PRINTED_WITHIN;
        let mut last = String::from("nothing");
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let Ok(line) = self.lines.recv_timeout(left) else { break };
            let event: Event = serde_json::from_str(&line).with_context(|| format!("read {line}"))?;
            if wanted(&event) {
                return Ok(event);
            }
            last = line;
        }
        bail!("the watch did not print {what}; last: {last}")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
