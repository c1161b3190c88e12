//! `starling apply`.

use serde::Serialize;
use starling_proto::v1;

use crate::arguments::change::ApplyArguments;
use crate::arguments::look::OneFormat;
use crate::documents::{Document, read_all};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::document::{ListWriter, Notation};
use crate::render::paint::Paint;
use crate::terminal::Output;

/// What became of one resource, as documents show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AppliedView {
    kind: String,
    namespace: String,
    name: String,
    /// created, configured or unchanged.
    outcome: String,
}

/// Applies every file; one that is refused does not keep the others back.
///
/// # Errors
/// As the first file that was refused, after all were tried.
pub(super) async fn run(hub: &Hub, arguments: &ApplyArguments, output: &mut Output) -> Result<(), Failure> {
    let documents = read_all(&arguments.files, arguments.recursive)?;
    let notation = match arguments.output {
        OneFormat::Text => None,
        OneFormat::Json => Some(Notation::Json),
        OneFormat::Yaml => Some(Notation::Yaml),
    };
    let mut list = notation.map(|notation| ListWriter::begin(output, notation, "Applied")).transpose()?;
    let mut refused = Vec::new();
    for document in &documents {
        match apply(hub, document, arguments.dry_run).await {
            Err(failure) => refused.push(failure.about(&document.path.display().to_string())),
            Ok(resources) => {
                for resource in resources {
                    match &mut list {
                        Some(list) => list.item(output, &resource)?,
                        None => output.line(line(&resource, arguments.dry_run, output))?,
                    }
                }
            }
        }
    }
    if let Some(list) = list {
        list.end(output)?;
    }
    output.flush()?;
    let count = refused.len();
    let mut refused = refused.into_iter();
    let Some(first) = refused.next() else {
        return Ok(());
    };
    if documents.len() == 1 {
        return Err(first);
    }
    let exit = first.exit();
    first.report(&output.terminal);
    refused.for_each(|failure| failure.report(&output.terminal));
    Err(Failure::new(exit, format!("{count} of {} files were not applied", documents.len())))
}

async fn apply(hub: &Hub, document: &Document, dry_run: bool) -> Result<Vec<AppliedView>, Failure> {
    let request = v1::ApplyRequest { documents: document.text.clone(), dry_run };
    let answer = hub.call(request, |mut client, request| async move { client.apply(request).await }).await?;
    let resources = answer.resources.into_iter().map(|wire| AppliedView {
        kind: wire.kind,
        namespace: wire.namespace,
        name: wire.name,
        outcome: wire.outcome,
    });
    Ok(resources.collect())
}

fn line(resource: &AppliedView, dry_run: bool, output: &Output) -> String {
    let paint = if resource.outcome == "unchanged" { Paint::Faint } else { Paint::Plain };
    let suffix = if dry_run { " (dry run)" } else { "" };
    let kind = resource.kind.to_lowercase();
    let name = match resource.namespace.as_str() {
        "" => resource.name.clone(),
        namespace => format!("{namespace}/{}", resource.name),
    };
    output.terminal.paint(&format!("{kind}/{name} {}{suffix}", resource.outcome), paint)
}
