//! `starling apply`: resources go where the hub reads them.

mod directory;
mod kubernetes;

use serde::Serialize;

use crate::arguments::change::ApplyArguments;
use crate::arguments::look::OneFormat;
use crate::documents::read_all;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::document::{ListWriter, Notation};
use crate::render::paint::Paint;
use crate::source::Source;
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

/// Prints what became of resources, and keeps what was refused for the end.
struct Applied<'a> {
    output: &'a mut Output,
    list: Option<ListWriter>,
    dry_run: bool,
    refused: Vec<Failure>,
}

/// Applies everything; what is refused does not keep the others back.
///
/// # Errors
/// As the first that was refused, after all were tried.
pub(super) async fn run(
    hub: &Hub,
    source: &Source,
    arguments: &ApplyArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let documents = read_all(&arguments.files, arguments.recursive)?;
    if arguments.force_conflicts && matches!(source, Source::Directory) {
        return Err(Failure::usage(
            "`--force-conflicts` is for a hub on Kubernetes: nobody else manages a directory's fields",
        ));
    }
    let mut applied = Applied::begin(arguments, output)?;
    let (tried, noun) = match source {
        Source::Directory => (directory::apply(hub, &documents, &mut applied).await?, "files"),
        Source::Kubernetes(cluster) => (
            kubernetes::apply(cluster, &documents, arguments.force_conflicts, &mut applied).await?,
            "resources and files",
        ),
    };
    applied.end(tried, noun)
}

impl<'a> Applied<'a> {
    fn begin(arguments: &ApplyArguments, output: &'a mut Output) -> Result<Self, Failure> {
        let notation = match arguments.output {
            OneFormat::Text => None,
            OneFormat::Json => Some(Notation::Json),
            OneFormat::Yaml => Some(Notation::Yaml),
        };
        let list = notation.map(|notation| ListWriter::begin(output, notation, "Applied")).transpose()?;
        Ok(Self { output, list, dry_run: arguments.dry_run, refused: Vec::new() })
    }

    fn resource(&mut self, resource: &AppliedView) -> Result<(), Failure> {
        match &mut self.list {
            Some(list) => list.item(self.output, resource),
            None => self.output.line(line(resource, self.dry_run, self.output)),
        }
    }

    fn refuse(&mut self, failure: Failure) {
        self.refused.push(failure);
    }

    fn end(self, tried: usize, noun: &str) -> Result<(), Failure> {
        let Self { output, list, refused, .. } = self;
        if let Some(list) = list {
            list.end(output)?;
        }
        output.flush()?;
        let count = refused.len();
        let mut refused = refused.into_iter();
        let Some(first) = refused.next() else {
            return Ok(());
        };
        if tried == 1 {
            return Err(first);
        }
        let exit = first.exit();
        first.report(&output.terminal);
        refused.for_each(|failure| failure.report(&output.terminal));
        Err(Failure::new(exit, format!("{count} of {tried} {noun} were not applied")))
    }
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
