//! The report as one page that needs nothing else: no script, no font, no picture from elsewhere.

use std::fmt::Write as _;

use anyhow::Result;

use super::beside;
use super::plot;
use super::results::Results;
use super::tables;
use crate::profile;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}\
h1{margin-bottom:.2rem}h2{margin-top:2rem;border-bottom:1px solid #d0d7de;padding-bottom:.2rem}\
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .6rem;border-bottom:1px solid #e5e8eb;text-align:left}\
td:not(:first-child){font-variant-numeric:tabular-nums}.bad{color:#b3261e;font-weight:600}.good{color:#1a7f37}\
.about{color:#57606a}svg{max-width:100%;height:auto}";

/// Writes the page.
pub(super) fn page(results: &Results) -> Result<String> {
    let mut text = String::new();
    let Results { scenario, machine, clusters, drivers, began, .. } = results;
    let title = escaped(&scenario.name);
    let gib = tables::number(machine.memory_bytes as f64 / f64::from(1 << 30));
    // Text is written to memory, which does not fail.
    let _ = write!(
        text,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Load test: {title}</title><style>{STYLE}</style></head><body><h1>Load test: {title}</h1><p>{}</p>\
         <p class=\"about\">{clusters} clusters in {drivers} driver processes, seed {}, hub {}, {}. {} processors, {gib} GiB, \
         kernel {}; hub and fleet together on them unless the hub was there already.</p>",
        escaped(&scenario.description),
        scenario.seed,
        escaped(&tables::hub(results)),
        escaped(began),
        machine.cpus,
        escaped(&machine.kernel),
    );
    if !results.verdicts.is_empty() {
        text.push_str("<table><tr><th></th><th>figure</th><th>wanted</th><th>measured</th></tr>");
        for verdict in &results.verdicts {
            let (class, word) = if verdict.holds { ("good", "ok") } else { ("bad", "failed") };
            let value =
                verdict.value.map_or_else(|| "not measured".into(), |value| tables::shown(&verdict.figure, value));
            let _ = write!(
                text,
                "<tr><td class=\"{class}\">{word}</td><td>{}</td><td>{}</td><td>{value}</td></tr>",
                escaped(&verdict.figure),
                tables::wanted(&verdict.figure, &verdict.threshold)
            );
        }
        text.push_str("</table>");
    }
    for defect in &results.defects {
        let _ = write!(text, "<p class=\"bad\">{}</p>", escaped(defect));
    }
    for note in &results.notes {
        let _ = write!(text, "<p>{}</p>", escaped(note));
    }
    if let Some(rows) = beside::table(results) {
        write_table(&mut text, &tables::Table { title: "Compared".into(), rows });
    }
    for sentence in beside::sentences(results) {
        let _ = write!(text, "<p>{}</p>", escaped(&sentence));
    }
    for picture in plot::pictures(results)? {
        let _ = write!(text, "<h2>{}</h2>{}", picture.title, picture.svg);
    }
    text.push_str(&profile::html(&results.profiles, results.heap.as_ref(), escaped)?);
    for table in tables::steps(results) {
        write_table(&mut text, &table);
    }
    text.push_str("</body></html>\n");
    Ok(text)
}

fn write_table(text: &mut String, table: &tables::Table) {
    // Text is written to memory, which does not fail.
    let _ = write!(text, "<h2>{}</h2><table>", escaped(&table.title));
    let columns = table.rows.iter().map(Vec::len).max().unwrap_or_default();
    for row in &table.rows {
        text.push_str("<tr>");
        for cell in 0..columns {
            let _ = write!(text, "<td>{}</td>", row.get(cell).map(|cell| escaped(cell)).unwrap_or_default());
        }
        text.push_str("</tr>");
    }
    text.push_str("</table>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
