//! The script: a small fleet, and answers that follow the admin API's rules closely enough to test the program.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use starling_proto::v1::admin_service_server::AdminService;
#[allow(clippy::wildcard_imports)]
use starling_proto::v1::*;
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, Request, Response, Status};

use super::{api, processes};

/// Installs that deleting the assignment `payments/podinfo` removes.
pub(crate) const INSTALLS: u64 = 12;

/// Objects on a page, so that lists have several.
const PAGE: usize = 2;

/// A small fleet.
pub(crate) struct Fake {
    /// Requests that would change something, as text.
    pub(crate) changes: Mutex<Vec<String>>,
    pub(crate) holds: AtomicBool,
    pub(crate) silent: AtomicBool,
    /// Reads custom resources.
    pub(crate) on_kubernetes: AtomicBool,
    /// Lets nobody change anything.
    pub(crate) denies: AtomicBool,
    /// Is several processes, one of which does not answer.
    pub(crate) is_many: AtomicBool,
    /// What is left of a cluster that is being emptied.
    left: Mutex<Option<u64>>,
    pub(crate) clusters: Mutex<Vec<Cluster>>,
    pub(crate) notice: watch::Sender<u64>,
}

impl Default for Fake {
    fn default() -> Self {
        let clusters = vec![
            cluster("retail", "edge-1", "live"),
            cluster("retail", "edge-2", "disconnected"),
            cluster("plant", "edge-1", "live"),
        ];
        Self {
            changes: Mutex::default(),
            holds: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            on_kubernetes: AtomicBool::new(false),
            denies: AtomicBool::new(false),
            is_many: AtomicBool::new(false),
            left: Mutex::new(None),
            clusters: Mutex::new(clusters),
            notice: watch::channel(0).0,
        }
    }
}

pub(crate) fn cluster(workspace: &str, name: &str, connection: &str) -> Cluster {
    Cluster {
        id: format!("id-of-{workspace}-{name}"),
        workspace: workspace.into(),
        name: name.into(),
        labels: BTreeMap::from([("env".into(), "prod".into())]),
        connection: connection.into(),
        last_seen_millis: 1_795_243_800_000,
        health: vec![HealthCount { health: Health::Ready.into(), count: 40 }],
        installs: 3,
        installs_ready: 3,
        ..Cluster::default()
    }
}

fn object(cluster: &str, name: &str, health: Health) -> FluxObject {
    let key = ObjectKey {
        group: "helm.toolkit.fluxcd.io".into(),
        kind: "HelmRelease".into(),
        namespace: "apps".into(),
        name: name.into(),
    };
    let message = "install retries exhausted: ".to_owned() + &"x".repeat(200);
    let status = ObjectStatus { key: Some(key), health: health.into(), message, ..ObjectStatus::default() };
    FluxObject {
        workspace: "retail".into(),
        cluster: cluster.into(),
        status: Some(status),
        since_millis: 1_795_243_800_000,
        assignment: "payments/podinfo".into(),
        ..FluxObject::default()
    }
}

fn join_token() -> JoinToken {
    JoinToken {
        id: vec![0xcd; 16],
        workspace: "retail".into(),
        labels: BTreeMap::from([("env".into(), "prod".into())]),
        uses: 50,
        used: 7,
        created_millis: 1_795_243_800_000,
        expires_millis: 1_895_243_800_000,
        created_by: "jane".into(),
        description: "shops".into(),
    }
}

pub(super) fn refusal(code: Code, name: &str, message: &str) -> Status {
    let mut status = Status::new(code, message);
    status.metadata_mut().insert("starling-error", name.parse().expect("a code's name is a header"));
    status
}

impl Fake {
    /// Returns what changed, as text.
    pub(crate) fn changed(&self) -> String {
        self.changes.lock().expect("no test panicked inside").join("\n")
    }

    /// Names the processes that do not answer.
    fn unanswered(&self) -> Vec<String> {
        if self.is_many.load(Ordering::Relaxed) { vec!["hub-1".into()] } else { Vec::new() }
    }

    fn change(&self, request: &impl std::fmt::Debug) {
        self.changes.lock().expect("no test panicked inside").push(format!("{request:?}"));
    }
}

