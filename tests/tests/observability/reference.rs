//! `docs/metrics.md` is what hub and agent show.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use starling_agent::metrics::Metrics;
use tokio::runtime::Runtime;

use crate::bed::Bed;
use crate::files;

/// The page.
pub(crate) const PAGE: &str = "docs/metrics.md";

/// Set to write the page anew.
const UPDATE: &str = "STARLING_UPDATE";

/// Labels of families that show no series until something happens.
const QUIET: [(&str, &str); 2] = [
    ("starling_assignment_installs_troubled", "assignment, workspace"),
    ("starling_workspace_clusters_not_ready", "workspace"),
];

const HEAD: &str = "\
# Metrics

What `/metrics` of hub and agent shows. This page is written by a test from what they really show: after a change, run
`STARLING_UPDATE=1 cargo test -p starling-tests --test observability reference`.

Names end with their unit (`_seconds`, `_bytes`) or `_total` for what only grows. Labels come from closed sets, with two exceptions
that name the worst twenty at most: `starling_workspace_clusters_not_ready` and `starling_assignment_installs_troubled`; which
clusters these are, `starling get clusters` and `starling get installs` tell. Histograms have the buckets 1 ms to 60 s. What to do
about which is in [operations](operations.md).
";

/// A family of metrics.
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

#[test]
fn the_page_lists_what_is_shown_and_nothing_else() -> Result<()> {
    let runtime = Arc::new(Runtime::new()?);
    let bed = Bed::start("reference", &runtime, &[])?;
    let hub = families(&bed.metrics()?)?;
    let agent = families(&Metrics::new().encode().context("write the agent's metrics")?)?;
    for (name, family) in hub.iter().chain(&agent) {
        ensure!(!family.help.is_empty() && name.is_ascii(), "{name} says what it is");
        ensure!((family.kind == "counter") == name.ends_with("_total"), "{name} is a {}", family.kind);
        let is_time = family.kind == "histogram";
        ensure!(!is_time || name.ends_with("_seconds"), "{name} has a unit");
    }
    let page = format!("{HEAD}\n## Hub\n\n{}\n## Agent\n\n{}", table(&hub), table(&agent));
    if std::env::var_os(UPDATE).is_some() {
        fs::write(files::path(PAGE), &page).context("write the page")?;
    }
    let written = files::read(PAGE)?;
    ensure!(written == page, "{PAGE} is not what is shown; run with {UPDATE}=1. It should be:\n{page}");
    Ok(())
}

/// Returns the metrics that the page lists.
pub(crate) fn listed() -> Result<BTreeSet<String>> {
    let page = files::read(PAGE)?;
    let names = page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()));
    Ok(names.collect())
}

/// Reads the OpenMetrics text format as far as the page needs it.
fn families(text: &str) -> Result<BTreeMap<String, Family>> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut help, mut present) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            said.split_once(' ').context("a help has a text")?.1.trim_end_matches('.').clone_into(&mut help);
        } else if let Some(said) = line.strip_prefix("# TYPE ") {
            let (name, kind) = said.split_once(' ').context("a type has a name")?;
            present = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            let family = Family { kind: kind.to_owned(), help: help.clone(), labels: BTreeSet::new() };
            families.insert(present.clone(), family);
        } else if let Some((_, rest)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let labels = rest.rsplit_once('}').context("labels end")?.0;
            let family = families.get_mut(&present).with_context(|| format!("{line} has a type"))?;
            let keys = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(key, _)| key);
            family.labels.extend(keys.filter(|key| *key != "le").map(str::to_owned));
        }
    }
    ensure!(families.len() > 10, "there are metrics:\n{text}");
    Ok(families)
}

fn table(families: &BTreeMap<String, Family>) -> String {
    let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for (name, Family { kind, help, labels }) in families {
        let quiet = QUIET.iter().find(|(quiet, _)| quiet == name);
        let known = labels.iter().cloned().collect::<Vec<_>>().join(", ");
        let labels = quiet.map_or(known, |(_, labels)| (*labels).to_owned());
        writeln!(table, "| `{name}` | {kind} | {labels} | {help} |").expect("a String takes everything");
    }
    table
}
