//! What the processes of a hub and its etcd used in a step, read off its samples.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::results::{EtcdSample, Sample};

/// Returns the figures of each process: processors at work, on average, and the most memory; nothing where there is only one, of which
/// the hub's figures tell everything.
pub(super) fn of_processes(samples: &[&Sample]) -> BTreeMap<String, f64> {
    let names: BTreeSet<&String> = samples.iter().flat_map(|sample| sample.processes.keys()).collect();
    let mut figures = BTreeMap::new();
    if names.len() < 2 {
        return figures;
    }
    for name in names {
        let used = |sample: &Sample| sample.processes.get(name).map(|process| process.cpu_seconds);
        figures.extend(rate(samples, used).map(|cpus| (format!("{name}-cpus"), cpus)));
        let resident = samples.iter().filter_map(|sample| Some(sample.processes.get(name)?.resident_bytes));
        figures.extend(resident.reduce(f64::max).map(|most| (format!("{name}-resident-bytes"), most)));
    }
    figures
}

/// Returns the figures of etcd: processors at work, the most memory, write transactions a second, and how long it waited for the disk
/// each time, on average.
pub(super) fn of_etcd(samples: &[&Sample]) -> BTreeMap<String, f64> {
    let of = |value: fn(&EtcdSample) -> Option<f64>| move |sample: &Sample| sample.etcd.as_ref().and_then(value);
    let most = samples.iter().filter_map(|sample| Some(sample.etcd?.resident_bytes)).reduce(f64::max);
    let fsyncs = grown(samples, of(|etcd| etcd.fsyncs)).map(|(fsyncs, _)| fsyncs).filter(|fsyncs| *fsyncs > 0.0);
    let waited = grown(samples, of(|etcd| etcd.fsync_seconds)).map(|(seconds, _)| seconds * 1000.0);
    let figures = [
        ("etcd-cpus", rate(samples, of(|etcd| Some(etcd.cpu_seconds)))),
        ("etcd-resident-bytes", most),
        ("etcd-writes-per-second", rate(samples, of(|etcd| etcd.writes))),
        ("etcd-fsync-ms.mean", waited.zip(fsyncs).map(|(waited, fsyncs)| waited / fsyncs)),
    ];
    figures.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Returns by how much something grew a second, between its first and its last reading.
fn rate(samples: &[&Sample], value: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
    grown(samples, value).map(|(grown, seconds)| grown / seconds)
}

/// Returns by how much something grew, and in how many seconds; `None` where there are no two readings of it.
fn grown(samples: &[&Sample], value: impl Fn(&Sample) -> Option<f64>) -> Option<(f64, f64)> {
    let mut read = samples.iter().filter_map(|sample| Some((sample.at_seconds, value(sample)?)));
    let (first_at, first) = read.next()?;
    let (last_at, last) = read.last()?;
    (last_at > first_at).then_some((last - first, last_at - first_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::results::ProcessSample;

    fn sample(at_seconds: f64, hubs: &[(&str, f64, f64)], writes: Option<f64>) -> Sample {
        let process = |(name, cpu_seconds, resident_bytes): &(&str, f64, f64)| {
            ((*name).to_owned(), ProcessSample { cpu_seconds: *cpu_seconds, resident_bytes: *resident_bytes })
        };
        let etcd = EtcdSample { cpu_seconds: at_seconds / 4.0, resident_bytes: 9.0, writes, ..EtcdSample::default() };
        let processes = hubs.iter().map(process).collect();
        Sample { at_seconds, processes, etcd: Some(etcd), ..Sample::default() }
    }

    #[test]
    fn each_process_has_its_figures_and_one_that_is_away_keeps_them() {
        let samples = [
            sample(10.0, &[("a", 1.0, 50.0), ("b", 2.0, 60.0)], Some(100.0)),
            sample(11.0, &[("a", 1.5, 70.0)], None),
            sample(12.0, &[("a", 2.0, 40.0), ("b", 3.0, 10.0)], Some(150.0)),
        ];
        let samples: Vec<&Sample> = samples.iter().collect();
        let expected = [("a-cpus", 0.5), ("a-resident-bytes", 70.0), ("b-cpus", 0.5), ("b-resident-bytes", 60.0)];
        assert_eq!(of_processes(&samples), expected.map(|(name, value)| (name.to_owned(), value)).into());
        let expected = [("etcd-cpus", 0.25), ("etcd-resident-bytes", 9.0), ("etcd-writes-per-second", 25.0)];
        assert_eq!(of_etcd(&samples), expected.map(|(name, value)| (name.to_owned(), value)).into());
    }

    #[test]
    fn one_process_is_the_hub_and_without_etcd_nothing_is_told() {
        let mut alone = [sample(1.0, &[("a", 1.0, 5.0)], None), sample(2.0, &[("a", 2.0, 5.0)], None)];
        alone.iter_mut().for_each(|sample| sample.etcd = None);
        let alone: Vec<&Sample> = alone.iter().collect();
        assert!(of_processes(&alone).is_empty() && of_etcd(&alone).is_empty());
    }
}
