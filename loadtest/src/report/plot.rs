//! Pictures of a run: what was used and counted over time.

use std::borrow::Cow;
use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::beside;
use super::results::{Results, Sample, StepResult};

/// The size of a picture.
const SIZE: (u32, u32) = (960, 260);

/// Colours that are told apart, also by people who do not see all of them.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// One picture, as SVG.
pub(super) struct Picture {
    pub(super) title: &'static str,
    pub(super) svg: String,
}

/// A line of a picture: what it is called, and its value at each moment.
type Line = (Cow<'static, str>, Vec<(f64, f64)>);

/// Draws everything there is to draw.
pub(super) fn pictures(results: &Results) -> Result<Vec<Picture>> {
    let samples = &results.samples;
    let counter = |name: &'static str| move |sample: &Sample| sample.counters.get(name).copied();
    let steps: Vec<_> = results.steps.iter().map(|step| (step.began_seconds, step.name.as_str())).collect();
    let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
    let plans: [(&str, Vec<Line>); 6] = [
        (
            "Clusters",
            vec![
                ("live".into(), values(samples, counter("starling_clusters_live"))),
                ("ready".into(), values(samples, counter("starling_clusters_ready"))),
            ],
        ),
        (
            "Processors at work",
            vec![
                ("hub".into(), rates(samples, |sample| sample.hub_cpu_seconds)),
                ("drivers".into(), rates(samples, |sample| Some(sample.driver_cpu_seconds))),
                ("etcd".into(), rates(samples, |sample| sample.etcd.map(|etcd| etcd.cpu_seconds))),
            ],
        ),
        (
            "Processors at work in each process of the hub",
            each_process(samples, |samples, name| {
                rates(samples, |sample| Some(sample.processes.get(name)?.cpu_seconds))
            }),
        ),
        (
            "Memory of the hub, MiB",
            vec![("hub".into(), values(samples, |sample| sample.hub_resident_bytes.map(mebibytes)))],
        ),
        (
            "Memory of each process of the hub, MiB",
            each_process(samples, |samples, name| {
                values(samples, |sample| Some(mebibytes(sample.processes.get(name)?.resident_bytes)))
            }),
        ),
        (
            "Statuses that changed in the hub, a second",
            vec![("changes".into(), rates(samples, counter("starling_status_changes_total")))],
        ),
    ];
    let over_time = plans.into_iter().map(|(title, lines)| (title, "seconds", lines, steps.as_slice()));
    let growth = ("The alternative: seconds, by clusters", "clusters", growth(results), [].as_slice());
    over_time
        .chain([growth])
        .map(|(title, across, lines, edges)| {
            let lines: Vec<_> = lines.into_iter().filter(|(_, points)| !points.is_empty()).collect();
            (title, across, lines, edges)
        })
        .filter(|(_, _, lines, _)| lines.iter().any(|(_, points)| points.len() > 1))
        .map(|(title, across, lines, edges)| Ok(Picture { title, svg: draw(across, edges, &lines)? }))
        .collect()
}

/// Returns a line of each process; none where there is only one, of which the hub's own line tells everything.
fn each_process(samples: &[Sample], points: impl Fn(&[Sample], &str) -> Vec<(f64, f64)>) -> Vec<Line> {
    let names: BTreeSet<&String> = samples.iter().flat_map(|sample| sample.processes.keys()).collect();
    let is_one = names.len() < 2;
    let several = names.into_iter().filter(|_| !is_one);
    several.map(|name| (name.clone().into(), points(samples, name))).collect()
}

/// Returns what takes the alternative longer the more clusters it has.
fn growth(results: &Results) -> Vec<Line> {
    let sizes = beside::sizes(results);
    let line = |name: &'static str, value: fn(&StepResult) -> Option<f64>| {
        let points = sizes.iter().filter_map(|(clusters, step)| Some((f64::from(*clusters), value(step)?)));
        (name.into(), points.collect())
    };
    vec![
        line("first statuses", |step| step.figures.get("live-seconds").copied()),
        line("a change to all, the last", |step| Some(step.latencies.get("all-acknowledged")?.max_ms()? / 1000.0)),
        line("back after a kill", |step| step.figures.get("killed-live-seconds").copied()),
    ]
}

fn values(samples: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
    samples.iter().filter_map(|sample| Some((sample.at_seconds, value(sample)?))).collect()
}

/// Returns how much a counter grew in a second; one that began again grew from nothing.
fn rates(samples: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
    let points = values(samples, value);
    let rate = |pair: &[(f64, f64)]| {
        let (seconds, grown) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        (seconds > 0.0).then(|| (pair[1].0, grown.max(0.0) / seconds))
    };
    points.windows(2).filter_map(rate).collect()
}

fn draw(across: &str, edges: &[(f64, &str)], lines: &[Line]) -> Result<String> {
    let mut svg = String::new();
    let all = || lines.iter().flat_map(|(_, points)| points);
    let end = all().map(|(at, _)| *at).fold(1.0, f64::max);
    let top = all().map(|(_, value)| *value).fold(0.0, f64::max).max(1e-3) * 1.08;
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let wrong = |error: &dyn std::fmt::Display| anyhow!("draw: {error}");
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..end, 0.0..top)
            .map_err(|error| wrong(&error))?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc(across)
            .draw()
            .map_err(|error| wrong(&error))?;
        for (at, name) in edges {
            let edge = [(*at, 0.0), (*at, top)];
            chart.draw_series(LineSeries::new(edge, RGBColor(160, 160, 160))).map_err(|error| wrong(&error))?;
            let name = Text::new((*name).to_owned(), (*at, top * 0.97), ("sans-serif", 11));
            chart.draw_series([name]).map_err(|error| wrong(&error))?;
        }
        for ((name, points), colour) in lines.iter().zip(COLOURS.into_iter().cycle()) {
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
                .map_err(|error| wrong(&error))?
                .label(name.as_ref())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        if lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .background_style(WHITE.mix(0.8))
                .border_style(RGBColor(200, 200, 200))
                .draw()
                .map_err(|error| wrong(&error))?;
        }
        area.present().map_err(|error| wrong(&error))?;
    }
    Ok(svg)
}
