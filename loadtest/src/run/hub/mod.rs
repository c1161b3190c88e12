//! The hub that is tested: one that the run starts itself, or one that is there already.

mod admin;
mod etcd;
mod files;
mod own;
mod part;
mod ports;
mod start;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use futures::future::{try_join, try_join_all};
use rustix::process::Signal;
use starling_proto::v1::admin_service_client::AdminServiceClient;
use starling_proto::v1::{
    ApplyRequest, Assignment, ClusterSelector, GetStatusRequest, GetStatusResponse, ListAssignmentsRequest,
    ListClustersRequest, ListClustersResponse, ListObjectsRequest, ListObjectsResponse, ListShardsRequest,
    ListShardsResponse, Page,
};
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use self::admin::{Admin, answering};
use self::own::{HubProcess, OwnHub};
use crate::drive::{Doors, TouchedKey};
use crate::fixture::OWN_WORKSPACE;

pub(super) use self::start::start;

/// Clusters of a page.
const CLUSTERS_OF_A_PAGE: u32 = 5000;

/// The longest wait between two looks at counts, which is how fine they can be at worst.
const COARSEST: Duration = Duration::from_millis(250);

/// How often the hub's own count is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The hub under test.
pub(super) struct HubUnderTest {
    admin: Admin,
    /// `None` where it was there already.
    own: Option<OwnHub>,
    /// Where the processes of one that was there serve their metrics.
    metrics: Vec<String>,
}

/// The run's clusters in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) clusters: u64,
    pub(super) live: u64,
    pub(super) ready: u64,
    pub(super) objects: u64,
    /// Processes that did not answer in time, so that what they serve is missing or old.
    pub(super) unanswered: usize,
}

/// A process of the hub, where its counters are, and its process id where it is the run's own.
pub(super) struct Counted {
    pub(super) name: String,
    pub(super) metrics: String,
    pub(super) id: Option<u32>,
}

impl HubUnderTest {
    /// Starts a hub with an empty store, everything of it below a folder: one process, or several over the etcd of a program.
    async fn start(program: &Path, folder: &Path, processes: u64, etcd: Option<&Path>) -> Result<Self> {
        let (own, client) = match etcd {
            None => OwnHub::one(program, folder).await?,
            Some(etcd) => OwnHub::several(program, folder, processes, etcd).await?,
        };
        let contexts = own.processes().iter().map(|process| process.context()).collect();
        Ok(Self { admin: Admin::new(contexts, client), own: Some(own), metrics: Vec::new() })
    }

    /// Connects to a hub that is there.
    pub(super) async fn there(context_file: &Path, metrics: Vec<String>) -> Result<Self> {
        let client = answering(context_file).await?;
        Ok(Self { admin: Admin::new(vec![context_file.to_owned()], client), own: None, metrics })
    }

    /// Returns the process id of a hub of one process that the run started; `None` of another, and while it is down.
    pub(super) fn process(&self) -> Option<u32> {
        match self.own.as_ref()?.processes().as_slice() {
            [only] => only.id(),
            _ => None,
        }
    }

