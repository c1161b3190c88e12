//! Child processes that never outlive the test: own log file, own process group, killed on drop and when this process dies.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::clock::Clock;
use crate::command::clean_environment;
use crate::error::{Error, IoContext, Result, create_folder, tail_of_file};
use crate::network::Namespace;
use crate::programs::require_tool;
use crate::wait::wait_for;

const TAIL_LINES: usize = 40;
const SETPRIV_INSTALL: &str =
    "it is part of util-linux (Debian: `apt-get install util-linux`); the real parts run on Linux only";

/// What to run and where.
#[derive(Debug, Clone)]
pub struct Launch {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: PathBuf,
    namespace: Option<Namespace>,
}

impl Launch {
    /// A program whose log, home and temporary files go into `folder`; `name` names it in the log's file name and in errors.
    pub fn new(name: &str, program: &Path, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: folder.to_owned(),
            namespace: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable; of the caller's environment only `PATH` is passed on.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Lets it see the time of a clock that can be shifted.
    pub fn clock(mut self, clock: &Clock) -> Self {
        let environment = clock.environment().map(|(name, value)| (name.into(), value.into()));
        self.environment.extend(environment);
        self
    }

    /// Runs it inside a network namespace, whose addresses are then the only ones that it has.
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }
}

/// A running (or killed, and perhaps restarted) process.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Starts a process; its output is appended to `<folder>/<name>.log`.
    pub fn start(launch: Launch) -> Result<Self> {
        let child = spawn(&launch)?;
        Ok(Self { launch, child: Mutex::new(Some(child)) })
    }

    /// The name it was launched with.
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    /// The process id, while it runs or until its end was noticed.
    pub fn id(&self) -> Option<u32> {
        self.lock().as_ref().map(Child::id)
    }

    /// The file with everything that it printed.
    pub fn log_path(&self) -> PathBuf {
        log_path(&self.launch)
    }

    /// The last lines that it printed.
    pub fn log_tail(&self) -> String {
        tail_of_file(&self.log_path(), TAIL_LINES)
    }

    /// Kills it and all its children at once, as a crash would; does nothing when it is not running.
    pub fn kill9(&self) -> Result<()> {
        let Some(mut child) = self.lock().take() else {
            return Ok(());
        };
        kill_and_reap(&mut child, &self.launch.name)
    }

    /// Sends SIGTERM and waits for its end; after `patience` it is killed and this is an error.
    pub fn terminate(&self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let ended = self.wait(patience);
        if ended.is_err() {
            self.kill9()?;
        }
        ended
    }

    /// Waits for it to end by itself.
    pub fn wait(&self, patience: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            {
                let mut slot = self.lock();
                let Some(child) = slot.as_mut() else {
                    return Err(self.unexpected("wait for", "not running"));
                };
                if let Some(status) = child.try_wait().doing(|| format!("wait for {}", self.name()))? {
                    *slot = None;
                    return Ok(status);
                }
            }
            if started.elapsed() >= patience {
                let what = format!("{} to end", self.name());
                return Err(Error::Timeout { what, waited: started.elapsed(), last: self.log_tail() });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it when it runs, and starts it again with the same arguments, environment and log.
    pub fn restart(&self) -> Result<()> {
        let mut slot = self.lock();
        if let Some(mut child) = slot.take() {
            kill_and_reap(&mut child, &self.launch.name)?;
        }
        *slot = Some(spawn(&self.launch)?);
        Ok(())
    }

    /// Stops it in its tracks (SIGSTOP), as a paused virtual machine would be, until [`Process::resume`].
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Fails with the end of its log when it is not running any more.
    pub fn check_running(&self) -> Result<()> {
        let status = match self.lock().as_mut() {
            None => "killed or ended before".to_owned(),
            Some(child) => match child.try_wait().doing(|| format!("look at {}", self.name()))? {
                None => return Ok(()),
                Some(status) => status.to_string(),
            },
        };
        Err(Error::Exited { name: self.name().to_owned(), status, log: self.log_path(), tail: self.log_tail() })
    }

    /// As [`wait_for`], but ends at once when the process does, and shows its log when time runs out.
    pub fn wait_until<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut ask: impl FnMut() -> Result<T, String>,
    ) -> Result<T> {
        let answer = wait_for(&format!("{} {what}", self.name()), timeout, || {
            if let Err(ended) = self.check_running() {
                return Ok(Err(ended));
            }
            ask().map(Ok)
        });
        match answer {
            Ok(answer) => answer,
            Err(Error::Timeout { what, waited, last }) => {
                let log = self.log_path();
                let last = format!("{last}\n--- end of {}\n{}", log.display(), self.log_tail());
                Err(Error::Timeout { what, waited, last })
            }
            Err(other) => Err(other),
        }
    }

    /// Resident memory in bytes, from `/proc`.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = self.read_proc("status")?;
        let kibibytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse::<u64>().ok());
        kibibytes.map(|number| number * 1024).ok_or_else(|| self.unexpected("read the memory of", &status))
    }

    /// CPU seconds used so far, in user and kernel mode, from `/proc`.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = self.read_proc("stat")?;
        // Fields 14 and 15 of proc(5), counted after the name in parentheses, which may hold spaces.
        let ticks = stat.rsplit_once(") ").and_then(|(_, fields)| {
            let fields: Vec<&str> = fields.split(' ').collect();
            Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
        });
        let ticks = ticks.ok_or_else(|| self.unexpected("read the CPU time of", &stat))?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    fn read_proc(&self, file: &str) -> Result<String> {
        let id = self.id().ok_or_else(|| self.unexpected("look at", "not running"))?;
        let path = PathBuf::from(format!("/proc/{id}/{file}"));
        fs::read_to_string(&path).at_path("read", &path)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let slot = self.lock();
        let child = slot.as_ref().ok_or_else(|| self.unexpected("signal", "not running"))?;
        signal_group(child, signal).doing(|| format!("signal {}", self.name()))
    }

    fn unexpected(&self, doing: &str, detail: &str) -> Error {
        Error::Unexpected { what: format!("{doing} {}", self.name()), detail: detail.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        // A panic of another thread leaves the child as it was, so the lock can be used on.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill9() {
            eprintln!("{error}");
        }
    }
}

