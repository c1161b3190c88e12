//! How an inventory is stored: one head that is compared and set, and bodies that are named by their content.
//!
//! A body never changes, so that storing is: write the bodies that are not there, compare-and-set the head, remove the
//! bodies that the head before named and this one does not. No head or body exceeds [`PAGE_BYTES`]. A render whose body
//! is lost damages its install alone: it is held on, and the hub sends the render again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use starling_model::plan::{Render, Tombstone};
use starling_model::{Digest, DigestWriter, Fence, InstallKey, InstallState, ObjectKey, Position, Uid};

use crate::inventory::{Buried, HeldInstall, Inventory, OpenIntent};

/// The bound in bytes of a head and of a body; a ConfigMap takes one with room for its metadata.
pub const PAGE_BYTES: usize = 448 * 1024;

const FORMAT: u32 = 1;

/// A stored inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The head: JSON, compared and set.
    pub head: String,
    /// The bodies that the head refers to, by name (64 hexadecimal digits).
    pub bodies: BTreeMap<String, String>,
}

/// An inventory read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The inventory.
    pub inventory: Inventory,
    /// Installs whose render was lost, sorted.
    pub damaged: Vec<InstallKey>,
}

/// A stored inventory that cannot be read; nothing may be done until a person looked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the JSON that was written.
    #[error("the inventory's head cannot be read: {0}")]
    Unreadable(String),
    /// Written by a newer agent.
    #[error("the inventory has format {0}, which this agent does not know; run a newer one")]
    UnknownFormat(u32),
    /// A body that holds a part of the state is lost.
    #[error("the inventory's body {0} is missing or was changed")]
    BodyLost(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    state_pages: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    newest_fence: Option<Fence>,
    plan_digest: Option<Digest>,
    installs: BTreeMap<InstallKey, StoredInstall>,
    open: Option<StoredIntent>,
    buried: Vec<StoredBuried>,
    buried_forgotten: u64,
    detached: Option<Fence>,
    renders: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredInstall {
    assignment: Uid,
    assignment_name: String,
    revision: Digest,
    render: Digest,
    recorded: (u64, Position),
    affirmed: (u64, Position),
    state: InstallState,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    message: String,
    objects: Vec<StoredObject>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    retiring: BTreeSet<ObjectKey>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<StoredRetired>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<Uid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removing: Option<Tombstone>,
    #[serde(default)]
    drift_repairs: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    last_drift: String,
}

#[derive(Serialize, Deserialize)]
struct StoredObject {
    #[serde(flatten)]
    key: ObjectKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredRetired {
    #[serde(flatten)]
    key: ObjectKey,
    at: (u64, Position),
}

#[derive(Serialize, Deserialize)]
struct StoredIntent {
    fence: Fence,
    installs: BTreeSet<InstallKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredBuried {
    tombstone: Tombstone,
    fence: Fence,
    objects: Vec<StoredObject>,
}

impl Inventory {
    /// Writes the inventory as records.
    #[must_use]
    pub fn to_records(&self) -> Records {
        let mut bodies = BTreeMap::new();
        let mut renders = BTreeMap::new();
        for held in self.installs.values().filter(|held| !held.is_damaged()) {
            renders.entry(held.render.digest.to_string()).or_insert_with(|| store(&json(&*held.render), &mut bodies));
        }
        let state = State {
            newest_fence: self.newest_fence,
            plan_digest: self.plan_digest,
            installs: self.installs.iter().map(|(install, held)| (install.clone(), stored(held))).collect(),
            open: self.open.clone().map(|open| StoredIntent { fence: open.fence, installs: open.installs }),
            buried: self.buried.iter().map(stored_buried).collect(),
            buried_forgotten: self.buried_forgotten,
            detached: self.detached,
            renders,
        };
        let head = json(&Head { format: FORMAT, state: Some(state), state_pages: Vec::new() });
        if head.len() <= PAGE_BYTES {
            return Records { head, bodies };
        }
        let state_pages = store(&head, &mut bodies);
        Records { head: json(&Head { format: FORMAT, state: None, state_pages }), bodies }
    }

    /// Reads an inventory from its head and from all bodies that are stored, also those of other heads.
    ///
    /// # Errors
    /// A head that cannot be read, is of a newer format, or lacks a body of its state.
    pub fn from_records(head: &str, bodies: &BTreeMap<String, String>) -> Result<Loaded, RecordError> {
        let mut read: Head = parse(head)?;
        if !read.state_pages.is_empty() {
            read = parse(&fetch(&read.state_pages, bodies)?)?;
        }
        let state = read.state.ok_or_else(|| RecordError::Unreadable("it has no state".to_owned()))?;
        let mut inventory = Self {
            newest_fence: state.newest_fence,
            plan_digest: state.plan_digest,
            installs: BTreeMap::new(),
            open: state.open.map(|open| OpenIntent { fence: open.fence, installs: open.installs }),
            buried: state.buried.into_iter().map(buried).collect::<VecDeque<_>>(),
            buried_forgotten: state.buried_forgotten,
            detached: state.detached,
        };
        let mut shelf: BTreeMap<Digest, Arc<Render>> = BTreeMap::new();
        let mut damaged = Vec::new();
        for (install, stored) in state.installs {
            let pages = state.renders.get(&stored.render.to_string()).map_or(&[][..], Vec::as_slice);
            let render = shelf.get(&stored.render).cloned().or_else(|| load_render(pages, stored.render, bodies));
            if let Some(render) = &render {
                shelf.insert(stored.render, Arc::clone(render));
            } else {
                damaged.push(install.clone());
            }
            inventory.installs.insert(install, held(stored, render));
        }
        if !damaged.is_empty() {
            // The hub must not take the plan for received: it would answer "unchanged" and never send the render.
            inventory.plan_digest = None;
        }
        Ok(Loaded { inventory, damaged })
    }
}

fn load_render(pages: &[String], digest: Digest, bodies: &BTreeMap<String, String>) -> Option<Arc<Render>> {
    if pages.is_empty() {
        return None;
    }
    let render: Render = parse(&fetch(pages, bodies).ok()?).ok()?;
    (render.digest == digest).then(|| Arc::new(render))
}

fn held(stored: StoredInstall, render: Option<Arc<Render>>) -> HeldInstall {
    let nothing = || Render { digest: Digest::default(), objects: Vec::new(), retires: Vec::new() };
    HeldInstall {
        assignment: stored.assignment,
        assignment_name: stored.assignment_name,
        revision: stored.revision,
        render: render.unwrap_or_else(|| Arc::new(nothing())),
        recorded: stored.recorded,
        affirmed: stored.affirmed,
        state: stored.state,
        message: stored.message,
        objects: stored.objects.into_iter().map(|object| (object.key, object.uid)).collect(),
        retiring: stored.retiring,
        retired: stored.retired.into_iter().map(|retired| (retired.key, retired.at)).collect(),
        former: stored.former,
        removing: stored.removing,
        drift_repairs: stored.drift_repairs,
        last_drift: stored.last_drift,
    }
}

fn stored(held: &HeldInstall) -> StoredInstall {
    StoredInstall {
        assignment: held.assignment,
        assignment_name: held.assignment_name.clone(),
        revision: held.revision,
        render: held.render.digest,
        recorded: held.recorded,
        affirmed: held.affirmed,
        state: held.state,
        message: held.message.clone(),
        objects: stored_objects(&held.objects),
        retiring: held.retiring.clone(),
        retired: held.retired.iter().map(|(key, at)| StoredRetired { key: key.clone(), at: *at }).collect(),
        former: held.former.clone(),
        removing: held.removing.clone(),
        drift_repairs: held.drift_repairs,
        last_drift: held.last_drift.clone(),
    }
}

fn stored_buried(buried: &Buried) -> StoredBuried {
    StoredBuried { tombstone: buried.tombstone.clone(), fence: buried.fence, objects: stored_objects(&buried.objects) }
}

fn buried(stored: StoredBuried) -> Buried {
    let objects = stored.objects.into_iter().map(|object| (object.key, object.uid)).collect();
    Buried { tombstone: stored.tombstone, fence: stored.fence, objects }
}

fn stored_objects(objects: &BTreeMap<ObjectKey, Option<String>>) -> Vec<StoredObject> {
    objects.iter().map(|(key, uid)| StoredObject { key: key.clone(), uid: uid.clone() }).collect()
}

/// Cuts a text into bodies and returns their names in order.
fn store(text: &str, bodies: &mut BTreeMap<String, String>) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (page, tail) = rest.split_at(rest.floor_char_boundary(PAGE_BYTES));
        let name = body_name(page);
        bodies.insert(name.clone(), page.to_owned());
        names.push(name);
        rest = tail;
    }
    names
}

/// Puts a text together; a body that does not match its name counts as lost.
fn fetch(names: &[String], bodies: &BTreeMap<String, String>) -> Result<String, RecordError> {
    let mut text = String::new();
    for name in names {
        let page = bodies.get(name).filter(|page| is_whole(name, page));
        text.push_str(page.ok_or_else(|| RecordError::BodyLost(name.clone()))?);
    }
    Ok(text)
}

/// Tells whether a body is what its name says.
#[must_use]
pub fn is_whole(name: &str, page: &str) -> bool {
    body_name(page) == name
}

fn body_name(page: &str) -> String {
    let mut writer = DigestWriter::new("inventory-body");
    writer.field(page.as_bytes());
    writer.finish().to_string()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records have only string keys")
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, RecordError> {
    #[derive(Deserialize)]
    struct Format {
        format: Option<u32>,
    }
    let unreadable = |error: serde_json::Error| RecordError::Unreadable(error.to_string());
    match serde_json::from_str::<Format>(text).map_err(unreadable)?.format {
        Some(format) if format > FORMAT => Err(RecordError::UnknownFormat(format)),
        Some(_) | None => serde_json::from_str(text).map_err(unreadable),
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
