//! The admin calls that change something: the steward decides, then the directory is edited.

use std::time::Duration;

use starling_hub_core::resources::{InputKey, Kind, Resource};
use starling_hub_core::steward::{
    Adopt, Adopted, Answer, ApplyResources, Approve, Checked, Delete, Deletion, Outcome, Recover, Refusal,
    Request as Ask,
};
use starling_model::{ErrorCode, Fence, ResourceName, Uid, ids};
use starling_proto::v1;
use tonic::{Request, Response, Status};

use super::error::{refused, status};
use super::permit::caller;
use super::{Admin, internal};
use crate::access::{Caller, Resource as Access, Verb};
use crate::source::{EditError, SourceKind, yaml};
use crate::sync::Turn;

/// How long a join token lives unless the caller says otherwise.
const TOKEN_SECONDS: u64 = 24 * 3600;

/// How long a ManagedCluster that was just written may take to be known.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// The longest life of a join token.
const TOKEN_SECONDS_LIMIT: u64 = 30 * 24 * 3600;

impl Admin {
    pub(super) async fn adopt_cluster(
        &self,
        request: Request<v1::AdoptRequest>,
    ) -> Result<Response<v1::AdoptResponse>, Status> {
        let actor = caller(&request)?;
        let asked = request.into_inner();
        let key = InputKey::new(Kind::ManagedCluster, asked.workspace.as_str(), asked.name.as_str());
        let seconds = if asked.token_seconds == 0 { TOKEN_SECONDS } else { asked.token_seconds };
        if seconds > TOKEN_SECONDS_LIMIT {
            let message = format!("a token lives at most {TOKEN_SECONDS_LIMIT} seconds (30 days)");
            return Err(status(ErrorCode::InvalidRequest, message));
        }
        self.permit(&actor, Verb::Create, Access::ClusterJoin, &asked.workspace, &asked.name).await?;
        if !asked.labels.is_empty() {
            self.permit(&actor, Verb::Update, Access::ClusterLabels, &asked.workspace, &asked.name).await?;
        }
        // While the fleet holds no object is taken: the steward says so at once.
        if self.parts.source == SourceKind::Kubernetes && self.parts.hold.reason().is_none() {
            self.wait_for_cluster(&asked.workspace, &asked.name).await?;
        }
        let adopt = Adopt {
            workspace: asked.workspace,
            name: asked.name,
            labels: asked.labels,
            expires: self.parts.clock.now().plus(Duration::from_secs(seconds)),
            file: crate::source::own_file(&key),
        };
        // As a task, so that what is decided is written although its caller may leave.
        let admin = self.clone();
        let adopting = tokio::spawn(async move { admin.adopt_and_write(&actor, adopt).await });
        let (adopted, edit_to_make) = adopting.await.map_err(|_| internal())??;
        Ok(Response::new(v1::AdoptResponse {
            cluster_id: adopted.cluster.to_string(),
            created: adopted.created,
            token: adopted.token.reveal(),
            token_expires_millis: adopted.expires.0,
            trust_pem: self.parts.keyring.authority().pem().into(),
            agent_address: self.parts.agent_address.clone(),
            fleet: self.parts.keyring.fleet().to_owned(),
            edit_to_make,
        }))
    }

    /// Adopts a cluster and writes its document; returns the edit to make where the directory cannot be written.
    async fn adopt_and_write(&self, actor: &Caller, adopt: Adopt) -> Result<(Adopted, String), Status> {
        let own_file = adopt.file.clone();
        let _edit = self.parts.sync.edit().await;
        let Answer::Adopted(adopted) = self.ask(actor, Ask::Adopt(adopt)).await? else { return Err(internal()) };
        let edit_to_make = match (adopted.created, adopted.file == own_file) {
            (false, _) => String::new(),
            (true, true) => self.create(&adopted.document).await?,
            // It was deleted, and its document is still where it was.
            (true, false) => self.put(std::slice::from_ref(&adopted.document)).await?,
        };
        Ok((adopted, edit_to_make))
    }

