//! A hub that the run starts: one process over a file, or several over etcd, everything below one folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use starling_cli::client::Client;
use tokio::time::sleep;

use super::admin::answering;
use super::etcd::Etcd;
use super::part::Part;
use super::ports::Port;
use crate::drive::Doors;
use crate::run::metrics;

/// How long a process may take to answer, or to be a member of the ring, after its start.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// How often it is asked whether it does.
const LOOK: Duration = Duration::from_millis(20);

/// What agents of a hub of several processes are told to dial: a name that leads to any of them, see [`Doors`].
const ADVERTISED: &str = "hub.starling-loadtest.test:443";

/// A hub that the run started.
pub(super) struct OwnHub {
    program: PathBuf,
    folder: PathBuf,
    processes: RwLock<Vec<Arc<HubProcess>>>,
    /// `None` below one process, which keeps its store in a file.
    etcd: Option<Etcd>,
    /// What was wrong with processes that ended.
    defects: Mutex<Vec<String>>,
}

/// One of its processes.
pub(super) struct HubProcess {
    part: Part,
    listen: Port,
    http: Port,
    state: PathBuf,
    /// It is one of several.
    is_shard: bool,
}

impl OwnHub {
    /// Starts a hub of one process with an empty store.
    pub(super) async fn one(program: &Path, folder: &Path) -> Result<(Self, Client)> {
        let own = Self::describe(program, folder, None)?;
        let (listen, http, state) = (Port::reserve()?, Port::reserve()?, folder.join("state"));
        let mut arguments = own.arguments(&state, &listen, &http);
        arguments.extend(["--advertise".into(), listen.address().to_string().into()]);
        let part = Part::new("hub", program, folder, arguments);
        let process = Arc::new(HubProcess { part, listen, http, state, is_shard: false });
        own.write().push(Arc::clone(&process));
        process.part.start()?;
        let client = process.answering().await?;
        Ok((own, client))
    }

    /// Starts a hub of several processes over an etcd that is started, too; returns when each is a member of the ring. The first one
    /// starts alone, because it makes the fleet's secrets.
    pub(super) async fn several(program: &Path, folder: &Path, count: u64, etcd: &Path) -> Result<(Self, Client)> {
        std::fs::create_dir_all(folder).context("make the hub's folder")?;
        let etcd = Etcd::start(etcd, folder).await?;
        let own = Self::describe(program, folder, Some(etcd))?;
        let first = own.add()?;
        first.part.start()?;
        let client = first.answering().await?;
        for _ in 1..count {
            own.add()?.part.start()?;
        }
        for process in own.processes() {
            process.ready().await?;
        }
        Ok((own, client))
    }

    fn describe(program: &Path, folder: &Path, etcd: Option<Etcd>) -> Result<Self> {
        std::fs::create_dir_all(folder.join("fleet")).context("make the hub's directory")?;
        let (program, folder) = (program.to_owned(), folder.to_owned());
        Ok(Self { program, folder, processes: RwLock::default(), etcd, defects: Mutex::default() })
    }

    /// Describes one process more; it is not started yet.
    pub(super) fn add(&self) -> Result<Arc<HubProcess>> {
        let etcd = self.etcd.as_ref().context("a hub over a file is one process")?;
        let name = format!("hub-{}", self.processes().len() + 1);
        let (listen, http, state) = (Port::reserve()?, Port::reserve()?, self.folder.join(&name));
        let mut arguments = self.arguments(&state, &listen, &http);
        let own_address = listen.address().to_string();
        let words = ["--name", &name, "--own-address", &own_address, "--advertise", ADVERTISED, "--keys"];
        arguments.extend(words.iter().map(OsString::from));
        arguments.push(self.folder.join("keys").into());
        arguments.extend(etcd.arguments());
        let part = Part::new(&name, &self.program, &self.folder, arguments);
        let process = Arc::new(HubProcess { part, listen, http, state, is_shard: true });
        self.write().push(Arc::clone(&process));
        Ok(process)
    }

    fn arguments(&self, state: &Path, listen: &Port, http: &Port) -> Vec<OsString> {
        let (listen, http) = (listen.address().to_string(), http.address().to_string());
        let words = ["--fleet", "loadtest", "--listen", &listen, "--http", &http, "--state"];
        let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        arguments.extend([state.into(), "--directory".into(), self.folder.join("fleet").into()]);
        arguments
    }

