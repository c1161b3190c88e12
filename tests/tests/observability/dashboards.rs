//! Dashboards are what Grafana takes, and read only what hub and agent show.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{expressions, files, reference};

const FOLDER: &str = "charts/starling-hub/dashboards";

/// The variable of the source of data, which every query goes through.
const DATASOURCE: &str = "${datasource}";

/// Words of PromQL and of Grafana's variables that say how long a rate looks back.
const WINDOW: &str = "$__rate_interval";

#[test]
fn dashboards_are_whole() -> Result<()> {
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards()? {
        let text = |field: &str| dashboard[field].as_str().unwrap_or_default().to_owned();
        ensure!(uids.insert(text("uid")) && !text("uid").is_empty(), "{name} has a uid of its own");
        ensure!(!text("title").is_empty() && !text("description").is_empty(), "{name} says what it is");
        ensure!(dashboard["id"].is_null(), "{name} has no number of one Grafana");
        ensure!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36), "{name} has a schema");
        let variables = dashboard["templating"]["list"].as_array().context("a dashboard has variables")?;
        let is_source = |variable: &Value| variable["type"] == "datasource" && variable["query"] == "prometheus";
        ensure!(variables.iter().any(|v| is_source(v) && v["name"] == "datasource"), "{name} asks for its source");
        let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(&dashboard)? {
            let title = panel["title"].as_str().unwrap_or_default();
            ensure!(!title.is_empty() && ids.insert(panel["id"].as_u64()), "{name}: {title} has a title and an id");
            let place = &panel["gridPos"];
            let (x, y, w) = (place["x"].as_u64(), place["y"].as_u64(), place["w"].as_u64());
            ensure!(x.zip(w).is_some_and(|(x, w)| x + w <= 24 && w > 0), "{name}: {title} lies on the grid");
            ensure!(places.insert((x, y)), "{name}: {title} has a place of its own");
            if panel["type"] == "row" {
                continue;
            }
            ensure!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{name}: {title} is explained");
            ensure!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name}: {title} has a unit");
            ensure!(panel["datasource"]["uid"] == DATASOURCE, "{name}: {title} goes through the variable");
            ensure!(!queries(panel)?.is_empty(), "{name}: {title} asks something");
        }
    }
    Ok(())
}

#[test]
fn dashboards_read_what_is_shown() -> Result<()> {
    let listed = reference::listed()?;
    let mut read = BTreeSet::new();
    for (name, dashboard) in dashboards()? {
        for panel in panels(&dashboard)? {
            for query in queries(panel)? {
                let metrics = expressions::metrics_of(&query);
                let unknown: Vec<&String> = metrics.iter().filter(|metric| !listed.contains(*metric)).collect();
                ensure!(unknown.is_empty(), "{name}: {query} reads {unknown:?}, which nobody shows");
                ensure!(!query.contains("rate(") || query.contains(WINDOW), "{name}: {query} has a window of its own");
                read.extend(metrics);
            }
        }
    }
    ensure!(read.len() > 40, "the dashboards read {} metrics", read.len());
    Ok(())
}

/// Returns every query of every dashboard, with windows and variables filled in.
pub(crate) fn expressions() -> Result<Vec<String>> {
    let mut expressions = Vec::new();
    for (_, dashboard) in dashboards()? {
        for panel in panels(&dashboard)? {
            let filled = |query: String| query.replace(WINDOW, "5m").replace("$cluster", ".*").replace("$job", ".*");
            expressions.extend(queries(panel)?.into_iter().map(filled));
        }
    }
    Ok(expressions)
}

fn dashboards() -> Result<Vec<(String, Value)>> {
    let mut dashboards = Vec::new();
    for path in files::list(FOLDER, ".json")? {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let dashboard = serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        dashboards.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), dashboard));
    }
    Ok(dashboards)
}

fn panels(dashboard: &Value) -> Result<&Vec<Value>> {
    dashboard["panels"].as_array().context("a dashboard has panels")
}

fn queries(panel: &Value) -> Result<Vec<String>> {
    let Some(targets) = panel["targets"].as_array() else { return Ok(Vec::new()) };
    targets
        .iter()
        .map(|target| target["expr"].as_str().map(str::to_owned).context("a query has an expression"))
        .collect()
}
