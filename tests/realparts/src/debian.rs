//! Files that come out of a Debian package: downloaded and unpacked without root, nothing is installed.
//!
//! Owns the folder `<cache>/programs/<package>-<version>`. The version is the one that the machine's package lists offer.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, IoContext as _, Result, create_folder};
use crate::programs::{cache_folder, require_tool};

const NO_LISTS: &str = "there is no package list of it: run `apt-get update` once";

/// A file of a package, and what to do on a machine without Debian's tools.
struct Packaged {
    package: &'static str,
    /// Where the file can be in the unpacked package: the folder of libraries differs from one processor to another.
    files: &'static [&'static str],
    install: &'static str,
}

const PROMTOOL: Packaged = Packaged {
    package: "prometheus",
    files: &["usr/bin/promtool"],
    install: "promtool checks the alert rules and is taken out of Debian's package: run the tests on Debian or Ubuntu, or put \
              promtool on PATH (https://prometheus.io/download)",
};

const FAKETIME: Packaged = Packaged {
    package: "libfaketime",
    files: &[
        "usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    ],
    install: "clocks of processes are skewed with libfaketime, which is taken out of Debian's package: run this on Debian or \
              Ubuntu",
};

const VALGRIND: Packaged = Packaged {
    package: "valgrind",
    files: &["usr/bin/valgrind"],
    install: "valgrind counts the instructions of the hub's hot paths and is taken out of Debian's package: run the tests on Debian \
              or Ubuntu, or put valgrind on PATH (https://valgrind.org/downloads)",
};

/// valgrind, installed or unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valgrind {
    program: PathBuf,
    /// Where its tools are, if it is not where it was built for.
    library: Option<PathBuf>,
}

impl Valgrind {
    /// Returns a command that runs it without the caller's environment, in which programs count the same everywhere.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear();
        // The program is a script.
        command.env("PATH", "/usr/bin:/bin");
        if let Some(library) = &self.library {
            command.env("VALGRIND_LIB", library);
        }
        command
    }
}

/// Returns `valgrind`: of PATH, or out of Debian's package.
pub fn valgrind() -> Result<Valgrind> {
    if let Some(program) = on_path("valgrind") {
        return Ok(Valgrind { program, library: None });
    }
    let program = VALGRIND.fetch()?;
    let libraries = program.parent().and_then(Path::parent).map(|usr| usr.join("libexec/valgrind"));
    let library = libraries.filter(|folder| folder.is_dir());
    Ok(Valgrind {
        program,
        library: Some(library.ok_or_else(|| VALGRIND.unexpected("the package has no libexec/valgrind"))?),
    })
}

/// Returns the path of `promtool`, which checks Prometheus rules: of PATH, or out of Debian's package `prometheus`.
pub fn promtool() -> Result<PathBuf> {
    on_path("promtool").map_or_else(|| PROMTOOL.fetch(), Ok)
}

/// Returns the path of the library that skews a process's clock, out of Debian's package `libfaketime`.
pub(crate) fn faketime_library() -> Result<PathBuf> {
    FAKETIME.fetch()
}

impl Packaged {
    /// Returns the path of the file; downloads and unpacks its package unless that was done before.
    fn fetch(&self) -> Result<PathBuf> {
        for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
            require_tool(tool, "--version", self.install)?;
        }
        let version = self.candidate()?;
        let programs = create_folder(&cache_folder()?.join("programs"))?;
        // A colon of an epoch and the like have no place in a folder's name.
        let key = format!("{}-{version}", self.package);
        let key: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let folder = programs.join(&key);
        let locks = create_folder(&programs.join("locks"))?;
        let lock_path = locks.join(&key);
        let lock = File::create(&lock_path).at_path("create", &lock_path)?;
        lock.lock().at_path("lock", &lock_path)?;
        if let Some(file) = self.file_in(&folder) {
            return Ok(file);
        }
        self.unpack(&programs.join(format!("building-{key}")), &folder)?;
        self.file_in(&folder).ok_or_else(|| self.unexpected("the unpacked package lost its files"))
    }

    fn file_in(&self, folder: &Path) -> Option<PathBuf> {
        self.files.iter().map(|file| folder.join(file)).find(|file| file.is_file())
    }

    /// Downloads the package and unpacks it beside, then renames the folder into place.
    fn unpack(&self, building: &Path, folder: &Path) -> Result<()> {
        if building.exists() {
            // The lock makes this process the only one here: whatever lies there was left by a process that was killed.
            fs::remove_dir_all(building).at_path("remove", building)?;
        }
        create_folder(building)?;
        output(Command::new("apt-get").args(["download", self.package]).current_dir(building))?;
        let mut packages = fs::read_dir(building).at_path("list", building)?;
        let Some(package) = packages.next() else {
            return Err(self.unexpected("`apt-get download` left no package"));
        };
        let package = package.at_path("list", building)?.path();
        output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(building))?;
        fs::remove_file(&package).at_path("remove", &package)?;
        if self.file_in(building).is_none() {
            return Err(self.unexpected(&format!("the package has none of {:?}", self.files)));
        }
        if folder.exists() {
            fs::remove_dir_all(folder).at_path("remove", folder)?;
        }
        fs::rename(building, folder).at_path("rename the unpacked package to", folder)
    }

    /// Returns the version that would be installed.
    fn candidate(&self) -> Result<String> {
        let policy = output(Command::new("apt-cache").args(["policy", self.package]))?;
        let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: ")).unwrap_or("(none)");
        if version == "(none)" { Err(self.unexpected(NO_LISTS)) } else { Ok(version.to_owned()) }
    }

    fn unexpected(&self, detail: &str) -> Error {
        Error::Unexpected { what: format!("get Debian's package {}", self.package), detail: detail.to_owned() }
    }
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
