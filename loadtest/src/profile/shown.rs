//! What a report shows of profiles: a row for each part, a column for each step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Result;

use super::parts::Parts;
use super::{HeapProfile, StepProfile};

/// Colours that are told apart, used in turn.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b8a500"];

/// A table: a heading, and rows of which the first is the heading of the columns.
struct Table {
    title: &'static str,
    about: String,
    rows: Vec<Vec<String>>,
}

/// Writes the section of a Markdown report; nothing without profiles.
///
/// # Errors
/// The table of parts cannot be read.
pub(crate) fn markdown(steps: &[StepProfile], heap: Option<&HeapProfile>) -> Result<String> {
    let mut text = String::new();
    for table in tables(steps, heap)? {
        // Text is written to memory, which does not fail.
        let _ = writeln!(text, "## {}\n\n{}\n", table.title, table.about);
        for (number, row) in table.rows.iter().enumerate() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if number == 0 {
                let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
            }
        }
        text.push('\n');
    }
    Ok(text)
}

/// Writes the section of the page; nothing without profiles.
///
/// # Errors
/// The table of parts cannot be read.
pub(crate) fn html(steps: &[StepProfile], heap: Option<&HeapProfile>, escaped: fn(&str) -> String) -> Result<String> {
    let mut text = String::new();
    for table in tables(steps, heap)? {
        // Text is written to memory, which does not fail.
        let _ = write!(text, "<h2>{}</h2><p class=\"about\">{}</p>", table.title, escaped(&table.about));
        if table.title == CPU {
            text.push_str(&bars(steps, escaped));
        }
        text.push_str("<table>");
        for row in &table.rows {
            let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
            let _ = write!(text, "<tr>{cells}</tr>");
        }
        text.push_str("</table>");
    }
    Ok(text)
}

const CPU: &str = "Where the hub's time went";

fn tables(steps: &[StepProfile], heap: Option<&HeapProfile>) -> Result<Vec<Table>> {
    let parts = Parts::table()?;
    let mut tables = Vec::new();
    if !steps.is_empty() {
        let mut rows = vec![head("part", steps.iter().map(|step| step.step.clone()))];
        for part in by_sum(&amounts(steps)) {
            let share = |step: &StepProfile| {
                let (seconds, all) = (step.cpu_seconds.get(&part), step.cpu_seconds.values().sum::<f64>());
                seconds.map_or_else(String::new, |seconds| format!("{:.1} % ({seconds:.2} s)", 100.0 * seconds / all))
            };
            let columns = steps.iter().map(share);
            rows.push([part.clone()].into_iter().chain(columns).chain([parts.what(&part).to_owned()]).collect());
        }
        let samples = steps.iter().map(|step| format!("{}: {} samples, {}", step.step, step.samples, step.flames));
        let about = format!(
            "Shares of the processor time that the hub used in each step, and seconds of it, by samples. {}.",
            samples.collect::<Vec<_>>().join("; ")
        );
        tables.push(Table { title: CPU, about, rows });
    }
    if let Some(heap) = heap {
        let all: f64 = heap.bytes.values().sum();
        let mut rows = vec![vec!["part".into(), "KiB of each cluster".into(), "share".into(), String::new()]];
        for part in by_sum(&[&heap.bytes]) {
            let bytes = heap.bytes[&part];
            let each = bytes / f64::from(heap.clusters) / 1024.0;
            let share = format!("{:.1} %", 100.0 * bytes / all);
            rows.push(vec![part.clone(), format!("{each:.2}"), share, parts.what(&part).to_owned()]);
        }
        let about = format!(
            "What {} clusters' hub had allocated and not released: {:.1} MiB, {:.1} KiB of each. {}.",
            heap.clusters,
            all / f64::from(1 << 20),
            all / f64::from(heap.clusters) / 1024.0,
            heap.flames
        );
        tables.push(Table { title: "What the hub's memory was for at the end of start", about, rows });
    }
    Ok(tables)
}

fn head(first: &str, columns: impl Iterator<Item = String>) -> Vec<String> {
    [first.to_owned()].into_iter().chain(columns).chain([String::new()]).collect()
}

fn amounts(steps: &[StepProfile]) -> Vec<&BTreeMap<String, f64>> {
    steps.iter().map(|step| &step.cpu_seconds).collect()
}

/// Returns every part, the one with most first.
fn by_sum(steps: &[&BTreeMap<String, f64>]) -> Vec<String> {
    let names: BTreeSet<&String> = steps.iter().flat_map(|step| step.keys()).collect();
    let sum = |name: &String| steps.iter().filter_map(|step| step.get(name)).sum::<f64>();
    let mut named: Vec<(f64, &String)> = names.into_iter().map(|name| (sum(name), name)).collect();
    named.sort_by(|one, other| other.0.total_cmp(&one.0));
    named.into_iter().map(|(_, name)| name.clone()).collect()
}

/// Draws a bar for each step, cut by the shares of the parts.
fn bars(steps: &[StepProfile], escaped: fn(&str) -> String) -> String {
    let parts = by_sum(&amounts(steps));
    let mut text = String::new();
    for step in steps {
        let all: f64 = step.cpu_seconds.values().sum();
        // Text is written to memory, which does not fail.
        let _ = write!(text, "<p>{}<svg viewBox=\"0 0 1000 24\" width=\"100%\">", escaped(&step.step));
        let mut at = 0.0;
        for (part, colour) in parts.iter().zip(COLOURS.iter().cycle()) {
            let width = 1000.0 * step.cpu_seconds.get(part).copied().unwrap_or_default() / all;
            let _ = write!(
                text,
                "<rect x=\"{at:.1}\" y=\"0\" width=\"{width:.1}\" height=\"24\" fill=\"{colour}\"><title>{part}</title></rect>"
            );
            if width > 60.0 {
                let _ =
                    write!(text, "<text x=\"{:.1}\" y=\"16\" font-size=\"12\" fill=\"#fff\">{part}</text>", at + 4.0);
            }
            at += width;
        }
        text.push_str("</svg></p>");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_bytes_of_each_cluster_are_shown_the_most_first() {
        let cpu_seconds = BTreeMap::from([("index".to_owned(), 1.0), ("plan".to_owned(), 3.0)]);
        let step = StepProfile { step: "storm".into(), samples: 400, cpu_seconds, ..StepProfile::default() };
        let bytes = BTreeMap::from([("session".to_owned(), 204_800.0)]);
        let heap = HeapProfile { clusters: 10, bytes, ..HeapProfile::default() };
        let text = markdown(&[step], Some(&heap)).expect("the parts are read");
        let plan = text.find("| plan | 75.0 % (3.00 s) |").expect("the plan's share");
        assert!(plan < text.find("| index | 25.0 % (1.00 s) |").expect("the index's share"), "{text}");
        assert!(text.contains("| session | 20.00 | 100.0 % |"), "{text}");
        assert_eq!(markdown(&[], None).expect("the parts are read"), "");
    }
}