    /// Returns its processes, in the order in which they were started first.
    pub(super) fn processes(&self) -> Vec<Arc<HubProcess>> {
        self.processes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn process(&self, name: &str) -> Result<Arc<HubProcess>> {
        let found = self.processes().into_iter().find(|process| process.part.name == name);
        found.with_context(|| format!("the run started no hub process {name}"))
    }

    pub(super) fn etcd(&self) -> Option<&Etcd> {
        self.etcd.as_ref()
    }

    /// What drivers dial in place of the advertised name; `None` of one process, which has its own address.
    pub(super) fn doors(&self) -> Option<Doors> {
        let processes: Vec<String> = self.processes().iter().map(|process| process.address()).collect();
        self.etcd.as_ref().map(|_| Doors { advertised: ADVERTISED.to_owned(), processes })
    }

    /// Stops a process as told and waits until it has ended. One that is asked to stop has to end well, and a defect says so if not.
    pub(super) async fn stop(&self, process: &HubProcess, signal: Signal) -> Result<()> {
        let status = process.part.stop(signal).await?;
        if signal == Signal::TERM && !status.success() {
            self.note(format!("{}, although it was asked to stop in order", process.part.ended_badly(status)));
        }
        Ok(())
    }

    /// Returns what was wrong with processes since it was asked last: above all that they ended although nobody told them to.
    pub(super) fn take_defects(&self) -> Vec<String> {
        for process in self.processes() {
            match process.part.ended() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    self.note(format!("{}, although nobody told it to", process.part.ended_badly(status)));
                }
                Err(error) => self.note(format!("{error:#}")),
            }
        }
        if let Some(Err(error)) = self.etcd.as_ref().map(Etcd::check_running) {
            self.note(format!("{error:#}"));
        }
        std::mem::take(&mut *self.defects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, defect: String) {
        self.defects.lock().unwrap_or_else(PoisonError::into_inner).push(defect);
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Arc<HubProcess>>> {
        self.processes.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all of it in order, and removes what it kept but the logs. What one process leaves undone, the others still do.
    pub(super) async fn end(self) -> Result<()> {
        let mut wrong = self.take_defects();
        for process in self.processes().iter().rev().filter(|process| process.part.id().is_some()) {
            if let Err(error) = self.stop(process, Signal::TERM).await {
                wrong.push(format!("{error:#}"));
            }
        }
        wrong.extend(self.take_defects());
        if let Some(etcd) = self.etcd.as_ref().filter(|etcd| etcd.id().is_some())
            && let Err(error) = etcd.end().await
        {
            wrong.push(format!("{error:#}"));
        }
        for kept in std::fs::read_dir(&self.folder).context("list what the hub kept")? {
            let kept = kept.context("list what the hub kept")?;
            if kept.file_type().context("list what the hub kept")?.is_dir() {
                std::fs::remove_dir_all(kept.path()).context("remove what the hub kept")?;
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(())
    }
}

impl HubProcess {
    pub(super) fn name(&self) -> &str {
        &self.part.name
    }

    /// Returns its process id; `None` while it is down.
    pub(super) fn id(&self) -> Option<u32> {
        self.part.id()
    }

    pub(super) fn start(&self) -> Result<()> {
        self.part.start()
    }

    /// Where this very process answers.
    fn address(&self) -> String {
        self.listen.address().to_string()
    }

    /// Where it serves its metrics.
    pub(super) fn metrics(&self) -> String {
        self.http.address().to_string()
    }

    /// The context of the command line that leads to this very process; it is there once [`Self::answering`] has returned.
    pub(super) fn context(&self) -> PathBuf {
        self.state.join(if self.is_shard { "own.yaml" } else { "admin.yaml" })
    }

    /// Waits until it answers, and returns the connection to it.
    pub(super) async fn answering(&self) -> Result<Client> {
        self.wait("answer", async || {
            if self.is_shard {
                // The hub's own leads to whichever process is behind the advertised address.
                let text = std::fs::read_to_string(self.state.join("admin.yaml")).context("read the hub's context")?;
                std::fs::write(self.context(), text.replace(ADVERTISED, &self.address())).context("write a context")?;
            }
            answering(&self.context()).await
        })
        .await
    }

    /// Waits until it is ready, which a shard is once it is a member of the ring.
    pub(super) async fn ready(&self) -> Result<()> {
        drop(self.answering().await?);
        let url = format!("http://{}/readyz", self.http.address());
        self.wait("be ready", async || metrics::get(&url).await.map(drop)).await
    }

    async fn wait<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if let Some(status) = self.part.ended()? {
                bail!("{}", self.part.ended_badly(status));
            }
            if began.elapsed() > ANSWERS_WITHIN {
                let (name, seconds) = (self.name(), began.elapsed().as_secs());
                return Err(error.context(format!("waited {seconds} s for {name} to {what}")));
            }
            sleep(LOOK).await;
        }
    }
}