fn log_path(launch: &Launch) -> PathBuf {
    launch.folder.join(format!("{}.log", launch.name))
}

/// A command whose process is killed by the kernel when this process dies; to be given to [`spawn_tied`].
///
/// setpriv asks the kernel for that and then becomes the program, so the process id is the program's.
pub(crate) fn tied_command(program: &Path) -> Result<Command> {
    require_tool("setpriv", "--version", SETPRIV_INSTALL)?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    Ok(command)
}

fn spawn(launch: &Launch) -> Result<Child> {
    let temporary = create_folder(&launch.folder.join("tmp"))?;
    let log_path = log_path(launch);
    let log = File::options().create(true).append(true).open(&log_path).at_path("open", &log_path)?;
    let log_for_errors = log.try_clone().at_path("share", &log_path)?;

    let mut command = match &launch.namespace {
        None => tied_command(&launch.program)?,
        Some(namespace) => {
            // nsenter becomes the program, so that the process id is still the program's.
            let mut command = tied_command(Path::new("nsenter"))?;
            command.arg(namespace.enter()?).arg("--").arg(&launch.program);
            command
        }
    };
    command.args(&launch.arguments);
    clean_environment(&mut command, &launch.folder);
    command
        .env("TMPDIR", &temporary)
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&launch.folder)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_for_errors)
        .process_group(0);
    spawn_tied(command).doing(|| format!("start {}", launch.name))
}

