//! Reconcile, suspend and resume, through the agents, paced.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use starling_hub_core::fleet::Fleet;
use starling_hub_core::index::{Cursor, Filter};
use starling_model::session::{Command, CommandResult, CommandVerb};
use starling_model::{ClusterId, ErrorCode, ObjectKey, ResourceName};
use starling_proto::v1;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::error::status;
use super::permit::{caller, standing};
use super::select::name_of;
use super::{Admin, Answers};
use crate::access::{Caller, Resource, Standing, There, Verb, Wanted};
use crate::ports::EntropyExt;
use crate::shard::CommandError;

/// Objects a second unless the caller says otherwise, and at most.
const PER_SECOND: (u32, u32) = (50, 1000);

/// Objects of one command: a cluster with more gets several.
const OBJECTS: usize = 50;

/// How long an agent may take to answer a command.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Clusters that are commanded at a time.
const CLUSTERS: usize = 16;

/// Objects that are read from the index at a time.
const PAGE: usize = 1000;

/// Progress that waits for a slow reader, who thereby slows the commands down.
const PROGRESS: usize = 16;

impl Admin {
    pub(super) async fn start_command(
        &self,
        request: Request<v1::RunCommandRequest>,
    ) -> Result<Answers<v1::RunCommandResponse>, Status> {
        let (actor, standing) = (caller(&request)?, standing(&request)?);
        let asked = request.into_inner();
        let verb = CommandVerb::parse(&asked.verb).ok_or_else(|| {
            status(ErrorCode::InvalidRequest, format!("{:?} is none of reconcile, suspend, resume", asked.verb))
        })?;
        let fleet = self.fleet();
        let objects = asked.objects.unwrap_or_default();
        let sight = self.sight(&actor, &fleet, objects.selector.as_ref(), &objects.assignment).await?;
        let filter = self.filter(&fleet, &objects, &sight).await?;
        let selected = match &filter {
            Some(filter) => self.collect(filter).await,
            None => BTreeMap::new(),
        };
        self.permit_command(&actor, &fleet, &selected).await?;
        let total: usize = selected.values().map(Vec::len).sum();
        let (progress, answers) = mpsc::channel(PROGRESS);
        let first = v1::RunCommandResponse { selected: total as u64, ..v1::RunCommandResponse::default() };
        tracing::info!(target: "audit", %actor, action = verb.as_str(), subject = "objects", detail = total, dry_run = asked.dry_run);
        let rate = if asked.per_second == 0 { PER_SECOND.0 } else { asked.per_second.min(PER_SECOND.1) };
        let (told, next) = (Mutex::new(first), tokio::sync::Mutex::new(Instant::now()));
        let run = Run { admin: self.clone(), standing, verb, rate, progress, told, next };
        let work = if asked.dry_run { BTreeMap::new() } else { selected };
        // Ends with the last command, or as soon as nobody listens.
        tokio::spawn(run.all(work));
        Ok(Box::pin(ReceiverStream::new(answers)))
    }

    /// Refuses a selection that contains anything that the caller may not command.
    async fn permit_command(
        &self,
        caller: &Caller,
        fleet: &Fleet,
        selected: &BTreeMap<ClusterId, Vec<ObjectKey>>,
    ) -> Result<(), Status> {
        let names: Vec<ResourceName> = selected.keys().map(|id| name_of(fleet, *id)).collect();
        let there = || There {
            namespaces: names.iter().map(|name| name.namespace.clone()).filter(|name| !name.is_empty()).collect(),
            objects: names.clone(),
        };
        let wanted = Wanted { namespace: "", names: &[], there: &there };
        let reach = self.reach(caller, Verb::Update, Resource::ClusterObjects, wanted).await?;
        let mut missing = names.iter().filter(|name| !reach.covers(&name.namespace, &name.name));
        let Some(first) = missing.next() else { return Ok(()) };
        let refused = self.denied(
            caller,
            Verb::Update,
            Resource::ClusterObjects,
            &first.namespace,
            std::slice::from_ref(&first.name),
        );
        let more = missing.count();
        if more == 0 {
            return Err(refused);
        }
        Err(status(
            ErrorCode::PermissionDenied,
            format!("{}; the same holds for {more} more clusters", refused.message()),
        ))
    }

    async fn collect(&self, filter: &Filter) -> BTreeMap<ClusterId, Vec<ObjectKey>> {
        let mut selected: BTreeMap<ClusterId, Vec<ObjectKey>> = BTreeMap::new();
        let mut after: Option<Cursor> = None;
        loop {
            let page = self.parts.gather.objects(filter, after.as_ref(), PAGE).await.value.page;
            after = page.next();
            for found in page.objects {
                selected.entry(found.cluster).or_default().push(found.status.key);
            }
            if after.is_none() {
                return selected;
            }
        }
    }
}

