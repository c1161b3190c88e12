//! The approval of a removal: somebody names the number of installs that they were shown.

use crate::failure::{Exit, Failure};
use crate::render::paint::Paint;
use crate::terminal::Output;

/// Checks the count that was given against the one that was shown, or asks for it.
///
/// # Errors
/// [`Exit::ApprovalRequired`] when it is another one, or nobody can be asked.
pub(super) fn approve(total: u64, given: Option<u64>, output: &Output) -> Result<(), Failure> {
    let go = format!("{} would go", many(total, "install"));
    match given {
        Some(count) if count == total => Ok(()),
        Some(count) => Err(Failure::new(Exit::ApprovalRequired, format!("{go}, not {count}; nothing was deleted"))
            .next(format!("if that is meant: --approve {total}"))),
        None if total == 0 => Ok(()),
        None if output.terminal.is_interactive() => {
            let question = format!(
                "Type the number of installs to delete ({}):",
                output.terminal.paint_error(&total.to_string(), Paint::Bad)
            );
            if output.terminal.ask(&question)? == total.to_string() {
                return Ok(());
            }
            Err(Failure::new(Exit::ApprovalRequired, "not approved; nothing was deleted"))
        }
        None => Err(Failure::new(Exit::ApprovalRequired, format!("{go}; nothing was deleted"))
            .next(format!("approve the count: --approve {total}"))),
    }
}

/// Returns a count with its noun.
pub(super) fn many(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
