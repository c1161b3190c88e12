//! What `starling ... -o json` prints, as far as the tests look at it.

use std::fmt::Debug;

use anyhow::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use starling_harness::Hub;

pub use starling_harness::Adoption;

/// An item of a list.
pub trait Item: DeserializeOwned + Debug {
    /// The word after `get`.
    const LISTED: &'static str;
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

/// A cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// The name; empty where it has no ManagedCluster.
    pub name: String,
    /// The identity.
    pub id: String,
    /// Such as `live`.
    pub connection: String,
    /// What is wrong with it; empty when nothing is.
    pub problem: String,
}

/// A Flux object.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// The cluster's name.
    pub cluster: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The judgement.
    pub health: String,
    /// Flux's message.
    pub message: String,
    /// What is applied.
    pub revision: String,
    /// Since when its agent has not been heard.
    pub old_since: Option<String>,
    /// The assignment behind it, `namespace/name`.
    pub assignment: String,
}

/// An assignment on a cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Install {
    /// The cluster's name.
    pub cluster: String,
    /// The assignment, `namespace/name`.
    pub assignment: String,
    /// render, keep, blocked, remove or held.
    pub planned: String,
    /// Why it is kept or blocked.
    pub reason: String,
    /// The worst object's health.
    pub health: Option<String>,
    /// The agent's word.
    pub report: Option<Report>,
}

/// An agent's word about an install.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// applying, applied, rejected or removing.
    pub state: String,
    /// The assignment that the agent recorded.
    pub assignment_uid: String,
    /// Why it was rejected.
    pub message: String,
    /// How often drift was repaired.
    pub drift_repairs: u64,
    /// What drifted last.
    pub last_drift: String,
}

/// An assignment over the fleet.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The name.
    pub name: String,
    /// This incarnation of it.
    pub uid: String,
    /// The addon's version.
    pub version: String,
    /// Clusters that it selects.
    pub selected: u64,
    /// Of these, applied.
    pub applied: u64,
    /// Of these, Ready.
    pub ready: u64,
    /// The file that declared it has vanished.
    pub source_missing: bool,
}

/// Something that the hub could not accept.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// The resource's kind.
    pub kind: String,
    /// The resource's name.
    pub name: String,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub next: String,
}

/// A removal that waits for approval.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Its id.
    pub id: String,
    /// The assignment, `namespace/name`.
    pub assignment: String,
    /// The installs that would go.
    pub installs: u64,
}

impl Item for Cluster {
    const LISTED: &'static str = "clusters";
}

impl Item for Object {
    const LISTED: &'static str = "objects";
}

impl Item for Install {
    const LISTED: &'static str = "installs";
}

impl Item for Assignment {
    const LISTED: &'static str = "assignments";
}

impl Item for Problem {
    const LISTED: &'static str = "problems";
}

impl Item for Proposal {
    const LISTED: &'static str = "proposals";
}

/// Lists items, with further arguments that select some of them.
///
/// # Errors
/// As [`Hub::ask_json`].
pub fn list<T: Item>(hub: &Hub, selection: &[&str]) -> Result<Vec<T>> {
    let list: List<T> = hub.ask_json(&[&["get", T::LISTED], selection].concat())?;
    Ok(list.items)
}
