//! The audit record: who changed what, one JSON line each, in a file that is only appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use starling_hub_core::steward::AuditEntry;
use starling_model::{Millis, Position};

/// Where the audit record goes, besides the log.
#[derive(Debug)]
pub struct Audit {
    file: Option<File>,
}

impl Audit {
    /// Appends to a file, made with mode 0600.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self { file: Some(file) })
    }

    /// Keeps no file; the log has the entries all the same.
    #[must_use]
    pub fn to_log() -> Self {
        Self { file: None }
    }

    /// Records what a committed decision changed.
    pub(super) fn record(&mut self, now: Millis, position: Position, entries: &[AuditEntry]) {
        for AuditEntry { actor, action, subject, detail } in entries {
            tracing::info!(target: "audit", %actor, action, %subject, %detail, %position);
            let Some(file) = &mut self.file else { continue };
            let line = serde_json::json!({
                "millis": now.0, "position": position.0,
                "actor": actor, "action": action, "subject": subject, "detail": detail,
            });
            if let Err(error) = writeln!(file, "{line}") {
                tracing::error!(%error, "cannot append to the audit record, the log has the entry");
            }
        }
    }
}
