//! Running cargo, and finding what it built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask is a folder of the checkout").to_owned()
}

/// Cargo, in the root of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command to its end, and fails with its name.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{what}: start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{what} failed ({status})");
    }
    Ok(())
}

/// Builds the programs in the release profile and returns their folder.
pub(crate) fn release_programs() -> Result<PathBuf> {
    eprintln!("building starling-hub, starling-agent, starling and starling-loadtest (about 4 minutes the first time)");
    programs("release", "release")
}

/// Builds the programs in the dev profile and returns their folder.
pub(crate) fn dev_programs() -> Result<PathBuf> {
    eprintln!("building starling-hub, starling-agent, starling and starling-loadtest");
    programs("dev", "debug")
}

fn programs(profile: &str, folder: &str) -> Result<PathBuf> {
    let packages = ["starling-hub", "starling-agent", "starling-cli", "starling-loadtest"];
    let mut build = cargo();
    build.args(["build", "--profile", profile, "--bins"]);
    for package in packages {
        build.args(["--package", package]);
    }
    let started = Instant::now();
    run("build the programs", &mut build)?;
    eprintln!("built in {:.0} s", started.elapsed().as_secs_f64());
    Ok(target_folder().join(folder))
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    named.map_or_else(|| root().join("target"), |folder| root().join(folder))
}
