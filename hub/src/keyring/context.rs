//! The context file that the hub writes for its administrator: `<state>/admin.yaml`.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::files;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Contexts<'a> {
    current_context: &'a str,
    contexts: [Context<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Context<'a> {
    name: &'a str,
    server: &'a str,
    ca_pem: &'a str,
    token_file: &'a Path,
}

/// Writes a context for `starling --config <file>`: named as the fleet, for the server (`host:port`), with the authority
/// pinned and the token in its own file; blocks for the disk.
///
/// # Errors
/// The file cannot be written.
pub fn write_admin_context(file: &Path, fleet: &str, server: &str, ca_pem: &str, token_file: &Path) -> io::Result<()> {
    let context = Context { name: fleet, server, ca_pem, token_file };
    let contexts = Contexts { current_context: fleet, contexts: [context] };
    let yaml = serde_saphyr::to_string(&contexts).map_err(io::Error::other)?;
    files::replace(file, yaml.as_bytes())
}

/// Writes a file that only its owner can read, whole and durably or not at all; blocks for the disk.
///
/// # Errors
/// The file cannot be written.
pub fn write_private(file: &Path, content: &[u8]) -> io::Result<()> {
    files::replace(file, content)
}
