//! Copying the directory: documents that came, changed or vanished.
//!
//! What is not there is not deleted (invariant I1): its resource stays, marked *source missing*. What cannot be read is not even
//! missing. A deleted resource whose document is still there stays deleted until that document goes or changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::draft::Draft;
use super::settle::settle;
use super::take::{self, Found, Source, take};
use super::{Answer, Context, Decision, DocumentProblem, Refusal, SyncInputs, Synced};
use crate::change::Change;
use crate::fleet::{Fleet, Problem};
use crate::records::InputRecord;
use crate::resources::{InputKey, Kind, Resource};

pub(super) fn decide(fleet: &Fleet, sync: &SyncInputs, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let mut reading = Reading::of(fleet, sync);
    let mut draft = Draft::new(fleet, context);
    let mut synced = Synced { problems: std::mem::take(&mut reading.problems), changed: 0 };
    let source = SyncedFiles { sync, named: &reading.named };
    for found in reading.to_take() {
        take(&mut draft, context, &source, found, &mut synced);
    }
    for record in fleet.inputs() {
        if reading.named.contains(&Name::of(&record.resource)) || record.missing.is_some() {
            continue;
        }
        if is_unreadable(sync, &record.file) {
            continue;
        }
        let key = record.resource.key();
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
        let is_gone = !reading.named.contains(&Name::of_key(&record.key)) && !is_unreadable(sync, &record.file);
        if is_gone && !sync.files.is_empty() {
            draft.change(Change::DeleteDeleted(record.key.clone()));
        }
    }
    take::finish(&mut draft, context);
    settle(&mut draft, context);
    Ok(draft.decision(Answer::Synced(synced), context))
}

fn is_unreadable(sync: &SyncInputs, file: &str) -> bool {
    sync.files.get(file).is_some_and(|file| file.unreadable)
        || sync.unlisted.iter().any(|folder| folder.is_empty() || Path::new(file).starts_with(folder))
}

/// What the directory says.
struct SyncedFiles<'a> {
    sync: &'a SyncInputs,
    named: &'a BTreeSet<Name<'a>>,
}

/// The name of a resource, borrowed: a directory of ten thousand documents is read often, and most of it is as it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a> {
    kind: Kind,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Name<'a> {
    fn of(resource: &'a Resource) -> Self {
        Self { kind: resource.kind(), namespace: resource.namespace(), name: resource.name() }
    }

    fn of_key(key: &'a InputKey) -> Self {
        Self { kind: key.kind, namespace: &key.namespace, name: &key.name }
    }
}

/// The documents of the directory, each resource once.
struct Reading<'a> {
    taken: BTreeMap<Name<'a>, Taken<'a>>,
    /// Every resource that a document names, also one that was not taken.
    named: BTreeSet<Name<'a>>,
    problems: Vec<DocumentProblem>,
}

/// A document that counts for its resource.
struct Taken<'a> {
    found: Found<'a>,
    /// It is what the fleet has, from the same file: taking it changes nothing.
    is_as_known: bool,
}

impl<'a> Reading<'a> {
    fn of(fleet: &Fleet, sync: &'a SyncInputs) -> Self {
        let mut reading = Self { taken: BTreeMap::new(), named: BTreeSet::new(), problems: Vec::new() };
        let known: BTreeMap<Name<'_>, &InputRecord> =
            fleet.inputs().map(|record| (Name::of(&record.resource), &**record)).collect();
        let deleted: BTreeSet<Name<'_>> = fleet.all_deleted().map(|record| Name::of_key(&record.key)).collect();
        for (file, content) in &sync.files {
            for (line, resource) in &content.documents {
                let found = Found { file, line: *line, resource, origin: None, detail: file };
                let name = Name::of(resource);
                reading.add(known.get(&name).copied(), deleted.contains(&name), found);
            }
        }
        reading
    }

    /// Returns what may change something, by kind, namespace and name.
    fn to_take(&self) -> Vec<&Found<'a>> {
        self.taken.values().filter(|taken| !taken.is_as_known).map(|taken| &taken.found).collect()
    }

    fn add(&mut self, known: Option<&InputRecord>, is_deleted: bool, found: Found<'a>) {
        let name = Name::of(found.resource);
        self.named.insert(name);
        // What was taken before was checked then, and the directory is read whole each time.
        let is_known = known.is_some_and(|record| record.resource == *found.resource);
        if !is_known && let Err(error) = found.resource.check() {
            self.problem(&found, error.to_string(), "correct the document; until then nothing of it changes");
            return;
        }
        let is_in_its_place = known.is_some_and(|record| {
            record.file == found.file && record.missing.is_none() && record.origin.is_none() && !is_deleted
        });
        let taken = Taken { found, is_as_known: is_known && is_in_its_place };
        let Some(Taken { found: other, .. }) = self.taken.get(&name) else {
            self.taken.insert(name, taken);
            return;
        };
        // The document that is known already stays, so that a copy in another file changes nothing.
        let known = known.map(|record| record.file.as_str());
        let replaces = known == Some(taken.found.file) && known != Some(other.file);
        let loser = if replaces { self.taken.insert(name, taken) } else { Some(taken) };
        let (Some(Taken { found: loser, .. }), Some(Taken { found: winner, .. })) = (loser, self.taken.get(&name))
        else {
            return;
        };
        let text = format!("it is also in {} at line {}, which counts", winner.file, winner.line);
        self.problem(&loser, text, "remove one of the two documents");
    }

    fn problem(&mut self, found: &Found<'_>, message: String, next: &str) {
        let problem = Problem::new(found.resource.key(), message, next);
        self.problems.push(DocumentProblem { file: found.file.to_owned(), line: found.line, problem });
    }
}

impl Source for SyncedFiles<'_> {
    fn is_absent(&self, record: &InputRecord) -> bool {
        !self.named.contains(&Name::of(&record.resource)) && !is_unreadable(self.sync, &record.file)
    }

    fn is_unreadable(&self, file: &str) -> bool {
        is_unreadable(self.sync, file)
    }
}
