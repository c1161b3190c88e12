//! What lists show: for each kind its documented JSON shape, its columns, and the question that lists it.

pub(crate) mod addon;
pub(crate) mod assignment;
pub(crate) mod cluster;
pub(crate) mod install;
pub(crate) mod object;
pub(crate) mod problem;
pub(crate) mod proposal;
pub(crate) mod shard;
pub(crate) mod token;

use std::collections::BTreeSet;

use serde::Serialize;
use starling_model::{ErrorCode, Health, Millis, Uid};
use starling_proto::v1;

use crate::failure::{Exit, Failure};
use crate::hub::Hub;
use crate::render::table::{Cell, Column};

/// What to list, already understood.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    /// The workspace; empty is all.
    pub(crate) workspace: String,
    /// Names of clusters; empty is all.
    pub(crate) clusters: Vec<String>,
    /// A label selector over clusters.
    pub(crate) labels: String,
    /// The Flux kind in full; empty is all.
    pub(crate) kind: String,
    /// The namespace in the cluster; empty is all.
    pub(crate) namespace: String,
    /// The name of an object; empty is all.
    pub(crate) object: String,
    /// `namespace/name` of an assignment; empty is all.
    pub(crate) assignment: String,
    /// Healths; empty is all.
    pub(crate) health: BTreeSet<Health>,
    /// Whatever somebody should look at, as well as the healths: an install is also in trouble when it is rejected or blocked.
    pub(crate) trouble: bool,
    /// Names of what is listed; empty is all.
    pub(crate) names: BTreeSet<String>,
}

/// A page of a list.
pub(crate) struct Page<T> {
    /// The items, already filtered.
    pub(crate) items: Vec<T>,
    /// Where the next page begins; empty at the end.
    pub(crate) next: String,
    /// What is said of the list as a whole.
    pub(crate) whole: Whole,
}

/// What is said of a list as a whole, in documents after its items.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Whole {
    /// Hub processes that did not answer in time: what they serve is missing, or shown as it was last known.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) unanswered: BTreeSet<String>,
    /// How the fleet is spread over the hub's processes; of a list of these alone.
    #[serde(flatten)]
    pub(crate) spread: Option<Spread>,
}

/// How the fleet is spread over the hub's processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spread {
    /// Which record of the ring this is of; `None` of a hub of one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<u64>,
    /// All clusters.
    pub(crate) clusters: u64,
    /// Of these, on the way to their owners.
    pub(crate) moving: u64,
    /// What is moving or waits, and why.
    pub(crate) reasons: Vec<String>,
    /// What else to know; empty when nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) note: String,
}

/// An item of a list.
pub(crate) trait View: Serialize + Clone + PartialEq + Sized {
    /// The kind in documents; a list is of kind `<KIND>List`.
    const KIND: &'static str;

    /// Every column, the wide ones included.
    const COLUMNS: &'static [Column];

    /// Returns a cell for every column.
    fn cells(&self, now: Millis) -> Vec<Cell>;

    /// Returns the item's name as `-o name` prints it and other commands take it; unique in the list.
    fn reference(&self) -> String;

    /// Returns the name that a person would give to find it.
    fn name(&self) -> &str;

    /// Returns the item without what changes by itself, for telling whether it changed.
    fn steady(&self) -> Self {
        self.clone()
    }

    /// Asks for one page.
    async fn page(hub: &Hub, query: &Query, token: String) -> Result<Page<Self>, Failure>;
}

impl Query {
    /// Returns the clusters' part of the question.
    pub(crate) fn cluster_selector(&self) -> v1::ClusterSelector {
        v1::ClusterSelector {
            workspace: self.workspace.clone(),
            names: self.clusters.clone(),
            labels: self.labels.clone(),
        }
    }

    /// Returns the question for Flux objects.
    pub(crate) fn objects(&self, token: String) -> v1::ListObjectsRequest {
        v1::ListObjectsRequest {
            selector: Some(self.cluster_selector()),
            page: Some(v1::Page { size: 0, token }),
            health: self.health.iter().map(|health| v1::Health::from(*health).into()).collect(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.object.clone(),
            assignment: self.assignment.clone(),
        }
    }

    /// Tells whether a name was asked for.
    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.contains(name)
    }
}

impl<T: View> Page<T> {
    /// Keeps what was asked for by name.
    fn new(items: Vec<T>, next: String, query: &Query) -> Self {
        let items = items.into_iter().filter(|item| query.wants(item.name())).collect();
        Self { items, next, whole: Whole::default() }
    }

    /// Adds the hub processes that did not answer in time.
    fn without(self, unanswered: Vec<String>) -> Self {
        let whole = Whole { unanswered: unanswered.into_iter().collect(), ..self.whole };
        Self { whole, ..self }
    }
}

/// Asks for all items.
pub(crate) async fn list_all<T: View>(hub: &Hub, query: &Query) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let page = T::page(hub, query, token).await?;
        hub.miss(&page.whole.unanswered);
        all.extend(page.items);
        if page.next.is_empty() {
            return Ok(all);
        }
        token = page.next;
    }
}

/// Reads a health off the wire; an answer without one is newer than this program or broken.
fn health(wire: i32) -> Result<Health, Failure> {
    let health = v1::Health::try_from(wire).ok().and_then(|health| Health::try_from(health).ok());
    health.ok_or_else(|| not_understood(&format!("health {wire}")))
}

/// Reads a UID off the wire as text; empty when there is none.
fn uid(bytes: &[u8]) -> Result<String, Failure> {
    if bytes.is_empty() {
        return Ok(String::new());
    }
    Uid::from_slice(bytes).map(|uid| uid.to_string()).ok_or_else(|| not_understood("a UID"))
}

/// Returns bytes as hexadecimal text.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn not_understood(what: &str) -> Failure {
    let code = ErrorCode::Internal;
    Failure::new(Exit::Failed, format!("the hub's answer is not understood ({code}): {what}"))
        .next("compare versions with `starling version`")
}
