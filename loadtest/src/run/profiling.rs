//! Profiles of the run's own hub: its CPU sampled while a step runs, over all processes that it has meanwhile, and its memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::hub::HubUnderTest;
use crate::profile::heap::HeapTrack;
use crate::profile::perf::{Recording, check};
use crate::profile::{Recorded, attribute, file_name};
use crate::report::results::Results;

/// How often a hub that is down is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// What is profiled, and what was recorded so far.
#[derive(Debug, Default)]
pub(super) struct Profiling {
    folder: PathBuf,
    is_cpu_wanted: bool,
    recorded: Vec<Recorded>,
    heap: Option<HeapTrack>,
    /// How much heaptrack had written at the end of the first step.
    heap_written: Option<u64>,
}

/// A step that is being recorded.
pub(super) struct Recorder {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Recorded>>,
}

impl Profiling {
    /// Makes sure that what is wanted can be done; files go into a folder.
    pub(super) fn new(is_cpu_wanted: bool, is_heap_wanted: bool, folder: &Path) -> Result<Self> {
        if is_cpu_wanted {
            check()?;
        }
        let heap = if is_heap_wanted { Some(HeapTrack::find(folder)?) } else { None };
        Ok(Self { folder: folder.to_owned(), is_cpu_wanted, heap, ..Self::default() })
    }

    /// Returns the program to start as the hub: itself, or one that runs it with its memory followed.
    pub(super) fn around(&self, hub: &Path) -> Result<PathBuf> {
        self.heap.as_ref().map_or_else(|| Ok(hub.to_owned()), |heap| heap.around(hub))
    }

    /// Begins to record a step, if that is wanted.
    pub(super) fn begin(&self, step: &str, hub: &Arc<HubUnderTest>) -> Option<Recorder> {
        if !self.is_cpu_wanted {
            return None;
        }
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(record(step.to_owned(), self.folder.clone(), Arc::clone(hub), stopped));
        Some(Recorder { stop, task })
    }

    /// Ends the recording of a step.
    pub(super) async fn end(&mut self, recorder: Option<Recorder>) -> Result<()> {
        let Some(Recorder { stop, task }) = recorder else { return Ok(()) };
        // Nobody listens only if recording failed, which is told next.
        let _ = stop.send(());
        self.recorded.push(task.await.context("record the hub's CPU")??);
        Ok(())
    }

    /// Marks what the hub holds now as what its memory is for.
    pub(super) fn mark_heap(&mut self) -> Result<()> {
        if let Some(heap) = &self.heap {
            self.heap_written = Some(heap.written()?);
        }
        Ok(())
    }

    /// Attributes all that was recorded: to be done when the hub has ended and nothing is measured any more.
    pub(super) fn finish(&self, results: &mut Results) {
        for recorded in &self.recorded {
            match attribute(recorded, &self.folder) {
                Ok(Some(profile)) => results.profiles.push(profile),
                Ok(None) => {
                    results.notes.push(format!("step {}: the hub hardly ran, and has no profile", recorded.step));
                }
                Err(error) => results.defects.push(format!("profile of step {}: {error:#}", recorded.step)),
            }
        }
        let (Some(heap), Some(written)) = (&self.heap, self.heap_written) else { return };
        match heap.attribute(written, results.clusters) {
            Ok(profile) => results.heap = Some(profile),
            Err(error) => results.defects.push(format!("profile of the hub's memory: {error:#}")),
        }
    }
}

/// Records the hub until told to stop: each of its processes into a file of its own.
async fn record(
    step: String,
    folder: PathBuf,
    hub: Arc<HubUnderTest>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Recorded> {
    let mut recorded = Recorded { step, files: Vec::new() };
    let mut newest = None;
    loop {
        let process = match hub.process() {
            Some(process) if newest != Some(process) => process,
            // It is down, or its end was not noticed yet.
            Some(_) | None => {
                tokio::select! {
                    () = sleep(LOOK) => continue,
                    _ = &mut stopped => return Ok(recorded),
                }
            }
        };
        newest = Some(process);
        let file = folder.join(format!("{}-{}.perf", file_name(&recorded.step), recorded.files.len()));
        let mut recording = Recording::begin(process, &file)?;
        recorded.files.push(file);
        tokio::select! {
            () = recording.ended() => {}
            _ = &mut stopped => {
                recording.end().await?;
                return Ok(recorded);
            }
        }
    }
}
