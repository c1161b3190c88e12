//! How large a status is on the wire, from above: texts with room for tags and lengths. The wire's own code is not
//! known here, so each constant covers the largest encoding of the fields that have a fixed bound.

use starling_model::{Facts, InstallKey, InstallReport, ObjectKey, ObjectStatus};

/// A batch without items: sequence, kind, count, and the tags of its oneof.
pub(crate) const BATCH_OVERHEAD: usize = 64;

/// Tag and length of one text or message.
const FIELD: usize = 6;

pub(crate) fn key_bytes(key: &ObjectKey) -> usize {
    key.group.len() + key.kind.len() + key.namespace.len() + key.name.len() + 5 * FIELD
}

pub(crate) fn status_bytes(status: &ObjectStatus) -> usize {
    // Health, generation and assignment are at most 2, 11 and 18 bytes.
    key_bytes(&status.key) + status.reason.len() + status.message.len() + status.revision.len() + 4 * FIELD + 31
}

pub(crate) fn install_bytes(install: &InstallKey) -> usize {
    install.namespace.len() + install.name.len() + 3 * FIELD
}

pub(crate) fn report_bytes(report: &InstallReport) -> usize {
    // Assignment, two digests, three numbers and the state are at most 18, 68, 33 and 2 bytes.
    let texts = report.assignment_name.len() + report.message.len() + report.last_drift.len();
    install_bytes(&report.install) + texts + 4 * FIELD + 121
}

pub(crate) fn facts_bytes(facts: &Facts) -> usize {
    let extra: usize = facts.extra.iter().map(|(name, value)| name.len() + value.len() + 3 * FIELD).sum();
    facts.kubernetes_version.len() + facts.flux_version.len() + facts.platform.len() + extra + 4 * FIELD + 6
}
