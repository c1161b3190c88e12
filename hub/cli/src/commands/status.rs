//! `starling status` and `starling version`.

use serde::Serialize;
use starling_proto::v1;

use crate::arguments::Global;
use crate::arguments::look::{OneFormat, StatusArguments, VersionArguments};
use crate::contexts::target;
use crate::failure::{Exit, Failure};
use crate::hub::Hub;
use crate::render::age::{Moment, age_or_dash, now};
use crate::render::document::{self, Notation};
use crate::render::paint::Paint;
use crate::terminal::{Output, note};

/// The hub and its fleet, as documents show them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusView {
    fleet: String,
    version: String,
    started: Option<Moment>,
    position: u64,
    era_number: u64,
    /// Why the fleet holds; null while it moves.
    hold: Option<String>,
    clusters: u64,
    live: u64,
    ready: u64,
    objects: u64,
    problems: u64,
    proposals: u64,
    /// Where the resources are: directory or kubernetes; empty from a hub that does not tell.
    source: String,
    /// Hub processes that did not answer in time, whose clusters count as not live.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unanswered: Vec<String>,
}

/// The versions, as documents show them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionView {
    client: &'static str,
    /// Null when no hub was asked.
    hub: Option<String>,
}

/// Asks the hub for its status.
pub(super) async fn get(hub: &Hub) -> Result<v1::GetStatusResponse, Failure> {
    let request = v1::GetStatusRequest {};
    hub.call(request, |mut client, request| async move { client.get_status(request).await }).await
}

/// Shows the hub, the fleet and whether it holds.
///
/// # Errors
/// [`Exit::FleetHolds`] while it holds, after everything was shown.
pub(super) async fn status(hub: &Hub, arguments: &StatusArguments, output: &mut Output) -> Result<(), Failure> {
    let answer = get(hub).await?;
    hub.miss(&answer.unanswered.iter().cloned().collect());
    let status = StatusView {
        fleet: answer.fleet,
        version: answer.version,
        started: Moment::from_wire(answer.started_millis),
        position: answer.position,
        era_number: answer.era_number,
        hold: (!answer.hold_reason.is_empty()).then_some(answer.hold_reason),
        clusters: answer.clusters,
        live: answer.live,
        ready: answer.ready,
        objects: answer.objects,
        problems: answer.problems,
        proposals: answer.proposals,
        source: answer.source,
        unanswered: answer.unanswered,
    };
    match arguments.output {
        OneFormat::Text => print_text(&status, output)?,
        OneFormat::Json => document::print(output, Notation::Json, "Status", &status)?,
        OneFormat::Yaml => document::print(output, Notation::Yaml, "Status", &status)?,
    }
    output.flush()?;
    match status.hold {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            Exit::FleetHolds,
            format!("the fleet {} holds: nothing is changed anywhere", status.fleet),
        )
        .next(format!("starling store recover --fleet {}", status.fleet))),
    }
}

fn print_text(status: &StatusView, output: &mut Output) -> Result<(), Failure> {
    let terminal = output.terminal;
    if let Some(reason) = &status.hold {
        output.line(terminal.paint(&format!("THE FLEET HOLDS: {reason}"), Paint::Bad))?;
        output.line("")?;
    }
    let share = |count: u64, whole: u64, word: &str| {
        let paint = if count >= whole { Paint::Good } else { Paint::Busy };
        terminal.paint(&format!("{count} {word}"), paint)
    };
    let waiting = |count: u64, paint: Paint, command: &str| match count {
        0 => "0".to_owned(),
        count => format!("{} (`{command}`)", terminal.paint(&count.to_string(), paint)),
    };
    let live = share(status.live, status.clusters, "live");
    let ready = share(status.ready, status.clusters, "ready");
    let up = age_or_dash(status.started, now());
    output.line(format!("Fleet:      {}", terminal.paint(&status.fleet, Paint::Strong)))?;
    output.line(format!("Hub:        version {}, up {up}", status.version))?;
    output.line(format!("Clusters:   {}, {live}, {ready}", status.clusters))?;
    output.line(format!("Objects:    {}", status.objects))?;
    output.line(format!("Problems:   {}", waiting(status.problems, Paint::Bad, "starling get problems")))?;
    output.line(format!("Proposals:  {}", waiting(status.proposals, Paint::Busy, "starling approve")))
}

/// Shows the versions of this program and of the hub.
pub(super) async fn version(global: &Global, arguments: &VersionArguments, output: &mut Output) -> Result<(), Failure> {
    let (hub, failure) = match hub_version(global, arguments.client).await {
        Ok(hub) => (hub, None),
        Err(failure) => (None, Some(failure)),
    };
    let versions = VersionView { client: env!("CARGO_PKG_VERSION"), hub };
    match arguments.output {
        OneFormat::Text => {
            output.line(format!("starling {}", versions.client))?;
            if let Some(hub) = &versions.hub {
                output.line(format!("hub      {hub}"))?;
            }
        }
        OneFormat::Json => document::print(output, Notation::Json, "Version", &versions)?,
        OneFormat::Yaml => document::print(output, Notation::Yaml, "Version", &versions)?,
    }
    failure.map_or(Ok(()), Err)
}

async fn hub_version(global: &Global, client_only: bool) -> Result<Option<String>, Failure> {
    if client_only {
        return Ok(None);
    }
    let target = match target::resolve(global).await {
        Ok(target) => target,
        // Without a context there is no hub to ask, which is no failure of this question.
        Err(failure) if failure.exit() == Exit::Usage => {
            note(&format!("no hub was asked: {failure}"));
            return Ok(None);
        }
        Err(failure) => return Err(failure),
    };
    let hub = Hub::connect(&target, global.timeout).await?;
    Ok(Some(get(&hub).await?.version))
}
