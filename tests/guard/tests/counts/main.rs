//! Instructions of the hub's hot paths, counted by valgrind's callgrind and compared with `counts.toml`.
//!
//! Seconds differ by a factor of two from one run to the next on machines that other work shares; instructions do not. See
//! `docs/decisions/0025`.

mod callgrind;
mod file;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use starling_guard::{PATHS, RATIOS};

use self::callgrind::Callgrind;
use self::file::{Counts, Finding};

/// Set to write the file anew.
const UPDATE: &str = "STARLING_UPDATE";

/// What a program is built with whose instructions are counted.
const PROFILE: &str = "guard";

#[test]
fn no_path_became_dearer() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = folder.join("counts.toml");
    let program = build(folder)?;
    let measured = Callgrind::find()?.count(&program, PATHS)?;
    let measured = Counts::measured(&toolchain()?, &measured);
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&committed, measured.to_text()?).context("write the counts")?;
    }
    let text = std::fs::read_to_string(&committed).with_context(|| format!("read {}", committed.display()))?;
    let (mut wrong, mut said) = (Vec::new(), Vec::new());
    for finding in Counts::parse(&text)?.compare(&measured).into_iter().chain(measured.ratios(RATIOS)) {
        match finding {
            Finding::Wrong(text) => wrong.push(text),
            Finding::Info(text) => said.push(text),
        }
    }
    for info in said {
        println!("{info}");
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Builds the program that goes the paths; it is another profile than the tests', so nobody has built it before.
fn build(folder: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments =
        ["build", "--quiet", "--package", "starling-guard", "--bin", "starling-guard", "--profile", PROFILE];
    let status = Command::new(cargo).current_dir(folder).args(arguments).status().context("run cargo")?;
    ensure!(status.success(), "starling-guard cannot be built with the profile {PROFILE}");
    // <target>/<profile>/deps/counts-<hash> is this program.
    let own = std::env::current_exe().context("find this program")?;
    let target = own.ancestors().nth(3).context("this program is in a target folder")?;
    let program = target.join(PROFILE).join("starling-guard");
    ensure!(program.is_file(), "the build left no {}", program.display());
    Ok(program)
}

/// The compiler's version: another one counts otherwise.
fn toolchain() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let folder = env!("CARGO_MANIFEST_DIR");
    let ran = Command::new(rustc).current_dir(folder).arg("--version").output().context("run rustc")?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    Ok(said.split(' ').nth(1).context("rustc says its version")?.to_owned())
}
