//! What the process tells of an install and of itself, in the form in which it travels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use starling_model::{Action, ClusterId, Health, InstallKey, InstallReport, Millis, ResourceName, Uid};

use super::InstallView;

/// What a plan does with an install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Planned {
    /// Renders it.
    Render,
    /// Keeps what is held.
    Keep,
    /// Cannot render it.
    Blocked,
    /// Removes it.
    Remove,
    /// Does not name it; its agent reports it.
    Held,
}

/// An install on a cluster: what is planned and what its agent says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstallRow {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its workspace and name; of an unassigned cluster no workspace, and its identity.
    pub cluster_name: ResourceName,
    /// Which install.
    pub install: InstallKey,
    /// The assignment behind it, planned or reported.
    pub assignment: Option<Uid>,
    /// The assignment's name; may be empty.
    pub assignment_name: String,
    /// What the plan does.
    pub planned: Planned,
    /// Why it is kept or blocked, for people.
    pub reason: String,
    /// A tombstone of the plan names the install that is held.
    pub removal: bool,
    /// The agent's report.
    pub report: Option<InstallReport>,
    /// The worst health of its objects.
    pub worst: Option<Health>,
    /// The message of its worst object; may be empty.
    pub message: String,
}

/// What a process of the hub is and does, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessFigures {
    /// The program's version.
    pub version: String,
    /// Clusters with an open session here.
    pub connected: u64,
    /// Clusters with an open session here that belong to another process, by its name.
    pub moving: BTreeMap<String, u64>,
    /// Flux objects in the index.
    pub objects: u64,
    /// Clusters that were sent to another process since the start.
    pub redirected: u64,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// CPU time over the last seconds, in thousandths of a core.
    pub load_millis: u64,
    /// When the process started, wall time.
    pub started: Millis,
    /// How much is left of the process's own lease, in milliseconds.
    pub lease_millis: u64,
}

impl InstallRow {
    /// Returns the row's place in the order of answers, which is also the token of the page behind it: NUL sorts before
    /// whatever a name may hold.
    #[must_use]
    pub fn place(&self) -> String {
        let Self { cluster_name, install, assignment_name, .. } = self;
        let (workspace, cluster) = (&cluster_name.namespace, &cluster_name.name);
        format!("{workspace}\0{cluster}\0{}\0{}\0{assignment_name}", install.namespace, install.name)
    }
}

impl Planned {
    /// Returns the word for it on the wire and in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Render => "render",
            Self::Keep => "keep",
            Self::Blocked => "blocked",
            Self::Remove => "remove",
            Self::Held => "held",
        }
    }
}

impl InstallView {
    /// Returns the assignment behind it, planned or reported.
    #[must_use]
    pub fn assignment(&self) -> Option<Uid> {
        let reported = self.report.as_ref().map(|report| report.assignment);
        self.planned.as_ref().map(|entry| entry.assignment).or(reported)
    }

    /// Makes the row of an install on a cluster.
    #[must_use]
    pub fn into_row(self, cluster: ClusterId, cluster_name: &ResourceName) -> InstallRow {
        let (planned, reason) = match self.planned.as_ref().map(|entry| &entry.action) {
            Some(Action::Render(_)) => (Planned::Render, String::new()),
            Some(Action::Keep(reason)) => (Planned::Keep, reason.to_string()),
            Some(Action::Blocked(reason)) => (Planned::Blocked, reason.to_string()),
            None if self.removal => (Planned::Remove, String::new()),
            None => (Planned::Held, String::new()),
        };
        let assignment = self.assignment();
        let planned_name = self.planned.map(|entry| entry.assignment_name);
        let reported_name = self.report.as_ref().map(|report| report.assignment_name.clone());
        InstallRow {
            cluster,
            cluster_name: cluster_name.clone(),
            install: self.install,
            assignment,
            assignment_name: planned_name.or(reported_name).unwrap_or_default(),
            planned,
            reason,
            removal: self.removal,
            report: self.report,
            worst: self.health.worst(),
            message: self.message,
        }
    }
}