    /// Waits until a ManagedCluster that its caller has just written is known here.
    async fn wait_for_cluster(&self, workspace: &str, name: &str) -> Result<(), Status> {
        let mut fleet = self.parts.fleet.clone();
        let known = fleet.wait_for(|fleet| fleet.cluster_named(workspace, name).is_some());
        match tokio::time::timeout(KNOWN_WITHIN, known).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(status(ErrorCode::Unavailable, "the hub stops")),
            Err(_) => {
                let message = format!("there is no ManagedCluster {name} in namespace {workspace}: create it first");
                Err(status(ErrorCode::NotFound, message))
            }
        }
    }

    pub(super) async fn apply_documents(
        &self,
        request: Request<v1::ApplyRequest>,
    ) -> Result<Response<v1::ApplyResponse>, Status> {
        let actor = caller(&request)?;
        let asked = request.into_inner();
        if self.parts.source == SourceKind::Kubernetes {
            let message = "this hub reads Kubernetes: use kubectl apply or starling apply";
            return Err(status(ErrorCode::InvalidRequest, message));
        }
        let resources = parse(&asked.documents)?;
        for resource in &resources {
            let (kind, namespace) = (Access::of(resource.key().kind), resource.namespace());
            // Which of both it is would tell whether it is there.
            self.permit(&actor, Verb::Create, kind, namespace, resource.name()).await?;
            self.permit(&actor, Verb::Update, kind, namespace, resource.name()).await?;
        }
        let keys: Vec<InputKey> = resources.iter().map(Resource::key).collect();
        // What somebody wrote by hand just before is known first, so that its place is found.
        let turn = if asked.dry_run { None } else { Some(self.turn(&actor, keys.clone()).await?) };
        let check = Ask::ApplyResources(ApplyResources { resources: resources.clone(), dry_run: true });
        let mut checked = self.ask(&actor, check.clone()).await;
        if let (Err(_), Some(turn)) = (&checked, &turn) {
            // What it lacks may be in another file, as somebody wrote it just before.
            turn.whole(&actor.to_string()).await.map_err(refused)?;
            checked = self.ask(&actor, check).await;
        }
        let Answer::Checked(checked) = checked? else { return Err(internal()) };
        if let Some(turn) = turn {
            let changed: Vec<Resource> = resources
                .iter()
                .filter(|resource| {
                    checked.iter().any(|one| one.key == resource.key() && one.outcome != Outcome::Unchanged)
                })
                .cloned()
                .collect();
            let edit = self.put(&changed).await?;
            if !edit.is_empty() {
                let message = format!("the hub cannot write its directory; make this edit there:\n{edit}");
                return Err(status(ErrorCode::PermissionDenied, message));
            }
            // Only now that the files say so may what was deleted come back.
            self.ask(&actor, Ask::ApplyResources(ApplyResources { resources, dry_run: false })).await?;
            turn.now(&actor.to_string(), keys).await.map_err(refused)?;
        }
        Ok(Response::new(v1::ApplyResponse { resources: checked.into_iter().map(applied).collect() }))
    }

    pub(super) async fn delete_resource(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let actor = caller(&request)?;
        let asked = request.into_inner();
        let Some(kind) = Kind::parse(&asked.kind) else {
            let known = Kind::ALL.map(Kind::word).join(", ");
            let message = format!("{:?} is not a kind of resource: use one of {known}", asked.kind);
            return Err(status(ErrorCode::InvalidRequest, message));
        };
        let key = InputKey::new(kind, asked.namespace, asked.name);
        self.permit(&actor, Verb::Delete, Access::of(kind), &key.namespace, &key.name).await?;
        // A document that was edited just before is the one that is deleted, not one that comes after; and what needs it is known.
        let turn = if asked.approved_count.is_some() { Some(self.turn(&actor, Vec::new()).await?) } else { None };
        let delete = Delete { key, approved_count: asked.approved_count };
        let Answer::Deletion(deletion) = self.ask(&actor, Ask::Delete(delete)).await? else { return Err(internal()) };
        let Deletion { uid, installs, clusters, unheard, examples, deleted, remove } = deletion;
        let edit_to_make = match self.parts.source {
            SourceKind::Directory => self.remove(remove).await?,
            // The object goes under its caller's own identity, and the hub lets it.
            SourceKind::Kubernetes => String::new(),
        };
        drop(turn);
        Ok(Response::new(v1::DeleteResponse {
            installs,
            clusters,
            unheard,
            deleted,
            uid: uid.map_or_else(Vec::new, |uid| uid.0.to_vec()),
            edit_to_make,
            examples: examples.iter().map(ResourceName::to_string).collect(),
        }))
    }

    pub(super) async fn approve_proposal(
        &self,
        request: Request<v1::ApproveRequest>,
    ) -> Result<Response<v1::ApproveResponse>, Status> {
        let actor = caller(&request)?;
        let asked = request.into_inner();
        let proposal = Uid::from_slice(&asked.proposal)
            .ok_or_else(|| status(ErrorCode::InvalidRequest, "a proposal's id is a UUID"))?;
        self.permit_approval(&actor, proposal).await?;
        let approve = Approve { proposal, count: asked.count };
        let Answer::Approved { installs } = self.ask(&actor, Ask::Approve(approve)).await? else {
            return Err(internal());
        };
        Ok(Response::new(v1::ApproveResponse { installs }))
    }

    /// Refuses an approval that a caller may not give; of a proposal that the caller may not see, nothing is told.
    async fn permit_approval(&self, caller: &Caller, proposal: Uid) -> Result<(), Status> {
        let fleet = self.fleet();
        // One that does not wait is refused by whoever decides.
        let Some(record) = fleet.proposal(proposal) else { return Ok(()) };
        let ResourceName { namespace, name } = &record.name;
        if self.may(caller, Verb::Approve, Access::Assignments, namespace, name).await? {
            return Ok(());
        }
        if self.may(caller, Verb::Get, Access::Assignments, namespace, name).await? {
            return Err(self.denied(caller, Verb::Approve, Access::Assignments, namespace, std::slice::from_ref(name)));
        }
        Err(refused(Refusal::no_proposal(proposal)))
    }

    pub(super) async fn recover(
        &self,
        request: Request<v1::RecoverStoreRequest>,
    ) -> Result<Response<v1::RecoverStoreResponse>, Status> {
        let actor = caller(&request)?;
        self.permit(&actor, Verb::Recover, Access::Hubs, "", self.parts.keyring.fleet()).await?;
        let recover = Recover {
            fleet: request.into_inner().fleet,
            mark: self.parts.keyring.mark().mark().map(|mark| (mark.era, mark.reserved)),
            shown: self.newest_shown(),
        };
        let Answer::Recovered { era, position } = self.ask(&actor, Ask::Recover(recover)).await? else {
            return Err(internal());
        };
        self.sync(&actor).await?;
        Ok(Response::new(v1::RecoverStoreResponse { era_number: era.number, position: position.0 }))
    }

    /// Returns the newest genuine fence that any agent has shown to any process.
    fn newest_shown(&self) -> Option<Fence> {
        let told = self.parts.seen.as_ref().and_then(|seen| seen.borrow().hold.as_ref()?.shown);
        let shown = [self.parts.shard.newest_shown_fence(), told.filter(|fence| self.is_genuine(fence))];
        shown.into_iter().flatten().max_by_key(|fence| (fence.era.number, fence.position))
    }

    fn is_genuine(&self, fence: &Fence) -> bool {
        self.parts.keyring.fleet_key().is_genuine(fence)
    }

    pub(super) async fn ask(&self, caller: &Caller, request: Ask) -> Result<Answer, Status> {
        self.parts.steward.submit(&caller.to_string(), request).await.map_err(refused)
    }

    /// Takes the turn of the directory: these documents are known as they are, and nobody else reads it.
    async fn turn(&self, caller: &Caller, documents: Vec<InputKey>) -> Result<Turn<'_>, Status> {
        self.parts.sync.turn(&caller.to_string(), documents).await.map_err(refused)
    }

    async fn sync(&self, caller: &Caller) -> Result<(), Status> {
        self.parts.sync.now(&caller.to_string()).await.map_err(refused)
    }

    /// Writes documents; returns the edit to make where the directory cannot be written.
    async fn put(&self, resources: &[Resource]) -> Result<String, Status> {
        let Some(documents) = &self.parts.documents else { return Ok(String::new()) };
        edit_to_make(documents.put(resources).await, resources)
    }

    /// Writes a document that was just made; returns the edit to make where the directory cannot be written.
    async fn create(&self, resource: &Resource) -> Result<String, Status> {
        let Some(documents) = &self.parts.documents else { return Ok(String::new()) };
        edit_to_make(documents.create(resource).await, std::slice::from_ref(resource))
    }

    /// Removes a document; returns the edit to make where the documents cannot be edited.
    pub(super) async fn remove(&self, document: Option<(String, InputKey)>) -> Result<String, Status> {
        let (Some((file, key)), Some(documents)) = (document, &self.parts.documents) else {
            return Ok(String::new());
        };
        match documents.remove(&key).await {
            Ok(()) => Ok(String::new()),
            Err(error) => {
                tracing::warn!(%key, %file, %error, "cannot remove a document");
                Ok(format!("remove {} {} from {file}", key.kind.as_str(), key.qualified()))
            }
        }
    }
}