    /// Tells whether the run started it.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    fn own(&self) -> Result<&OwnHub> {
        self.own.as_ref().context("the hub was there already")
    }

    /// Returns a context of the command line; where there are several processes, the one whose turn it is.
    pub(super) fn context_file(&self, turn: usize) -> PathBuf {
        let contexts = self.admin.contexts();
        contexts[turn % contexts.len()].clone()
    }

    /// What drivers dial in place of what the hub advertises, where that is only a name.
    pub(super) fn doors(&self) -> Option<Doors> {
        self.own.as_ref().and_then(OwnHub::doors)
    }

    /// Returns the processes of which something can be read now; of the run's own hub those that are not down.
    pub(super) fn counted(&self) -> Vec<Counted> {
        let Some(own) = &self.own else {
            let numbered = self.metrics.iter().zip(1..);
            return numbered
                .map(|(metrics, number)| Counted { name: format!("hub-{number}"), metrics: metrics.clone(), id: None })
                .collect();
        };
        let running = own.processes().into_iter().filter(|process| process.id().is_some());
        running
            .map(|process| Counted { name: process.name().to_owned(), metrics: process.metrics(), id: process.id() })
            .collect()
    }

    /// Returns the process id of the etcd below the run's own hub, and where its metrics are.
    pub(super) fn etcd(&self) -> Option<(u32, String)> {
        let etcd = self.own.as_ref()?.etcd()?;
        Some((etcd.id()?, etcd.metrics()))
    }

    /// Stops all processes of the hub as told, starts them again, and waits until each answers; returns when they were started.
    pub(super) async fn restart(&self, signal: Signal, away: Duration) -> Result<Instant> {
        let own = self.own()?;
        let processes = own.processes();
        try_join_all(processes.iter().map(|process| own.stop(process, signal))).await?;
        sleep(away).await;
        let began = Instant::now();
        for process in &processes {
            process.start()?;
        }
        let (client, _) =
            try_join(processes[0].answering(), try_join_all(processes[1..].iter().map(|process| process.answering())))
                .await?;
        self.admin.replace(client).await;
        Ok(began)
    }

    /// Stops one process as told, and waits until it has ended.
    pub(super) async fn stop_process(&self, name: &str, signal: Signal) -> Result<()> {
        let own = self.own()?;
        own.stop(&*own.process(name)?, signal).await
    }

    /// Starts one process again, and waits until it is a member of the ring.
    pub(super) async fn start_process(&self, name: &str) -> Result<()> {
        let process = self.own()?.process(name)?;
        process.start()?;
        process.ready().await
    }

    /// Starts a process that was not there before, and waits until it is a member of the ring.
    pub(super) async fn add_process(&self) -> Result<()> {
        let process: std::sync::Arc<HubProcess> = self.own()?.add()?;
        process.start()?;
        process.ready().await?;
        self.admin.add(process.context());
        Ok(())
    }

    /// Returns the names of the run's own processes, in the order in which they were started first.
    pub(super) fn process_names(&self) -> Vec<String> {
        let processes = self.own.iter().flat_map(OwnHub::processes);
        processes.map(|process| process.name().to_owned()).collect()
    }

    /// Returns what was wrong with the run's own processes since it was asked last: above all that they ended by themselves.
    pub(super) fn take_defects(&self) -> Vec<String> {
        self.own.as_ref().map(OwnHub::take_defects).unwrap_or_default()
    }

    /// Ends the run's own hub, and removes what it kept but its logs.
    pub(super) async fn end(self) -> Result<()> {
        match self.own {
            Some(own) => own.end().await,
            None => Ok(()),
        }
    }

    pub(super) async fn status(&self) -> Result<GetStatusResponse> {
        self.call(GetStatusRequest {}, |mut hub, request| async move { hub.get_status(request).await }).await
    }

    /// Returns the processes of the hub as they see one another.
    pub(super) async fn shards(&self) -> Result<ListShardsResponse> {
        self.call(ListShardsRequest {}, |mut hub, request| async move { hub.list_shards(request).await }).await
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
            let GetStatusResponse { clusters, live, ready, objects, unanswered, .. } = status;
            return Ok(Counts { clusters, live, ready, objects, unanswered: unanswered.len() });
        }
        let mut counts = Counts { unanswered: status.unanswered.len(), ..Counts::default() };
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

    /// Returns the names of the run's clusters that are live.
    pub(super) async fn live_names(&self) -> Result<Vec<String>> {
        let (mut names, mut token) = (Vec::new(), String::new());
        loop {
            let page = self.clusters(OWN_WORKSPACE.workspaces[0], token).await?;
            let live = page.clusters.into_iter().filter(|cluster| cluster.connection == "live");
            names.extend(live.map(|cluster| cluster.name));
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(names);
            }
        }
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
        self.admin.call(message, method).await.map_err(|error| anyhow!("the hub: {error}"))
    }
}

/// Returns how long to wait between two looks at the hub's counts, so that looking does not become the load.
pub(super) fn rest(least: Duration, took: Duration) -> Duration {
    least.max(took * 10).min(COARSEST.max(took))
}
