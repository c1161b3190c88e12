//! One object in the cluster, brought to where it should be: read, decided by the core, written under preconditions.
//!
//! An answer of Conflict means that somebody else wrote in between: the object is read again and decided anew.

use std::collections::BTreeSet;

use starling_agent_core::inventory::HeldInstall;
use starling_agent_core::reconcile::{
    ApplyDecision, DeleteDecision, Purpose, Refusal, decide_apply, decide_delete, stamp_patch, unstamp_patch,
};
use starling_model::{Fence, Object, ObjectKey, Uid, Value, labels};

use crate::cluster::{ClusterApi, ClusterError, Preconditions, ResourceRef};

/// How often an object is decided anew after a conflict, before it waits for its next turn.
const ATTEMPTS: u32 = 5;

/// What became of an object that is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is as it should be; its UID, and what had drifted if it was put back.
    Done {
        /// `metadata.uid`.
        uid: String,
        /// What had drifted, for people.
        repaired: Option<String>,
    },
    /// It is being deleted by somebody and is made again once it is gone.
    Wait,
}

/// What became of an object that must go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Removed {
    /// It is gone, or was never ours.
    Gone,
    /// It goes, but is not gone yet.
    Wait,
}

/// Why an object was not brought to where it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ObjectError {
    /// The API server, or the object's owner, says no; for people.
    #[error("{0}")]
    Rejected(String),
    /// Another agent acts under a newer fence.
    #[error("{0}")]
    Superseded(String),
    /// No answer; a later attempt may get one.
    #[error("{0}")]
    Unavailable(String),
}

/// Reads an object; `None` where there is none, or no such kind.
pub(super) async fn read(cluster: &dyn ClusterApi, resource: &ResourceRef) -> Result<Option<Value>, ObjectError> {
    match cluster.get(resource).await {
        Ok(live) => Ok(Some(live)),
        Err(ClusterError::NotFound) => Ok(None),
        Err(error) => Err(failure(&resource.key, error)),
    }
}

/// Makes an object as it is wanted.
pub(super) async fn write(
    cluster: &dyn ClusterApi,
    object: &Object,
    fence: &Fence,
    known_uid: Option<&str>,
    purpose: Purpose,
) -> Result<Written, ObjectError> {
    let key = object.key();
    let resource = ResourceRef { api_version: Some(object.api_version().to_owned()), key: key.clone() };
    for _ in 0..ATTEMPTS {
        let live = read(cluster, &resource).await?;
        let (answer, drift) = match decide_apply(object, live.as_ref(), fence, known_uid, purpose) {
            ApplyDecision::Nothing(uid) => return Ok(Written::Done { uid, repaired: None }),
            ApplyDecision::Wait => return Ok(Written::Wait),
            ApplyDecision::Refuse(refusal) => return Err(refused(key, &refusal)),
            ApplyDecision::Create(document) => (cluster.create(&document).await, Some("deleted".to_owned())),
            ApplyDecision::Patch { document, claim, drift } => {
                (patch(cluster, &resource, document, claim).await, drift)
            }
        };
        match answer {
            Ok(stored) => {
                let repaired = drift.filter(|_| purpose == Purpose::Repair).map(|field| format!("{key}: {field}"));
                return Ok(Written::Done { uid: Preconditions::of(&stored).uid, repaired });
            }
            Err(ClusterError::Conflict(_)) => {}
            Err(ClusterError::NotFound) => {
                let version = object.api_version();
                return Err(ObjectError::Rejected(format!("{key}: the cluster has no kind {} in {version}", key.kind)));
            }
            Err(error) => return Err(failure(key, error)),
        }
    }
    Err(ObjectError::Unavailable(format!("{key}: others keep changing it")))
}

async fn patch(
    cluster: &dyn ClusterApi,
    resource: &ResourceRef,
    mut document: Value,
    claim: Option<Value>,
) -> Result<Value, ClusterError> {
    if let Some(claim) = claim {
        let claimed = cluster.merge_patch(resource, &claim, labels::APPLY_MANAGER).await?;
        let version = Preconditions::of(&claimed).resource_version;
        if let Value::Map(fields) = &mut document
            && let Some(Value::Map(metadata)) = fields.get_mut("metadata")
        {
            metadata.insert("resourceVersion".to_owned(), Value::from(version));
        }
    }
    cluster.apply(&document).await
}

