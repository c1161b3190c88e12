//! How busy the process is: its CPU time over the last seconds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use starling_model::Millis;
use starling_telemetry::process::cpu_seconds;

use crate::ports::Clock;

/// How often the process looks at its own CPU time.
const EVERY: Duration = Duration::from_secs(2);

/// How far back the load reaches.
const WINDOW: Duration = Duration::from_secs(10);

/// The process's load; cheap to clone, and every clone shows the same.
#[derive(Clone, Debug, Default)]
pub struct Load(Arc<Mutex<VecDeque<Sample>>>);

/// The CPU time that was spent until a moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    uptime: Millis,
    cpu_seconds: f64,
}

impl Load {
    /// Returns the CPU time over about the last ten seconds, in thousandths of a core; zero until two samples were taken.
    #[must_use]
    pub fn cpu_millis(&self) -> u64 {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return 0 };
        let seconds = last.uptime.since(first.uptime).as_secs_f64();
        if seconds == 0.0 {
            return 0;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of cores in thousandths")]
        let millis = ((last.cpu_seconds - first.cpu_seconds) / seconds * 1000.0).max(0.0).round() as u64;
        millis
    }

    /// Looks again and again; never ends.
    pub async fn run(self, clock: Arc<dyn Clock>) {
        loop {
            if let Some(cpu_seconds) = cpu_seconds() {
                self.note(clock.uptime(), cpu_seconds);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn note(&self, uptime: Millis, cpu_seconds: f64) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(Sample { uptime, cpu_seconds });
        // One sample as old as the window stays, so that the rest of it is known.
        while samples.get(1).is_some_and(|second| uptime.since(second.uptime) >= WINDOW) {
            samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_of_the_last_seconds() {
        let load = Load::default();
        assert_eq!(load.cpu_millis(), 0);
        load.note(Millis(0), 100.0);
        assert_eq!(load.cpu_millis(), 0);
        load.note(Millis(2_000), 101.0);
        assert_eq!(load.cpu_millis(), 500);
        for second in (4..=30_u32).step_by(2) {
            load.note(Millis(u64::from(second) * 1_000), 101.0 + f64::from(second - 2) / 10.0);
        }
        assert_eq!(load.cpu_millis(), 100, "what was before the window does not count");
    }
}
