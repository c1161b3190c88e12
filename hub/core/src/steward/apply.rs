//! What applying documents does, told before the files are written.

use std::collections::BTreeMap;

use starling_model::ErrorCode;

use super::draft::Draft;
use super::{Answer, ApplyResources, Checked, Context, Decision, Outcome, Refusal};
use crate::change::Change;
use crate::fleet::Fleet;
use crate::resources::{InputKey, Kind, PLATFORM_NAMESPACE, Resource};

/// Checks the documents as a whole, against each other and the fleet; what was deleted may then come back.
pub(super) fn decide(fleet: &Fleet, apply: &ApplyResources, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let mut seen: BTreeMap<InputKey, &Resource> = BTreeMap::new();
    for resource in &apply.resources {
        let key = resource.key();
        resource.check().map_err(|error| invalid(&key, &error.to_string()))?;
        if seen.insert(key.clone(), resource).is_some() {
            return Err(invalid(&key, "it is there twice"));
        }
    }
    let mut draft = Draft::new(fleet, context);
    let mut checked = Vec::new();
    for (key, resource) in &seen {
        check_workspace(fleet, key, &seen)?;
        check_cluster(fleet, key, resource)?;
        let existing = fleet.input(key);
        let outcome = match existing {
            None => Outcome::Created,
            Some(record) if record.digest == resource.digest() && record.missing.is_none() => Outcome::Unchanged,
            Some(_) => Outcome::Configured,
        };
        checked.push(Checked { key: key.clone(), outcome, file: existing.map(|record| record.file.clone()) });
        if apply.dry_run || outcome == Outcome::Unchanged {
            continue;
        }
        draft.audit("applied", key, if outcome == Outcome::Created { "created" } else { "configured" });
        if fleet.deleted(key).is_some() {
            draft.change(Change::DeleteDeleted(key.clone()));
        }
    }
    Ok(draft.decision(Answer::Checked(checked), context))
}

fn check_workspace(fleet: &Fleet, key: &InputKey, applied: &BTreeMap<InputKey, &Resource>) -> Result<(), Refusal> {
    let namespace = &key.namespace;
    let exists = namespace.is_empty()
        || namespace == PLATFORM_NAMESPACE
        || fleet.workspace(namespace).is_some()
        || applied.contains_key(&InputKey::new(Kind::Workspace, "", namespace.as_str()));
    if exists {
        return Ok(());
    }
    Err(invalid(key, &format!("workspace {namespace} does not exist: apply a Workspace document of that name with it")))
}

/// Refuses another identity for a cluster, and another name for an identity.
fn check_cluster(fleet: &Fleet, key: &InputKey, resource: &Resource) -> Result<(), Refusal> {
    let Resource::ManagedCluster(cluster) = resource else { return Ok(()) };
    let id = cluster.id(fleet.name());
    if let Some(known) = fleet.cluster_named(&key.namespace, &key.name).filter(|known| known.id != id) {
        let text = format!("spec.id is immutable: it is {}, not {id}", known.id);
        return Err(Refusal::new(ErrorCode::Conflict, format!("{key}: {text}")));
    }
    // A name whose document has gone gives way: that is a move.
    let is_there = |claim: &InputKey| fleet.input(claim).is_some_and(|record| record.missing.is_none());
    let other = fleet.claims(id).find(|claim| *claim != key && is_there(claim));
    match other {
        None => Ok(()),
        Some(other) => {
            let text = format!("cluster {id} is already managed as {}", other.qualified());
            Err(Refusal::new(ErrorCode::Conflict, format!("{key}: {text}")))
        }
    }
}

fn invalid(key: &InputKey, message: &str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, format!("{key}: {message}"))
}
