//! `starling shards`: what would move if processes of the hub joined or left.

use serde::Serialize;
use starling_proto::v1;

use crate::arguments::look::OneFormat;
use crate::arguments::shards::ShardsCommand;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::document::{self, Notation};
use crate::render::paint::Paint;
use crate::render::table::{Cell, Column, Table, column};
use crate::terminal::Output;

const COLUMNS: &[Column] = &[column("NAME"), column("NOW"), column("THEN"), column("DIFFERENCE"), column("CHANGE")];

/// What would move, as documents show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SimulationView {
    shards: Vec<SimulatedView>,
    /// All clusters.
    clusters: u64,
    /// Clusters that would move.
    moved: u64,
    /// How many have to move for everybody to own what its weight stands for.
    ideal: u64,
    /// The first over the second; null where nothing has to move.
    ratio: Option<f64>,
    /// The largest count over what its weight stands for, now.
    largest_before: f64,
    /// The same, then.
    largest_after: f64,
}

/// One process, as documents show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SimulatedView {
    name: String,
    clusters_before: u64,
    clusters_after: u64,
    /// stays, joins or leaves.
    change: String,
}

/// Asks about the hub's processes.
///
/// # Errors
/// When a process that is to leave is not there, or nobody would be left.
pub(super) async fn run(hub: &Hub, command: &ShardsCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        ShardsCommand::Simulate { add, remove, output: format } => {
            let request = v1::SimulateShardsRequest { add: add.unwrap_or(0), remove: remove.clone() };
            let answer =
                hub.call(request, |mut client, request| async move { client.simulate_shards(request).await }).await?;
            show(&view(answer), *format, output)
        }
    }
}

fn show(simulation: &SimulationView, format: OneFormat, output: &mut Output) -> Result<(), Failure> {
    match format {
        OneFormat::Text => print_text(simulation, output),
        OneFormat::Json => document::print(output, Notation::Json, "ShardSimulation", simulation),
        OneFormat::Yaml => document::print(output, Notation::Yaml, "ShardSimulation", simulation),
    }
}

fn view(answer: v1::SimulateShardsResponse) -> SimulationView {
    let shards = answer.shards.into_iter().map(|shard| SimulatedView {
        name: shard.name,
        clusters_before: shard.clusters_before,
        clusters_after: shard.clusters_after,
        change: shard.change,
    });
    #[expect(clippy::cast_precision_loss, reason = "counts of clusters are small")]
    let ratio = (answer.ideal > 0).then(|| answer.moved as f64 / answer.ideal as f64);
    SimulationView {
        shards: shards.collect(),
        clusters: answer.clusters,
        moved: answer.moved,
        ideal: answer.ideal,
        ratio,
        largest_before: answer.largest_before,
        largest_after: answer.largest_after,
    }
}

fn print_text(simulation: &SimulationView, output: &mut Output) -> Result<(), Failure> {
    let rows: Vec<Vec<Cell>> = simulation.shards.iter().map(row).collect();
    Table::print(output, COLUMNS, &rows)?;
    output.line("")?;
    let share = |count: u64| {
        #[expect(clippy::cast_precision_loss, reason = "counts of clusters are small")]
        let percent = 100.0 * count as f64 / simulation.clusters.max(1) as f64;
        format!("{percent:.1} %")
    };
    let SimulationView { clusters, moved, ideal, .. } = simulation;
    output.line(format!("Would move:   {moved} of {clusters} clusters ({})", share(*moved)))?;
    let ratio = simulation.ratio.map(|ratio| format!("; that is {ratio:.2} times as many")).unwrap_or_default();
    output.line(format!("Have to:      {ideal} ({}){ratio}", share(*ideal)))?;
    let (before, after) = (simulation.largest_before, simulation.largest_after);
    output.line(format!("Largest:      {before:.2} times its share now, {after:.2} times then"))
}

fn row(shard: &SimulatedView) -> Vec<Cell> {
    let paint = match shard.change.as_str() {
        "joins" => Paint::Good,
        "leaves" => Paint::Busy,
        _ => Paint::Plain,
    };
    let difference = i128::from(shard.clusters_after) - i128::from(shard.clusters_before);
    vec![
        Cell::plain(&shard.name),
        Cell::plain(shard.clusters_before.to_string()),
        Cell::plain(shard.clusters_after.to_string()),
        Cell::plain(format!("{difference:+}")),
        Cell::painted(&shard.change, paint),
    ]
}
