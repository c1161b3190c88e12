//! An object as the simulated API server keeps it: what the agent applied and what others wrote over it, apart, so that
//! fields have owners.
//!
//! Kept as JSON texts: a parsed document takes ten times the memory, and most objects are never looked at again.

use std::collections::BTreeMap;

use starling_model::{Millis, Uid, Value};

use super::flux::Report;

/// The fields of `metadata` that the API server alone writes.
const SERVER_FIELDS: [&str; 4] = ["uid", "resourceVersion", "generation", "deletionTimestamp"];

/// What `deletionTimestamp` says; nobody reads more of it than that it is there.
const DELETED_AT: &str = "2026-01-01T00:00:00Z";

/// An object that somebody applied.
pub(super) struct Stored {
    /// What the agent's field manager wrote.
    applied: Box<str>,
    /// What others wrote: a merge patch, in which `null` takes a field away.
    written_over: Option<Box<str>>,
    pub(super) uid: Uid,
    pub(super) version: u64,
    pub(super) generation: i64,
    /// Flux's word; `None` for kinds that Flux does not reconcile.
    pub(super) report: Option<Report>,
    /// When Flux is done with what it began.
    pub(super) due: Option<Millis>,
    /// Somebody deleted it, and Flux's finalizer is not done.
    pub(super) deleting: bool,
}

impl Stored {
    /// Stores an object that was not there.
    pub(super) fn new(document: &Value, uid: Uid) -> Self {
        Self {
            applied: text(&specified(document)),
            written_over: None,
            uid,
            version: 0,
            generation: 1,
            report: None,
            due: None,
            deleting: false,
        }
    }

    /// Returns the whole object.
    pub(super) fn document(&self) -> Value {
        let mut document = self.specified();
        let server = [
            ("uid", Value::from(self.uid.to_string())),
            ("resourceVersion", Value::from(self.version.to_string())),
            ("generation", Value::from(self.generation)),
        ];
        let metadata = member(&mut document, "metadata");
        metadata.extend(server.map(|(name, value)| (name.to_owned(), value)));
        if self.deleting {
            metadata.insert("deletionTimestamp".to_owned(), DELETED_AT.into());
        }
        if let Some(report) = &self.report {
            let status = report.status(&document);
            member_of(&mut document).insert("status".to_owned(), status);
        }
        document
    }

    /// Returns what people and agents wrote, whoever wrote it, without what the API server and Flux add.
    pub(super) fn specified(&self) -> Value {
        let mut document = parse(&self.applied);
        if let Some(over) = &self.written_over {
            document.merge(&parse(over));
        }
        document
    }

    /// Takes server-side apply by the agent, with force: what the agent no longer names goes, what it names becomes its
    /// own, and what others wrote besides stays.
    pub(super) fn apply(&mut self, document: &Value) {
        let applied = specified(document);
        self.release(&applied);
        self.applied = text(&applied);
    }

    /// Takes a merge patch by the agent's own field manager.
    pub(super) fn patch_own(&mut self, patch: &Value) {
        let patch = specified(patch);
        self.release(&patch);
        let mut applied = parse(&self.applied);
        applied.merge(&patch);
        self.applied = text(&applied);
    }

    /// Takes a merge patch by anybody else.
    pub(super) fn write_over(&mut self, patch: &Value) {
        let mut over = self.written_over.as_deref().map_or_else(Value::empty_map, parse);
        layer(&mut over, &specified(patch));
        self.written_over = Some(text(&over));
    }

    /// Takes what somebody made of the whole document.
    pub(super) fn replace(&mut self, document: &Value) {
        let patch = difference(&self.specified(), &specified(document));
        self.write_over(&patch);
    }

    fn release(&mut self, taken: &Value) {
        let Some(over) = self.written_over.take() else { return };
        let mut over = parse(&over);
        take_over(&mut over, taken);
        self.written_over = (over != Value::empty_map()).then(|| text(&over));
    }
}

/// Returns a document without what the API server and Flux add to it.
fn specified(document: &Value) -> Value {
    let mut document = document.clone();
    let fields = member_of(&mut document);
    fields.remove("status");
    if let Some(Value::Map(metadata)) = fields.get_mut("metadata") {
        metadata.retain(|name, _| !SERVER_FIELDS.contains(&name.as_str()));
    }
    document
}

/// Puts a patch over a patch; unlike [`Value::merge`], `null` stays, because it takes something away underneath.
fn layer(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Map(base), Value::Map(over)) => {
            for (name, value) in over {
                layer(base.entry(name.clone()).or_default(), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// Removes from a patch what a document names.
fn take_over(over: &mut Value, taken: &Value) {
    let (Value::Map(over), Value::Map(taken)) = (over, taken) else { return };
    for (name, taken) in taken {
        let Some(value) = over.get_mut(name) else { continue };
        if matches!((&*value, taken), (Value::Map(_), Value::Map(_))) {
            take_over(value, taken);
            if *value != Value::empty_map() {
                continue;
            }
        }
        over.remove(name);
    }
}

/// Returns the merge patch that makes one document of another.
fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Map(before), Value::Map(after)) = (before, after) else { return after.clone() };
    let mut patch = BTreeMap::new();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in after {
        match before.get(name) {
            Some(old) if old == value => {}
            Some(old) => drop(patch.insert(name.clone(), difference(old, value))),
            None => drop(patch.insert(name.clone(), value.clone())),
        }
    }
    Value::Map(patch)
}

fn member_of(value: &mut Value) -> &mut BTreeMap<String, Value> {
    if !matches!(value, Value::Map(_)) {
        *value = Value::empty_map();
    }
    let Value::Map(fields) = value else { unreachable!("the value was made a mapping above") };
    fields
}

fn member<'a>(value: &'a mut Value, name: &str) -> &'a mut BTreeMap<String, Value> {
    member_of(member_of(value).entry(name.to_owned()).or_default())
}

fn text(value: &Value) -> Box<str> {
    value.to_json().into_boxed_str()
}

fn parse(text: &str) -> Value {
    Value::from_json(text.as_bytes()).expect("only values are stored")
}
