//! The one layer of an image: a tar archive (POSIX ustar) that depends on its content alone, so that the same program makes the same
//! digest anywhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The user that programs run as; nobody's, and the same in the charts.
pub(super) const USER: u32 = 65532;

const BLOCK: usize = 512;

/// A file system, by path without a leading slash; parents come before what is in them because they sort so.
#[derive(Debug, Default)]
pub(super) struct Layer {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    mode: u32,
    owner: u32,
    /// `None` for a folder.
    content: Option<Vec<u8>>,
}

impl Layer {
    /// Adds a file of root's.
    pub(super) fn file(mut self, path: &str, mode: u32, content: Vec<u8>) -> Self {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry { mode, owner: 0, content: Some(content) });
        self
    }

    /// Adds a folder.
    pub(super) fn folder(mut self, path: &str, mode: u32, owner: u32) -> Self {
        self.parents(path);
        self.entries.insert(format!("{path}/"), Entry { mode, owner, content: None });
        self
    }

    /// The archive.
    pub(super) fn tar(&self) -> Result<Vec<u8>> {
        let mut archive = Vec::new();
        for (path, entry) in &self.entries {
            let content = entry.content.as_deref().unwrap_or_default();
            archive.extend_from_slice(&header(path, entry, content.len())?);
            archive.extend_from_slice(content);
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        }
        archive.resize(archive.len() + 2 * BLOCK, 0);
        Ok(archive)
    }

    fn parents(&mut self, path: &str) {
        let slashes = path.match_indices('/').map(|(at, _)| &path[..=at]);
        for parent in slashes {
            let folder = Entry { mode: 0o755, owner: 0, content: None };
            self.entries.entry(parent.to_owned()).or_insert(folder);
        }
    }
}

/// Compresses a file as small as gzip can, without its name and time, into another.
pub(super) fn compress(archive: &Path, compressed: &Path) -> Result<()> {
    let input = File::open(archive).with_context(|| format!("open {}", archive.display()))?;
    let output = File::create(compressed).with_context(|| format!("create {}", compressed.display()))?;
    let mut gzip = Command::new("gzip");
    gzip.args(["--best", "--no-name", "--stdout"]).stdin(Stdio::from(input)).stdout(Stdio::from(output));
    let status = gzip.status().context("run gzip (Debian: `apt-get install gzip`)")?;
    ensure!(status.success(), "gzip failed ({status})");
    Ok(())
}

/// A header: name, mode, owner, group, size, time (0), checksum, type, magic and version.
fn header(path: &str, entry: &Entry, size: usize) -> Result<[u8; BLOCK]> {
    ensure!(path.len() < 100, "{path} is too long for a tar header");
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, path.as_bytes());
    put(100, format!("{:07o}", entry.mode).as_bytes());
    put(108, format!("{:07o}", entry.owner).as_bytes());
    put(116, format!("{:07o}", entry.owner).as_bytes());
    put(124, format!("{size:011o}").as_bytes());
    put(136, format!("{:011o}", 0).as_bytes());
    put(148, b"        ");
    put(156, if entry.content.is_some() { b"0" } else { b"5" });
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}
