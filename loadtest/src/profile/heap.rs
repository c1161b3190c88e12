//! Live allocations of the hub, followed by heaptrack from its start.
//!
//! heaptrack's library is loaded into the hub and writes down each allocation and each release with its stack. What was written when
//! `start` had ended is then read as if the hub had ended there: what was not released by then is what it held.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::{HeapProfile, attribute_heap};

/// Where Debian's package, and heaptrack's own build, put its parts.
const FOLDERS: [&str; 4] = [
    "/usr/lib/heaptrack",
    "/usr/lib/x86_64-linux-gnu/heaptrack",
    "/usr/lib/aarch64-linux-gnu/heaptrack",
    "/usr/local/lib/heaptrack",
];

/// What to do where it is not there.
const INSTALL: &str = "memory is attributed by heaptrack, which is not installed: `apt-get install heaptrack`";

/// heaptrack for one hub.
#[derive(Clone, Debug)]
pub(crate) struct HeapTrack {
    installed: PathBuf,
    folder: PathBuf,
}

impl HeapTrack {
    /// Finds it; `folder` is where it writes.
    ///
    /// # Errors
    /// It is not installed, with what to do.
    pub(crate) fn find(folder: &Path) -> Result<Self> {
        let mut folders = FOLDERS.iter().map(Path::new);
        let installed = folders.find(|folder| folder.join("libheaptrack_preload.so").is_file());
        let Some(installed) = installed else { bail!(INSTALL) };
        let printed = Command::new("heaptrack_print").arg("--version").stdin(Stdio::null()).output();
        ensure!(printed.is_ok(), INSTALL);
        let folder = std::path::absolute(folder).context("name heaptrack's folder")?;
        Ok(Self { installed: installed.to_owned(), folder })
    }

