//! Reconcile, suspend and resume, through the agents, paced.

use std::collections::BTreeMap;
use std::time::Duration;

use starling_hub_core::index::{Cursor, Filter};
use starling_model::session::{Command, CommandVerb};
use starling_model::{ClusterId, ErrorCode, ObjectKey};
use starling_proto::v1;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::change::caller;
use super::error::status;
use super::select::name_of;
use super::{Admin, Answers};
use crate::ports::EntropyExt;

/// Objects a second unless the caller says otherwise, and at most.
const PER_SECOND: (u32, u32) = (50, 1000);

/// Objects of one command: a cluster with more gets several.
const OBJECTS: usize = 50;

/// How long an agent may take to answer a command.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Objects that are read from the index at a time.
const PAGE: usize = 1000;

/// Progress that waits for a slow reader, who thereby slows the commands down.
const PROGRESS: usize = 16;

impl Admin {
    #[expect(clippy::result_large_err, reason = "handlers return a Status")]
    pub(super) fn start_command(
        &self,
        request: Request<v1::RunCommandRequest>,
    ) -> Result<Answers<v1::RunCommandResponse>, Status> {
        let actor = caller(&request)?;
        let asked = request.into_inner();
        let verb = CommandVerb::parse(&asked.verb).ok_or_else(|| {
            status(ErrorCode::InvalidRequest, format!("{:?} is none of reconcile, suspend, resume", asked.verb))
        })?;
        let fleet = self.fleet();
        let objects = asked.objects.unwrap_or_default();
        let filter = self.filter(&fleet, &objects)?;
        let selected = filter.map(|filter| self.collect(&filter)).unwrap_or_default();
        let total: usize = selected.values().map(Vec::len).sum();
        let (progress, answers) = mpsc::channel(PROGRESS);
        let first = v1::RunCommandResponse { selected: total as u64, ..v1::RunCommandResponse::default() };
        tracing::info!(target: "audit", %actor, action = verb.as_str(), subject = "objects", detail = total, dry_run = asked.dry_run);
        let rate = if asked.per_second == 0 { PER_SECOND.0 } else { asked.per_second.min(PER_SECOND.1) };
        let run = Run { admin: self.clone(), verb, rate, progress, told: first };
        let work = if asked.dry_run { BTreeMap::new() } else { selected };
        // Ends with the last command, or as soon as nobody listens.
        tokio::spawn(run.all(work));
        Ok(Box::pin(ReceiverStream::new(answers)))
    }

    fn collect(&self, filter: &Filter) -> BTreeMap<ClusterId, Vec<ObjectKey>> {
        let mut selected: BTreeMap<ClusterId, Vec<ObjectKey>> = BTreeMap::new();
        let mut after: Option<Cursor> = None;
        loop {
            let page = self.parts.shard.query(filter, after.as_ref(), PAGE);
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
    verb: CommandVerb,
    rate: u32,
    progress: mpsc::Sender<Result<v1::RunCommandResponse, Status>>,
    told: v1::RunCommandResponse,
}

impl Run {
    async fn all(mut self, work: BTreeMap<ClusterId, Vec<ObjectKey>>) {
        let mut next = Instant::now();
        if !self.tell(None).await {
            return;
        }
        for (cluster, objects) in work {
            for part in objects.chunks(OBJECTS) {
                tokio::time::sleep_until(next).await;
                next = Instant::now() + Duration::from_secs_f64(part.len() as f64 / f64::from(self.rate));
                if !self.one(cluster, part).await {
                    return;
                }
            }
        }
    }

    /// Runs the command for some objects of a cluster; false when nobody listens any more.
    async fn one(&mut self, cluster: ClusterId, objects: &[ObjectKey]) -> bool {
        let parts = &self.admin.parts;
        let command = Command {
            id: parts.entropy.uid(),
            verb: self.verb,
            objects: objects.to_vec(),
            token: parts.clock.now().0.to_string(),
        };
        let outcomes = match parts.shard.send_command(&cluster, command, ANSWERS_WITHIN).await {
            Ok(result) => result.outcomes,
            Err(error) => objects.iter().map(|object| (object.clone(), Some(error.to_string()))).collect(),
        };
        for (object, error) in outcomes {
            self.told.done += 1;
            if let Some(error) = error {
                self.told.failed += 1;
                if !self.tell(Some((cluster, object, error))).await {
                    return false;
                }
            }
        }
        self.tell(None).await
    }

    async fn tell(&self, failure: Option<(ClusterId, ObjectKey, String)>) -> bool {
        let mut told = self.told.clone();
        if let Some((cluster, object, error)) = failure {
            let name = name_of(&self.admin.fleet(), cluster);
            (told.workspace, told.cluster) = (name.namespace, name.name);
            (told.object, told.error) = (Some(object.into()), error);
        }
        self.progress.send(Ok(told)).await.is_ok()
    }
}
