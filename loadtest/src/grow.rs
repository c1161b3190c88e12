//! `starling-loadtest grow`: the same scenario with more and more clusters, until something breaks, and what that was.
//!
//! Owns the sizes, and what is said of them. Each size is a run of its own ([`crate::run`]), with a hub of its own.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::report::results::Results;
use crate::run::{self, RunOptions};
use crate::scenario::END;

/// The figure that says how many clusters the hub was wrong about in the end.
const WRONG: &str = "clusters-wrong";

/// The hub's most memory in a run.
const PEAK: &str = "hub.peak-resident-bytes";

/// How much more memory each cluster may take than at the smallest size for memory to count as bounded.
const BOUNDED: f64 = 1.5;

/// What growing takes.
#[derive(Clone, Debug, Args)]
pub struct GrowOptions {
    #[command(flatten)]
    run: RunOptions,
    /// Clusters of the first run.
    #[arg(long, value_name = "CLUSTERS")]
    from: u32,
    /// Clusters of the last run, if nothing breaks before.
    #[arg(long, value_name = "CLUSTERS")]
    to: u32,
    /// How many times as many each run has as the one before.
    #[arg(long, value_name = "FACTOR", default_value_t = 2.0)]
    factor: f64,
}

/// What one size came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Size {
    clusters: u32,
    /// Thresholds that do not hold and what else is wrong, for people; none if it holds.
    broken: Vec<String>,
    /// In each step, the part of the hub with the most CPU time, and its share.
    dearest: Vec<(String, String, f64)>,
    /// The step of the first threshold that does not hold.
    first_step: Option<String>,
    /// Bytes of the hub at most, of each cluster.
    bytes_per_cluster: Option<f64>,
    /// Clusters that the hub was wrong about in the end; `None` if the run did not get there.
    wrong: Option<f64>,
}

