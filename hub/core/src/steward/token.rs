//! Join tokens of a workspace: with one, clusters register by themselves, under labels that the token fixes.

use std::collections::BTreeMap;

use starling_model::limits::truncate_text;
use starling_model::{ErrorCode, Millis, Uid};

use super::adopt::{REMEMBERED, new_token};
use super::{Answer, AuditEntry, Context, Decision, Refusal};
use crate::change::Change;
use crate::fleet::Fleet;
use crate::records::JoinTokenRecord;
use crate::resources::{ClusterSpec, Document, Kind, ManagedCluster, Metadata, Resource};

/// The most clusters that one token lets in.
const USES_LIMIT: u32 = 100_000;

/// Tokens of one workspace at the same time, those that are void and remembered among them.
const TOKENS_PER_WORKSPACE: usize = 200;

/// The longest description, in bytes.
const DESCRIPTION_BYTES: usize = 256;

/// The making of a workspace's join token.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateJoinToken {
    /// The workspace that its clusters join.
    pub workspace: String,
    /// The labels that they get, whatever their agents say.
    pub labels: BTreeMap<String, String>,
    /// How many clusters may join with it, at least one.
    pub uses: u32,
    /// When it ends.
    pub expires: Millis,
    /// For people.
    pub description: String,
}

/// The voiding of a workspace's join token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeJoinToken {
    /// Which.
    pub id: Uid,
}

pub(super) fn create(fleet: &Fleet, create: &CreateJoinToken, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let invalid = |text: String| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    if fleet.workspace(&create.workspace).is_none() {
        return Err(Refusal::not_found(Kind::Workspace, &create.workspace));
    }
    if create.uses == 0 || create.uses > USES_LIMIT {
        return invalid(format!("a token lets between 1 and {USES_LIMIT} clusters in, not {}", create.uses));
    }
    if create.expires <= context.now {
        return invalid("the token would have expired already".to_owned());
    }
    check_labels(create)?;
    let mut changes: Vec<Change> = fleet
        .join_tokens()
        .filter(|token| is_forgettable(token, context.now))
        .map(|token| Change::DeleteJoinToken(token.hash))
        .collect();
    let is_kept = |token: &&std::sync::Arc<JoinTokenRecord>| {
        token.workspace == create.workspace && !is_forgettable(token, context.now)
    };
    if fleet.join_tokens().filter(is_kept).count() >= TOKENS_PER_WORKSPACE {
        let text = format!("workspace {} has {TOKENS_PER_WORKSPACE} join tokens: revoke some", create.workspace);
        return Err(Refusal::new(ErrorCode::LimitExceeded, text));
    }
    let token = new_token(fleet, context);
    let record = JoinTokenRecord {
        hash: token.hash(),
        id: context.new_uid(),
        workspace: create.workspace.clone(),
        labels: create.labels.clone(),
        uses: create.uses,
        used: 0,
        created: context.now,
        expires: create.expires,
        created_by: context.actor.clone(),
        description: truncate_text(&create.description, DESCRIPTION_BYTES),
        revoked: None,
    };
    changes.push(Change::PutJoinToken(record.clone()));
    let audit = audit(context, "join-token-made", &record);
    Ok(Decision { changes, position: context.position, answer: Answer::TokenCreated { token, record }, audit })
}

pub(super) fn revoke(fleet: &Fleet, revoke: &RevokeJoinToken, context: &Context<'_>) -> Result<Decision, Refusal> {
    let Some(token) = fleet.join_tokens().find(|token| token.id == revoke.id) else {
        let text = format!("join token {} does not exist: see `starling get tokens`", revoke.id);
        return Err(Refusal::new(ErrorCode::NotFound, text));
    };
    let (mut changes, mut audited) = (Vec::new(), Vec::new());
    if token.revoked.is_none() {
        let revoked = JoinTokenRecord { revoked: Some(context.now), ..(**token).clone() };
        audited = audit(context, "join-token-revoked", &revoked);
        changes.push(Change::PutJoinToken(revoked));
    }
    Ok(Decision { changes, position: context.position, answer: Answer::TokenRevoked, audit: audited })
}

/// Tells whether nobody needs to be told any more why a token is refused.
fn is_forgettable(token: &JoinTokenRecord, now: Millis) -> bool {
    let ended = token.revoked.map_or(token.expires, |revoked| revoked.min(token.expires));
    now >= ended.plus(REMEMBERED)
}

/// Checks the labels as those of the clusters that they are for.
fn check_labels(create: &CreateJoinToken) -> Result<(), Refusal> {
    let metadata = Metadata {
        name: "cluster".to_owned(),
        namespace: create.workspace.clone(),
        labels: create.labels.clone(),
        ..Metadata::default()
    };
    let document: ManagedCluster = Document { metadata, spec: ClusterSpec::default() };
    let checked = Resource::ManagedCluster(document).check();
    checked.map_err(|error| Refusal::new(ErrorCode::InvalidRequest, error.to_string()))
}

fn audit(context: &Context<'_>, action: &'static str, record: &JoinTokenRecord) -> Vec<AuditEntry> {
    let subject = format!("join token {}", record.id);
    let detail = format!("workspace {}, {} of {} uses", record.workspace, record.used, record.uses);
    vec![AuditEntry { actor: context.actor.clone(), action, subject, detail }]
}
