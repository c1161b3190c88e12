//! The hub's processes.

use serde::Serialize;
use starling_model::Millis;
use starling_proto::v1;

use super::{Page, Query, Spread, View, Whole, uid};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::age::{Moment, age_or_dash};
use crate::render::paint::Paint;
use crate::render::table::{Cell, Column, column, wide_column};

/// A hub process.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShardView {
    /// Its name.
    pub(crate) name: String,
    /// Where agents and other processes reach it.
    pub(crate) address: String,
    /// How much it takes in proportion to the others.
    pub(crate) weight: u32,
    /// serving, joining, draining, gone or not-answering.
    pub(crate) state: String,
    /// It writes what concerns the whole fleet; left out where it does not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) steward: bool,
    /// Which start of the process this is; left out of a hub of one process.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) incarnation: String,
    /// Clusters that it is to serve.
    pub(crate) clusters_owned: u64,
    /// Clusters that are connected to it.
    pub(crate) clusters_connected: u64,
    /// Of the connected ones, on the way to another process.
    pub(crate) clusters_moving: u64,
    /// Flux objects that it knows.
    pub(crate) objects: u64,
    /// CPU time over about the last ten seconds, in thousandths of a core; zero when unknown.
    pub(crate) cpu_millis: u64,
    /// Resident memory, in bytes; zero when unknown.
    pub(crate) resident_bytes: u64,
    /// Its version; empty when unknown.
    pub(crate) version: String,
    /// When it started; null when unknown.
    pub(crate) started: Option<Moment>,
}

impl ShardView {
    fn from_wire(wire: v1::Shard) -> Result<Self, Failure> {
        Ok(Self {
            incarnation: uid(&wire.incarnation)?,
            name: wire.name,
            address: wire.address,
            weight: wire.weight,
            state: wire.state,
            steward: wire.steward,
            clusters_owned: wire.clusters_owned,
            clusters_connected: wire.clusters_connected,
            clusters_moving: wire.clusters_moving,
            objects: wire.objects,
            cpu_millis: wire.cpu_millis,
            resident_bytes: wire.resident_bytes,
            version: wire.version,
            started: Moment::from_wire(wire.since_millis),
        })
    }

    /// Returns a figure, or nothing where the process did not tell its figures.
    fn figure(&self, text: String) -> Cell {
        Cell::plain(if self.resident_bytes == 0 { String::new() } else { text })
    }
}

impl View for ShardView {
    const KIND: &'static str = "Shard";

    const COLUMNS: &'static [Column] = &[
        column("NAME"),
        column("STATE"),
        column("ROLE"),
        column("CLUSTERS"),
        column("MOVING"),
        column("OBJECTS"),
        column("CPU"),
        column("MEMORY"),
        wide_column("WEIGHT"),
        wide_column("VERSION"),
        wide_column("INCARNATION"),
        column("AGE"),
        column("ADDRESS"),
    ];

    fn cells(&self, now: Millis) -> Vec<Cell> {
        vec![
            Cell::plain(&self.name),
            Cell::painted(&self.state, Paint::of_shard(&self.state)),
            Cell::plain(if self.steward { "steward" } else { "" }),
            Cell::share(self.clusters_connected, self.clusters_owned),
            Cell::trouble(self.clusters_moving, Paint::Busy),
            self.figure(self.objects.to_string()),
            self.figure(format!("{}m", self.cpu_millis)),
            self.figure(format!("{}Mi", self.resident_bytes.div_ceil(1 << 20))),
            Cell::plain(self.weight.to_string()),
            Cell::plain(&self.version),
            Cell::plain(&self.incarnation),
            Cell::plain(age_or_dash(self.started, now)),
            Cell::plain(&self.address),
        ]
    }

    fn reference(&self) -> String {
        format!("shard/{}", self.name)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn steady(&self) -> Self {
        Self { cpu_millis: 0, resident_bytes: u64::from(self.resident_bytes != 0), ..self.clone() }
    }

    async fn page(hub: &Hub, query: &Query, _token: String) -> Result<Page<Self>, Failure> {
        let request = v1::ListShardsRequest {};
        let answer = hub.call(request, |mut client, request| async move { client.list_shards(request).await }).await?;
        let shards: Result<Vec<Self>, Failure> = answer.shards.into_iter().map(Self::from_wire).collect();
        let spread = Spread {
            epoch: (answer.epoch != 0).then_some(answer.epoch),
            clusters: answer.clusters,
            moving: answer.moving,
            reasons: answer.reasons,
            note: answer.note,
        };
        let whole = Whole { unanswered: answer.unanswered.into_iter().collect(), spread: Some(spread) };
        Ok(Page { whole, ..Page::new(shards?, String::new(), query) })
    }
}
