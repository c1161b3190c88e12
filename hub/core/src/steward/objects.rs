//! Copying the objects of a Kubernetes API as they change: a few at a time, never the whole.
//!
//! An object that is not there is not deleted (invariant I1): its resource stays, marked *source missing*. What tells that it
//! was meant to go is a deletion under our finalizer ([`super::evidence`]).

use std::collections::BTreeSet;

use super::draft::Draft;
use super::settle::settle;
use super::take::{self, Found, Source, take, withdraw_deletions};
use super::{Answer, Context, Decision, Refusal, Synced};
use crate::change::Change;
use crate::fleet::{Fleet, Problem};
use crate::records::{InputRecord, ObjectOrigin};
use crate::resources::{InputKey, Resource};

/// Objects that changed, each once, as they are now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncObjects {
    /// Those that are there and not being deleted.
    pub present: Vec<SourceObject>,
    /// Those that are not there.
    pub gone: BTreeSet<InputKey>,
}

/// An object as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceObject {
    /// What it says.
    pub resource: Resource,
    /// Which object, of which generation.
    pub origin: ObjectOrigin,
    /// Who wrote its specification last, as the API knows it, for the audit record.
    pub manager: String,
}

pub(super) fn decide(fleet: &Fleet, sync: &SyncObjects, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(fleet, context);
    let mut synced = Synced::default();
    for object in &sync.present {
        let SourceObject { resource, origin, manager } = object;
        let found = Found { file: "", line: 0, resource, origin: Some(origin), detail: manager };
        if let Err(error) = resource.check() {
            let next = "correct the object; until then nothing of it changes";
            synced.refuse(&found, Problem::new(resource.key(), error.to_string(), next));
            continue;
        }
        take(&mut draft, context, sync, &found, &mut synced);
    }
    for key in &sync.gone {
        if fleet.deleted(key).is_some() {
            draft.change(Change::DeleteDeleted(key.clone()));
        }
        vanish(&mut draft, context, key, &mut synced);
    }
    take::finish(&mut draft, context);
    settle(&mut draft, context);
    withdraw_deletions(&mut draft, context);
    Ok(draft.decision(Answer::Synced(synced), context))
}

/// Marks a resource whose object is not there, unless its cluster has another name by now.
fn vanish(draft: &mut Draft<'_>, context: &Context<'_>, key: &InputKey, synced: &mut Synced) {
    let Some(record) = draft.after.input(key).filter(|record| record.missing.is_none()).cloned() else { return };
    synced.changed += 1;
    if let Some(moved_to) = other_name(&draft.after, &record) {
        draft.audit("cluster-moved", key, format!("to {}", moved_to.qualified()));
        draft.change(Change::DeleteInput(key.clone()));
        return;
    }
    draft.audit("source-missing", key, "its object is not there");
    draft.change(Change::PutInput(InputRecord { missing: Some(context.now), ..(*record).clone() }));
}

/// Returns the other name under which a cluster is managed, if its document is there.
pub(super) fn other_name(fleet: &Fleet, record: &InputRecord) -> Option<InputKey> {
    let Resource::ManagedCluster(cluster) = &record.resource else { return None };
    let key = record.resource.key();
    let is_there = |claim: &&InputKey| fleet.input(claim).is_some_and(|record| record.missing.is_none());
    fleet.claims(cluster.id(fleet.name())).filter(|claim| **claim != key).find(is_there).cloned()
}

impl Source for SyncObjects {
    fn is_absent(&self, record: &InputRecord) -> bool {
        record.missing.is_some() || self.gone.contains(&record.resource.key())
    }

    fn is_unreadable(&self, _: &str) -> bool {
        false
    }
}
