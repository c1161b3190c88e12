//! Builds the programs of the recipe table with Go, once, and hands out their paths.
//!
//! Owns the cache outside the checkout: `<cache>/programs/<key>/<name>`, where the key covers the whole recipe. A program
//! is built in a folder beside and renamed into place, under a lock between processes, so a reader never sees half of one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Error, IoContext, Result, create_folder, tail_of_file};
use crate::go_mod;
use crate::process::{spawn_tied, tied_command};
use crate::recipes::{Program, Recipe};

const GO_INSTALL: &str = "install Go 1.26 or newer (https://go.dev/dl) and put its bin folder on PATH";
const GIT_INSTALL: &str = "install Git (Debian: `apt-get install git`, Fedora: `dnf install git`)";
const TAIL_LINES: usize = 30;
const PROGRESS_EVERY: Duration = Duration::from_secs(30);

/// Programs that are built and ready to run.
#[derive(Debug, Clone)]
pub struct Programs {
    folders: BTreeMap<Program, PathBuf>,
}

impl Programs {
    /// Builds what is not in the cache yet (minutes, with progress on stderr) and returns the paths of all that were asked for.
    pub fn ensure(wanted: &[Program]) -> Result<Self> {
        Self::ensure_in(&cache_folder()?, wanted)
    }

    /// As [`Programs::ensure`], with a cache folder of the caller's choice.
    pub fn ensure_in(cache: &Path, wanted: &[Program]) -> Result<Self> {
        let programs = create_folder(&cache.join("programs"))?;
        // Ordered as the table is, and each once.
        let wanted: BTreeSet<Program> = wanted.iter().copied().collect();
        let folder_of = |program: Program| programs.join(program.recipe().key());
        let missing: Vec<Program> =
            wanted.iter().copied().filter(|program| !is_built(program.recipe(), &folder_of(*program))).collect();
        if !missing.is_empty() {
            require_tool("go", "version", GO_INSTALL)?;
            require_tool("git", "--version", GIT_INSTALL)?;
        }
        for (index, program) in missing.iter().enumerate() {
            let place = format!("{} of {}", index + 1, missing.len());
            build_once(program.recipe(), &programs, &place)?;
        }
        Ok(Self { folders: wanted.iter().map(|program| (*program, folder_of(*program))).collect() })
    }

    /// The executable of a program.
    pub fn path(&self, program: Program) -> Result<PathBuf> {
        Ok(self.folder(program)?.join(program.name()))
    }

    /// The YAML files of the CRDs that a Flux controller serves, sorted; empty for other programs.
    pub fn crds(&self, program: Program) -> Result<Vec<PathBuf>> {
        if program.recipe().crds.is_none() {
            return Ok(Vec::new());
        }
        yaml_files(&self.folder(program)?.join("crds"))
    }

    fn folder(&self, program: Program) -> Result<&Path> {
        self.folders.get(&program).map(PathBuf::as_path).ok_or(Error::NotEnsured(program.name()))
    }
}

/// The path of `buf`, which lints protos; the programs must have been ensured with it.
pub fn buf(programs: &Programs) -> Result<PathBuf> {
    programs.path(Program::Buf)
}

/// Where built programs are kept: `$STARLING_CACHE`, `$XDG_CACHE_HOME/starling` or `~/.cache/starling`.
pub fn cache_folder() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("STARLING_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("starling")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/starling")))
        .ok_or(Error::NoCacheFolder)
}

/// Fails with how to install a tool when it cannot be run.
pub(crate) fn require_tool(tool: &'static str, version_argument: &str, install: &'static str) -> Result<()> {
    let run = Command::new(tool).arg(version_argument).stdin(Stdio::null()).output();
    match run {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::MissingTool { tool, install }),
        Err(source) => Err(Error::Io { what: format!("run {tool}"), source }),
    }
}

fn is_built(recipe: &Recipe, folder: &Path) -> bool {
    folder.join(recipe.name).is_file()
}

/// Builds a program unless another process does so first.
fn build_once(recipe: &Recipe, programs: &Path, place: &str) -> Result<()> {
    let key = recipe.key();
    let locks = create_folder(&programs.join("locks"))?;
    let lock_path = locks.join(&key);
    let lock = File::create(&lock_path).at_path("create", &lock_path)?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for another process that builds {} {}", recipe.name, recipe.version);
        lock.lock().at_path("lock", &lock_path)?;
    }
    let folder = programs.join(&key);
    if is_built(recipe, &folder) {
        return Ok(());
    }
    eprintln!(
        "building {} {} ({place}), about {} s when nothing is cached",
        recipe.name, recipe.version, recipe.cold_seconds
    );
    let started = Instant::now();
    // The lock makes this process the only one here: whatever lies there was left by a process that was killed.
    let building = programs.join(format!("building-{key}"));
    remove_folder(&building)?;
    build(recipe, &building)?;
    remove_folder(&folder)?;
    fs::rename(&building, &folder).at_path("rename the built program to", &folder)?;
    eprintln!("built {} {} in {} s", recipe.name, recipe.version, started.elapsed().as_secs());
    Ok(())
}

