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
use crate::resources::InputKey;

pub(super) fn decide(fleet: &Fleet, sync: &SyncInputs, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let reading = Reading::of(fleet, sync);
    let mut draft = Draft::new(fleet, context);
    let mut synced = Synced { problems: reading.problems, changed: 0 };
    let source = SyncedFiles { sync, named: &reading.named };
    for found in reading.taken.values() {
        take(&mut draft, context, &source, found, &mut synced);
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
    named: &'a BTreeSet<InputKey>,
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
                reading.add(fleet, Found { file, line: *line, resource, origin: None, detail: file });
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

impl Source for SyncedFiles<'_> {
    fn is_absent(&self, record: &InputRecord) -> bool {
        !self.named.contains(&record.resource.key()) && !is_unreadable(self.sync, &record.file)
    }

    fn is_unreadable(&self, file: &str) -> bool {
        is_unreadable(self.sync, file)
    }
}
