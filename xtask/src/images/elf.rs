//! Whether a program needs an interpreter (a dynamic loader), read from its ELF headers.
//!
//! The format: System V ABI, "Object files" and "Program header"; 64 bit, little endian, which is all that images are made for.

use anyhow::{Context, Result, bail, ensure};

const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const HEADERS_AT: usize = 32;
const HEADER_SIZE_AT: usize = 54;
const HEADER_COUNT_AT: usize = 56;
const INTERPRETER: u32 = 3;

/// Fails, with the interpreter's path, if a program is not static.
pub(super) fn ensure_static(program: &[u8]) -> Result<()> {
    ensure!(program.starts_with(MAGIC), "it is no ELF program of 64 bits, little endian");
    let start = usize::try_from(u64::from_le_bytes(bytes(program, HEADERS_AT)?))?;
    let size = usize::from(u16::from_le_bytes(bytes(program, HEADER_SIZE_AT)?));
    let count = usize::from(u16::from_le_bytes(bytes(program, HEADER_COUNT_AT)?));
    for index in 0..count {
        let header = start + index * size;
        if u32::from_le_bytes(bytes(program, header)?) == INTERPRETER {
            let at = usize::try_from(u64::from_le_bytes(bytes(program, header + 8)?))?;
            let path = program.get(at..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
            bail!("it is not static: it is started by {}", String::from_utf8_lossy(path));
        }
    }
    Ok(())
}

fn bytes<const N: usize>(program: &[u8], at: usize) -> Result<[u8; N]> {
    let found = program.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    found.context("its headers are cut off")
}
