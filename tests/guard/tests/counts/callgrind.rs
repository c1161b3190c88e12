//! Counting with callgrind: each path in a process of its own, so that what one leaves behind is not in another's way.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use starling_guard::Path as HotPath;
use starling_realparts::Valgrind;

/// The function between whose entry and return instructions count.
const TOGGLE: &str = "--toggle-collect=starling_guard::passage*";

/// What counts.
#[derive(Debug)]
pub(crate) struct Callgrind(Valgrind);

impl Callgrind {
    /// Finds it: on PATH, or out of Debian's package.
    pub(crate) fn find() -> Result<Self> {
        Ok(Self(starling_realparts::valgrind()?))
    }

    /// Returns the instructions of each path.
    pub(crate) fn count(&self, program: &Path, paths: &[HotPath]) -> Result<BTreeMap<&'static str, u64>> {
        let folder = tempfile::tempdir().context("make a folder for callgrind")?;
        let (waiting, counts) = (Mutex::new(paths.iter()), Mutex::new(Vec::new()));
        let work = || loop {
            let Some(path) = waiting.lock().expect("nobody panicked").next() else { return };
            let counted = self.count_one(program, path.name, folder.path());
            counts.lock().expect("nobody panicked").push((path.name, counted));
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        let counts = counts.into_inner().expect("nobody panicked");
        counts.into_iter().map(|(name, counted)| Ok((name, counted.with_context(|| format!("path {name}"))?))).collect()
    }

    fn count_one(&self, program: &Path, path: &str, folder: &Path) -> Result<u64> {
        let out = folder.join(path);
        let mut command: Command = self.0.command();
        command.args(["--quiet", "--tool=callgrind", "--collect-atstart=no", TOGGLE]);
        command.arg(format!("--callgrind-out-file={}", out.display())).arg(program).arg(path);
        // Neither the length of the caller's environment nor what is in it changes a count.
        command.env("LC_ALL", "C");
        let ran = command.output().context("run valgrind")?;
        if !ran.status.success() {
            bail!("valgrind: {}\n{}", ran.status, String::from_utf8_lossy(&ran.stderr));
        }
        total(&fs::read_to_string(&out).context("read what callgrind counted")?)
    }
}

/// Reads the total of a file of callgrind's.
fn total(text: &str) -> Result<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).context("callgrind counted nothing")?;
    let count: u64 = total.trim().parse().context("read callgrind's total")?;
    ensure!(count > 0, "callgrind never saw the function that is counted: its name is in tests/guard/src/lib.rs");
    Ok(count)
}
