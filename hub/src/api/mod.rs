//! The admin API: what people and programs ask of the hub.
//!
//! Owns turning questions into lookups of the fleet and of the status index, and requests into the steward's. Does not own
//! any rule. Every answer is of one position of the fleet.

mod catalogue;
mod change;
mod clusters;
mod commands;
mod detach;
pub mod error;
mod installs;
mod objects;
mod permit;
mod problems;
mod select;
mod selected;
mod shards;
mod sight;
mod status;
mod tokens;
mod watch;

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use starling_hub_core::fleet::Fleet;
use starling_model::ErrorCode;
use starling_proto::v1;
use starling_proto::v1::admin_service_server::AdminService;
use tokio::sync::watch::Receiver;
use tonic::{Request, Response, Status};

use crate::access::Access;
use crate::gather::Gather;
use crate::keyring::Keyring;
use crate::member::Seen;
use crate::ports::{Clock, Entropy};
use crate::shard::Shard;
use crate::source::{Documents, SourceKind};
use crate::steward::{Hold, StewardHandle};
use crate::sync::Sync;

use permit::caller;

pub(crate) use clusters::connection;
use problems::ProblemsOf;
pub use problems::{FoundProblem, Problems};

/// What the admin API works with.
#[derive(Clone)]
pub struct AdminParts {
    /// The fleet as every reader of the process sees it.
    pub fleet: Receiver<Arc<Fleet>>,
    /// The clusters of this process.
    pub shard: Arc<Shard>,
    /// The clusters of all processes.
    pub gather: Gather,
    /// The way to ask the steward.
    pub steward: StewardHandle,
    /// Hands the directory to the steward.
    pub sync: Sync,
    /// Where resources come from.
    pub source: SourceKind,
    /// The documents that the hub edits; `None` where there are none.
    pub documents: Option<Arc<dyn Documents>>,
    /// What is seen of the processes; `None` in a process that is the whole hub.
    pub seen: Option<Seen>,
    /// Whether the fleet holds.
    pub hold: Hold,
    /// Who may do what.
    pub access: Access,
    /// The fleet's secrets.
    pub keyring: Arc<Keyring>,
    /// The address that agents dial, host:port.
    pub agent_address: String,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
}

/// The admin service; cheap to clone.
#[derive(Clone)]
pub struct Admin {
    parts: AdminParts,
    started: starling_model::Millis,
    /// The problems of the newest fleet that was asked for them: looking for them costs the whole fleet.
    resource_problems: ProblemsOf,
    selected: selected::Selected,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Admin {
    /// Makes the service.
    #[must_use]
    pub fn new(parts: AdminParts) -> Self {
        let started = parts.clock.now();
        Self { parts, started, resource_problems: ProblemsOf::default(), selected: selected::Selected::default() }
    }

    fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.parts.fleet.borrow())
    }
}

/// A defect of the hub: an answer of another kind than the question.
fn internal() -> Status {
    tracing::error!("an answer does not fit its question");
    error::status(ErrorCode::Internal, "the hub has a defect; its log says more")
}

#[tonic::async_trait]
impl AdminService for Admin {
    type WatchStream = Answers<v1::WatchResponse>;
    type RunCommandStream = Answers<v1::RunCommandResponse>;

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        self.tell_status(&caller(&request)?).await.map(Response::new)
    }

    async fn adopt(&self, request: Request<v1::AdoptRequest>) -> Result<Response<v1::AdoptResponse>, Status> {
        self.adopt_cluster(request).await
    }

    async fn detach(&self, request: Request<v1::DetachRequest>) -> Result<Response<v1::DetachResponse>, Status> {
        self.detach_cluster(request).await
    }

    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        self.apply_documents(request).await
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        self.delete_resource(request).await
    }

    async fn approve(&self, request: Request<v1::ApproveRequest>) -> Result<Response<v1::ApproveResponse>, Status> {
        self.approve_proposal(request).await
    }

    async fn list_proposals(
        &self,
        request: Request<v1::ListProposalsRequest>,
    ) -> Result<Response<v1::ListProposalsResponse>, Status> {
        self.tell_proposals(&caller(&request)?).await.map(Response::new)
    }

    async fn list_clusters(
        &self,
        request: Request<v1::ListClustersRequest>,
    ) -> Result<Response<v1::ListClustersResponse>, Status> {
        self.tell_clusters(&caller(&request)?, request.get_ref()).await.map(Response::new)
    }

    async fn list_addons(
        &self,
        request: Request<v1::ListAddonsRequest>,
    ) -> Result<Response<v1::ListAddonsResponse>, Status> {
        self.tell_addons(&caller(&request)?, request.get_ref()).await.map(Response::new)
    }

    async fn list_assignments(
        &self,
        request: Request<v1::ListAssignmentsRequest>,
    ) -> Result<Response<v1::ListAssignmentsResponse>, Status> {
        self.tell_assignments(&caller(&request)?, request.get_ref()).await.map(Response::new)
    }

    async fn list_objects(
        &self,
        request: Request<v1::ListObjectsRequest>,
    ) -> Result<Response<v1::ListObjectsResponse>, Status> {
        self.tell_objects(&caller(&request)?, request.get_ref()).await.map(Response::new)
    }

    async fn list_installs(
        &self,
        request: Request<v1::ListInstallsRequest>,
    ) -> Result<Response<v1::ListInstallsResponse>, Status> {
        self.tell_installs(&caller(&request)?, request.get_ref()).await.map(Response::new)
    }

    async fn list_problems(
        &self,
        request: Request<v1::ListProblemsRequest>,
    ) -> Result<Response<v1::ListProblemsResponse>, Status> {
        let problems = self.problems_in_sight(&caller(&request)?, &self.fleet()).await?;
        Ok(Response::new(v1::ListProblemsResponse { problems }))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(self.tell_changes(permit::standing(&request)?)))
    }

    async fn run_command(
        &self,
        request: Request<v1::RunCommandRequest>,
    ) -> Result<Response<Self::RunCommandStream>, Status> {
        self.start_command(request).await.map(Response::new)
    }

    async fn recover_store(
        &self,
        request: Request<v1::RecoverStoreRequest>,
    ) -> Result<Response<v1::RecoverStoreResponse>, Status> {
        self.recover(request).await
    }

    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let caller = caller(&request)?;
        let person = caller.person();
        Ok(Response::new(v1::WhoAmIResponse {
            name: person.name.clone(),
            groups: person.groups.clone(),
            authenticator: caller.authenticator().as_str().to_owned(),
        }))
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        self.make_join_token(request).await
    }

    async fn list_join_tokens(
        &self,
        request: Request<v1::ListJoinTokensRequest>,
    ) -> Result<Response<v1::ListJoinTokensResponse>, Status> {
        self.tell_join_tokens(request).await
    }

    async fn revoke_join_token(
        &self,
        request: Request<v1::RevokeJoinTokenRequest>,
    ) -> Result<Response<v1::RevokeJoinTokenResponse>, Status> {
        self.void_join_token(request).await
    }

    async fn list_shards(
        &self,
        request: Request<v1::ListShardsRequest>,
    ) -> Result<Response<v1::ListShardsResponse>, Status> {
        self.tell_shards(&caller(&request)?).await.map(Response::new)
    }

    async fn simulate_shards(
        &self,
        request: Request<v1::SimulateShardsRequest>,
    ) -> Result<Response<v1::SimulateShardsResponse>, Status> {
        let caller = caller(&request)?;
        self.tell_simulation(&caller, request.into_inner()).await.map(Response::new)
    }
}
