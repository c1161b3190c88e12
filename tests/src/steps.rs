//! Steps that stories are told in: to wait for something, to see that something stays, to run a command as a person would.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use starling_harness::{Hub, Printed};
use starling_realparts::wait_for;

/// How long anything may take that happens by itself: generous, because several tests share the processors.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again and again until it succeeds.
///
/// # Errors
/// It did not within [`PATIENCE`], with what was said last.
pub fn wait<T>(what: &str, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    Ok(wait_for(what, PATIENCE, || ask().map_err(|error| format!("{error:#}")))?)
}

/// Makes sure that something stays as it is for a while, in which a mistake would show.
///
/// # Errors
/// It did not stay.
pub fn stays(what: &str, time: Duration, look: impl Fn() -> Result<()>) -> Result<()> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        look().with_context(|| format!("{what} must stay"))?;
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Runs the command line, which must end with an exit code and print all of the texts, on either stream.
///
/// # Errors
/// It did otherwise, with what it printed.
pub fn expect(hub: &Hub, arguments: &[&str], code: i32, texts: &[&str]) -> Result<Printed> {
    let printed = hub.starling(arguments)?;
    let whole = format!("{}{}", printed.stdout, printed.stderr);
    let missing: Vec<&&str> = texts.iter().filter(|text| !whole.contains(**text)).collect();
    if printed.code == code && missing.is_empty() {
        return Ok(printed);
    }
    let command = arguments.join(" ");
    bail!("`starling {command}` ended with {}, not {code}, or lacks {missing:?}:\n{whole}", printed.code)
}
