//! Copying the directory: documents that came, changed or vanished.
//!
//! What is not there is not deleted (invariant I1): its resource stays, marked *source missing*. What cannot be read is not even
//! missing. A deleted resource whose document is still there stays deleted until that document goes or changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use starling_model::ErrorCode;

use super::draft::Draft;
use super::settle::settle;
use super::take::{self, Found, Source as _, take};
use super::{Answer, Context, Decision, DocumentProblem, Refusal, SourceFile, SyncFiles, SyncInputs, Synced};
use crate::change::Change;
use crate::fleet::{Fleet, Problem};
use crate::records::{DeletedRecord, InputRecord};
use crate::resources::{InputKey, Kind, Resource};

/// Copies the whole directory.
pub(super) fn decide(fleet: &Fleet, sync: &SyncInputs, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let known: BTreeMap<Name<'_>, &InputRecord> =
        fleet.inputs().map(|record| (Name::of(&record.resource), &**record)).collect();
    let deleted: BTreeSet<Name<'_>> = fleet.all_deleted().map(|record| Name::of_key(&record.key)).collect();
    let mut reading = Reading::default();
    for (found, name) in documents(&sync.files) {
        reading.add(known.get(&name).copied(), deleted.contains(&name), found);
    }
    let source = Source { files: &sync.files, unlisted: &sync.unlisted, is_whole: true };
    // A directory without any file is no evidence of anything either: it may be a volume that is not mounted.
    let deleted = fleet.all_deleted().filter(|_| !sync.files.is_empty());
    Ok(copy(fleet, context, &reading, &source, fleet.inputs(), deleted))
}

/// Copies some files, which costs what they hold and not what the directory does.
pub(super) fn decide_files(fleet: &Fleet, sync: &SyncFiles, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    let touched = fleet.documents_touched_since(&sync.since).filter(|_| fleet.era() == sync.since.era());
    let touched = touched.ok_or_else(|| not_enough("the rest was read too long ago"))?;
    let named: BTreeSet<InputKey> = documents(&sync.files).map(|(found, _)| found.resource.key()).collect();
    let is_here = |key: &InputKey| named.contains(key) || sync.named_before.contains(key);
    // What another request decided about a document may say something about the file in which it is.
    if let Some(other) = touched.into_iter().find(|key| !is_here(key)) {
        return Err(not_enough(&format!("{other} has changed")));
    }
    let mut reading = Reading::default();
    for (found, _) in documents(&sync.files) {
        let key = found.resource.key();
        let (known, deleted) = (fleet.input(&key), fleet.deleted(&key));
        let files = known.filter(|record| record.origin.is_none()).map(|record| &record.file);
        let files = files.into_iter().chain(deleted.map(|record| &record.file));
        // A cluster that had another name moves only if that name's document is gone.
        let other_names = match found.resource {
            Resource::ManagedCluster(cluster) => fleet.claims(cluster.id(fleet.name())).collect(),
            Resource::Workspace(_) | Resource::Addon(_) | Resource::AddonAssignment(_) | Resource::Tombstone(_) => {
                Vec::new()
            }
        };
        let other_names = other_names.into_iter().filter(|claim| **claim != key);
        let mut files = files.chain(other_names.filter_map(|claim| fleet.input(claim)).map(|record| &record.file));
        // Which of two files counts for it depends on both.
        if let Some(other) = files.find(|file| !sync.files.contains_key(*file)) {
            return Err(not_enough(&format!("{key} was in {other} before")));
        }
        reading.add(known.map(|record| &**record), deleted.is_some(), found);
    }
    let of_these = |file: &str| sync.files.contains_key(file);
    let before: Vec<_> = sync.named_before.iter().filter_map(|key| fleet.input(key)).collect();
    let before = before.into_iter().filter(|record| of_these(&record.file));
    let deleted = sync.named_before.iter().filter_map(|key| fleet.deleted(key));
    let deleted = deleted.filter(|record| of_these(&record.file));
    let unlisted = BTreeSet::new();
    let source = Source { files: &sync.files, unlisted: &unlisted, is_whole: false };
    Ok(copy(fleet, context, &reading, &source, before, deleted))
}

impl SyncFiles {
    /// Makes the request to copy some files of a directory whose other files are as they were `before`, when they were copied into
    /// the fleet `since`.
    #[must_use]
    pub fn of(
        files: BTreeMap<String, Arc<SourceFile>>,
        before: &BTreeMap<String, Arc<SourceFile>>,
        since: Arc<Fleet>,
    ) -> Self {
        let known = files.keys().filter_map(|file| before.get(file));
        let named_before = known.flat_map(|content| &content.documents).map(|(_, resource)| resource.key()).collect();
        Self { files, named_before, since }
    }

