//! What the processes of a simulation log, and whether one of them panicked: both fail it.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Names the level from which logs are printed, such as `debug`.
const PRINT: &str = "STARLING_SIM_LOG";

thread_local! {
    static ERRORS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Runs a simulation on this thread with its logs collected.
pub(crate) fn collected<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // The panic of a task that somebody spawned ends that task alone, and nobody would notice.
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
    take_errors();
    PANICS.set(0);
    let printed = std::env::var(PRINT).ok().and_then(|level| level.parse().ok());
    let subscriber = tracing_subscriber::registry().with(Collector { printed });
    tracing::subscriber::with_default(subscriber, work)
}

/// Takes the errors that were logged on this thread.
pub(crate) fn take_errors() -> Vec<String> {
    ERRORS.take()
}

/// Tells whether something panicked on this thread.
pub(crate) fn panicked() -> bool {
    PANICS.get() > 0
}

struct Collector {
    printed: Option<Level>,
}

impl<S: Subscriber> Layer<S> for Collector {
    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.printed.unwrap_or(Level::ERROR).into())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let is_printed = self.printed.is_some_and(|printed| level <= printed);
        if level != Level::ERROR && !is_printed {
            return;
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        if is_printed {
            let at = turmoil::sim_elapsed().unwrap_or_default().as_secs_f64();
            eprintln!("{at:>9.3} s  {level:<5} {}:{}", event.metadata().target(), line.0);
        }
        if level == Level::ERROR {
            ERRORS.with_borrow_mut(|errors| errors.push(line.0));
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