    /// Returns a program that runs a hub under it.
    pub(crate) fn around(&self, hub: &Path) -> Result<PathBuf> {
        let hub = self.without_lines(hub)?;
        let library = self.installed.join("libheaptrack_preload.so");
        let (script, raw) = (self.folder.join("hub-with-heaptrack"), self.raw());
        let text = format!(
            "#!/bin/sh\nexec env LD_PRELOAD={} DUMP_HEAPTRACK_OUTPUT={} {} \"$@\"\n",
            quoted(&library)?,
            quoted(&raw)?,
            quoted(&hub)?
        );
        fs::write(&script, text).with_context(|| format!("write {}", script.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).context("make it a program")?;
        Ok(script)
    }

    /// Copies the hub without its lines of source: where heaptrack finds these, it names functions without their modules.
    fn without_lines(&self, hub: &Path) -> Result<PathBuf> {
        let copy = self.copy();
        let mut strip = Command::new("strip");
        strip.args(["--strip-debug", "-o"]).arg(&copy).arg(hub).stdin(Stdio::null());
        run(&mut strip).context("copy the hub without its lines of source (`apt-get install binutils`)")?;
        Ok(copy)
    }

    /// Returns how much was written so far: what is read later ends there.
    pub(crate) fn written(&self) -> Result<u64> {
        let raw = self.raw();
        Ok(fs::metadata(&raw).with_context(|| format!("look at what heaptrack wrote to {}", raw.display()))?.len())
    }

    /// Attributes what was held when so much was written, and removes what heaptrack wrote.
    pub(crate) fn attribute(&self, written: u64, clusters: u32) -> Result<HeapProfile> {
        let (cut, named) = (self.folder.join("heap.cut"), self.folder.join("heap.named"));
        let folded = self.folder.join("heap.folded");
        cut_at_line(&self.raw(), written, &cut)?;
        let interpret = self.installed.join("libexec/heaptrack_interpret");
        let (from, to) = (File::open(&cut).context("read what was cut")?, File::create(&named).context("write names")?);
        run(Command::new(interpret).stdin(from).stdout(to))?;
        let mut print = Command::new("heaptrack_print");
        print.arg("--file").arg(&named).arg("--print-flamegraph").arg(&folded);
        run(print.args(["--flamegraph-cost-type", "leaked"]).stdin(Stdio::null()).stdout(Stdio::null()))?;
        let text = readable(&fs::read_to_string(&folded).context("read folded stacks")?);
        for file in [cut, named, self.raw(), self.copy(), self.folder.join("hub-with-heaptrack")] {
            fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        }
        attribute_heap(&text, clusters, &self.folder)
    }

    fn copy(&self) -> PathBuf {
        self.folder.join("starling-hub")
    }

    fn raw(&self) -> PathBuf {
        self.folder.join("heap.raw")
    }
}

/// Copies a file up to the last whole line within some bytes.
fn cut_at_line(from: &Path, bytes: u64, to: &Path) -> Result<()> {
    let mut lines = BufReader::new(File::open(from).context("read what heaptrack wrote")?.take(bytes));
    let mut kept = std::io::BufWriter::new(File::create(to).context("write what was cut")?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).context("read what heaptrack wrote")? > 0 && line.ends_with(b"\n") {
        std::io::Write::write_all(&mut kept, &line).context("write what was cut")?;
        line.clear();
    }
    std::io::Write::flush(&mut kept).context("write what was cut")
}

/// Reads names as Rust writes them: heaptrack takes them for C++, which knows neither the escapes in them nor the hash at the end.
fn readable(folded: &str) -> String {
    let escapes = [
        ("$LT$", "<"),
        ("$GT$", ">"),
        ("$RF$", "&"),
        ("$BP$", "*"),
        ("$LP$", "("),
        ("$RP$", ")"),
        ("$C$", ","),
        ("$u20$", " "),
        ("$u27$", "'"),
        ("$u5b$", "["),
        ("$u5d$", "]"),
        ("$u7b$", "{"),
        ("$u7d$", "}"),
        ("$u3b$", ","),
        ("..", "::"),
    ];
    let frame = |frame: &str| {
        let is_hash = |hash: &str| hash.len() == 17 && hash.starts_with('h');
        let bare = frame.rsplit_once("::").filter(|(_, hash)| is_hash(hash)).map_or(frame, |(name, _)| name);
        escapes.iter().fold(bare.to_owned(), |name, (escape, meant)| name.replace(escape, meant))
    };
    let line = |line: &str| {
        let (stack, amount) = line.rsplit_once(' ').unwrap_or((line, ""));
        let frames: Vec<String> = stack.split(';').map(frame).collect();
        format!("{} {amount}\n", frames.join(";"))
    };
    folded.lines().map(line).collect()
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().context("a path is text")?;
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}

fn run(command: &mut Command) -> Result<()> {
    let ran = command.stderr(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output);
    let ran = ran.with_context(|| format!("run {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    ensure!(ran.status.success(), "{}: {}", command.get_program().display(), said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_ends_with_a_whole_line() {
        let folder = tempfile::tempdir().expect("make a folder");
        let (raw, cut) = (folder.path().join("raw"), folder.path().join("cut"));
        fs::write(&raw, "+ 1\n+ 2\n- 1\n").expect("write");
        for (bytes, expected) in [(0, ""), (4, "+ 1\n"), (10, "+ 1\n+ 2\n"), (99, "+ 1\n+ 2\n- 1\n")] {
            cut_at_line(&raw, bytes, &cut).expect("cut");
            assert_eq!(fs::read_to_string(&cut).expect("read"), expected);
        }
    }

    #[test]
    fn names_are_read_as_rust_writes_them() {
        let folded = "clone3;_$LT$hub..Index$u20$as$u20$prost..Message$GT$::merge_field::h0123456789abcdef;malloc 12\n";
        assert_eq!(readable(folded), "clone3;_<hub::Index as prost::Message>::merge_field;malloc 12\n");
    }

    #[test]
    fn a_path_is_quoted_for_a_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")).expect("text"), "'/a b/it'\\''s'");
    }
}
