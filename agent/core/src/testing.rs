//! What several modules' tests build: fences, renders, plans.

use std::sync::Arc;

use starling_model::plan::{Render, Tombstone};
use starling_model::session::{Desired, DesiredAction, DesiredEntry};
use starling_model::{
    Digest, Era, Facts, Fence, FleetKey, InstallKey, Object, ObjectKey, Position, Uid, Value, labels,
};

use crate::inventory::Inventory;
use crate::parked::{Parked, RenderShelf};

pub(crate) const HELM: &str = "helm.toolkit.fluxcd.io";
pub(crate) const SOURCE: &str = "source.toolkit.fluxcd.io";

pub(crate) fn json(text: &str) -> Value {
    Value::from_json(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(crate) fn uid(number: u8) -> Uid {
    Uid::from_entropy([number; 16])
}

/// A fence of the era with this number and id.
pub(crate) fn fence_of(era: (u64, u8), position: u64) -> Fence {
    FleetKey::new([7; 32]).fence(Era { number: era.0, id: uid(era.1) }, Position(position))
}

pub(crate) fn fence(position: u64) -> Fence {
    fence_of((1, 1), position)
}

pub(crate) fn install(name: &str) -> InstallKey {
    InstallKey::new("apps", name)
}

pub(crate) fn object(group: &str, kind: &str, name: &str, assignment: Uid, spec: &str) -> Object {
    let document = Value::map([
        ("apiVersion", Value::from(format!("{group}/v1"))),
        ("kind", Value::from(kind)),
        (
            "metadata",
            Value::map([
                ("name", Value::from(name)),
                ("namespace", Value::from("apps")),
                (
                    "labels",
                    Value::map([(labels::ASSIGNMENT, assignment.to_string()), (labels::INSTANCE, name.to_owned())]),
                ),
            ]),
        ),
        ("spec", json(spec)),
    ]);
    Object::new(document).unwrap()
}

pub(crate) fn release_key(name: &str) -> ObjectKey {
    ObjectKey::new(HELM, "HelmRelease", "apps", name)
}

pub(crate) fn source_key(kind: &str, name: &str) -> ObjectKey {
    ObjectKey::new(SOURCE, kind, "apps", name)
}

/// A source of this kind and a HelmRelease, in the order in which they are applied.
pub(crate) fn render(name: &str, assignment: Uid, source: &str, version: &str, retires: Vec<ObjectKey>) -> Arc<Render> {
    let spec = format!(r#"{{"interval":"5m","version":"{version}"}}"#);
    let objects = vec![
        object(SOURCE, source, name, assignment, r#"{"interval":"1m"}"#),
        object(HELM, "HelmRelease", name, assignment, &spec),
    ];
    Arc::new(Render::new(objects, retires))
}

pub(crate) fn entry(name: &str, assignment: Uid, action: DesiredAction) -> DesiredEntry {
    DesiredEntry {
        install: install(name),
        assignment,
        assignment_name: format!("platform/{name}"),
        revision: Digest([9; 32]),
        action,
    }
}

/// A plan whose digest is that of the number.
pub(crate) fn desired(fence: Fence, digest: u8, entries: Vec<DesiredEntry>, tombstones: Vec<Tombstone>) -> Desired {
    Desired {
        fence,
        plan_digest: Digest([digest; 32]),
        facts: Facts::default().digest(),
        unchanged: false,
        entries,
        tombstones,
        detach: None,
    }
}

pub(crate) fn parked(fence: Fence, entries: Vec<DesiredEntry>, tombstones: Vec<Tombstone>) -> Parked {
    Parked::new(desired(fence, 1, entries, tombstones), &RenderShelf::new()).unwrap()
}

pub(crate) fn tombstone(id: u8, name: &str, assignment: Uid, minted: u64) -> Tombstone {
    Tombstone { id: uid(id), assignment, install: install(name), minted: (1, Position(minted)) }
}

/// An inventory that committed one render of a HelmRepository and a HelmRelease.
pub(crate) fn holding(name: &str, assignment: Uid, position: u64) -> Inventory {
    let mut inventory = Inventory::default();
    let render = render(name, assignment, "HelmRepository", "1", Vec::new());
    let plan = parked(fence(position), vec![entry(name, assignment, DesiredAction::Render(render))], Vec::new());
    let intent = crate::intent::intend(&inventory, &plan);
    inventory.commit(&intent).unwrap();
    inventory
}
