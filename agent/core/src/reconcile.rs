//! What one live object needs: to be created, changed, left alone or removed, and when to keep the hands off it.
//!
//! Owns the comparison of what is wanted with what is there, and the preconditions that every write carries. Does not
//! own the write: documents go to the API server by server-side apply under [`labels::APPLY_MANAGER`] (a create by
//! POST under the same name), patches of commands as merge patches under [`labels::COMMAND_MANAGER`].

use std::collections::BTreeSet;

use starling_model::fence::parse_stamp;
use starling_model::session::CommandVerb;
use starling_model::{Fence, Object, ObjectKey, Uid, Value, labels};

use crate::judge::{OPERATOR_RECONCILE, REQUESTED_AT, answers_requests, assignment_of, key_of};

/// Why an object is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A committed intent is carried out: what is not stamped with its fence is written.
    Write,
    /// What is held is checked: only drift is written.
    Repair,
}

/// What to do with an object that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyDecision {
    /// Create it, and only create it: an object that appeared meanwhile must be looked at again.
    Create(Value),
    /// Apply the document, which carries the UID and resourceVersion that were read.
    Patch {
        /// The document for server-side apply, with force.
        document: Value,
        /// A JSON merge patch to send before, where the object was created by POST: it turns the manager's entry into
        /// one of server-side apply, so that fields that a later revision leaves out do go.
        claim: Option<Value>,
        /// The first field that differs, such as `spec.interval`; `None` where only the stamp is older.
        drift: Option<String>,
    },
    /// It is as it should be; its UID.
    Nothing(String),
    /// It is being deleted; look again once it is gone.
    Wait,
    /// It is not ours to write.
    Refuse(Refusal),
}

/// What to do with an object that must go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteDecision {
    /// It is gone.
    Gone,
    /// Delete it under these preconditions.
    Delete {
        /// The UID that was read.
        uid: String,
        /// The resourceVersion that was read.
        resource_version: String,
    },
    /// It is being deleted; look again.
    Wait,
    /// It is not ours to remove, and counts as gone for this install.
    Refuse(Refusal),
}

/// Why an object is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another agent of this cluster acts under a newer fence; the inventory must be read again.
    #[error("it was written under the newer fence {0}")]
    NewerStamp(String),
    /// It lacks our labels, or carries those of another install.
    #[error(
        "an object of this name exists and is not Starling's; delete or rename it, or choose another instance name"
    )]
    NotOurs,
    /// Namespaces and CustomResourceDefinitions are never deleted.
    #[error("objects of this kind are never deleted")]
    NeverDeleted,
}

/// Decides what a wanted object needs. `known_uid` is the UID that the inventory remembers: an object with it is ours
/// even if somebody took the labels off.
#[must_use]
pub fn decide_apply(
    desired: &Object,
    live: Option<&Value>,
    fence: &Fence,
    known_uid: Option<&str>,
    purpose: Purpose,
) -> ApplyDecision {
    let mut document = desired.document().clone();
    set(&mut document, &["metadata", "annotations", labels::FENCE], Value::from(fence.stamp()));
    let Some(live) = live else { return ApplyDecision::Create(document) };
    if let Some(refusal) = newer_stamp(live, fence) {
        return ApplyDecision::Refuse(refusal);
    }
    let uid = uid_of(live);
    let instance = |object: &Value| instance_of(object).map(str::to_owned);
    let is_ours = assignment_of(live).is_some() && instance(live) == instance(desired.document());
    if !is_ours && known_uid != Some(uid) {
        return ApplyDecision::Refuse(Refusal::NotOurs);
    }
    if is_being_deleted(live) {
        return ApplyDecision::Wait;
    }
    let drift = drift(desired, live);
    let is_stamped = stamp_of(live) == Some(&fence.stamp());
    if drift.is_none() && (is_stamped || purpose == Purpose::Repair) {
        return ApplyDecision::Nothing(uid.to_owned());
    }
    set(&mut document, &["metadata", "uid"], Value::from(uid));
    set(&mut document, &["metadata", "resourceVersion"], Value::from(resource_version_of(live)));
    ApplyDecision::Patch { document, claim: claim_fields(live), drift }
}

