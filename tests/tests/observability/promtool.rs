//! What Prometheus itself says of rules and queries.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use starling_realparts::promtool;

use crate::{alerts, dashboards, files};

#[test]
fn rules_are_correct() -> Result<()> {
    for rules in files::list("charts/starling-hub/alerts", ".yaml")? {
        run(&["check", "rules", "--lint=all", "--lint-fatal"], &rules)?;
    }
    Ok(())
}

#[test]
fn alerts_fire_when_they_should_and_not_before() -> Result<()> {
    let mut tested = String::new();
    for stories in files::list("tests/tests/observability/rules", ".yaml")? {
        run(&["test", "rules"], &stories)?;
        tested.push_str(&std::fs::read_to_string(&stories)?);
    }
    for rule in alerts::rules()? {
        ensure!(tested.contains(&format!("alertname=\"{}\"", rule.alert)), "no story tells of {}", rule.alert);
    }
    Ok(())
}

#[test]
fn queries_of_dashboards_are_promql() -> Result<()> {
    // A recording rule takes any expression, so that the parser sees each of them.
    let mut rules = "groups:\n  - name: queries\n    rules:\n".to_owned();
    for (number, expression) in dashboards::expressions()?.iter().enumerate() {
        let quoted = serde_json::to_string(expression)?;
        writeln!(rules, "      - record: query:{number}\n        expr: {quoted}")?;
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("queries.yaml");
    std::fs::write(&file, rules).context("write the queries")?;
    run(&["check", "rules"], &file)
}

fn run(arguments: &[&str], file: &Path) -> Result<()> {
    let output = Command::new(promtool()?).args(arguments).arg(file).output().context("run promtool")?;
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    ensure!(output.status.success(), "promtool {} {}: {said}", arguments.join(" "), file.display());
    Ok(())
}
