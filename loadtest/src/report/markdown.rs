//! The report as Markdown.

use std::fmt::Write as _;

use anyhow::Result;

use super::beside;
use super::results::Results;
use super::tables;
use crate::profile;

/// Writes the report.
pub(super) fn report(results: &Results) -> Result<String> {
    let mut text = String::new();
    let Results { scenario, machine, clusters, drivers, began, .. } = results;
    let gib = tables::number(machine.memory_bytes as f64 / f64::from(1 << 30));
    // Text is written to memory, which does not fail.
    let _ = writeln!(text, "# Load test: {}\n\n{}\n", scenario.name, scenario.description);
    let _ = writeln!(
        text,
        "{clusters} clusters in {drivers} driver processes, seed {}, hub {}, {began}. {} processors, {gib} GiB, kernel {}; \
         hub and fleet together on them unless the hub was there already.\n",
        scenario.seed,
        tables::hub(results),
        machine.cpus,
        machine.kernel
    );
    if !results.verdicts.is_empty() {
        let _ = writeln!(text, "| | figure | wanted | measured |\n|---|---|---|---|");
        for verdict in &results.verdicts {
            let word = if verdict.holds { "ok" } else { "**failed**" };
            let value =
                verdict.value.map_or_else(|| "not measured".into(), |value| tables::shown(&verdict.figure, value));
            let _ = writeln!(
                text,
                "| {word} | `{}` | {} | {value} |",
                verdict.figure,
                tables::wanted(&verdict.figure, &verdict.threshold)
            );
        }
        text.push('\n');
    }
    for defect in &results.defects {
        let _ = writeln!(text, "**Failed:** {defect}\n");
    }
    for note in &results.notes {
        let _ = writeln!(text, "Note: {note}\n");
    }
    if let Some(table) = beside::table(results) {
        let _ = writeln!(text, "## Compared\n");
        for (index, row) in table.iter().enumerate() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if index == 0 {
                let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
            }
        }
        text.push('\n');
    }
    for sentence in beside::sentences(results) {
        let _ = writeln!(text, "{sentence}\n");
    }
    text.push_str(&profile::markdown(&results.profiles, results.heap.as_ref())?);
    for table in tables::steps(results) {
        let _ = writeln!(text, "## {}\n\n| figure | |\n|---|---|", table.title);
        for row in table.rows {
            let _ = writeln!(text, "| {} | {} |", row[0], row[1..].join(", "));
        }
        text.push('\n');
    }
    Ok(text)
}
