//! Programs that come out of a Debian package: downloaded and unpacked without root, nothing is installed.
//!
//! Owns the folder `<cache>/programs/<package>-<version>`. The version is the one that the machine's package lists offer.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, IoContext as _, Result, create_folder};
use crate::programs::{cache_folder, require_tool};

const PACKAGE: &str = "prometheus";
const PROGRAM: &str = "usr/bin/promtool";
const APT_INSTALL: &str = "promtool checks the alert rules and is taken out of Debian's package: run the tests on Debian or \
     Ubuntu, or put promtool on PATH (https://prometheus.io/download)";
const NO_LISTS: &str = "there is no package list of it: run `apt-get update` once";

/// Returns the path of `promtool`, which checks Prometheus rules: of PATH, or out of Debian's package `prometheus`.
pub fn promtool() -> Result<PathBuf> {
    if let Some(installed) = on_path("promtool") {
        return Ok(installed);
    }
    for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
        require_tool(tool, "--version", APT_INSTALL)?;
    }
    let version = candidate()?;
    let programs = create_folder(&cache_folder()?.join("programs"))?;
    // A colon of an epoch and the like have no place in a folder's name.
    let key: String =
        format!("{PACKAGE}-{version}").chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let folder = programs.join(&key);
    let locks = create_folder(&programs.join("locks"))?;
    let lock_path = locks.join(&key);
    let lock = File::create(&lock_path).at_path("create", &lock_path)?;
    lock.lock().at_path("lock", &lock_path)?;
    if !folder.join(PROGRAM).is_file() {
        unpack(&programs.join(format!("building-{key}")), &folder)?;
    }
    Ok(folder.join(PROGRAM))
}

/// Downloads the package and unpacks it beside, then renames the folder into place.
fn unpack(building: &Path, folder: &Path) -> Result<()> {
    if building.exists() {
        // The lock makes this process the only one here: whatever lies there was left by a process that was killed.
        fs::remove_dir_all(building).at_path("remove", building)?;
    }
    create_folder(building)?;
    output(Command::new("apt-get").args(["download", PACKAGE]).current_dir(building))?;
    let mut packages = fs::read_dir(building).at_path("list", building)?;
    let Some(package) = packages.next() else {
        return Err(unexpected("`apt-get download` left no package"));
    };
    let package = package.at_path("list", building)?.path();
    output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(building))?;
    fs::remove_file(&package).at_path("remove", &package)?;
    if !building.join(PROGRAM).is_file() {
        return Err(unexpected("the package has no promtool"));
    }
    if folder.exists() {
        fs::remove_dir_all(folder).at_path("remove", folder)?;
    }
    fs::rename(building, folder).at_path("rename the unpacked package to", folder)
}

/// Returns the version that would be installed.
fn candidate() -> Result<String> {
    let policy = output(Command::new("apt-cache").args(["policy", PACKAGE]))?;
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: ")).unwrap_or("(none)");
    if version == "(none)" { Err(unexpected(NO_LISTS)) } else { Ok(version.to_owned()) }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// Runs a command that must succeed, and returns what it printed.
fn output(command: &mut Command) -> Result<String> {
    let ran = command.env("LC_ALL", "C").output().doing(|| format!("run {command:?}"))?;
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
    if ran.status.success() {
        return Ok(printed);
    }
    let output = format!("{printed}{}", String::from_utf8_lossy(&ran.stderr));
    Err(Error::Command { command: format!("{command:?}"), status: ran.status.to_string(), output })
}

fn unexpected(detail: &str) -> Error {
    Error::Unexpected { what: format!("get Debian's package {PACKAGE}"), detail: detail.to_owned() }
}