/// A command over a selection, under way.
struct Run {
    admin: Admin,
    standing: Standing,
    verb: CommandVerb,
    rate: u32,
    progress: mpsc::Sender<Result<v1::RunCommandResponse, Status>>,
    told: Mutex<v1::RunCommandResponse>,
    /// When the next objects may be commanded, whichever cluster has them.
    next: tokio::sync::Mutex<Instant>,
}

/// What became of an object: `None`, or why it failed.
type Outcome = (ObjectKey, Option<String>);

/// Nobody listens any more.
struct Unheard;

impl Run {
    async fn all(self, work: BTreeMap<ClusterId, Vec<ObjectKey>>) {
        if self.tell(None).await.is_err() {
            return;
        }
        let clusters = stream::iter(work).map(|(cluster, objects)| self.cluster(cluster, objects));
        let mut clusters = clusters.buffer_unordered(CLUSTERS);
        while let Some(Ok(())) = clusters.next().await {}
    }

    async fn cluster(&self, cluster: ClusterId, objects: Vec<ObjectKey>) -> Result<(), Unheard> {
        let mut silent = false;
        for part in objects.chunks(OBJECTS) {
            // An agent that did not answer in time is not waited for with all the rest, too.
            let outcomes = if silent {
                failed(part, CommandError::TimedOut)
            } else {
                self.pace(part.len()).await;
                self.check_standing().await?;
                let result = self.send(cluster, part).await;
                silent = result == Err(CommandError::TimedOut);
                result.map_or_else(|error| failed(part, error), |result| outcomes(part, result))
            };
            self.note(cluster, outcomes).await?;
        }
        Ok(())
    }

    /// Ends the command once its caller's token is no longer good.
    async fn check_standing(&self) -> Result<(), Unheard> {
        let Err(refused) = self.standing.recheck().await else { return Ok(()) };
        // Nobody may listen any more; either way it ends.
        let _ = self.progress.send(Err(refused)).await;
        Err(Unheard)
    }

    /// Waits until so many objects more keep to the rate; whoever came first goes first.
    async fn pace(&self, objects: usize) {
        let mut next = self.next.lock().await;
        tokio::time::sleep_until(*next).await;
        *next = Instant::now() + Duration::from_secs_f64(objects as f64 / f64::from(self.rate));
    }

    async fn send(&self, cluster: ClusterId, objects: &[ObjectKey]) -> Result<CommandResult, CommandError> {
        let parts = &self.admin.parts;
        let command = Command {
            id: parts.entropy.uid(),
            verb: self.verb,
            objects: objects.to_vec(),
            token: parts.clock.now().0.to_string(),
        };
        parts.gather.command(cluster, command, ANSWERS_WITHIN).await
    }

    async fn note(&self, cluster: ClusterId, outcomes: Vec<Outcome>) -> Result<(), Unheard> {
        for (object, error) in outcomes {
            self.count(error.is_some());
            if let Some(error) = error {
                self.tell(Some((cluster, object, error))).await?;
            }
        }
        self.tell(None).await
    }

    fn count(&self, has_failed: bool) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.done += 1;
        told.failed += u64::from(has_failed);
    }

    async fn tell(&self, failure: Option<(ClusterId, ObjectKey, String)>) -> Result<(), Unheard> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((cluster, object, error)) = failure {
            let name = name_of(&self.admin.fleet(), cluster);
            (told.workspace, told.cluster) = (name.namespace, name.name);
            (told.object, told.error) = (Some(object.into()), error);
        }
        self.progress.send(Ok(told)).await.map_err(|_| Unheard)
    }
}

/// Reads an agent's result: each object that was asked for, once, whatever else it names.
fn outcomes(asked: &[ObjectKey], result: CommandResult) -> Vec<Outcome> {
    let mut answered: BTreeMap<ObjectKey, Option<String>> = result.outcomes.into_iter().collect();
    let missing = || Some("the agent did not answer for it".to_owned());
    asked.iter().map(|object| (object.clone(), answered.remove(object).unwrap_or_else(missing))).collect()
}

fn failed(objects: &[ObjectKey], error: CommandError) -> Vec<Outcome> {
    objects.iter().map(|object| (object.clone(), Some(error.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use starling_model::Uid;

    use super::*;

    #[test]
    fn an_outcome_is_of_an_object_that_was_asked_for() {
        let key = |name: &str| ObjectKey::new("helm.toolkit.fluxcd.io", "HelmRelease", "apps", name);
        let result = CommandResult {
            id: Uid([1; 16]),
            outcomes: vec![(key("b"), None), (key("other"), None), (key("b"), None), (key("c"), Some("no".into()))],
        };
        let outcomes = outcomes(&[key("a"), key("b"), key("c")], result);
        let missing = Some("the agent did not answer for it".to_owned());
        assert_eq!(outcomes, [(key("a"), missing), (key("b"), None), (key("c"), Some("no".into()))]);
    }
}