/// Returns the first field of the desired document that the live object lacks or has otherwise, as a path.
///
/// What the desired document does not name does not count: defaults, status, what others manage, the fields of
/// commands. The fence's stamp never counts.
#[must_use]
pub fn drift(desired: &Object, live: &Value) -> Option<String> {
    let mut path = Vec::new();
    differs(desired.document(), Some(live), &mut path).then(|| path.join("."))
}

/// Decides what an object that must go needs; `owners` are the assignments whose label it may carry.
#[must_use]
pub fn decide_delete(
    key: &ObjectKey,
    live: Option<&Value>,
    owners: &BTreeSet<Uid>,
    instance: &str,
    fence: &Fence,
) -> DeleteDecision {
    if is_orphanable(key) {
        return DeleteDecision::Refuse(Refusal::NeverDeleted);
    }
    let Some(live) = live else { return DeleteDecision::Gone };
    let is_ours = key_of(live) == *key
        && assignment_of(live).is_some_and(|assignment| owners.contains(&assignment))
        && instance_of(live) == Some(instance);
    if !is_ours {
        return DeleteDecision::Refuse(Refusal::NotOurs);
    }
    if let Some(refusal) = newer_stamp(live, fence) {
        return DeleteDecision::Refuse(refusal);
    }
    if is_being_deleted(live) {
        return DeleteDecision::Wait;
    }
    DeleteDecision::Delete { uid: uid_of(live).to_owned(), resource_version: resource_version_of(live).to_owned() }
}