fn page<T>(items: Vec<T>, page: Option<Page>) -> (Vec<T>, String, u64) {
    let start: usize = page.map(|page| page.token.parse().unwrap_or(0)).unwrap_or(0);
    let total = items.len();
    let next = if start + PAGE < total { (start + PAGE).to_string() } else { String::new() };
    (items.into_iter().skip(start).take(PAGE).collect(), next, total as u64)
}

#[tonic::async_trait]
impl AdminService for Fake {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;
    type RunCommandStream = Pin<Box<dyn Stream<Item = Result<RunCommandResponse, Status>> + Send>>;

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        if self.silent.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        let holds = self.holds.load(Ordering::Relaxed);
        Ok(Response::new(GetStatusResponse {
            fleet: "demo".into(),
            version: "0.1.0".into(),
            started_millis: 1_795_243_800_000,
            hold_reason: if holds { "the store is empty".into() } else { String::new() },
            clusters: 3,
            live: 2,
            ready: 2,
            unanswered: self.unanswered(),
            source: if self.on_kubernetes.load(Ordering::Relaxed) { "kubernetes".into() } else { "directory".into() },
            ..GetStatusResponse::default()
        }))
    }

    async fn adopt(&self, request: Request<AdoptRequest>) -> Result<Response<AdoptResponse>, Status> {
        if self.holds.load(Ordering::Relaxed) {
            return Err(refusal(Code::FailedPrecondition, "fleet-holds", "the fleet holds: the store is empty"));
        }
        self.change(request.get_ref());
        Ok(Response::new(AdoptResponse {
            cluster_id: "5492b768-9114-5db9-9df5-a271647019c9".into(),
            created: !self.on_kubernetes.load(Ordering::Relaxed),
            token: "a-one-time-token".into(),
            trust_pem: b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_vec(),
            agent_address: "hub.example:8443".into(),
            fleet: "demo".into(),
            ..AdoptResponse::default()
        }))
    }

    async fn detach(&self, request: Request<DetachRequest>) -> Result<Response<DetachResponse>, Status> {
        let request = request.into_inner();
        let answer = |stage: &str, installs| {
            Ok(Response::new(DetachResponse { stage: stage.into(), installs, ..DetachResponse::default() }))
        };
        let mut left = self.left.lock().expect("no test panicked inside");
        let leave = || {
            self.clusters.lock().expect("no test panicked inside").retain(|cluster| cluster.name != request.name);
        };
        match (request.delete, request.approved_count, *left) {
            // Each question finds fewer, until it has left.
            (true, None, Some(0)) => leave(),
            (true, None, Some(installs)) => {
                *left = Some(installs / 4);
                return answer("asked", installs);
            }
            (true, None, None) => return answer("asked", INSTALLS),
            (true, Some(installs), _) => {
                self.change(&request);
                *left = Some(installs);
                return answer("removing", installs);
            }
            (false, _, _) => {
                self.change(&request);
                leave();
            }
        }
        answer(if request.forget { "forgotten" } else { "requested" }, 0)
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let token = request.metadata().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (name, authenticator) = match token.strip_prefix("Bearer ").unwrap_or_default() {
            api::USER_TOKEN => ("jane", "kubernetes"),
            api::ACCOUNT_TOKEN => ("system:serviceaccount:ops:starling", "kubernetes"),
            _ => ("admin", "token-file"),
        };
        let groups = if authenticator == "kubernetes" { vec!["system:authenticated".to_owned()] } else { Vec::new() };
        Ok(Response::new(WhoAmIResponse { name: name.into(), groups, authenticator: authenticator.into() }))
    }

    async fn create_join_token(
        &self,
        request: Request<CreateJoinTokenRequest>,
    ) -> Result<Response<CreateJoinTokenResponse>, Status> {
        let request = request.into_inner();
        if self.denies.load(Ordering::Relaxed) {
            let message = "jane may not create jointokens in namespace retail; the ClusterRole starling-workspace-admin \
                           allows it: ask for a RoleBinding in retail";
            return Err(refusal(Code::PermissionDenied, "permission-denied", message));
        }
        self.change(&request);
        Ok(Response::new(CreateJoinTokenResponse {
            join_token: Some(JoinToken { labels: request.labels, uses: request.uses.max(1), ..join_token() }),
            token: "a-token-of-retail".into(),
            trust_pem: b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_vec(),
            agent_address: "hub.example:8443".into(),
            fleet: "demo".into(),
        }))
    }

    async fn list_join_tokens(
        &self,
        _: Request<ListJoinTokensRequest>,
    ) -> Result<Response<ListJoinTokensResponse>, Status> {
        Ok(Response::new(ListJoinTokensResponse { join_tokens: vec![join_token()] }))
    }

    async fn revoke_join_token(
        &self,
        request: Request<RevokeJoinTokenRequest>,
    ) -> Result<Response<RevokeJoinTokenResponse>, Status> {
        self.change(request.get_ref());
        Ok(Response::new(RevokeJoinTokenResponse {}))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        if request.get_ref().documents.contains("broken") {
            return Err(Status::invalid_argument("line 3, column 5: unknown field `broken`"));
        }
        self.change(request.get_ref());
        let resource = AppliedResource {
            kind: "Addon".into(),
            namespace: "p".into(),
            name: "a".into(),
            outcome: "created".into(),
        };
        Ok(Response::new(ApplyResponse { resources: vec![resource] }))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let request = request.into_inner();
        if request.name != "podinfo" && request.name != "unused" {
            return Err(Status::not_found(format!("there is no {} {}", request.kind, request.name)));
        }
        let installs = if request.name == "podinfo" { INSTALLS } else { 0 };
        let deleted = match request.approved_count {
            None => false,
            Some(count) if count == installs => true,
            Some(_) => return Err(refusal(Code::FailedPrecondition, "approval-required", "another count")),
        };
        if deleted {
            self.change(&request);
        }
        let examples = vec!["retail/edge-1".into(), "retail/edge-2".into()];
        Ok(Response::new(DeleteResponse {
            installs,
            clusters: installs,
            deleted,
            examples,
            ..DeleteResponse::default()
        }))
    }

    async fn approve(&self, request: Request<ApproveRequest>) -> Result<Response<ApproveResponse>, Status> {
        self.change(request.get_ref());
        Ok(Response::new(ApproveResponse { installs: request.get_ref().count }))
    }

    async fn list_proposals(
        &self,
        _: Request<ListProposalsRequest>,
    ) -> Result<Response<ListProposalsResponse>, Status> {
        let proposal = Proposal {
            id: vec![0xab; 16],
            assignment: "payments/podinfo".into(),
            reason: "the selector changed".into(),
            installs: 7,
            ..Proposal::default()
        };
        Ok(Response::new(ListProposalsResponse { proposals: vec![proposal], unanswered: self.unanswered() }))
    }

    async fn list_clusters(
        &self,
        request: Request<ListClustersRequest>,
    ) -> Result<Response<ListClustersResponse>, Status> {
        let request = request.into_inner();
        let selector = request.selector.unwrap_or_default();
        let mut clusters = self.clusters.lock().expect("no test panicked inside").clone();
        clusters.retain(|cluster| selector.workspace.is_empty() || cluster.workspace == selector.workspace);
        clusters.retain(|cluster| selector.names.is_empty() || selector.names.contains(&cluster.name));
        let (clusters, next_page_token, total) = page(clusters, request.page);
        Ok(Response::new(ListClustersResponse { clusters, next_page_token, total, unanswered: self.unanswered() }))
    }

    async fn list_addons(&self, _: Request<ListAddonsRequest>) -> Result<Response<ListAddonsResponse>, Status> {
        Ok(Response::new(ListAddonsResponse::default()))
    }

    async fn list_assignments(
        &self,
        _: Request<ListAssignmentsRequest>,
    ) -> Result<Response<ListAssignmentsResponse>, Status> {
        let assignment =
            |name: &str| Assignment { namespace: "payments".into(), name: name.into(), ..Assignment::default() };
        let assignments = vec![assignment("podinfo"), assignment("unused")];
        Ok(Response::new(ListAssignmentsResponse { assignments, unanswered: self.unanswered() }))
    }

    async fn list_objects(
        &self,
        request: Request<ListObjectsRequest>,
    ) -> Result<Response<ListObjectsResponse>, Status> {
        let request = request.into_inner();
        let mut objects = vec![
            object("edge-1", "podinfo", Health::Ready),
            object("edge-1", "redis", Health::FailingRetrying),
            object("edge-2", "podinfo", Health::Stalled),
        ];
        let status = |object: &FluxObject| object.status.clone().unwrap_or_default();
        objects.retain(|object| request.health.is_empty() || request.health.contains(&status(object).health));
        objects
            .retain(|object| request.name.is_empty() || status(object).key.is_some_and(|key| key.name == request.name));
        let (objects, next_page_token, total) = page(objects, request.page);
        Ok(Response::new(ListObjectsResponse { objects, next_page_token, total, unanswered: self.unanswered() }))
    }

    async fn list_installs(&self, _: Request<ListInstallsRequest>) -> Result<Response<ListInstallsResponse>, Status> {
        let install = Install {
            workspace: "retail".into(),
            cluster: "edge-1".into(),
            assignment: "payments/podinfo".into(),
            install: Some(InstallKey { namespace: "starling-addons".into(), name: "podinfo".into() }),
            planned: "render".into(),
            report: Some(InstallReport { state: InstallState::Applied.into(), ..InstallReport::default() }),
            health: Health::Ready.into(),
            ..Install::default()
        };
        Ok(Response::new(ListInstallsResponse { installs: vec![install], ..ListInstallsResponse::default() }))
    }

    async fn list_problems(&self, _: Request<ListProblemsRequest>) -> Result<Response<ListProblemsResponse>, Status> {
        Ok(Response::new(ListProblemsResponse::default()))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let notices = WatchStream::from_changes(self.notice.subscribe());
        Ok(Response::new(Box::pin(notices.map(|position| Ok(WatchResponse { position })))))
    }

    async fn run_command(
        &self,
        request: Request<RunCommandRequest>,
    ) -> Result<Response<Self::RunCommandStream>, Status> {
        let request = request.into_inner();
        let name = request.objects.clone().unwrap_or_default().name;
        let selected = match name.as_str() {
            "nothing" => 0,
            "podinfo" => 1,
            _ => 3,
        };
        let mut answers = vec![RunCommandResponse { selected, ..RunCommandResponse::default() }];
        if !request.dry_run {
            self.change(&request);
            let failed = u64::from(selected == 3);
            if failed > 0 {
                answers.push(RunCommandResponse {
                    selected,
                    failed,
                    workspace: "retail".into(),
                    cluster: "edge-2".into(),
                    object: object("edge-2", "redis", Health::Ready).status.and_then(|status| status.key),
                    error: "the cluster is not connected".into(),
                    ..RunCommandResponse::default()
                });
            }
            answers.push(RunCommandResponse {
                selected,
                done: selected - failed,
                failed,
                ..RunCommandResponse::default()
            });
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(answers.into_iter().map(Ok)))))
    }

    async fn recover_store(
        &self,
        request: Request<RecoverStoreRequest>,
    ) -> Result<Response<RecoverStoreResponse>, Status> {
        self.change(request.get_ref());
        self.holds.store(false, Ordering::Relaxed);
        Ok(Response::new(RecoverStoreResponse { era_number: 2, position: 4096 }))
    }

    async fn list_shards(&self, _: Request<ListShardsRequest>) -> Result<Response<ListShardsResponse>, Status> {
        if self.denies.load(Ordering::Relaxed) {
            let message = "jane may not list hubs; the ClusterRole starling-platform-admin allows it: ask for a \
                           ClusterRoleBinding";
            return Err(refusal(Code::PermissionDenied, "permission-denied", message));
        }
        let is_many = self.is_many.load(Ordering::Relaxed);
        let answer = ListShardsResponse { unanswered: self.unanswered(), ..processes::listed(is_many) };
        Ok(Response::new(answer))
    }

    async fn simulate_shards(
        &self,
        request: Request<SimulateShardsRequest>,
    ) -> Result<Response<SimulateShardsResponse>, Status> {
        processes::simulated(request.get_ref()).map(Response::new)
    }
}