/// Turns what became of an edit into its answer: nothing, or the text that its caller is to write.
fn edit_to_make(outcome: Result<(), EditError>, resources: &[Resource]) -> Result<String, Status> {
    match outcome {
        Ok(()) => Ok(String::new()),
        Err(EditError::NotWritable { path, error }) => {
            tracing::warn!(path = %path.display(), %error, "cannot write the directory");
            let texts: Vec<String> = resources.iter().map(crate::source::to_yaml).collect();
            Ok(format!("# write to {}\n{}", path.display(), texts.join("---\n")))
        }
        Err(error @ (EditError::Refused { .. } | EditError::Api { .. })) => {
            Err(status(ErrorCode::Conflict, error.to_string()))
        }
        Err(EditError::BrokeOff) => Err(internal()),
    }
}

fn parse(documents: &str) -> Result<Vec<Resource>, Status> {
    let mut resources = Vec::new();
    for chunk in yaml::chunks(documents) {
        let resource = yaml::resource(&chunk).map_err(|error| {
            let message = format!("line {}, column {}: {}", error.line, error.column, error.message);
            status(ErrorCode::InvalidRequest, message)
        })?;
        ids::check_label(resource.name())
            .map_err(|error| status(ErrorCode::InvalidRequest, format!("metadata.name: {error}")))?;
        resources.push(resource);
    }
    if resources.is_empty() {
        return Err(status(ErrorCode::InvalidRequest, "there is no document in the input"));
    }
    Ok(resources)
}

fn applied(checked: Checked) -> v1::AppliedResource {
    let outcome = match checked.outcome {
        Outcome::Created => "created",
        Outcome::Configured => "configured",
        Outcome::Unchanged => "unchanged",
    };
    v1::AppliedResource {
        kind: checked.key.kind.as_str().into(),
        namespace: checked.key.namespace,
        name: checked.key.name,
        outcome: outcome.into(),
    }
}
