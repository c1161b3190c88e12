//! The terminal: whether there is one, how wide it is, whether colours are wanted; questions; standard output.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use clap::ValueEnum;

use crate::failure::{Exit, Failure, one_line};
use crate::render::paint::Paint;

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What standard output, error and input are connected to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    colour: bool,
    error_colour: bool,
    width: Option<usize>,
    interactive: bool,
}

/// Standard output, buffered; every write can fail quietly when its reader has gone.
pub(crate) struct Output {
    writer: BufWriter<Stdout>,
    /// What it is connected to.
    pub(crate) terminal: Terminal,
}

impl Terminal {
    /// Looks at the process's own streams and environment.
    pub(crate) fn detect(choice: ColorChoice) -> Self {
        let unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
        let capable = unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let wanted = |is_terminal: bool| match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && capable,
        };
        let stdout_is_terminal = io::stdout().is_terminal();
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self {
            colour: wanted(stdout_is_terminal),
            error_colour: wanted(io::stderr().is_terminal()),
            width: width.filter(|width| stdout_is_terminal && *width > 0),
            interactive: io::stdin().is_terminal() && io::stderr().is_terminal(),
        }
    }

    /// Returns the columns of the terminal; `None` when the output goes elsewhere.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Tells whether a person can answer questions.
    pub(crate) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Colours a text for standard output, where colours are wanted.
    pub(crate) fn paint(&self, text: &str, paint: Paint) -> String {
        if self.colour { paint.apply(text) } else { text.to_owned() }
    }

    /// Colours a text for standard error, where colours are wanted.
    pub(crate) fn paint_error(&self, text: &str, paint: Paint) -> String {
        if self.error_colour { paint.apply(text) } else { text.to_owned() }
    }

    /// Asks a question and returns the trimmed answer.
    pub(crate) fn ask(&self, question: &str) -> Result<String, Failure> {
        let mut stderr = io::stderr().lock();
        // When standard error is closed nobody can answer either: the empty answer declines.
        let _ = write!(stderr, "{question} ");
        let _ = stderr.flush();
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot read the answer: {error}")))?;
        Ok(answer.trim().to_owned())
    }

    /// Asks for a yes or no; anything but yes declines.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, Failure> {
        let answer = self.ask(&format!("{question} [y/N]"))?;
        Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
    }
}

/// Says something to the person on standard error, apart from the output proper.
pub(crate) fn note(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Warns the person on standard error, in one line.
pub(crate) fn warn(terminal: &Terminal, text: &str) {
    note(&format!("{} {}", terminal.paint_error("warning:", Paint::Busy), one_line(text)));
}

impl Output {
    /// Takes standard output.
    pub(crate) fn new(terminal: &Terminal) -> Self {
        Self { writer: BufWriter::new(io::stdout()), terminal: *terminal }
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        Ok(writeln!(self.writer, "{}", text.as_ref())?)
    }

    /// Writes text as it is.
    pub(crate) fn raw(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.writer.write_all(text.as_bytes())?)
    }

    /// Writes everything out.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }
}
