//! What people see while a run goes on: a line that changes on a terminal, a line now and then elsewhere.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::probes::ProbeLog;
use super::sampler::Samples;

/// How often the line changes on a terminal.
const ON_TERMINAL: Duration = Duration::from_millis(500);

/// How often there is a line elsewhere.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// The view.
pub(super) struct LiveView {
    is_terminal: bool,
    showing: Option<AbortOnDropHandle<()>>,
}

impl LiveView {
    pub(super) fn new(is_terminal: bool) -> Self {
        Self { is_terminal, showing: None }
    }

    /// Shows a step from now on.
    pub(super) fn step(&mut self, name: &str, samples: &Samples, probes: &ProbeLog, began: Instant) {
        self.end();
        let (name, samples, probes, is_terminal) = (name.to_owned(), samples.clone(), probes.clone(), self.is_terminal);
        let step_began = Instant::now();
        let showing = async move {
            loop {
                let line = line(&name, step_began.elapsed(), began.elapsed(), &samples, &probes);
                if is_terminal {
                    eprint!("\r\x1b[2K{line}");
                    // A terminal that is gone sees nothing more.
                    let _ = std::io::stderr().flush();
                    sleep(ON_TERMINAL).await;
                } else {
                    eprintln!("{line}");
                    sleep(ELSEWHERE).await;
                }
            }
        };
        self.showing = Some(AbortOnDropHandle::new(tokio::spawn(showing)));
    }

    /// Shows nothing any more.
    pub(super) fn end(&mut self) {
        if self.showing.take().is_some() && self.is_terminal {
            eprintln!();
        }
    }
}

fn line(step: &str, in_step: Duration, whole: Duration, samples: &Samples, probes: &ProbeLog) -> String {
    let mut line = format!("{:7.1} s  {step} {:.0} s", whole.as_secs_f64(), in_step.as_secs_f64());
    let all = samples.all();
    let Some(newest) = all.last() else { return line };
    let counters = samples.newest_counters();
    let count = |name: &str| counters.get(name).copied().unwrap_or_default();
    // Text is written to memory, which does not fail.
    let _ =
        write!(line, "  {:.0} live, {:.0} ready", count("starling_clusters_live"), count("starling_clusters_ready"));
    if let Some(resident) = newest.hub_resident_bytes {
        let _ = write!(line, "  hub {:.0} MiB", resident / f64::from(1 << 20));
    }
    if let [.., before, now] = all.as_slice()
        && let (Some(used), Some(before_used)) = (now.hub_cpu_seconds, before.hub_cpu_seconds)
    {
        let percent = 100.0 * (used - before_used).max(0.0) / (now.at_seconds - before.at_seconds);
        let _ = write!(line, ", {percent:.0} % of a core");
    }
    if let Some(p99) = probes.visible_p99_ms() {
        let _ = write!(line, "  status visible p99 {p99:.1} ms");
    }
    line
}