fn build(recipe: &Recipe, building: &Path) -> Result<()> {
    create_folder(building)?;
    let log = building.join("build.log");
    let module = download_module(recipe, building, &log)?;
    let upstream = fs::read_to_string(&module.go_mod).at_path("read", &module.go_mod)?;
    let go_mod_path = building.join("go.mod");
    fs::write(&go_mod_path, go_mod::build_module(recipe, &upstream)).at_path("write", &go_mod_path)?;

    let mut go = go_command(building)?;
    go.args(["build", "-mod=mod", "-trimpath", "-ldflags", recipe.ldflags, "-o", recipe.name])
        .arg(recipe.package_path());
    run_go(recipe, go, &log)?;

    let Some(crds) = recipe.crds else {
        return Ok(());
    };
    let target = create_folder(&building.join("crds"))?;
    for source in yaml_files(&module.folder.join(crds))? {
        let name = source.file_name().unwrap_or_default();
        // Read and written rather than copied: Go's module cache is read-only, and its modes would come along.
        let text = fs::read(&source).at_path("read", &source)?;
        fs::write(target.join(name), text).at_path("write", &target)?;
    }
    Ok(())
}

/// A module in Go's own cache.
struct DownloadedModule {
    folder: PathBuf,
    go_mod: PathBuf,
}

fn download_module(recipe: &Recipe, building: &Path, log: &Path) -> Result<DownloadedModule> {
    let answer = building.join("module.json");
    let mut go = go_command(building)?;
    go.args(["mod", "download", "-json"]).arg(format!("{}@{}", recipe.module, recipe.version));
    go.stdout(File::create(&answer).at_path("create", &answer)?);
    let ended = run_go(recipe, go, log);
    let text = fs::read(&answer).at_path("read", &answer)?;
    let module: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    if let Err(mut failed) = ended {
        // With -json, go says in its answer rather than in its log what went wrong.
        if let (Error::Build { tail, .. }, Some(reason)) = (&mut failed, module["Error"].as_str()) {
            tail.push_str(reason);
        }
        return Err(failed);
    }
    match (module["Dir"].as_str(), module["GoMod"].as_str()) {
        (Some(folder), Some(go_mod)) => Ok(DownloadedModule { folder: folder.into(), go_mod: go_mod.into() }),
        _ => Err(Error::Unexpected {
            what: format!("read what `go mod download` says of {}", recipe.module),
            detail: String::from_utf8_lossy(&text).into_owned(),
        }),
    }
}

/// `go` with the caller's proxy and caches, and without whatever else the caller set for other projects.
fn go_command(building: &Path) -> Result<Command> {
    let mut go = tied_command(Path::new("go"))?;
    go.current_dir(building)
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env("GOFLAGS", "")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .stdin(Stdio::null());
    Ok(go)
}

/// Runs `go` with its messages in the log, and says every half minute that it still runs.
fn run_go(recipe: &Recipe, mut go: Command, log: &Path) -> Result<()> {
    let log_file = File::options().create(true).append(true).open(log).at_path("open", log)?;
    go.stderr(log_file);
    let started = Instant::now();
    let mut child = spawn_tied(go).doing(|| "run go".to_owned())?;
    let mut next_progress = PROGRESS_EVERY;
    let status = loop {
        if let Some(status) = child.try_wait().doing(|| "wait for go".to_owned())? {
            break status;
        }
        if started.elapsed() >= next_progress {
            eprintln!("  still building {}, {} s so far", recipe.name, next_progress.as_secs());
            next_progress += PROGRESS_EVERY;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    if status.success() {
        return Ok(());
    }
    Err(Error::Build {
        program: format!("{} {}", recipe.name, recipe.version),
        reason: status.to_string(),
        log: log.to_path_buf(),
        tail: tail_of_file(log, TAIL_LINES),
    })
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).at_path("list", folder)? {
        let path = entry.at_path("list", folder)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).at_path("remove", folder),
        _ => Ok(()),
    }
}
