//! Copying the directory: documents that came, changed or vanished.
//!
//! What is not there is not deleted (invariant I1): its resource stays, marked *source missing*. What cannot be read is not even
//! missing. A deleted resource whose document is still there stays deleted until that document goes or changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::delete::{by_document, check_deletable, remove_input};
use super::draft::Draft;
use super::settle::settle;
use super::{Answer, Context, Decision, DocumentProblem, Refusal, SyncInputs, Synced, detach};
use crate::change::Change;
use crate::fleet::{Fleet, Problem};
use crate::records::InputRecord;
use crate::resources::{InputKey, Kind, Resource};

pub(super) fn decide(fleet: &Fleet, sync: &SyncInputs, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let reading = Reading::of(fleet, sync);
    let mut draft = Draft::new(fleet, context);
    let mut synced = Synced { problems: reading.problems, changed: 0 };
    for (key, found) in &reading.taken {
        take(&mut draft, context, sync, &reading.named, key, found, &mut synced);
    }
    for record in fleet.inputs() {
        let key = record.resource.key();
        if reading.named.contains(&key) || is_unreadable(sync, &record.file) || record.missing.is_some() {
            continue;
        }
        // A move has taken its place.
        if draft.after.input(&key).is_none() {
            continue;
        }
        draft.audit("source-missing", &key, format!("no longer in {}", record.file));
        draft.change(Change::PutInput(InputRecord { missing: Some(context.now), ..(**record).clone() }));
        synced.changed += 1;
    }
    for record in fleet.all_deleted() {
        // A directory without any file is no evidence either: it may be a volume that is not mounted.
        let is_gone = !reading.named.contains(&record.key) && !is_unreadable(sync, &record.file);
        if is_gone && !sync.files.is_empty() {
            draft.change(Change::DeleteDeleted(record.key.clone()));
        }
    }
    judge_tombstone_documents(&mut draft, context);
    settle(&mut draft, context);
    Ok(draft.decision(Answer::Synced(synced), context))
}

fn is_unreadable(sync: &SyncInputs, file: &str) -> bool {
    sync.files.get(file).is_some_and(|file| file.unreadable)
        || sync.unlisted.iter().any(|folder| folder.is_empty() || Path::new(file).starts_with(folder))
}

/// One document of the directory.
struct Found<'a> {
    file: &'a str,
    line: u64,
    resource: &'a Resource,
}

/// The documents of the directory, each resource once.
struct Reading<'a> {
    taken: BTreeMap<InputKey, Found<'a>>,
    /// Every resource that a document names, also one that was not taken.
    named: BTreeSet<InputKey>,
    problems: Vec<DocumentProblem>,
}

impl<'a> Reading<'a> {
    fn of(fleet: &Fleet, sync: &'a SyncInputs) -> Self {
        let mut reading = Self { taken: BTreeMap::new(), named: BTreeSet::new(), problems: Vec::new() };
        for (file, content) in &sync.files {
            for (line, resource) in &content.documents {
                reading.add(fleet, Found { file, line: *line, resource });
            }
        }
        reading
    }

    fn add(&mut self, fleet: &Fleet, found: Found<'a>) {
        let key = found.resource.key();
        self.named.insert(key.clone());
        // What was taken before was checked then, and the directory is read whole each time.
        let is_known = fleet.input(&key).is_some_and(|record| record.resource == *found.resource);
        if !is_known && let Err(error) = found.resource.check() {
            self.problem(&found, error.to_string(), "correct the document; until then nothing of it changes");
            return;
        }
        let Some(other) = self.taken.get(&key) else {
            self.taken.insert(key, found);
            return;
        };
        // The document that is known already stays, so that a copy in another file changes nothing.
        let known = fleet.input(&key).map(|record| record.file.as_str());
        let replaces = known == Some(found.file) && known != Some(other.file);
        let loser = if replaces { self.taken.insert(key.clone(), found) } else { Some(found) };
        let (Some(loser), Some(winner)) = (loser, self.taken.get(&key)) else { return };
        let text = format!("it is also in {} at line {}, which counts", winner.file, winner.line);
        self.problem(&loser, text, "remove one of the two documents");
    }

    fn problem(&mut self, found: &Found<'_>, message: String, next: &str) {
        let problem = Problem::new(found.resource.key(), message, next);
        self.problems.push(DocumentProblem { file: found.file.to_owned(), line: found.line, problem });
    }
}

