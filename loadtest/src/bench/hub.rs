//! The hub under measurement: its admin API, and what its process uses.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use starling_cli::client::{Client, connect};
use starling_proto::v1::admin_service_client::AdminServiceClient;
use starling_proto::v1::{
    ApplyRequest, ClusterSelector, GetStatusRequest, GetStatusResponse, ListObjectsRequest, ObjectKey,
};
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::run::process;

/// How often the hub's own count is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The deadline of one admin call.
const CALL: Duration = Duration::from_secs(60);

/// A running hub.
#[derive(Clone)]
pub(super) struct MeasuredHub {
    client: Client,
    process: u32,
}

impl MeasuredHub {
    pub(super) async fn connect(context_file: &Path, process: u32) -> Result<Self> {
        let client = connect(context_file, CALL).await.context("connect to the hub")?;
        Ok(Self { client, process })
    }

    pub(super) async fn status(&self) -> Result<GetStatusResponse> {
        self.call(GetStatusRequest {}, |mut hub, request| async move { hub.get_status(request).await }).await
    }

    /// Writes documents, and returns when the hub says that it took them.
    pub(super) async fn apply(&self, documents: String) -> Result<()> {
        let request = ApplyRequest { documents, dry_run: false };
        self.call(request, |mut hub, request| async move { hub.apply(request).await }).await.map(drop)
    }

    /// Asks for the revision of one object of one cluster; empty while the hub does not know it.
    pub(super) async fn revision_of(&self, cluster: &str, key: &starling_model::ObjectKey) -> Result<String> {
        let request = ListObjectsRequest {
            selector: Some(ClusterSelector { names: vec![cluster.to_owned()], ..ClusterSelector::default() }),
            kind: key.kind.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            ..ListObjectsRequest::default()
        };
        let listed = self.call(request, |mut hub, request| async move { hub.list_objects(request).await }).await?;
        let wanted = ObjectKey::from(key.clone());
        let mut statuses = listed.objects.into_iter().filter_map(|object| object.status);
        let found = statuses.find(|status| status.key.as_ref() == Some(&wanted));
        Ok(found.map(|status| status.revision).unwrap_or_default())
    }

    /// Waits until the hub's count of its clusters is as wanted; returns when that was first seen.
    pub(super) async fn wait_for(
        &self,
        what: &str,
        patience: Duration,
        is_there: impl Fn(&GetStatusResponse) -> bool,
    ) -> Result<Instant> {
        let began = Instant::now();
        loop {
            let status = self.status().await?;
            let seen = Instant::now();
            if is_there(&status) {
                return Ok(seen);
            }
            if !status.hold_reason.is_empty() {
                bail!("the fleet holds: {}", status.hold_reason);
            }
            if began.elapsed() > patience {
                let (clusters, live, ready) = (status.clusters, status.live, status.ready);
                bail!("waited {} s for {what}: {clusters} clusters, {live} live, {ready} ready", patience.as_secs());
            }
            sleep(LOOK).await;
        }
    }

    /// Returns the resident memory of the hub's process, in bytes.
    pub(super) fn resident_bytes(&self) -> Result<u64> {
        process::resident_bytes(self.process)
    }

    /// Returns the CPU time that the hub's process used so far.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        process::cpu_time(self.process)
    }

    async fn call<M, R, F, A>(&self, message: M, method: F) -> Result<R>
    where
        F: FnOnce(AdminServiceClient<Channel>, Request<M>) -> A,
        A: Future<Output = Result<Response<R>, Status>>,
    {
        self.client.call(message, method).await.map_err(|error| anyhow!("the hub: {error}"))
    }
}