    /// Makes the request to copy what differs between two readings of a directory; a file is as it was if it is the very same. `None`
    /// if nothing is left, which is no evidence of anything.
    #[must_use]
    pub fn between(
        before: &BTreeMap<String, Arc<SourceFile>>,
        now: &BTreeMap<String, Arc<SourceFile>>,
        since: Arc<Fleet>,
    ) -> Option<Self> {
        if now.is_empty() {
            return None;
        }
        let is_same = |file: &str, content| before.get(file).is_some_and(|known| Arc::ptr_eq(known, content));
        let changed = now.iter().filter(|(file, content)| !is_same(file, content));
        let mut files: BTreeMap<_, _> = changed.map(|(file, content)| (file.clone(), Arc::clone(content))).collect();
        let gone = before.keys().filter(|file| !now.contains_key(*file));
        files.extend(gone.map(|file| (file.clone(), Arc::default())));
        Some(Self::of(files, before, since))
    }
}

/// Returns the files of a reading as what they named is to be remembered for the next one, where they were as `before` when they were
/// read before: a file that cannot be read now names what it named. `None` if that is not known of any.
#[must_use]
pub fn with_names_kept(
    before: Option<&BTreeMap<String, Arc<SourceFile>>>,
    mut now: BTreeMap<String, Arc<SourceFile>>,
) -> Option<BTreeMap<String, Arc<SourceFile>>> {
    for (file, content) in now.iter_mut().filter(|(_, content)| content.unreadable) {
        let known = before?.get(file)?;
        let named: BTreeSet<Name<'_>> = content.documents.iter().map(|(_, resource)| Name::of(resource)).collect();
        let others = known.documents.iter().filter(|(_, resource)| !named.contains(&Name::of(resource)));
        let documents = content.documents.iter().chain(others).cloned().collect();
        *content = Arc::new(SourceFile { documents, unreadable: true });
    }
    Some(now)
}

fn not_enough(why: &str) -> Refusal {
    Refusal::new(ErrorCode::Conflict, format!("some files are not enough: {why}; read the whole directory"))
}

/// Returns every document of some files.
fn documents(files: &BTreeMap<String, Arc<SourceFile>>) -> impl Iterator<Item = (Found<'_>, Name<'_>)> {
    files.iter().flat_map(|(file, content)| {
        content.documents.iter().map(move |(line, resource)| {
            (Found { file, line: *line, resource, origin: None, detail: file }, Name::of(resource))
        })
    })
}

/// Copies what was read; `held` and `deleted` are what may be gone from there.
fn copy<'a>(
    fleet: &Fleet,
    context: &mut Context<'_>,
    reading: &Reading<'_>,
    source: &Source<'_>,
    held: impl Iterator<Item = &'a Arc<InputRecord>>,
    deleted: impl Iterator<Item = &'a Arc<DeletedRecord>>,
) -> Decision {
    let mut draft = Draft::new(fleet, context);
    let mut synced = Synced { problems: reading.problems.clone(), changed: 0 };
    let read = Read { source, named: &reading.named };
    for found in reading.to_take() {
        take(&mut draft, context, &read, found, &mut synced);
    }
    for record in held {
        if record.missing.is_some() || !read.is_absent(record) {
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
    for record in deleted {
        if !reading.named.contains(&Name::of_key(&record.key)) && !source.is_unreadable(&record.file) {
            draft.change(Change::DeleteDeleted(record.key.clone()));
        }
    }
    take::finish(&mut draft, context);
    settle(&mut draft, context);
    draft.decision(Answer::Synced(synced), context)
}

/// The files of one reading.
struct Source<'a> {
    files: &'a BTreeMap<String, Arc<SourceFile>>,
    unlisted: &'a BTreeSet<String>,
    /// They are all that the directory has; otherwise the others are as they were.
    is_whole: bool,
}

/// What the directory says.
struct Read<'a> {
    source: &'a Source<'a>,
    named: &'a BTreeSet<Name<'a>>,
}

impl Source<'_> {
    fn is_unreadable(&self, file: &str) -> bool {
        self.files.get(file).is_some_and(|file| file.unreadable)
            || self.unlisted.iter().any(|folder| folder.is_empty() || Path::new(file).starts_with(folder))
    }
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

/// The documents that were read, each resource once.
#[derive(Default)]
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

impl take::Source for Read<'_> {
    fn is_absent(&self, record: &InputRecord) -> bool {
        (self.source.is_whole || self.source.files.contains_key(&record.file))
            && !self.named.contains(&Name::of(&record.resource))
            && !self.source.is_unreadable(&record.file)
    }

    fn is_unreadable(&self, file: &str) -> bool {
        self.source.is_unreadable(file)
    }
}