fn take(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    sync: &SyncInputs,
    named: &BTreeSet<InputKey>,
    key: &InputKey,
    found: &Found<'_>,
    synced: &mut Synced,
) {
    let known = draft.after.input(key).cloned();
    let own_file = known.as_ref().map(|record| record.file.as_str());
    let own_file = own_file.or_else(|| draft.after.deleted(key).map(|record| record.file.as_str()));
    if let Some(own_file) = own_file.filter(|own_file| *own_file != found.file && is_unreadable(sync, own_file)) {
        let text = format!("its own file {own_file} cannot be read; this copy is not taken");
        let problem = Problem::new(key.clone(), text, format!("make {own_file} readable, or remove it"));
        synced.problems.push(DocumentProblem { file: found.file.to_owned(), line: found.line, problem });
        return;
    }
    let digest = match &known {
        Some(known) if known.resource == *found.resource => known.digest,
        Some(_) | None => found.resource.digest(),
    };
    if let Some(deleted) = draft.after.deleted(key) {
        if deleted.digest == digest {
            return;
        }
        draft.change(Change::DeleteDeleted(key.clone()));
    }
    if let Some(message) = changed_identity(draft, key, found.resource) {
        let next = "restore spec.id, or detach the cluster and adopt it again";
        let problem = Problem::new(key.clone(), message, next);
        synced.problems.push(DocumentProblem { file: found.file.to_owned(), line: found.line, problem });
        return;
    }
    let record = match &known {
        Some(known) => InputRecord {
            resource: found.resource.clone(),
            file: found.file.to_owned(),
            missing: None,
            digest,
            judged: known.judged && known.digest == digest,
            ..(**known).clone()
        },
        None => InputRecord {
            uid: context.new_uid(),
            resource: found.resource.clone(),
            file: found.file.to_owned(),
            missing: None,
            digest,
            since: context.now,
            judged: false,
        },
    };
    if known.as_deref() == Some(&record) {
        return;
    }
    let action = match &known {
        None => "created",
        Some(known) if known.digest != digest => "configured",
        Some(_) => "source-found",
    };
    draft.audit(action, key, found.file);
    make_room(draft, sync, named, found.resource);
    draft.change(Change::PutInput(record));
    synced.changed += 1;
}

fn changed_identity(draft: &Draft<'_>, key: &InputKey, resource: &Resource) -> Option<String> {
    let Resource::ManagedCluster(cluster) = resource else { return None };
    let known = draft.after.cluster_named(&key.namespace, &key.name)?;
    let id = cluster.id(draft.after.name());
    (known.id != id).then(|| format!("spec.id is immutable: it is {}, not {id}", known.id))
}

/// Ends a cluster's old name when its document has gone and another names the same identity: that is a move, not a deletion.
fn make_room(draft: &mut Draft<'_>, sync: &SyncInputs, named: &BTreeSet<InputKey>, resource: &Resource) {
    let Resource::ManagedCluster(cluster) = resource else { return };
    let id = cluster.id(draft.after.name());
    let key = resource.key();
    let vacated: Vec<InputKey> = draft
        .after
        .claims(id)
        .filter(|claim| **claim != key && !named.contains(claim))
        .filter(|claim| draft.after.input(claim).is_some_and(|record| !is_unreadable(sync, &record.file)))
        .cloned()
        .collect();
    for old in vacated {
        draft.audit("cluster-moved", &old, format!("to {}", key.qualified()));
        draft.change(Change::DeleteInput(old));
    }
}

/// Carries out the Tombstone documents that name a resource of the fleet, each once.
fn judge_tombstone_documents(draft: &mut Draft<'_>, context: &mut Context<'_>) {
    let waiting: Vec<InputRecord> = draft
        .after
        .inputs_of(Kind::Tombstone)
        .filter(|record| !record.judged && record.missing.is_none())
        .map(|record| (**record).clone())
        .collect();
    for record in waiting {
        if judge_one(draft, context, &record) {
            draft.change(Change::PutInput(InputRecord { judged: true, ..record }));
        }
    }
}

/// Carries out one Tombstone document; false if it names nothing that can be deleted now.
fn judge_one(draft: &mut Draft<'_>, context: &mut Context<'_>, record: &InputRecord) -> bool {
    let Resource::Tombstone(tombstone) = &record.resource else { return false };
    let Some(target) = draft.after.tombstone_target(tombstone) else {
        let uid = tombstone.spec.uid;
        return draft.after.tombstones().any(|record| record.assignment == uid)
            || draft.after.proposals().any(|record| record.assignment == uid)
            || draft.after.all_deleted().any(|record| record.uid == uid);
    };
    let key = target.resource.key();
    match key.kind {
        Kind::AddonAssignment => match draft.after.assignment_named(&key.namespace, &key.name) {
            Some(assignment) => by_document(draft, context, &assignment, &record.resource.key()),
            // Made in this very sync, so that nobody can hold it.
            None => drop(remove_input(draft, context, &target)),
        },
        Kind::ManagedCluster => {
            let Some(cluster) = draft.after.cluster_named(&key.namespace, &key.name) else { return false };
            detach::begin(draft, context, &cluster, false);
        }
        Kind::Workspace | Kind::Addon => {
            if check_deletable(&draft.after, &key).is_err() {
                return false;
            }
            remove_input(draft, context, &target);
        }
        Kind::Tombstone => return false,
    }
    true
}