/// Removes an object that belongs to one of the owners' installs of this name.
pub(super) async fn remove(
    cluster: &dyn ClusterApi,
    key: &ObjectKey,
    owners: &BTreeSet<Uid>,
    instance: &str,
    fence: &Fence,
) -> Result<Removed, ObjectError> {
    let resource = ResourceRef::any_version(key.clone());
    for _ in 0..ATTEMPTS {
        let live = read(cluster, &resource).await?;
        match decide_delete(key, live.as_ref(), owners, instance, fence) {
            DeleteDecision::Gone => return Ok(Removed::Gone),
            DeleteDecision::Wait => return Ok(Removed::Wait),
            DeleteDecision::Refuse(refusal @ Refusal::NewerStamp(_)) => return Err(refused(key, &refusal)),
            DeleteDecision::Refuse(refusal @ (Refusal::NotOurs | Refusal::NeverDeleted)) => {
                tracing::info!(object = %key, %refusal, "object is left where it is");
                return Ok(Removed::Gone);
            }
            DeleteDecision::Delete { uid, resource_version } => {
                match cluster.delete(&resource, &Preconditions { uid, resource_version }).await {
                    // Read again: it may be gone at once, or wait for its finalizers.
                    Ok(()) | Err(ClusterError::Conflict(_) | ClusterError::NotFound) => {}
                    Err(error) => return Err(failure(key, error)),
                }
            }
        }
    }
    Ok(Removed::Wait)
}

/// Stamps a live object with a fence, so that an older agent's preconditions fail.
pub(super) async fn stamp(cluster: &dyn ClusterApi, key: &ObjectKey, fence: &Fence) -> Result<(), ObjectError> {
    change(cluster, key, |live| stamp_patch(live, fence)).await
}

/// Takes the stamp off a live object.
pub(super) async fn unstamp(cluster: &dyn ClusterApi, key: &ObjectKey) -> Result<(), ObjectError> {
    change(cluster, key, unstamp_patch).await
}

async fn change(
    cluster: &dyn ClusterApi,
    key: &ObjectKey,
    patch: impl Fn(&Value) -> Option<Value>,
) -> Result<(), ObjectError> {
    let resource = ResourceRef::any_version(key.clone());
    for _ in 0..ATTEMPTS {
        let Some(live) = read(cluster, &resource).await? else { return Ok(()) };
        let Some(patch) = patch(&live) else { return Ok(()) };
        match cluster.merge_patch(&resource, &patch, labels::APPLY_MANAGER).await {
            Ok(_) => return Ok(()),
            Err(ClusterError::Conflict(_) | ClusterError::NotFound) => {}
            Err(error) => return Err(failure(key, error)),
        }
    }
    Err(ObjectError::Unavailable(format!("{key}: others keep changing it")))
}

/// Tells whether everything of a render is Ready, by the API server's own present word.
pub(super) async fn all_ready(cluster: &dyn ClusterApi, held: &HeldInstall) -> Result<bool, ObjectError> {
    for object in &held.render.objects {
        let resource = ResourceRef { api_version: Some(object.api_version().to_owned()), key: object.key().clone() };
        let Some(live) = read(cluster, &resource).await? else { return Ok(false) };
        let health = starling_agent_core::judge::judge(&live, 0).health;
        if !matches!(health, starling_model::Health::Ready | starling_model::Health::None) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn refused(key: &ObjectKey, refusal: &Refusal) -> ObjectError {
    let message = format!("{key}: {refusal}");
    match refusal {
        Refusal::NewerStamp(_) => ObjectError::Superseded(message),
        Refusal::NotOurs | Refusal::NeverDeleted => ObjectError::Rejected(message),
    }
}

fn failure(key: &ObjectKey, error: ClusterError) -> ObjectError {
    match error {
        ClusterError::Unavailable(message) => ObjectError::Unavailable(message),
        error @ (ClusterError::NotFound | ClusterError::Conflict(_) | ClusterError::Rejected(_)) => {
            ObjectError::Rejected(format!("{key}: {error}"))
        }
    }
}
