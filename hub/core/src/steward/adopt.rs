//! Adopting a cluster: its ManagedCluster, and a token that lets its agent in once.

use std::collections::BTreeMap;
use std::time::Duration;

use starling_model::{ClusterId, ErrorCode, Millis};

use super::{Answer, AuditEntry, Context, Decision, Refusal};
use crate::change::Change;
use crate::enrolment::JoinToken;
use crate::fleet::{ClusterInput, Fleet};
use crate::records::{ClusterStage, InputRecord, TokenRecord};
use crate::resources::{ClusterSpec, Document, Kind, ManagedCluster, Metadata, Resource};

/// Unused tokens of one cluster at the same time; the oldest becomes void when there are more.
const TOKENS_PER_CLUSTER: usize = 5;

/// For how long an expired token is remembered, so that whoever shows it is told that it has expired.
pub(super) const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The adoption of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopt {
    /// The workspace.
    pub workspace: String,
    /// The cluster's name.
    pub name: String,
    /// Its labels; when the cluster is there already they must be these or empty.
    pub labels: BTreeMap<String, String>,
    /// When the token ends.
    pub expires: Millis,
    /// The file that the shell writes the document to, relative to the directory.
    pub file: String,
}

/// An adopted cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    /// The cluster.
    pub cluster: ClusterId,
    /// False when the ManagedCluster was there already.
    pub created: bool,
    /// The token; shown once and stored nowhere.
    pub token: JoinToken,
    /// When it ends.
    pub expires: Millis,
    /// The document that belongs in the file.
    pub document: Resource,
    /// The file; for a cluster that was there already, the one it is in.
    pub file: String,
}

pub(super) fn decide(fleet: &Fleet, adopt: &Adopt, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    if fleet.workspace(&adopt.workspace).is_none() {
        return Err(Refusal::not_found(Kind::Workspace, &adopt.workspace));
    }
    if adopt.expires <= context.now {
        return Err(Refusal::new(ErrorCode::InvalidRequest, "the token would have expired already"));
    }
    let mut changes = Vec::new();
    let mut actions = vec!["token-made"];
    let existing = fleet.cluster_named(&adopt.workspace, &adopt.name);
    let created = existing.is_none();
    let (cluster, record) = match existing {
        Some(cluster) => {
            check_existing(fleet, adopt, &cluster)?;
            (cluster.id, (*cluster.record).clone())
        }
        None => {
            let mut record = new_record(fleet, adopt, context)?;
            let key = record.resource.key();
            if let Some(deleted) = fleet.deleted(&key) {
                // Its document is still there, and takes the new text. An object has no file.
                if deleted.origin.is_none() {
                    record.file.clone_from(&deleted.file);
                }
                changes.push(Change::DeleteDeleted(key));
            }
            changes.push(Change::PutInput(record.clone()));
            actions.insert(0, "cluster-adopted");
            (ClusterId::derive(fleet.name(), &adopt.workspace, &adopt.name), record)
        }
    };
    let token = new_token(fleet, context);
    changes.extend(tokens_to_forget(fleet, cluster, context.now));
    changes.push(Change::PutToken(TokenRecord {
        hash: token.hash(),
        cluster,
        workspace: adopt.workspace.clone(),
        created: context.now,
        expires: adopt.expires,
        used_by: None,
    }));
    let (document, file) = (record.resource.clone(), record.file);
    let subject = record.resource.key().to_string();
    let entry = |action| AuditEntry {
        actor: context.actor.clone(),
        action,
        subject: subject.clone(),
        detail: format!("cluster {cluster}"),
    };
    let audit = actions.into_iter().map(entry).collect();
    let answer = Answer::Adopted(Adopted { cluster, created, token, expires: adopt.expires, document, file });
    Ok(Decision { changes, position: context.position, answer, audit })
}

fn check_existing(fleet: &Fleet, adopt: &Adopt, cluster: &ClusterInput) -> Result<(), Refusal> {
    let conflict = |text: String| Err(Refusal::new(ErrorCode::Conflict, text));
    let document = cluster.document();
    let first = fleet.cluster(cluster.id).map(|first| first.name());
    if let Some(first) = first.filter(|first| *first != cluster.name()) {
        return conflict(format!("cluster {} is already managed as {first}: use that name", cluster.id));
    }
    if document.spec.revoked {
        return conflict(format!("cluster {} is revoked: remove `revoked: true` first", cluster.name()));
    }
    let stage = fleet.identity(cluster.id).map(|record| record.stage);
    if matches!(stage, Some(ClusterStage::Removing { .. } | ClusterStage::Detaching { .. })) {
        let text = "is being detached: wait for its agent, or run `starling detach cluster` with --forget";
        return conflict(format!("cluster {} {text}", cluster.name()));
    }
    if !adopt.labels.is_empty() && adopt.labels != document.metadata.labels {
        let text = "exists with other labels: edit them in its document";
        return conflict(format!("cluster {} {text} in {}", cluster.name(), cluster.record.file));
    }
    Ok(())
}

fn new_record(fleet: &Fleet, adopt: &Adopt, context: &mut Context<'_>) -> Result<InputRecord, Refusal> {
    let metadata = Metadata {
        name: adopt.name.clone(),
        namespace: adopt.workspace.clone(),
        labels: adopt.labels.clone(),
        ..Metadata::default()
    };
    new_cluster(fleet, metadata, adopt.file.clone(), context)
}

/// Makes the record of a ManagedCluster that is new, with its identity written out.
pub(super) fn new_cluster(
    fleet: &Fleet,
    metadata: Metadata,
    file: String,
    context: &mut Context<'_>,
) -> Result<InputRecord, Refusal> {
    let mut document: ManagedCluster = Document { metadata, spec: ClusterSpec::default() };
    let id = document.id(fleet.name());
    document.spec.id = Some(id);
    let resource = Resource::ManagedCluster(document);
    resource.check().map_err(|error| Refusal::new(ErrorCode::InvalidRequest, error.to_string()))?;
    if let Some(other) = fleet.cluster(id) {
        let text = format!("cluster {id} is already managed as {}", other.name());
        return Err(Refusal::new(ErrorCode::Conflict, text));
    }
    Ok(InputRecord {
        uid: context.new_uid(),
        digest: resource.digest(),
        resource,
        file,
        missing: None,
        since: context.now,
        judged: false,
        origin: None,
    })
}

pub(super) fn new_token(fleet: &Fleet, context: &mut Context<'_>) -> JoinToken {
    let mut secret = [0; 32];
    context.entropy.fill(&mut secret);
    JoinToken::new(fleet.name(), secret)
}

fn tokens_to_forget(fleet: &Fleet, cluster: ClusterId, now: Millis) -> Vec<Change> {
    let is_remembered = |token: &TokenRecord| now < token.expires.plus(REMEMBERED);
    let ended = fleet.tokens_by_end().take_while(|token| !is_remembered(token));
    let mut forget: Vec<Change> = ended.map(|token| Change::DeleteToken(token.hash)).collect();
    let own = fleet.tokens_of(cluster).filter(|token| token.used_by.is_none() && is_remembered(token));
    let mut unused: Vec<&TokenRecord> = own.map(|token| &**token).collect();
    unused.sort_by_key(|token| (token.created, token.hash));
    let surplus = (unused.len() + 1).saturating_sub(TOKENS_PER_CLUSTER);
    forget.extend(unused.into_iter().take(surplus).map(|token| Change::DeleteToken(token.hash)));
    forget
}
