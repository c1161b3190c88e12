//! Each alert has its section in `docs/operations.md`, and says what a person needs.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{expressions, files, reference};

const FOLDER: &str = "charts/starling-hub/alerts";
const PAGE: &str = "docs/operations.md";

/// Where alerts link to, before the anchor.
const RUNBOOK: &str = "https://github.com/starling-dev/starling/blob/main/docs/operations.md#";

/// What an alert's section tells.
const PARTS: [&str; 3] = ["**Means**", "**Look**", "**Do**"];

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

/// An alerting rule.
#[derive(Deserialize)]
pub(crate) struct Rule {
    pub(crate) alert: String,
    expr: String,
    labels: Labels,
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Labels {
    severity: String,
}

#[derive(Deserialize)]
struct Annotations {
    summary: String,
    description: String,
    runbook_url: String,
}

#[test]
fn every_alert_says_what_it_is_and_links_to_its_section() -> Result<()> {
    let listed = reference::listed()?;
    for Rule { alert, expr, labels, annotations } in rules()? {
        ensure!(["critical", "warning", "info"].contains(&&*labels.severity), "{alert}: {}", labels.severity);
        ensure!(annotations.summary.len() > 10 && annotations.description.len() > 40, "{alert} says too little");
        let anchor = annotations.runbook_url.strip_prefix(RUNBOOK);
        ensure!(anchor == Some(&alert.to_lowercase()), "{alert} links to {}", annotations.runbook_url);
        let unknown: Vec<String> =
            expressions::metrics_of(&expr).into_iter().filter(|metric| !listed.contains(metric)).collect();
        ensure!(unknown.is_empty(), "{alert} reads {unknown:?}, which nobody shows");
    }
    Ok(())
}

#[test]
fn every_alert_has_its_section_and_the_reverse() -> Result<()> {
    let alerts: BTreeSet<String> = rules()?.into_iter().map(|rule| rule.alert).collect();
    let page = files::read(PAGE)?;
    let mut described = BTreeSet::new();
    for section in page.split("\n### ").skip(1) {
        let (name, text) = section.split_once('\n').context("a section has a text")?;
        if !name.starts_with("Starling") {
            continue;
        }
        let text = text.split("\n## ").next().unwrap_or_default();
        let missing: Vec<&str> = PARTS.into_iter().filter(|part| !text.contains(part)).collect();
        ensure!(missing.is_empty(), "the section {name} does not tell {missing:?}");
        ensure!(described.insert(name.to_owned()), "{name} has two sections");
    }
    ensure!(alerts == described, "alerts {alerts:?}, sections {described:?}");
    Ok(())
}

/// Returns every alerting rule of the chart.
pub(crate) fn rules() -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for path in files::list(FOLDER, ".yaml")? {
        rules.extend(read(&path)?.groups.into_iter().flat_map(|group| group.rules));
    }
    Ok(rules)
}

fn read(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("parse {}", path.display()))
}
