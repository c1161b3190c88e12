//! CPU samples of a process, taken by `perf record`, and read as folded stacks.
//!
//! By the CPU clock, since virtual machines count nothing else, and with stacks by the tables for unwinding, which need no other
//! build of the hub than the one that people run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command as Blocking, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// Samples a second of each processor; a prime, so that nothing periodic is always or never seen.
pub(crate) const HERTZ: u32 = 97;

/// Bytes of a stack that are kept with a sample: what is deeper is cut off at its outer end, which decides nothing.
const STACK_BYTES: u32 = 16384;

/// How long perf may take to write what it has.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// A recording of one process.
pub(crate) struct Recording(Child);

/// Makes sure that perf is there and may be used.
///
/// # Errors
/// It is not, with what to do.
pub(crate) fn check() -> Result<()> {
    let mut perf = Blocking::new("perf");
    perf.args(["record", "--quiet", "-e", "cpu-clock", "-o", "/dev/null", "--", "true"]).stdin(Stdio::null());
    let ran = match perf.output() {
        Ok(ran) => ran,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("a profile is taken by perf, which is not installed: `apt-get install linux-perf`")
        }
        Err(error) => return Err(error).context("run perf"),
    };
    ensure!(
        ran.status.success(),
        "perf may not sample: run this as root, or `sysctl kernel.perf_event_paranoid=1`. It says: {}",
        String::from_utf8_lossy(&ran.stderr).trim()
    );
    Ok(())
}

impl Recording {
    /// Begins to sample a process, into a file.
    pub(crate) fn begin(process: u32, file: &Path) -> Result<Self> {
        let mut perf = Command::new("perf");
        perf.args(["record", "--quiet", "-e", "cpu-clock", "-F", &HERTZ.to_string()])
            .args(["--call-graph", &format!("dwarf,{STACK_BYTES}"), "-p", &process.to_string(), "-o"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        Ok(Self(perf.spawn().context("start perf")?))
    }

    /// Waits until the process has ended, and with it the recording.
    pub(crate) async fn ended(&mut self) {
        // It has ended, or it cannot be waited for: either way nothing more comes of it.
        let _ = self.0.wait().await;
    }

    /// Ends it; what was sampled is in the file.
    pub(crate) async fn end(mut self) -> Result<()> {
        if let Some(process) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(process, Signal::INT).context("signal perf")?;
        }
        tokio::time::timeout(STOPS_WITHIN, self.0.wait())
            .await
            .context("perf does not stop")?
            .context("wait for perf")?;
        Ok(())
    }
}

/// Reads what was sampled as folded stacks.
pub(crate) fn fold(file: &Path) -> Result<String> {
    let mut perf = Blocking::new("perf");
    // Without inlined functions, which it would look up one by one.
    perf.args(["script", "--no-inline", "-F", "comm,ip,sym", "-i"]).arg(file).stdin(Stdio::null());
    let ran = perf.output().context("run perf")?;
    let said = String::from_utf8_lossy(&ran.stderr);
    // The process was killed before anything of it was sampled.
    if said.contains("zero-sized data") {
        return Ok(String::new());
    }
    ensure!(ran.status.success(), "perf script: {}", said.trim());
    Ok(folded(&String::from_utf8_lossy(&ran.stdout)))
}

/// Folds what `perf script` prints: stacks apart by blank lines, each after a line with the thread's name, innermost frame first.
fn folded(script: &str) -> String {
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for block in script.split("\n\n") {
        let mut lines = block.lines().skip_while(|line| line.trim().is_empty());
        let Some(thread) = lines.next() else { continue };
        let frames: Vec<&str> = lines.filter_map(frame).collect();
        if frames.is_empty() {
            continue;
        }
        let outermost_first: Vec<&str> = std::iter::once(thread.trim()).chain(frames.into_iter().rev()).collect();
        *stacks.entry(outermost_first.join(";")).or_default() += 1;
    }
    let mut text = String::new();
    for (stack, count) in stacks {
        // Text is written to memory, which does not fail.
        let _ = writeln!(text, "{stack} {count}");
    }
    text
}

/// Returns the name of a frame: its address comes before it. A name with a `;` would be two frames.
fn frame(line: &str) -> Option<&str> {
    let (_, name) = line.trim().split_once(' ')?;
    Some(name.split(';').next().unwrap_or(name)).filter(|name| *name != "[unknown]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_folded_and_counted() {
        let script = "tokio-rt-worker \n\t  13baa35 <a::Value as b::De>::de\n\t  89d6 hub::read\n\tffffffffffffffff [unknown]\n\n\
                      tokio-rt-worker \n\t  13baa36 <a::Value as b::De>::de\n\t  89d6 hub::read\n\n\
                      main \n\n\
                      main \n\t 1 [u8; 3]::x\n";
        assert_eq!(folded(script), "main;[u8 1\ntokio-rt-worker;hub::read;<a::Value as b::De>::de 2\n");
    }
}