/// Runs the sizes one after another until one breaks, and writes `grow.md` and `grow.json` beside their reports.
///
/// # Errors
/// The sizes make no sense, a run breaks off, or a file cannot be written. That a size does not hold is no error: it is what was asked.
pub async fn grow(options: &GrowOptions) -> Result<()> {
    ensure!(!options.run.has_target(), "each size needs an empty hub of its own: leave --target out");
    let sizes = sizes(options.from, options.to, options.factor)?;
    let folder = options.run.out().map_or_else(
        || PathBuf::from("loadtest-results").join(format!("grow-{}", jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S"))),
        PathBuf::from,
    );
    let mut reached: Vec<Size> = Vec::new();
    for clusters in sizes {
        eprintln!("== {clusters} clusters");
        let out = folder.join(clusters.to_string());
        let outcome = run::run_and_report(&options.run.grown(u64::from(clusters), out.clone())).await;
        let size = match outcome {
            Ok(results) => Size::of(&results),
            // A run that broke off has left what it measured, with the reason.
            Err(error) => Size::of(&crate::report::read(&out).map_err(|_| error)?),
        };
        let is_broken = !size.broken.is_empty();
        reached.push(size);
        let told = told(&reached);
        std::fs::write(folder.join("grow.md"), &told).context("write grow.md")?;
        let raw = serde_json::to_string_pretty(&reached).context("write what was found")?;
        std::fs::write(folder.join("grow.json"), raw).context("write grow.json")?;
        if is_broken {
            break;
        }
    }
    print!("{}", told(&reached));
    Ok(())
}

/// Returns the sizes of the runs, the last one included.
fn sizes(from: u32, to: u32, factor: f64) -> Result<Vec<u32>> {
    ensure!(from > 0 && from <= to, "--from must be at least 1 and not above --to");
    ensure!(factor > 1.0, "--factor must be above 1: each run has that many times the clusters of the one before");
    let mut sizes = Vec::new();
    let mut size = f64::from(from);
    while size < f64::from(to) {
        sizes.push(size.round() as u32);
        size = (size * factor).max(size + 1.0);
    }
    sizes.push(to);
    Ok(sizes)
}

impl Size {
    fn of(results: &Results) -> Self {
        let failed = results.failed();
        let first_step = failed.iter().filter_map(|verdict| verdict.figure.split_once('.')).map(|(step, _)| step);
        // In the order of the steps, which is that of time; thresholds are by name.
        let position = |step: &str| results.steps.iter().position(|known| known.name == step);
        let first_step = first_step.min_by_key(|step| position(step).unwrap_or(usize::MAX)).map(str::to_owned);
        let verdicts = failed.iter().map(|verdict| crate::report::verdict(verdict));
        let dearest = results.profiles.iter().filter_map(|profile| {
            let (part, share) = profile.dearest()?;
            Some((profile.step.clone(), part.to_owned(), share))
        });
        let peak = results.figures.get(PEAK).map(|peak| peak / f64::from(results.clusters));
        Self {
            clusters: results.clusters,
            broken: verdicts.chain(results.defects.iter().cloned()).collect(),
            dearest: dearest.collect(),
            first_step,
            bytes_per_cluster: peak,
            wrong: results.figures.get(&format!("{END}.{WRONG}")).copied(),
        }
    }
}

/// Tells people what was found.
fn told(sizes: &[Size]) -> String {
    let mut text =
        "# What breaks first as the fleet grows\n\n| clusters | | most of the hub's time, by step |\n|---|---|---|\n"
            .to_owned();
    for size in sizes {
        let word = if size.broken.is_empty() { "holds" } else { "**breaks**" };
        let dearest: Vec<_> =
            size.dearest.iter().map(|(step, part, share)| format!("{step}: {part} {:.0} %", 100.0 * share)).collect();
        // Text is written to memory, which does not fail.
        let _ = writeln!(text, "| {} | {word} | {} |", size.clusters, dearest.join(", "));
    }
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else { return text };
    if last.broken.is_empty() {
        let _ = writeln!(text, "\nNothing broke up to {} clusters.", last.clusters);
        return text;
    }
    let _ = writeln!(text, "\nAt {} clusters:\n", last.clusters);
    for broken in &last.broken {
        let _ = writeln!(text, "- {broken}");
    }
    if let Some(step) = &last.first_step {
        match last.dearest.iter().find(|(of, _, _)| of == step) {
            Some((_, part, share)) => {
                let _ = writeln!(
                    text,
                    "\nFirst in step {step}, in which {part} had {:.0} % of the hub's time.",
                    100.0 * share
                );
            }
            None => {
                let _ = writeln!(text, "\nFirst in step {step}, of which there is no profile.");
            }
        }
    }
    let _ = writeln!(text, "\n{}", softly(first, last));
    text
}

/// Tells whether a size broke without losing anything and without unbounded memory.
fn softly(first: &Size, last: &Size) -> String {
    let nothing_lost = match last.wrong {
        Some(0.0) => "nothing was lost (the hub is right about every cluster in the end)".to_owned(),
        Some(wrong) => format!("the hub is wrong about {wrong} clusters in the end"),
        None => "whether anything was lost is not known: the run did not come to its end".to_owned(),
    };
    let memory = match (first.bytes_per_cluster, last.bytes_per_cluster) {
        (Some(before), Some(now)) => {
            let (before, now, ratio) = (before / 1024.0, now / 1024.0, now / before);
            let word = if ratio <= BOUNDED { "memory is bounded" } else { "memory grew out of proportion" };
            format!("{word} ({now:.0} KiB of each cluster at most, {before:.0} KiB at {} clusters)", first.clusters)
        }
        _ => "memory was not measured".to_owned(),
    };
    let is_soft = last.wrong == Some(0.0) && !memory.contains("out of");
    format!(
        "It broke {}: {nothing_lost}, and {memory}.",
        if is_soft { "softly" } else { "badly, or that cannot be told" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(clusters: u32, broken: &[&str], wrong: Option<f64>, bytes: f64) -> Size {
        Size {
            clusters,
            broken: broken.iter().map(|text| (*text).to_owned()).collect(),
            dearest: vec![("start".into(), "handshake".into(), 0.4), ("storm".into(), "index".into(), 0.61)],
            first_step: (!broken.is_empty()).then(|| "storm".to_owned()),
            bytes_per_cluster: Some(bytes),
            wrong,
        }
    }

    #[test]
    fn sizes_grow_and_end_with_the_last() {
        assert_eq!(sizes(1000, 5000, 2.0).expect("sizes"), [1000, 2000, 4000, 5000]);
        assert_eq!(sizes(7, 7, 2.0).expect("sizes"), [7]);
        assert_eq!(sizes(1, 4, 1.1).expect("sizes"), [1, 2, 3, 4]);
        assert!(sizes(5, 4, 2.0).is_err() && sizes(0, 4, 2.0).is_err() && sizes(1, 4, 1.0).is_err());
    }

    #[test]
    fn what_broke_first_is_named_with_the_part_and_how() {
        let small = size(100, &[], Some(0.0), 100.0 * 1024.0);
        let text = told(&[small.clone(), size(200, &["storm.visible is late"], Some(0.0), 110.0 * 1024.0)]);
        assert!(text.contains("| 200 | **breaks** | start: handshake 40 %, storm: index 61 % |"), "{text}");
        assert!(text.contains("First in step storm, in which index had 61 % of the hub's time."), "{text}");
        assert!(text.contains("It broke softly: nothing was lost"), "{text}");
        let text = told(&[small.clone(), size(200, &["late"], Some(3.0), 110.0 * 1024.0)]);
        assert!(text.contains("It broke badly") && text.contains("wrong about 3 clusters"), "{text}");
        let text = told(&[small.clone(), size(200, &["late"], Some(0.0), 400.0 * 1024.0)]);
        assert!(text.contains("It broke badly") && text.contains("out of proportion"), "{text}");
        let text = told(&[small.clone(), size(200, &["late"], None, 100.0 * 1024.0)]);
        assert!(text.contains("cannot be told"), "{text}");
        assert!(told(&[small]).contains("Nothing broke up to 100 clusters."));
    }
}
