//! `cargo xtask images`: static programs, and an OCI image of each, without a container engine.
//!
//! Owns what is in an image and how it is labelled. crane assembles, on a registry on loopback that lives as long as the command: it
//! can only change images that are in one.

mod assemble;
mod elf;
mod layer;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use starling_realparts::{Program, Programs};

use crate::build::{self, cargo, root, target_folder};
use assemble::{Assembled, Assembler};

/// Cargo's profile of programs that are shipped.
const PROFILE: &str = "image";

/// Makes a program that needs no library of its machine; glibc looks names up by itself since 2.34.
const STATIC: &str = "-C target-feature=+crt-static";

/// What the images command takes.
#[derive(Debug, Args)]
pub(crate) struct ImagesArguments {
    /// Pushes the images there, such as registry.example.org/starling, as whom `crane auth login` or `docker login` made you.
    #[arg(long, value_name = "REGISTRY")]
    push: Option<String>,
    /// The tag [default: the version].
    #[arg(long)]
    tag: Option<String>,
    /// Makes this image alone; may be given again.
    #[arg(long, value_name = "IMAGE")]
    only: Vec<Image>,
    /// Takes built programs from a folder instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// An image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Image {
    /// The hub.
    Hub,
    /// The agent.
    Agent,
    /// The command line.
    Cli,
}

impl Image {
    const ALL: [Self; 3] = [Self::Hub, Self::Agent, Self::Cli];

    /// The image's name in a registry.
    fn name(self) -> &'static str {
        match self {
            Self::Hub => "starling-hub",
            Self::Agent => "starling-agent",
            Self::Cli => "starling-cli",
        }
    }

    /// The program in it, at its root.
    fn program(self) -> &'static str {
        match self {
            Self::Hub | Self::Agent => self.name(),
            Self::Cli => "starling",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Hub => "The hub of a Starling fleet",
            Self::Agent => "The agent of one managed cluster of a Starling fleet",
            Self::Cli => "The command line of Starling",
        }
    }

    /// The folders that it writes to, which belong to its user.
    fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Hub => &["var/lib/starling"],
            Self::Agent | Self::Cli => &[],
        }
    }

    fn ports(self) -> &'static [&'static str] {
        match self {
            Self::Hub => &["8443/tcp", "8080/tcp"],
            Self::Agent => &["8081/tcp"],
            Self::Cli => &[],
        }
    }
}

/// Builds, assembles, and prints what came of it.
pub(crate) fn run(arguments: &ImagesArguments) -> Result<()> {
    let images = if arguments.only.is_empty() { Image::ALL.to_vec() } else { arguments.only.clone() };
    let triple = host_triple()?;
    let folder = match &arguments.programs {
        Some(folder) => folder.clone(),
        None => build_programs(&images, &triple)?,
    };
    let output = target_folder().join("images");
    let tag = arguments.tag.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"));
    let crane = Programs::ensure(&[Program::Crane])?;
    let assembler = Assembler::start(crane.path(Program::Crane)?, &output, platform(&triple)?, revision())?;
    let mut lines = Vec::new();
    for image in images {
        let path = folder.join(image.program());
        let program = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        elf::ensure_static(&program).with_context(|| format!("{} cannot run in an empty image", path.display()))?;
        let assembled = assembler.assemble(image, tag, &program)?;
        let pushed = match &arguments.push {
            Some(registry) => assembler.push(&assembled, &format!("{registry}/{}:{tag}", image.name()))?,
            None => String::new(),
        };
        lines.push(line(image, program.len(), &assembled, &pushed));
    }
    println!("{:<15} {:>10} {:>10}  digest, file", "image", "program", "layer");
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

fn line(image: Image, program: usize, assembled: &Assembled, pushed: &str) -> String {
    let mebibytes = |bytes: usize| format!("{:.2} MiB", bytes as f64 / 1024.0 / 1024.0);
    let (program, layer) = (mebibytes(program), mebibytes(assembled.layer_bytes));
    let pushed = if pushed.is_empty() { String::new() } else { format!("\n{:<38}{pushed}", "") };
    let file = assembled.archive.display();
    format!("{:<15} {program:>10} {layer:>10}  {}\n{:<38}{file}{pushed}", image.name(), assembled.digest, "")
}

/// Builds the programs, static and for this machine's processor, and returns their folder.
fn build_programs(images: &[Image], triple: &str) -> Result<PathBuf> {
    eprintln!("building static programs (several minutes: they are optimised as a whole)");
    let mut command = cargo();
    // The target is named so that procedural macros, which are loaded and not started, are not made static.
    command.args(["build", "--locked", "--profile", PROFILE, "--target", triple]).env("RUSTFLAGS", STATIC);
    for image in images {
        let package = image.name();
        command.args(["--package", package, "--bin", image.program()]);
    }
    let needs = "if the linker lacks -lc: Debian has a static glibc in libc6-dev, Fedora in glibc-static";
    build::run("build the static programs", &mut command).context(needs)?;
    Ok(target_folder().join(triple).join(PROFILE))
}

/// The compiler's own triple.
fn host_triple() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).current_dir(root()).arg("-vV").output().context("run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names its host")?.to_owned())
}

/// The platform of an image with programs for a triple.
fn platform(triple: &str) -> Result<&'static str> {
    ensure!(triple.ends_with("-unknown-linux-gnu"), "images are made on Linux with glibc, not for {triple}");
    match triple.split('-').next() {
        Some("x86_64") => Ok("linux/amd64"),
        Some("aarch64") => Ok("linux/arm64"),
        other => anyhow::bail!("there is no platform for {other:?}"),
    }
}

/// The commit that is checked out; empty outside of a repository.
fn revision() -> String {
    let output = Command::new("git").current_dir(root()).args(["rev-parse", "HEAD"]).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.map(|text| String::from_utf8_lossy(&text).trim().to_owned()).unwrap_or_default()
}

/// A file that images and Containerfiles share.
fn shared_file(name: &str) -> Result<Vec<u8>> {
    let path: &Path = &root().join("images/rootfs").join(name);
    fs::read(path).with_context(|| format!("read {}", path.display()))
}
