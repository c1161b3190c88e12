//! The hub that is tested: one that the run starts itself, or one that is there already.

use std::fs::File;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use starling_cli::client::{Client, connect};
use starling_proto::v1::admin_service_client::AdminServiceClient;
use starling_proto::v1::{
    ApplyRequest, Assignment, ClusterSelector, GetStatusRequest, GetStatusResponse, ListAssignmentsRequest,
    ListClustersRequest, ListClustersResponse, ListObjectsRequest, ListObjectsResponse, Page,
};
use tokio::process::{Child, Command};
use tokio::sync::RwLock;
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::drive::TouchedKey;
use crate::fixture::OWN_WORKSPACE;

/// The deadline of one admin call.
const CALL: Duration = Duration::from_secs(60);

/// How long a hub may take to answer after its start.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// How long a hub may take to stop when asked.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// Clusters of a page.
const CLUSTERS_OF_A_PAGE: u32 = 5000;

/// The longest wait between two looks at counts, which is how fine they can be at worst.
const COARSEST: Duration = Duration::from_millis(250);

/// How often the hub's own count is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The hub under test.
pub(super) struct HubUnderTest {
    context_file: PathBuf,
    client: RwLock<Client>,
    own: Option<OwnHub>,
    /// Where its processes serve their metrics.
    metrics: Vec<String>,
}

/// The run's clusters in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) clusters: u64,
    pub(super) live: u64,
    pub(super) ready: u64,
    pub(super) objects: u64,
}

/// A hub that the run started.
struct OwnHub {
    program: PathBuf,
    folder: PathBuf,
    listen: SocketAddr,
    http: SocketAddr,
    child: RwLock<Child>,
}

impl HubUnderTest {
    /// Starts a hub of one process with an empty store, everything of it below a folder.
    pub(super) async fn start(program: &Path, folder: &Path) -> Result<Self> {
        let (listen, http) = (free_address()?, free_address()?);
        std::fs::create_dir_all(folder.join("fleet")).context("make the hub's directory")?;
        let child = launch(program, folder, listen, http)?;
        let own =
            OwnHub { program: program.to_owned(), folder: folder.to_owned(), listen, http, child: RwLock::new(child) };
        let context_file = folder.join("state/admin.yaml");
        let client = answering(&context_file, Some(&own)).await?;
        Ok(Self { context_file, client: client.into(), own: Some(own), metrics: vec![http.to_string()] })
    }

    /// Connects to a hub that is there.
    pub(super) async fn there(context_file: &Path, metrics: Vec<String>) -> Result<Self> {
        let client = connect(context_file, CALL).await.map_err(|error| anyhow!("{error}"))?;
        Ok(Self { context_file: context_file.to_owned(), client: client.into(), own: None, metrics })
    }

