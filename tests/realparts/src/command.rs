//! Runs short commands (kubectl, helm, git) to their end, with a deadline and with all output in the error.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Error, IoContext, Result};

/// Longer than any command used here needs; a command that hangs must not hang the test run.
const COMMAND_DEADLINE: Duration = Duration::from_secs(300);

/// A command without the caller's environment, apart from `PATH`; `home` is where it may keep its own files.
pub(crate) fn clean_command(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    clean_environment(&mut command, home);
    command
}

/// Removes the caller's environment, so that neither proxies nor a KUBECONFIG of the machine reach a real part.
pub(crate) fn clean_environment(command: &mut Command, home: &Path) {
    command.env_clear().env("HOME", home);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
}

/// Runs a command with text on its standard input and returns what it prints to standard output.
pub(crate) fn run(command: &mut Command, stdin: &str) -> Result<String> {
    let mut input = temporary_file()?;
    input.write_all(stdin.as_bytes()).and_then(|()| input.rewind()).doing(|| "write a command's input".to_owned())?;
    let mut stdout = temporary_file()?;
    let mut stderr = temporary_file()?;
    let clone = |file: &File| file.try_clone().doing(|| "share a temporary file".to_owned());
    command.stdin(Stdio::from(input)).stdout(clone(&stdout)?).stderr(clone(&stderr)?);

    let mut child = command.spawn().doing(|| format!("run {}", shown(command)))?;
    let status = wait_with_deadline(&mut child, command)?;
    let stdout = read_from_start(&mut stdout)?;
    if status.success() {
        return Ok(stdout);
    }
    let stderr = read_from_start(&mut stderr)?;
    Err(Error::Command { command: shown(command), status: status.to_string(), output: format!("{stderr}{stdout}") })
}

fn wait_with_deadline(child: &mut Child, command: &Command) -> Result<ExitStatus> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().doing(|| "wait for a command".to_owned())? {
            return Ok(status);
        }
        if started.elapsed() > COMMAND_DEADLINE {
            child.kill().and_then(|()| child.wait()).doing(|| "end a command that hangs".to_owned())?;
            return Err(Error::Timeout {
                what: format!("`{}` to end", shown(command)),
                waited: started.elapsed(),
                last: "still running, so it was killed".to_owned(),
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn temporary_file() -> Result<File> {
    tempfile::tempfile().doing(|| "create a temporary file".to_owned())
}

fn read_from_start(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).doing(|| "read a command's output".to_owned())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_input_and_returns_output() {
        let mut cat = clean_command("cat", Path::new("/nowhere"));
        assert_eq!(run(&mut cat, "one\ntwo\n").unwrap(), "one\ntwo\n");
    }

    #[test]
    fn failure_shows_command_status_and_output() {
        let mut shell = clean_command("sh", Path::new("/nowhere"));
        let error = run(shell.args(["-c", "echo it is broken >&2; exit 3"]), "").unwrap_err().to_string();
        assert!(error.contains("sh -c"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("it is broken"), "{error}");
    }

    #[test]
    fn environment_of_the_caller_stays_out() {
        let mut shell = clean_command("sh", Path::new("/home-of-the-part"));
        let output = run(shell.args(["-c", "env"]), "").unwrap();
        assert!(output.contains("HOME=/home-of-the-part\n"), "{output}");
        assert!(!output.contains("CARGO"), "{output}");
    }
}
