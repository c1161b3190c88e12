//! Looks again and again whether every cluster is served, while faults come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use starling_harness::CommandLine;

use crate::outside;

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);

/// A look that goes on in a thread of its own; ends when dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Unserved>>,
}

/// For how long not every cluster was served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unserved {
    /// All of it.
    pub(crate) time: Duration,
    /// What was said, in its order, each with when that began.
    pub(crate) said: Vec<(Duration, String)>,
}

impl Watch {
    /// Begins to look.
    pub(crate) fn start(ask: CommandLine, clusters: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut unserved, mut last) = (Unserved::default(), String::new());
            let begun = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let looked = Instant::now();
                // Whoever is asked may be about to end, and then the next answers.
                let served = outside::check_served(&ask, clusters).or_else(|_| outside::check_served(&ask, clusters));
                std::thread::sleep(LOOK.saturating_sub(looked.elapsed()));
                let said = served.err().map_or_else(|| "all".to_owned(), |error| format!("{error:#}"));
                if said != "all" {
                    unserved.time += looked.elapsed();
                }
                if said != last {
                    unserved.said.push((looked.duration_since(begun), said.clone()));
                    last = said;
                }
            }
            unserved
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it, and returns for how long not every cluster was served.
    pub(crate) fn end(mut self) -> Result<Unserved> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(Unserved::default());
        };
        thread.join().map_err(|_| anyhow!("the thread that looks panicked"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
