//! What the directory holds that could not be taken, as of the last scan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use starling_hub_core::fleet::Fleet;
use starling_hub_core::resources::Kind;
use starling_hub_core::steward::DocumentProblem;
use starling_model::ResourceName;
use starling_proto::v1;
use tonic::Status;

use super::Admin;
use crate::access::{Caller, Reach, Resource, There, Verb, Wanted};
use crate::source::Unreadable;

/// The problems of the last scan, shared by who scans and who answers.
#[derive(Clone, Debug, Default)]
pub struct Problems(Arc<Mutex<Last>>);

/// Something that could not be taken, as it travels between processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FoundProblem {
    file: String,
    line: u64,
    column: u64,
    kind: String,
    namespace: String,
    name: String,
    message: String,
    next: String,
}

#[derive(Debug, Default)]
struct Last {
    unreadable: Vec<Unreadable>,
    untaken: Vec<DocumentProblem>,
}

impl Problems {
    /// Takes over what the last scan could not read.
    pub fn replace(&self, unreadable: Vec<Unreadable>) {
        self.last().unreadable = unreadable;
    }

    /// Takes over what the steward did not take.
    pub fn replace_untaken(&self, untaken: Vec<DocumentProblem>) {
        self.last().untaken = untaken;
    }

    /// Lists what could not be taken, of files and of documents.
    #[must_use]
    pub fn found(&self) -> Vec<FoundProblem> {
        let last = self.last();
        let unreadable = last.unreadable.iter().map(|bad| FoundProblem {
            file: bad.file.clone(),
            line: bad.line,
            column: bad.column,
            message: bad.message.clone(),
            next: "correct the file; until then what it held before stays as it was".into(),
            ..FoundProblem::default()
        });
        let untaken = last.untaken.iter().map(|document| {
            let problem = of_resource(&document.problem);
            FoundProblem { file: document.file.clone(), line: document.line, ..problem }
        });
        unreadable.chain(untaken).collect()
    }

    /// Forgets everything: another process reads from now on.
    pub fn clear(&self) {
        *self.last() = Last::default();
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The problems of one fleet, remembered until they are asked for of another.
#[derive(Clone, Debug, Default)]
pub(super) struct ProblemsOf(Arc<Mutex<Option<Remembered>>>);

/// A fleet and its problems.
type Remembered = (Arc<Fleet>, Arc<Vec<FoundProblem>>);

impl ProblemsOf {
    fn get(&self, fleet: &Arc<Fleet>) -> Arc<Vec<FoundProblem>> {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, problems)) = &*remembered
            && Arc::ptr_eq(of, fleet)
        {
            return Arc::clone(problems);
        }
        let found = fleet.problems().into_iter().map(|problem| {
            let file = fleet.input(&problem.key).map(|record| record.file.clone()).unwrap_or_default();
            FoundProblem { file, ..of_resource(&problem) }
        });
        let problems = Arc::new(found.collect());
        *remembered = Some((Arc::clone(fleet), Arc::clone(&problems)));
        problems
    }
}

impl Admin {
    /// Lists the problems that a caller sees: of the objects that the caller may list, and all where the caller may list all.
    pub(super) async fn problems_in_sight(
        &self,
        caller: &Caller,
        fleet: &Arc<Fleet>,
    ) -> Result<Vec<v1::Problem>, Status> {
        let of_source = self.parts.gather.problems().await.value;
        let of_resources = self.resource_problems.get(fleet);
        let of_resources = of_resources.iter().cloned();
        let problems: Vec<v1::Problem> = of_source.into_iter().chain(of_resources).map(Into::into).collect();
        let mut reaches: BTreeMap<Kind, Reach> = BTreeMap::new();
        for kind in Kind::ALL {
            let there = || {
                let of_kind = problems.iter().filter(|problem| problem.kind == kind.as_str());
                match kind.is_namespaced() {
                    true => There { namespaces: of_kind.map(|it| it.namespace.clone()).collect(), objects: Vec::new() },
                    false => There {
                        namespaces: BTreeSet::new(),
                        objects: of_kind.map(|it| ResourceName::new("", it.name.as_str())).collect(),
                    },
                }
            };
            let wanted = Wanted { namespace: "", names: &[], there: &there };
            reaches.insert(kind, self.reach(caller, Verb::List, Resource::of(kind), wanted).await?);
        }
        let is_seen = |problem: &v1::Problem| match Kind::parse(&problem.kind) {
            Some(kind) => reaches[&kind].covers(&problem.namespace, &problem.name),
            // What a file holds that cannot be read is not known.
            None => reaches.values().all(Reach::is_everywhere),
        };
        Ok(problems.into_iter().filter(is_seen).collect())
    }
}

impl From<FoundProblem> for v1::Problem {
    fn from(found: FoundProblem) -> Self {
        let FoundProblem { file, line, column, kind, namespace, name, message, next } = found;
        Self { file, line, column, kind, namespace, name, message, next }
    }
}

fn of_resource(problem: &starling_hub_core::fleet::Problem) -> FoundProblem {
    FoundProblem {
        kind: problem.key.kind.as_str().into(),
        namespace: problem.key.namespace.clone(),
        name: problem.key.name.clone(),
        message: problem.message.clone(),
        next: problem.next.clone(),
        ..FoundProblem::default()
    }
}
