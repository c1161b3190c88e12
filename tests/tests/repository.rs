//! The rules of the repository that a machine can check.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates that decide and do nothing else.
const PURE: [&str; 3] = ["starling-model", "starling-hub-core", "starling-agent-core"];

/// What would let a clock, a thread, a socket or randomness into a pure crate.
const IMPURE: [&str; 13] = [
    "tokio",
    "tonic",
    "prost",
    "kube",
    "hyper",
    "axum",
    "rustls",
    "rand",
    "getrandom",
    "redb",
    "opentelemetry",
    "starling-proto",
    "chrono",
];

/// Second providers of cryptography, and what needs a C tool chain of its own.
const BANNED: [&str; 4] = ["ring", "openssl", "openssl-sys", "native-tls"];

/// The longest that a source file may be, in lines.
const LINES: usize = 500;

#[test]
fn pure_crates_depend_on_nothing_impure() {
    for pure in PURE {
        let reached = built_of(pure);
        let found: Vec<&str> = IMPURE.into_iter().filter(|name| reached.contains(*name)).collect();
        assert!(found.is_empty(), "{pure} reaches {found:?}");
    }
}

#[test]
fn dependencies_run_one_way() {
    let forbidden = [
        ("starling-model", "starling-hub-core"),
        ("starling-hub-core", "starling-agent-core"),
        ("starling-agent-core", "starling-hub-core"),
        ("starling-hub", "starling-agent"),
        ("starling-agent", "starling-hub"),
        ("starling-loadtest", "starling-hub"),
    ];
    for (from, to) in forbidden {
        assert!(!built_of(from).contains(to), "{from} must not reach {to}");
    }
}

#[test]
fn one_provider_of_cryptography() {
    for program in ["starling-hub", "starling-agent", "starling-cli"] {
        let reached = built_of(program);
        let found: Vec<&str> = BANNED.into_iter().filter(|name| reached.contains(*name)).collect();
        assert!(found.is_empty(), "{program} reaches {found:?}");
    }
}

#[test]
fn no_source_file_is_too_long() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("/gen/"))
        .filter_map(|path| {
            let lines = fs::read_to_string(&path).expect("read a source file").lines().count();
            (lines > LINES).then(|| format!("{} has {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "above {LINES} lines: {long:#?}");
}

#[test]
fn every_module_says_what_it_owns() {
    let silent: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("/gen/") && !is_test(path))
        .filter(|path| !fs::read_to_string(path).expect("read a source file").starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "without a module comment: {silent:#?}");
}

#[test]
fn the_test_command_is_the_one_of_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("read the README");
    let ci = fs::read_to_string(root().join(".ci/run")).expect("read .ci/run");
    assert!(readme.contains("cargo xtask demo") && readme.contains("cargo xtask test"));
    assert!(ci.contains("exec cargo xtask test"));
}

/// Returns the packages that a package is built of on this machine, with the features that it is built with, tests left out.
fn built_of(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .current_dir(root())
        .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}", "--offline"])
        .output()
        .expect("run cargo tree");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8_lossy(&tree.stdout);
    let names: BTreeSet<String> = text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.contains(package), "{package} is a package of this workspace");
    names
}

fn is_test(path: &Path) -> bool {
    let path = path.to_string_lossy();
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

/// Every Rust file of the checkout.
fn sources() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .output()
        .expect("run git");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let files: Vec<PathBuf> = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .map(|line| root().join(line))
        .filter(|path| path.is_file())
        .collect();
    assert!(files.len() > 100, "the checkout has its sources");
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the checkout").to_owned()
}
