use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use starling_realparts::{Program, Programs};

use super::assemble::{Assembler, layer};
use super::*;

/// A program of 64 header bytes and one program header, of a type.
fn program_with_header(kind: u32) -> Vec<u8> {
    let mut program = vec![0; 120];
    program[..6].copy_from_slice(b"\x7fELF\x02\x01");
    program[32..40].copy_from_slice(&64u64.to_le_bytes());
    program[54..56].copy_from_slice(&56u16.to_le_bytes());
    program[56..58].copy_from_slice(&1u16.to_le_bytes());
    program[64..68].copy_from_slice(&kind.to_le_bytes());
    program[72..80].copy_from_slice(&120u64.to_le_bytes());
    program.extend_from_slice(b"/lib/loader\0");
    program
}

fn assembler(folder: &Path) -> Assembler {
    let programs = Programs::ensure(&[Program::Crane]).unwrap();
    Assembler::start(programs.path(Program::Crane).unwrap(), folder, "linux/amd64", "abc".to_owned()).unwrap()
}

#[test]
fn a_program_that_needs_a_loader_is_refused() {
    elf::ensure_static(&program_with_header(1)).unwrap();
    let refusal = format!("{:#}", elf::ensure_static(&program_with_header(3)).unwrap_err());
    assert!(refusal.contains("started by /lib/loader"), "{refusal}");
    assert!(elf::ensure_static(b"#!/bin/sh\n").is_err());
    assert!(elf::ensure_static(&program_with_header(1)[..60]).is_err());
    // This very test was not built to be shipped.
    assert!(elf::ensure_static(&fs::read("/proc/self/exe").unwrap()).is_err());
}

#[test]
fn a_layer_is_what_tar_reads_and_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("layer.tar");
    let bytes = layer(Image::Hub, b"program").unwrap().tar().unwrap();
    assert_eq!(bytes, layer(Image::Hub, b"program").unwrap().tar().unwrap());
    fs::write(&archive, bytes).unwrap();
    let listed = Command::new("tar").arg("--numeric-owner").arg("-tvf").arg(&archive).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    let found: BTreeMap<&str, (&str, &str)> = lines.iter().map(|words| (words[5], (words[0], words[1]))).collect();
    let expected = [
        ("etc/", ("drwxr-xr-x", "0/0")),
        ("etc/group", ("-rw-r--r--", "0/0")),
        ("etc/passwd", ("-rw-r--r--", "0/0")),
        ("starling-hub", ("-rwxr-xr-x", "0/0")),
        ("tmp/", ("drwxrwxrwt", "0/0")),
        ("var/", ("drwxr-xr-x", "0/0")),
        ("var/lib/", ("drwxr-xr-x", "0/0")),
        ("var/lib/starling/", ("drwx------", "65532/65532")),
    ];
    assert_eq!(found, BTreeMap::from(expected), "{listed}");
}

#[test]
fn an_image_is_pushed_and_pulled_back_and_runs_as_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let assembler = assembler(folder.path());
    let assembled = assembler.assemble(Image::Hub, "1.2.3", b"tiny").unwrap();

    let pushed = assembler.push(&assembled, &assembled.reference.replace("starling-hub", "elsewhere/hub")).unwrap();
    assert!(pushed.ends_with(&assembled.digest), "{pushed}");
    let config: Value = serde_json::from_str(&assembler.crane(&["config", &pushed]).unwrap()).unwrap();
    assert_eq!(config["os"], "linux");
    assert_eq!(config["architecture"], "amd64");
    let run = &config["config"];
    assert_eq!(run["Entrypoint"], json!(["/starling-hub"]));
    assert_eq!(run["User"], "65532:65532");
    assert_eq!(run["ExposedPorts"], json!({ "8080/tcp": {}, "8443/tcp": {} }));
    assert_eq!(run["Labels"]["org.opencontainers.image.version"], "1.2.3");
    assert_eq!(run["Labels"]["org.opencontainers.image.revision"], "abc");
    let manifest: Value = serde_json::from_str(&assembler.crane(&["manifest", &pushed]).unwrap()).unwrap();
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1), "{manifest}");
    assert_eq!(manifest["layers"][0]["size"], assembled.layer_bytes);
    assert!(manifest["mediaType"].as_str().unwrap().starts_with("application/vnd.oci."), "{manifest}");

    let pulled = folder.path().join("pulled.tar");
    assembler.crane(&["export", &pushed, pulled.to_str().unwrap()]).unwrap();
    let program = Command::new("tar").arg("-xOf").arg(&pulled).arg("starling-hub").output().unwrap();
    assert_eq!(program.stdout, b"tiny");

    let index = Command::new("tar").arg("-xOf").arg(&assembled.archive).arg("index.json").output().unwrap();
    let index: Value = serde_json::from_slice(&index.stdout).unwrap();
    assert_eq!(index["manifests"][0]["digest"], assembled.digest);
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "starling-hub:1.2.3");
}

#[test]
fn the_same_program_makes_the_same_image() {
    let digest = || {
        let folder = tempfile::tempdir().unwrap();
        assembler(folder.path()).assemble(Image::Agent, "1.0.0", b"tiny").unwrap().digest
    };
    assert_eq!(digest(), digest());
}

#[test]
fn containerfiles_build_what_the_command_builds() {
    for image in Image::ALL {
        let path = root().join("images").join(format!("{}.Containerfile", image.name()));
        let text = fs::read_to_string(&path).unwrap();
        let build =
            format!("--profile {PROFILE} --target \"$TRIPLE\" --package {} --bin {}", image.name(), image.program());
        let entrypoint = format!("ENTRYPOINT [\"/{}\"]", image.program());
        for needed in [
            "cargo build --locked",
            &build,
            &format!("RUSTFLAGS=\"{STATIC}\""),
            &entrypoint,
            "USER 65532:65532",
            "FROM scratch",
        ] {
            assert!(text.contains(needed), "{} lacks {needed}", path.display());
        }
        let toolchain = fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
        let version = text.lines().find_map(|line| line.strip_prefix("FROM docker.io/library/rust:")).unwrap();
        let version = version.split('-').next().unwrap();
        assert!(toolchain.contains(version), "{} builds with {version}", path.display());
    }
}
