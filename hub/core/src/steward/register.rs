//! Clusters that register by themselves, with a join token of their workspace.
//!
//! The name is the agent's wish, everything else is the token's. A document that waited for its cluster keeps its labels.

use starling_model::ids::check_label;
use starling_model::{ClusterId, ErrorCode, ResourceName, labels};

use super::adopt::new_cluster;
use super::join::{check_fingerprint, identify};
use super::{Answer, AuditEntry, Context, Decision, Join, Refusal};
use crate::change::Change;
use crate::enrolment::CredentialRefusal;
use crate::fleet::{ClusterInput, Fleet};
use crate::records::{ClusterStage, InputRecord, JoinTokenRecord};
use crate::resources::{InputKey, Kind, Metadata};

/// Lets a cluster in under the name that it wants. A repetition by the same cluster spends no second use.
pub(super) fn register(
    fleet: &Fleet,
    join: &Join,
    token: &JoinTokenRecord,
    context: &mut Context<'_>,
) -> Result<Decision, Refusal> {
    check_token(fleet, token, context)?;
    let key = wanted_key(join, token)?;
    let waiting = fleet.cluster_named(&key.namespace, &key.name);
    let id = waiting
        .as_ref()
        .map_or_else(|| ClusterId::derive(fleet.name(), &key.namespace, &key.name), |waiting| waiting.id);
    check_name(fleet, id, &key.resource_name(), waiting.as_ref())?;
    let is_repetition = check_identity(fleet, id, join, token)?;
    check_fingerprint(fleet, id, &join.fingerprint)?;
    if !is_repetition && token.used >= token.uses {
        return Err(Refusal::credential(CredentialRefusal::TokenExhausted));
    }
    let mut changes = Vec::new();
    let record = match waiting {
        Some(waiting) => (*waiting.record).clone(),
        None => {
            let mut record = new_record(fleet, &key, token, context)?;
            if let Some(deleted) = fleet.deleted(&key) {
                if deleted.origin.is_none() {
                    record.file.clone_from(&deleted.file);
                }
                changes.push(Change::DeleteDeleted(key.clone()));
            }
            changes.push(Change::PutInput(record.clone()));
            record
        }
    };
    changes.extend(identify(fleet, id, Some(key.resource_name()), join, Some(token.id), context));
    if !is_repetition {
        changes.push(Change::PutJoinToken(JoinTokenRecord { used: token.used + 1, ..token.clone() }));
    }
    let audit = if changes.is_empty() {
        Vec::new()
    } else {
        let detail = format!("cluster {id}, join token {}", token.id);
        vec![AuditEntry {
            actor: context.actor.clone(),
            action: "cluster-registered",
            subject: key.to_string(),
            detail,
        }]
    };
    // One that somebody moved to another file is there.
    let is_in_its_place = record.origin.is_some() || record.file == key.own_file();
    let put = (is_of(&record, token) && is_in_its_place).then(|| Box::new(record.resource));
    let answer = Answer::Admitted { cluster: id, name: Some(key.resource_name()), put };
    Ok(Decision { changes, position: context.position, answer, audit })
}

fn check_token(fleet: &Fleet, token: &JoinTokenRecord, context: &Context<'_>) -> Result<(), Refusal> {
    if token.revoked.is_some() {
        return Err(Refusal::credential(CredentialRefusal::TokenRevoked));
    }
    if context.now >= token.expires {
        return Err(Refusal::credential(CredentialRefusal::TokenExpired));
    }
    if fleet.workspace(&token.workspace).is_none() {
        let message = format!("workspace {} of the token does not exist any more", token.workspace);
        return Err(Refusal { message, ..Refusal::credential(CredentialRefusal::TokenForeign) });
    }
    Ok(())
}

fn wanted_key(join: &Join, token: &JoinTokenRecord) -> Result<InputKey, Refusal> {
    let invalid = |message: String| Refusal {
        code: ErrorCode::InvalidRequest,
        message,
        credential: Some(CredentialRefusal::NameInvalid),
    };
    if join.cluster_name.is_empty() {
        return Err(invalid(CredentialRefusal::NameInvalid.to_string()));
    }
    check_label(&join.cluster_name).map_err(|error| invalid(format!("cluster name: {error}")))?;
    if join.fingerprint.is_empty() {
        // Without it nobody could tell this cluster from another that wants the same name.
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "the UID of the cluster's kube-system namespace is missing",
        ));
    }
    Ok(InputKey::new(Kind::ManagedCluster, token.workspace.as_str(), join.cluster_name.as_str()))
}

/// Refuses a name that stands for nothing, for another cluster, or for one that is revoked.
fn check_name(
    fleet: &Fleet,
    id: ClusterId,
    name: &ResourceName,
    waiting: Option<&ClusterInput>,
) -> Result<(), Refusal> {
    if let Some(first) = fleet.cluster(id).map(|first| first.name()).filter(|first| first != name) {
        let message = format!("cluster {id} of that name is managed as {first} already: choose another name");
        return Err(Refusal { message, ..Refusal::credential(CredentialRefusal::NameTaken) });
    }
    if waiting.is_some_and(|waiting| waiting.document().spec.revoked) {
        return Err(Refusal::credential(CredentialRefusal::ClusterRevoked));
    }
    Ok(())
}

/// Tells whether the very cluster has joined before; refuses whoever may not have its identity.
fn check_identity(fleet: &Fleet, id: ClusterId, join: &Join, token: &JoinTokenRecord) -> Result<bool, Refusal> {
    let refuse = |reason| Err(Refusal::credential(reason));
    // An agent that still runs in a cluster that was detached has the token at hand: that must not bring it back.
    let was_let_go = fleet
        .identities_with(&join.fingerprint)
        .any(|record| matches!(record.stage, ClusterStage::Detached { since } if since >= token.created));
    if was_let_go {
        return refuse(CredentialRefusal::ClusterDetached);
    }
    let Some(known) = fleet.identity(id) else { return Ok(false) };
    if known.revoked_keys.contains(&join.key) {
        return refuse(CredentialRefusal::KeyUnknown);
    }
    match known.stage {
        ClusterStage::Detached { .. } => Ok(false),
        ClusterStage::Removing { .. } | ClusterStage::Detaching { .. } => refuse(CredentialRefusal::ClusterDetached),
        ClusterStage::Attached if known.fingerprint != join.fingerprint => refuse(CredentialRefusal::NameTaken),
        // A lost answer, or an agent that was installed anew with what its cluster was made with.
        ClusterStage::Attached if known.keys.contains(&join.key) || known.joined_with == Some(token.id) => Ok(true),
        ClusterStage::Attached => refuse(CredentialRefusal::KeyUnknown),
    }
}

fn new_record(
    fleet: &Fleet,
    key: &InputKey,
    token: &JoinTokenRecord,
    context: &mut Context<'_>,
) -> Result<InputRecord, Refusal> {
    let metadata = Metadata {
        name: key.name.clone(),
        namespace: key.namespace.clone(),
        labels: token.labels.clone(),
        annotations: [(labels::JOINED_WITH.to_owned(), token.id.to_string())].into(),
    };
    new_cluster(fleet, metadata, key.own_file(), context)
}

/// Tells whether a ManagedCluster was made by joining with a token, so that it is the hub's to write.
fn is_of(record: &InputRecord, token: &JoinTokenRecord) -> bool {
    record.resource.metadata().annotations.get(labels::JOINED_WITH) == Some(&token.id.to_string())
}
