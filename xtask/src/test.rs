//! `cargo xtask test`: every test, in the order from the quickest answer to the slowest.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use starling_realparts::{Program, Programs};

use crate::build::{self, cargo, root};

/// The protos as they were released last, in the folder of the protos.
const RELEASED: &str = "released/starling.v1.binpb";

/// The variable that says how many tests of a tier run at once.
const THREADS: &str = "RUST_TEST_THREADS";

/// What the test command takes.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// Only the tests whose name contains this, of every tier; nothing else is left out.
    #[arg(long)]
    only: Option<String>,
}

/// Runs every test.
pub(crate) fn run(arguments: &TestArguments) -> Result<()> {
    let started = Instant::now();
    step("format", cargo().args(["fmt", "--all", "--check"]))?;
    let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    step("lints", cargo().args(lints))?;
    eprintln!(
        "== real parts (about 14 minutes of building the first time, kept in {})",
        starling_realparts::cache_folder()?.display()
    );
    let programs = Programs::ensure(&Program::ALL)?;
    protos(&programs)?;
    starling_realparts::promtool()?;
    starling_realparts::valgrind()?;
    step("programs", cargo().args(["build", "--workspace", "--bins", "--quiet"]))?;
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    if std::env::var_os(THREADS).is_none() {
        tests.env(THREADS, threads().to_string());
    }
    if let Some(only) = &arguments.only {
        tests.arg(only);
    }
    step("tests", &mut tests)?;
    eprintln!("== all passed in {} s", started.elapsed().as_secs());
    Ok(())
}

/// Returns how many tests of a tier run at once: those on real parts wait more than they compute.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |processors| 2 * processors.get())
}

/// Lints the protos, and compares them with the newest released ones.
fn protos(programs: &Programs) -> Result<()> {
    let buf = starling_realparts::buf(programs)?;
    let protos = root().join("proto");
    step("protos: lint", Command::new(&buf).current_dir(&protos).args(["lint"]))?;
    if !protos.join(RELEASED).is_file() {
        bail!(
            "proto/{RELEASED} is missing, so breaking changes of the protos cannot be told: restore it from the repository; \
             before the first release, `buf build proto -o proto/{RELEASED}` makes it"
        );
    }
    step("protos: breaking changes", Command::new(&buf).current_dir(&protos).args(["breaking", "--against", RELEASED]))
}

fn step(name: &str, command: &mut Command) -> Result<()> {
    eprintln!("== {name}");
    build::run(name, command)
}
