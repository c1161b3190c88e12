//! The file of a moved or backed up store.
//!
//! ```text
//! starling-store 1\n
//! {"fleet":"lab","records":3}\n            JSON, on one line
//! <key length: u32><key><value length: u32><value>    once for each record, in the order of the keys, little-endian
//! <SHA-256 of everything before>           32 bytes
//! ```
//!
//! The same store gives the same bytes. A file is whole or is not there: it is written beside its place and renamed into it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, BufMut as _, Bytes};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::store::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// What every such file begins with; the number is the format's.
const MAGIC: &str = "starling-store ";

/// The format that this build reads and writes.
const FORMAT: &str = "1";

const HASH: usize = 32;

/// A file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system.
    #[error("{what} {}: {error}", .path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The file is something else, or damaged.
    #[error("{} is not a whole file of a store: {problem}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that would be lost.
    #[error("{} is there and is no store of the fleet {fleet:?}: it is left alone, choose another name", .path.display())]
    Taken {
        /// The file.
        path: PathBuf,
        /// The fleet that would be written.
        fleet: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    fleet: String,
    records: usize,
}

/// Writes a file.
pub(super) fn write(path: &Path, fleet: &str, records: &BTreeMap<Vec<u8>, Bytes>) -> Result<(), FileError> {
    if path.exists() && header_of(path).is_none_or(|header| header.fleet != fleet) {
        return Err(FileError::Taken { path: path.to_owned(), fleet: fleet.to_owned() });
    }
    let written = replace(path, &encode(fleet, records));
    written.map_err(|error| FileError::Io { what: "write", path: path.to_owned(), error })
}

/// Reads a file, and returns its fleet and records.
pub(super) fn read(path: &Path) -> Result<(String, BTreeMap<Vec<u8>, Bytes>), FileError> {
    let bytes = fs::read(path).map_err(|error| FileError::Io { what: "read", path: path.to_owned(), error })?;
    decode(&bytes.into()).map_err(|problem| FileError::Unusable { path: path.to_owned(), problem })
}

fn encode(fleet: &str, records: &BTreeMap<Vec<u8>, Bytes>) -> Vec<u8> {
    let header = Header { fleet: fleet.to_owned(), records: records.len() };
    let header = serde_json::to_string(&header).expect("a header is plain data");
    let mut bytes = format!("{MAGIC}{FORMAT}\n{header}\n").into_bytes();
    let length = |part: &[u8]| u32::try_from(part.len()).expect("keys and values are below their limits");
    for (key, value) in records {
        for part in [&key[..], value] {
            bytes.put_u32_le(length(part));
            bytes.put_slice(part);
        }
    }
    let hash = Sha256::digest(&bytes);
    bytes.put_slice(&hash);
    bytes
}

fn decode(bytes: &Bytes) -> Result<(String, BTreeMap<Vec<u8>, Bytes>), String> {
    let (format, header, _) = split_header(bytes).ok_or("it does not begin as one")?;
    if format != FORMAT {
        return Err(format!("it has format {format:?}, and this build reads {FORMAT:?}: use the build that wrote it"));
    }
    let Some(end) = bytes.len().checked_sub(HASH) else { return Err("it is cut short".to_owned()) };
    if Sha256::digest(&bytes[..end])[..] != bytes[end..] {
        return Err("its checksum differs: it is cut short or was changed".to_owned());
    }
    let header: Header = serde_json::from_str(header).map_err(|error| format!("its header: {error}"))?;
    let start = split_header(bytes).map_or(end, |(_, _, start)| start);
    let mut left = bytes.slice(start..end);
    let mut records = BTreeMap::new();
    while left.has_remaining() {
        let key = take(&mut left, MAX_KEY_BYTES)?;
        let value = take(&mut left, MAX_VALUE_BYTES)?;
        if records.last_key_value().is_some_and(|(last, _): (&Vec<u8>, _)| last[..] >= key[..]) {
            return Err("its keys are not in order".to_owned());
        }
        records.insert(key.to_vec(), value);
    }
    if records.len() != header.records {
        return Err(format!("it has {} records, and says {}", records.len(), header.records));
    }
    Ok((header.fleet, records))
}

/// Returns the format, the header's JSON, and where the records begin.
fn split_header(bytes: &[u8]) -> Option<(&str, &str, usize)> {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let (first, second) = (std::str::from_utf8(lines.next()?).ok()?, std::str::from_utf8(lines.next()?).ok()?);
    lines.next()?;
    Some((first.strip_prefix(MAGIC)?, second, first.len() + second.len() + 2))
}

fn take(left: &mut Bytes, most: usize) -> Result<Bytes, String> {
    let length = left.try_get_u32_le().map_err(|_| "a record is cut short".to_owned())? as usize;
    if length > most || length > left.len() {
        return Err("a record is longer than it can be".to_owned());
    }
    Ok(left.split_to(length))
}

/// Reads the header of a file that may be anything.
fn header_of(path: &Path) -> Option<Header> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(4096).read_to_end(&mut start).ok()?;
    let (_, header, _) = split_header(&start)?;
    serde_json::from_str(header).ok()
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> BTreeMap<Vec<u8>, Bytes> {
        [("a", "1"), ("b", ""), ("c", "line\nbreak")].map(|(key, value)| (key.into(), value.into())).into()
    }

    #[test]
    fn a_file_round_trips_and_every_damage_is_noticed() {
        let bytes = encode("lab", &records());
        assert_eq!(bytes, encode("lab", &records()));
        let start =
            [&b"starling-store 1\n{\"fleet\":\"lab\",\"records\":3}\n"[..], &[1, 0, 0, 0], b"a", &[1, 0, 0, 0], b"1"];
        assert!(bytes.starts_with(&start.concat()), "it is a format that others read");
        assert_eq!(decode(&bytes.clone().into()).unwrap(), ("lab".to_owned(), records()));
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end].to_vec().into()).is_err(), "{end}");
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(decode(&changed.into()).is_err(), "{place}");
        }
    }

    #[test]
    fn another_format_says_so() {
        let problem = decode(&Bytes::from_static(b"starling-store 2\n{}\n")).unwrap_err();
        assert!(problem.contains("format \"2\""), "{problem}");
    }

    #[test]
    fn only_a_file_of_the_same_fleet_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup");
        write(&path, "lab", &records()).unwrap();
        write(&path, "lab", &BTreeMap::new()).unwrap();
        assert!(matches!(write(&path, "prod", &records()), Err(FileError::Taken { .. })));
        assert_eq!(read(&path).unwrap(), ("lab".to_owned(), BTreeMap::new()));
        fs::write(&path, "precious").unwrap();
        assert!(matches!(write(&path, "lab", &records()), Err(FileError::Taken { .. })));
        assert!(matches!(read(&path), Err(FileError::Unusable { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
