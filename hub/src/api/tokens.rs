//! Join tokens of a workspace: made, listed without their secrets, voided.

use std::collections::BTreeSet;
use std::time::Duration;

use starling_hub_core::records::JoinTokenRecord;
use starling_hub_core::steward::{Answer, CreateJoinToken, Request as Ask, RevokeJoinToken};
use starling_model::{ErrorCode, Uid};
use starling_proto::v1;
use tonic::{Request, Response, Status};

use super::error::status;
use super::permit::caller;
use super::{Admin, internal};
use crate::access::{Resource as Access, There, Verb, Wanted};

/// How long a token lives unless the caller says otherwise.
const TOKEN_SECONDS: u64 = 24 * 3600;

/// The longest life of a token that is kept in a template.
const TOKEN_SECONDS_LIMIT: u64 = 365 * 24 * 3600;

impl Admin {
    pub(super) async fn make_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let actor = caller(&request)?;
        let asked = request.into_inner();
        let seconds = if asked.token_seconds == 0 { TOKEN_SECONDS } else { asked.token_seconds };
        if seconds > TOKEN_SECONDS_LIMIT {
            let message = format!("a workspace's token lives at most {TOKEN_SECONDS_LIMIT} seconds (365 days)");
            return Err(status(ErrorCode::InvalidRequest, message));
        }
        self.permit(&actor, Verb::Create, Access::JoinTokens, &asked.workspace, "").await?;
        if !asked.labels.is_empty() {
            // The clusters that join get them from the hub, which no admission policy looks at.
            self.permit(&actor, Verb::Update, Access::ClusterLabels, &asked.workspace, "").await?;
        }
        let create = CreateJoinToken {
            workspace: asked.workspace,
            labels: asked.labels,
            uses: asked.uses.max(1),
            expires: self.parts.clock.now().plus(Duration::from_secs(seconds)),
            description: asked.description,
        };
        let Answer::TokenCreated { token, record } = self.ask(&actor, Ask::CreateJoinToken(create)).await? else {
            return Err(internal());
        };
        Ok(Response::new(v1::CreateJoinTokenResponse {
            join_token: Some(tell(&record)),
            token: token.reveal(),
            trust_pem: self.parts.keyring.authority().pem().into(),
            agent_address: self.parts.agent_address.clone(),
            fleet: self.parts.keyring.fleet().to_owned(),
        }))
    }

    /// Lists the tokens that nobody revoked, also those that have expired or are used up, newest last.
    pub(super) async fn tell_join_tokens(
        &self,
        request: Request<v1::ListJoinTokensRequest>,
    ) -> Result<Response<v1::ListJoinTokensResponse>, Status> {
        let actor = caller(&request)?;
        let workspace = request.into_inner().workspace;
        let fleet = self.fleet();
        let there = || There {
            namespaces: fleet.join_tokens().map(|token| token.workspace.clone()).collect::<BTreeSet<_>>(),
            objects: Vec::new(),
        };
        let wanted = Wanted { namespace: &workspace, names: &[], there: &there };
        let reach = self.some_reach(&actor, Verb::List, Access::JoinTokens, wanted).await?;
        let mut tokens: Vec<&JoinTokenRecord> = fleet
            .join_tokens()
            .map(AsRef::as_ref)
            .filter(|token| token.revoked.is_none() && (workspace.is_empty() || token.workspace == workspace))
            .filter(|token| reach.covers_namespace(&token.workspace))
            .collect();
        tokens.sort_by_key(|token| (&token.workspace, token.created, token.id));
        let join_tokens = tokens.into_iter().map(tell).collect();
        Ok(Response::new(v1::ListJoinTokensResponse { join_tokens }))
    }

    pub(super) async fn void_join_token(
        &self,
        request: Request<v1::RevokeJoinTokenRequest>,
    ) -> Result<Response<v1::RevokeJoinTokenResponse>, Status> {
        let actor = caller(&request)?;
        let id = Uid::from_slice(&request.into_inner().id)
            .ok_or_else(|| status(ErrorCode::InvalidRequest, "a join token's id is a UUID"))?;
        let workspace = self.fleet().join_tokens().find(|token| token.id == id).map(|token| token.workspace.clone());
        // Whoever may do it nowhere is not told whether it is there.
        let workspace = workspace.unwrap_or_default();
        self.permit(&actor, Verb::Delete, Access::JoinTokens, &workspace, &id.to_string()).await?;
        let Answer::TokenRevoked = self.ask(&actor, Ask::RevokeJoinToken(RevokeJoinToken { id })).await? else {
            return Err(internal());
        };
        Ok(Response::new(v1::RevokeJoinTokenResponse {}))
    }
}

fn tell(record: &JoinTokenRecord) -> v1::JoinToken {
    v1::JoinToken {
        id: record.id.0.to_vec(),
        workspace: record.workspace.clone(),
        labels: record.labels.clone(),
        uses: record.uses,
        used: record.used,
        created_millis: record.created.0,
        expires_millis: record.expires.0,
        created_by: record.created_by.clone(),
        description: record.description.clone(),
    }
}
