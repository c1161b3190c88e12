//! An ordered end: named steps under one deadline, which a second signal cuts short.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// The steps of an end, in order.
pub struct Shutdown {
    deadline: Duration,
    steps: Vec<Step>,
}

/// An end that was not an orderly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    /// The deadline passed.
    #[error("stopping took too long, in the step {step:?}")]
    Late {
        /// The step that was running.
        step: &'static str,
    },
    /// Somebody asked a second time.
    #[error("asked again to stop, in the step {step:?}")]
    Aborted {
        /// The step that was running.
        step: &'static str,
    },
}

/// The signals that ask a process to end.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

struct Step {
    name: &'static str,
    run: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Shutdown {
    /// Makes an end without steps that may take this long.
    #[must_use]
    pub fn within(deadline: Duration) -> Self {
        Self { deadline, steps: Vec::new() }
    }

    /// Adds a step, which runs after those that were added before.
    #[must_use]
    pub fn step(mut self, name: &'static str, run: impl Future<Output = ()> + Send + 'static) -> Self {
        self.steps.push(Step { name, run: Box::pin(run) });
        self
    }

    /// Runs the steps one after another, until the deadline or until `abort` is ready.
    ///
    /// # Errors
    /// The step in which it ended too soon; later ones did not run.
    pub async fn run(self, abort: impl Future<Output = ()> + Send) -> Result<(), Unfinished> {
        let ends = tokio::time::sleep_until(Instant::now() + self.deadline);
        tokio::pin!(ends, abort);
        for Step { name: step, run } in self.steps {
            tracing::debug!(step, "stopping");
            tokio::select! {
                biased;
                () = run => {}
                () = &mut abort => return Err(Unfinished::Aborted { step }),
                () = &mut ends => return Err(Unfinished::Late { step }),
            }
        }
        Ok(())
    }
}

impl Signals {
    /// Takes over SIGTERM and SIGINT.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::{Arc, Mutex};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn steps_run_in_order() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |name| {
            let order = Arc::clone(&order);
            async move { order.lock().unwrap().push(name) }
        };
        let shutdown = Shutdown::within(LONG).step("one", note("one")).step("two", note("two"));
        assert_eq!(shutdown.run(pending()).await, Ok(()));
        assert_eq!(*order.lock().unwrap(), ["one", "two"]);
    }

    #[tokio::test]
    async fn a_late_step_is_named() {
        let shutdown = Shutdown::within(Duration::from_millis(20)).step("one", ready(())).step("two", pending());
        assert_eq!(shutdown.run(pending()).await, Err(Unfinished::Late { step: "two" }));
    }

    #[tokio::test]
    async fn a_second_signal_aborts() {
        let shutdown = Shutdown::within(LONG).step("one", pending()).step("two", ready(()));
        assert_eq!(shutdown.run(ready(())).await, Err(Unfinished::Aborted { step: "one" }));
    }
}