    /// Tells whether the run started it.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    pub(super) fn context_file(&self) -> &Path {
        &self.context_file
    }

    pub(super) fn metrics(&self) -> &[String] {
        &self.metrics
    }

    /// Returns the process id of the run's own hub; `None` of another, and while it is down.
    pub(super) async fn process(&self) -> Option<u32> {
        self.own.as_ref()?.child.read().await.id()
    }

    /// Stops the hub as told, waits, starts it again, and waits until it answers; returns when it was started.
    pub(super) async fn restart(&self, signal: Signal, away: Duration) -> Result<Instant> {
        let own = self.own.as_ref().context("the hub was there already")?;
        let mut child = own.child.write().await;
        let process = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("the hub has ended")?;
        kill_process(process, signal).context("signal the hub")?;
        let ended = tokio::time::timeout(STOPS_WITHIN, child.wait()).await;
        ended.context("the hub does not stop")?.context("wait for the hub")?;
        sleep(away).await;
        let began = Instant::now();
        *child = launch(&own.program, &own.folder, own.listen, own.http)?;
        drop(child);
        let client = answering(&self.context_file, Some(own)).await?;
        *self.client.write().await = client;
        Ok(began)
    }

    /// Ends the run's own hub, and removes what it kept but its log.
    pub(super) async fn end(self) -> Result<()> {
        let Some(own) = self.own else { return Ok(()) };
        let folder = own.folder.clone();
        let mut child = own.child.into_inner();
        if let Some(process) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(process, Signal::TERM).context("signal the hub")?;
        }
        let ended = tokio::time::timeout(STOPS_WITHIN, child.wait()).await;
        let status = ended.context("the hub does not stop")?.context("wait for the hub")?;
        for kept in ["state", "fleet"] {
            std::fs::remove_dir_all(folder.join(kept)).context("remove what the hub kept")?;
        }
        ensure!(status.success(), "the hub ended badly ({status}): see {}", folder.join("hub.log").display());
        Ok(())
    }

    pub(super) async fn status(&self) -> Result<GetStatusResponse> {
        self.call(GetStatusRequest {}, |mut hub, request| async move { hub.get_status(request).await }).await
    }

    /// Writes documents, and returns when the hub says that it took them.
    pub(super) async fn apply(&self, documents: String) -> Result<()> {
        let request = ApplyRequest { documents, dry_run: false };
        self.call(request, |mut hub, request| async move { hub.apply(request).await }).await.map(drop)
    }

    /// Returns an assignment of a namespace by its name.
    pub(super) async fn assignment(&self, namespace: &str, name: &str) -> Result<Assignment> {
        let request = ListAssignmentsRequest { namespace: namespace.to_owned() };
        let listed = self.call(request, |mut hub, request| async move { hub.list_assignments(request).await }).await?;
        let found = listed.assignments.into_iter().find(|assignment| assignment.name == name);
        found.with_context(|| format!("the hub has no assignment {namespace}/{name}"))
    }

    /// Asks for one page of objects.
    pub(super) async fn objects(&self, size: u32, token: String) -> Result<ListObjectsResponse> {
        let request = ListObjectsRequest { page: Some(Page { size, token }), ..ListObjectsRequest::default() };
        self.call(request, |mut hub, request| async move { hub.list_objects(request).await }).await
    }

    /// Asks for the revision of one object of one cluster; empty while the hub does not know it.
    pub(super) async fn revision_of(&self, cluster: &str, key: &TouchedKey) -> Result<String> {
        let request = ListObjectsRequest {
            // By its workspace, too: a hub that was there may have a cluster of that name elsewhere.
            selector: Some(ClusterSelector {
                workspace: OWN_WORKSPACE.workspaces[0].to_owned(),
                names: vec![cluster.to_owned()],
                ..ClusterSelector::default()
            }),
            kind: key.kind.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            ..ListObjectsRequest::default()
        };
        let listed = self.call(request, |mut hub, request| async move { hub.list_objects(request).await }).await?;
        let status = listed.objects.into_iter().find_map(|object| object.status);
        Ok(status.map(|status| status.revision).unwrap_or_default())
    }

    /// Counts the run's own clusters, as the hub sees them. A hub that was there may have others, which come and go as they please.
    pub(super) async fn counts(&self) -> Result<Counts> {
        let status = self.status().await?;
        if !status.hold_reason.is_empty() {
            bail!("the fleet holds: {}", status.hold_reason);
        }
        if self.is_own() {
            let GetStatusResponse { clusters, live, ready, objects, .. } = status;
            return Ok(Counts { clusters, live, ready, objects });
        }
        let mut counts = Counts::default();
        for workspace in OWN_WORKSPACE.workspaces {
            let mut token = String::new();
            loop {
                let page = self.clusters(workspace, token).await?;
                for cluster in page.clusters {
                    let is_live = cluster.connection == "live";
                    counts.clusters += 1;
                    counts.live += u64::from(is_live);
                    counts.ready +=
                        u64::from(is_live && cluster.installs > 0 && cluster.installs_ready == cluster.installs);
                    counts.objects += cluster.health.iter().map(|health| health.count).sum::<u64>();
                }
                token = page.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
        }
        Ok(counts)
    }

    async fn clusters(&self, workspace: &str, token: String) -> Result<ListClustersResponse> {
        let selector = ClusterSelector { workspace: workspace.to_owned(), ..ClusterSelector::default() };
        let request =
            ListClustersRequest { selector: Some(selector), page: Some(Page { size: CLUSTERS_OF_A_PAGE, token }) };
        self.call(request, |mut hub, request| async move { hub.list_clusters(request).await }).await
    }

    /// Waits until the hub's count of the run's clusters is as wanted; returns when that was first seen.
    pub(super) async fn wait_for(
        &self,
        what: &str,
        patience: Duration,
        is_there: impl Fn(&Counts) -> bool,
    ) -> Result<Instant> {
        let began = Instant::now();
        loop {
            let began_look = Instant::now();
            let counts = self.counts().await?;
            if is_there(&counts) {
                return Ok(Instant::now());
            }
            if began.elapsed() > patience {
                let Counts { clusters, live, ready, .. } = counts;
                bail!("waited {} s for {what}: {clusters} clusters, {live} live, {ready} ready", patience.as_secs());
            }
            sleep(rest(LOOK, began_look.elapsed())).await;
        }
    }

    /// Asks one question of the admin API.
    pub(super) async fn call<M, R, F, A>(&self, message: M, method: F) -> Result<R>
    where
        F: FnOnce(AdminServiceClient<Channel>, Request<M>) -> A,
        A: Future<Output = Result<Response<R>, Status>>,
    {
        let client = self.client.read().await.clone();
        client.call(message, method).await.map_err(|error| anyhow!("the hub: {error}"))
    }
}