/// The kernel's "parent died" means the thread that spawned, so children are spawned by a thread that lives as long as the
/// process: otherwise a part shared by several tests would die with the first test's thread.
pub(crate) fn spawn_tied(command: Command) -> io::Result<Child> {
    type Request = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::Builder::new()
            .name("realparts-spawner".to_owned())
            .spawn(move || {
                for (mut command, answer) in requests {
                    // The asking thread waits for the answer; if it is gone, dropping the child is all that is left to do.
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a process that starts can start one thread");
        sender
    });
    let (answer, child) = mpsc::channel();
    spawner.send((command, answer)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}

fn kill_and_reap(child: &mut Child, name: &str) -> Result<()> {
    signal_group(child, Signal::KILL).and_then(|()| child.wait()).map(|_| ()).doing(|| format!("kill {name}"))
}

/// Signals the process and all that it started; one that has ended but was not reaped yet is no error.
fn signal_group(child: &Child, signal: Signal) -> io::Result<()> {
    match kill_process_group(Pid::from_child(child), signal) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn shell(folder: &Path, script: &str) -> Process {
        Process::start(Launch::new("shell", Path::new("/bin/sh"), folder).args(["-c", script])).unwrap()
    }

    #[test]
    fn lives_on_when_the_starting_thread_ends_and_can_be_restarted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let process = std::thread::spawn(move || shell(&path, "echo hello; exec sleep 1000")).join().unwrap();
        process
            .wait_until("greets", PATIENCE, || {
                if process.log_tail() == "hello" { Ok(()) } else { Err(process.log_tail()) }
            })
            .unwrap();
        process.check_running().unwrap();
        assert!(process.resident_bytes().unwrap() > 0);
        assert!(process.cpu_seconds().unwrap() < 10.0);

        let first = process.id().unwrap();
        process.restart().unwrap();
        assert_ne!(process.id(), Some(first));
        assert!(!Path::new(&format!("/proc/{first}")).exists());
    }

    /// Runs this very test again as another process, which starts a part and then aborts.
    #[test]
    fn nothing_outlives_the_process_that_started_it() {
        const FOLDER: &str = "STARLING_REALPARTS_ABORT_IN";
        const NAME: &str = "process::tests::nothing_outlives_the_process_that_started_it";
        if let Some(folder) = std::env::var_os(FOLDER) {
            let folder = PathBuf::from(folder);
            let process = shell(&folder, "echo tied; exec sleep 1000");
            // It is tied once setpriv has become the shell.
            let is_tied = || if process.log_tail() == "tied" { Ok(()) } else { Err(process.log_tail()) };
            process.wait_until("is tied", PATIENCE, is_tied).unwrap();
            fs::write(folder.join("id"), process.id().unwrap().to_string()).unwrap();
            std::process::abort();
        }
        let folder = tempfile::tempdir().unwrap();
        let itself = std::env::current_exe().unwrap();
        let aborted = Command::new(itself).args(["--exact", NAME]).env(FOLDER, folder.path()).output().unwrap();
        assert!(!aborted.status.success());
        let id = fs::read_to_string(folder.path().join("id")).unwrap();
        wait_for("the orphan to be killed", PATIENCE, || {
            match fs::read_to_string(format!("/proc/{id}/stat")) {
                // Whoever adopted it may be slow to reap it.
                Ok(stat) if !stat.contains(") Z ") => Err(stat),
                _ => Ok(()),
            }
        })
        .unwrap();
    }

    #[test]
    fn terminate_returns_the_status_and_kills_who_ignores_it() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
        let polite = shell(folder.path(), script);
        polite
            .wait_until("is ready", PATIENCE, || if polite.log_tail() == "ready" { Ok(()) } else { Err(String::new()) })
            .unwrap();
        assert_eq!(polite.terminate(PATIENCE).unwrap().code(), Some(7));

        let folder = tempfile::tempdir().unwrap();
        let stubborn = shell(folder.path(), "trap '' TERM; echo ready; while :; do sleep 0.05; done");
        stubborn
            .wait_until(
                "is ready",
                PATIENCE,
                || if stubborn.log_tail() == "ready" { Ok(()) } else { Err(String::new()) },
            )
            .unwrap();
        let id = stubborn.id().unwrap();
        assert!(stubborn.terminate(Duration::from_millis(100)).is_err());
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn an_end_nobody_asked_for_is_told_with_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell(folder.path(), "echo cannot bind; exit 4");
        let error =
            process.wait_until("serves", PATIENCE, || Err::<(), _>("not yet".to_owned())).unwrap_err().to_string();
        assert!(error.contains("exit status: 4") && error.contains("cannot bind"), "{error}");
    }
}
