//! Wall clocks that are wrong: processes started with one see a time that can be shifted while they run.
//!
//! Owns the file that libfaketime (of Debian's package, loaded into the process) reads the offset from. The monotonic clock and
//! the times of files stay right, as they do on a machine whose clock was set wrong.

use std::fs;
use std::path::{Path, PathBuf};

use crate::debian::faketime_library;
use crate::error::{IoContext as _, Result, create_folder};

/// How long a process may go on with the offset that it read last, in seconds.
const READ_EVERY: &str = "1";

/// A wall clock for the processes that are started with it.
#[derive(Debug, Clone)]
pub struct Clock {
    file: PathBuf,
    library: PathBuf,
}

impl Clock {
    /// Makes a clock that is right; the file with its offset is `<folder>/<name>.clock`.
    pub fn start(folder: &Path, name: &str) -> Result<Self> {
        let file = create_folder(folder)?.join(format!("{name}.clock"));
        let clock = Self { file, library: faketime_library()? };
        clock.shift(0)?;
        Ok(clock)
    }

    /// Moves the clock to so many seconds after the right time, or before it; seen within two seconds.
    pub fn shift(&self, seconds: i64) -> Result<()> {
        // Renamed into place, so that nobody reads half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n")).at_path("write", &new)?;
        fs::rename(&new, &self.file).at_path("write", &self.file)
    }

    /// The environment that makes a process use it.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 5] {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone()),
            ("FAKETIME_CACHE_DURATION", READ_EVERY.into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::process::{Launch, Process};

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn the_clock_of_a_running_process_is_shifted_and_put_right_again() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::start(folder.path(), "one").unwrap();
        // One process for the whole test, because a new one would read the file at its start in any case.
        let script = "printf -v now '%(%s)T' -1; while :; do printf '%(%s)T\\n' -1; read -t 0.1 <> <(:); done";
        let launch = Launch::new("teller", Path::new("bash"), folder.path()).args(["-c", script]).clock(&clock);
        let teller = Process::start(launch).unwrap();
        let seems = |offset: i64| {
            let answered = teller.wait_until(&format!("is {offset} s off"), PATIENCE, || {
                let told = teller.log_tail().lines().last().unwrap_or_default().to_owned();
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
                let off = told.parse::<i64>().map_err(|error| format!("{told:?}: {error}"))? - now;
                if (off - offset).abs() <= 2 { Ok(()) } else { Err(format!("{off} s off")) }
            });
            answered.unwrap();
        };
        seems(0);
        clock.shift(3600).unwrap();
        seems(3600);
        clock.shift(-3600).unwrap();
        seems(-3600);
        clock.shift(0).unwrap();
        seems(0);
    }
}