/// Returns how long to wait between two looks at the hub's counts, so that looking does not become the load.
pub(super) fn rest(least: Duration, took: Duration) -> Duration {
    least.max(took * 10).min(COARSEST.max(took))
}

/// Starts the hub's process; it is killed when its handle is dropped.
fn launch(program: &Path, folder: &Path, listen: SocketAddr, http: SocketAddr) -> Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join("hub.log")).context("open the hub's log")?;
    // It ends with this process, however this ends: setpriv asks the kernel for that and becomes the program.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .args(["--fleet", "loadtest", "--listen", &listen.to_string(), "--http", &http.to_string()])
        .args(["--advertise", &listen.to_string()])
        .arg("--state")
        .arg(folder.join("state"))
        .arg("--directory")
        .arg(folder.join("fleet"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share the hub's log")?)
        .stderr(log)
        .kill_on_drop(true);
    ensure!(program.exists(), "there is no {}: build it, or say where it is with --hub", program.display());
    command.spawn().context("start setpriv, which starts the hub: install util-linux")
}

/// Waits until a hub answers.
async fn answering(context_file: &Path, own: Option<&OwnHub>) -> Result<Client> {
    let began = Instant::now();
    loop {
        let answer = async {
            let client = connect(context_file, CALL).await.map_err(|error| anyhow!("{error}"))?;
            let status =
                client.call(GetStatusRequest {}, |mut hub, request| async move { hub.get_status(request).await });
            status.await.map_err(|error| anyhow!("{error}"))?;
            anyhow::Ok(client)
        };
        let error = match answer.await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let ended = match own {
            Some(own) => own.child.write().await.try_wait().context("look at the hub")?,
            None => None,
        };
        if let (Some(status), Some(own)) = (ended, own) {
            bail!("the hub ended ({status}): see {}", own.folder.join("hub.log").display());
        }
        if began.elapsed() > ANSWERS_WITHIN {
            return Err(error.context("the hub does not answer"));
        }
        sleep(LOOK).await;
    }
}

/// Returns an address on loopback that nobody listens at just now.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    listener.local_addr().context("find a free port")
}
