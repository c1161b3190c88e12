//! The end of a run: what the hub says of every object, against what the clusters hold.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use starling_model::{Health, ObjectKey};
use starling_proto::v1::admin_service_client::AdminServiceClient;
use starling_proto::v1::{DeleteRequest, DetachRequest};
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::Run;
use super::drivers::order_all;
use super::hub::HubUnderTest;
use crate::drive::{Answer, Order, digest};
use crate::fixture::{ADDON, EVERYBODY, Fixture, ONE, OWN_WORKSPACE, addon};
use crate::report::results::StepResult;

/// Objects of a page.
const PAGE: u32 = 1000;

/// How long the hub may differ from the clusters after everything has come to rest.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clusters that are named where the hub is wrong.
const NAMED: usize = 5;

/// The objects of one cluster, and what they are together.
type Held = (u64, u64);

impl Run {
    /// Compares until both say the same, or for a while.
    pub(super) async fn compare(&mut self, step: &mut StepResult) -> Result<()> {
        let began = Instant::now();
        loop {
            let truth = self.truth().await?;
            let said = self.said().await?;
            let wrong: Vec<&String> =
                truth.held.keys().filter(|name| said.get(*name) != truth.held.get(*name)).collect();
            if wrong.is_empty() || began.elapsed() > PATIENCE {
                let objects: u64 = truth.held.values().map(|(objects, _)| objects).sum();
                step.figures.insert("objects".into(), objects as f64);
                step.figures.insert("clusters-wrong".into(), wrong.len() as f64);
                // Nothing is deleted in a scenario, so that nothing may be removed.
                step.figures.insert("removals".into(), truth.removals as f64);
                if !wrong.is_empty() {
                    let named = wrong.iter().take(NAMED).map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                    self.defects.push(format!("the hub is wrong about {} clusters, such as {named}", wrong.len()));
                }
                if truth.removals > 0 {
                    self.defects.push(format!("agents removed {} objects that nobody deleted", truth.removals));
                }
                return Ok(());
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    async fn truth(&self) -> Result<Truth> {
        let mut truth = Truth::default();
        for answer in order_all(&self.drivers, &Order::Truth, PATIENCE).await? {
            let Answer::Truth { clusters, removals_of_gone } = answer else {
                bail!("a driver does not say what its clusters hold")
            };
            truth.removals += removals_of_gone;
            for held in clusters {
                truth.removals += held.removals;
                truth.held.insert(held.name, (held.objects, held.digest));
            }
        }
        Ok(truth)
    }

    /// Reads every object of the run's clusters from the hub.
    async fn said(&self) -> Result<BTreeMap<String, Held>> {
        let mut said: BTreeMap<String, Held> = BTreeMap::new();
        let mut token = String::new();
        loop {
            let page = self.hub.objects(PAGE, token).await?;
            for object in page.objects {
                if !OWN_WORKSPACE.workspaces.contains(&object.workspace.as_str()) {
                    continue;
                }
                let status = object.status.context("an object without a status")?;
                let health = Health::try_from(status.health()).map_or("unspecified", |health| health.as_str());
                let key = status.key.context("an object without a key")?;
                let key = ObjectKey::new(&key.group, &key.kind, &key.namespace, &key.name);
                let held = said.entry(object.cluster).or_default();
                *held = (held.0 + 1, held.1.wrapping_add(digest(&key, &status.revision, health)));
            }
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(said);
            }
        }
    }
}

/// What the clusters hold.
#[derive(Default)]
struct Truth {
    held: BTreeMap<String, Held>,
    removals: u64,
}

impl HubUnderTest {
    /// Takes everything out of a hub again that a run made there. What was never made, or is gone, is no error.
    pub(super) async fn forget(&self, fixture: &Fixture, clusters: Vec<String>, addons: u32) -> Result<()> {
        for (number, name) in clusters.iter().enumerate() {
            if number % 1000 == 0 {
                eprintln!("removing what the run made: {number} of {} clusters", clusters.len());
            }
            self.forget_cluster(fixture, name).await?;
        }
        let own = [("assignment", EVERYBODY.name), ("assignment", ONE.name), ("addon", ADDON)];
        let own = own.map(|(kind, name)| (kind, fixture.namespace, name.to_owned()));
        // An addon goes after its assignment.
        let catalogue =
            (0..addons).flat_map(|number| ["assignment", "addon"].map(|kind| (kind, fixture.namespace, addon(number))));
        let namespaced = own.into_iter().chain(catalogue);
        let workspaces = fixture.workspaces.iter().map(|name| ("workspace", "", (*name).to_owned()));
        for (kind, namespace, name) in namespaced.chain(workspaces) {
            let mut request =
                DeleteRequest { kind: kind.to_owned(), namespace: namespace.to_owned(), name, approved_count: None };
            let shown = self.gone(request.clone(), |mut hub, request| async move { hub.delete(request).await }).await?;
            let Some(shown) = shown else { continue };
            request.approved_count = Some(shown.installs);
            self.gone(request, |mut hub, request| async move { hub.delete(request).await }).await?;
        }
        Ok(())
    }

    /// Takes one cluster out of a hub, whatever its agent says.
    pub(super) async fn forget_cluster(&self, fixture: &Fixture, name: &str) -> Result<()> {
        let request = DetachRequest {
            workspace: fixture.workspaces[0].to_owned(),
            name: name.to_owned(),
            forget: true,
            ..DetachRequest::default()
        };
        self.gone(request, |mut hub, request| async move { hub.detach(request).await }).await.map(drop)
    }

    /// Asks for a removal; `None` if there is nothing of that name. What can succeed later is asked again for a while.
    async fn gone<M, R, F, A>(&self, message: M, method: F) -> Result<Option<R>>
    where
        M: Clone,
        F: Fn(AdminServiceClient<Channel>, Request<M>) -> A,
        A: Future<Output = Result<Response<R>, Status>>,
    {
        let began = Instant::now();
        loop {
            let mut code = None;
            let asked = self.call(message.clone(), async |hub, request| {
                let answer = method(hub, request).await;
                code = answer.as_ref().err().map(Status::code);
                answer
            });
            match (asked.await, code) {
                (Ok(answer), _) => return Ok(Some(answer)),
                (Err(_), Some(Code::NotFound)) => return Ok(None),
                (Err(_), Some(Code::Unavailable) | None) if began.elapsed() < PATIENCE => {
                    sleep(Duration::from_secs(1)).await;
                }
                (Err(error), _) => return Err(error),
            }
        }
    }
}