/// Tells whether objects of this kind stay behind when an install is removed: deleting one would take along what
/// others put into it.
#[must_use]
pub fn is_orphanable(key: &ObjectKey) -> bool {
    matches!(
        (key.group.as_str(), key.kind.as_str()),
        ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

/// Returns the merge patch that stamps a live object with a fence, bound to the resourceVersion that was read; `None`
/// if it is stamped so or newer. A new agent sends it for every object of an unfinished intent before it goes on.
#[must_use]
pub fn stamp_patch(live: &Value, fence: &Fence) -> Option<Value> {
    let wanted = (fence.era.number, fence.position.0);
    if stamp_of(live).and_then(parse_stamp).is_some_and(|stamp| stamp >= wanted) {
        return None;
    }
    let mut patch = preconditions(live);
    set(&mut patch, &["metadata", "annotations", labels::FENCE], Value::from(fence.stamp()));
    Some(patch)
}

/// Returns the merge patch that takes the stamp off an object that a detached agent leaves behind, so that another
/// fleet can adopt it; `None` if it carries none.
#[must_use]
pub fn unstamp_patch(live: &Value) -> Option<Value> {
    stamp_of(live)?;
    let mut patch = preconditions(live);
    set(&mut patch, &["metadata", "annotations", labels::FENCE], Value::Null);
    Some(patch)
}

/// Returns the merge patch that a command makes of one object.
///
/// # Errors
/// Why objects of this kind cannot do that, for people.
pub fn command_patch(verb: CommandVerb, key: &ObjectKey, token: &str) -> Result<Value, String> {
    let by_annotation = key.group == "fluxcd.controlplane.io";
    let can_suspend = by_annotation || !matches!(key.kind.as_str(), "ExternalArtifact" | "Provider");
    let mut patch = Value::empty_map();
    match verb {
        CommandVerb::Reconcile if answers_requests(&key.group, &key.kind) => {
            set(&mut patch, &["metadata", "annotations", REQUESTED_AT], Value::from(token));
        }
        CommandVerb::Reconcile => return Err(format!("{} does not answer requests to reconcile", key.kind)),
        CommandVerb::Suspend | CommandVerb::Resume if !can_suspend => {
            return Err(format!("{} cannot be suspended", key.kind));
        }
        CommandVerb::Suspend if by_annotation => {
            set(&mut patch, &["metadata", "annotations", OPERATOR_RECONCILE], Value::from("disabled"));
        }
        CommandVerb::Resume if by_annotation => {
            set(&mut patch, &["metadata", "annotations", OPERATOR_RECONCILE], Value::from("enabled"));
        }
        CommandVerb::Suspend => set(&mut patch, &["spec", "suspend"], Value::Bool(true)),
        CommandVerb::Resume => set(&mut patch, &["spec", "suspend"], Value::Bool(false)),
    }
    Ok(patch)
}

/// Returns the merge patch that turns the manager's entry of a create by POST into one of server-side apply.
fn claim_fields(live: &Value) -> Option<Value> {
    let entries = live.at(&["metadata", "managedFields"])?.as_list()?;
    let is = |entry: &Value, field: &str, text: &str| entry.get(field).and_then(Value::as_str) == Some(text);
    let ours = |entry: &&Value| is(entry, "manager", labels::APPLY_MANAGER) && entry.get("subresource").is_none();
    let created = entries.iter().filter(ours).find(|entry| is(entry, "operation", "Update"))?;
    let mut claimed = entries.iter().filter(ours).find(|entry| is(entry, "operation", "Apply")).cloned();
    match claimed.as_mut().and_then(|entry| member_mut(entry, "fieldsV1")) {
        Some(fields) => fields.merge(created.get("fieldsV1")?),
        None => {
            let mut entry = created.clone();
            set(&mut entry, &["operation"], Value::from("Apply"));
            claimed = Some(entry);
        }
    }
    let others = entries.iter().filter(|entry| !ours(entry)).cloned();
    let mut patch = preconditions(live);
    set(&mut patch, &["metadata", "managedFields"], Value::List(others.chain(claimed).collect()));
    Some(patch)
}

fn differs(desired: &Value, live: Option<&Value>, path: &mut Vec<String>) -> bool {
    match (desired, live) {
        (Value::Null, live) => !matches!(live, None | Some(Value::Null)),
        (Value::Map(members), Some(Value::Map(_)) | None) => {
            if live.is_none() && members.is_empty() {
                return false;
            }
            let skipped = |path: &[String], key: &str| path == ["metadata", "annotations"] && key == labels::FENCE;
            for (key, member) in members {
                if skipped(path, key) {
                    continue;
                }
                path.push(key.clone());
                if differs(member, live.and_then(|live| live.get(key)), path) {
                    return true;
                }
                path.pop();
            }
            false
        }
        (Value::List(items), None) => !items.is_empty(),
        (Value::List(items), Some(Value::List(live))) => {
            if items.len() != live.len() {
                return true;
            }
            for (index, (item, live)) in items.iter().zip(live).enumerate() {
                path.push(index.to_string());
                if differs(item, Some(live), path) {
                    return true;
                }
                path.pop();
            }
            false
        }
        // The API server keeps numbers, but whether 1 is written as 1 or as 1.0 is not the same everywhere.
        (Value::Float(number), Some(Value::Int(live))) => number.get() != *live as f64,
        (Value::Int(number), Some(Value::Float(live))) => live.get() != *number as f64,
        (desired, live) => live != Some(desired),
    }
}

fn newer_stamp(live: &Value, fence: &Fence) -> Option<Refusal> {
    let stamp = stamp_of(live)?;
    let newer = parse_stamp(stamp).is_some_and(|stamp| stamp > (fence.era.number, fence.position.0));
    newer.then(|| Refusal::NewerStamp(stamp.to_owned()))
}

fn preconditions(live: &Value) -> Value {
    let metadata = [("uid", uid_of(live)), ("resourceVersion", resource_version_of(live))];
    Value::map([("metadata", Value::map(metadata))])
}

fn set(document: &mut Value, path: &[&str], value: Value) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut target = document;
    for parent in parents {
        target = member_or_insert(target, parent);
    }
    *member_or_insert(target, last) = value;
}

fn member_or_insert<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    if !matches!(value, Value::Map(_)) {
        *value = Value::empty_map();
    }
    let Value::Map(map) = value else { unreachable!("the value was made a mapping above") };
    map.entry(key.to_owned()).or_default()
}

fn member_mut<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match value {
        Value::Map(map) => map.get_mut(key),
        _ => None,
    }
}

fn stamp_of(object: &Value) -> Option<&str> {
    object.at(&["metadata", "annotations", labels::FENCE])?.as_str()
}

fn instance_of(object: &Value) -> Option<&str> {
    object.at(&["metadata", "labels", labels::INSTANCE])?.as_str()
}

fn uid_of(object: &Value) -> &str {
    object.at(&["metadata", "uid"]).and_then(Value::as_str).unwrap_or_default()
}

fn resource_version_of(object: &Value) -> &str {
    object.at(&["metadata", "resourceVersion"]).and_then(Value::as_str).unwrap_or_default()
}

fn is_being_deleted(object: &Value) -> bool {
    object.at(&["metadata", "deletionTimestamp"]).is_some_and(|time| *time != Value::Null)
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
