//! Flux objects that are there without Starling: kept as a few bytes each, so that ten thousand clusters fit one process.

use std::collections::BTreeMap;

use starling_model::{ObjectKey, Value};

/// The namespace of the background objects.
pub const BACKGROUND_NAMESPACE: &str = "apps";

const GROUP: &str = "kustomize.toolkit.fluxcd.io";
const KIND: &str = "Kustomization";

/// All background objects of a cluster.
#[derive(Debug, Default)]
pub(super) struct Background(Vec<Item>);

#[derive(Clone, Copy, Debug)]
struct Item {
    revision: u32,
    ready: bool,
}

impl Background {
    pub(super) fn new(objects: u32) -> Self {
        Self(vec![Item { revision: 1, ready: true }; objects as usize])
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Moves one object to its next revision; returns both.
    pub(super) fn touch(&mut self, index: u32, ready: bool) -> Option<(ObjectKey, String)> {
        let item = self.0.get_mut(index as usize)?;
        item.revision += 1;
        item.ready = ready;
        Some((key(index as usize), item.revision_text()))
    }

    pub(super) fn document(&self, wanted: &ObjectKey) -> Option<Value> {
        if wanted.kind != KIND || wanted.namespace != BACKGROUND_NAMESPACE {
            return None;
        }
        let index: usize = wanted.name.strip_prefix("app-")?.parse().ok()?;
        self.0.get(index).map(|item| document(index, *item))
    }

    pub(super) fn documents(&self) -> BTreeMap<ObjectKey, Value> {
        self.0.iter().enumerate().map(|(index, item)| (key(index), document(index, *item))).collect()
    }
}

impl Item {
    fn revision_text(self) -> String {
        format!("main@sha1:{:040x}", self.revision)
    }
}

fn key(index: usize) -> ObjectKey {
    ObjectKey::new(GROUP, KIND, BACKGROUND_NAMESPACE, &format!("app-{index}"))
}

fn document(index: usize, item: Item) -> Value {
    let revision = item.revision_text();
    let (status, reason, message) = if item.ready {
        ("True", "ReconciliationSucceeded", format!("Applied revision: {revision}"))
    } else {
        ("False", "HealthCheckFailed", "health check failed after 30s: deployment not ready".to_owned())
    };
    let condition = Value::map([
        ("type", Value::from("Ready")),
        ("status", Value::from(status)),
        ("reason", Value::from(reason)),
        ("message", Value::from(message)),
        ("observedGeneration", Value::from(1_i64)),
    ]);
    Value::map([
        ("apiVersion", Value::from(format!("{GROUP}/v1"))),
        ("kind", Value::from(KIND)),
        (
            "metadata",
            Value::map([
                ("name", Value::from(format!("app-{index}"))),
                ("namespace", Value::from(BACKGROUND_NAMESPACE)),
                ("generation", Value::from(1_i64)),
                ("resourceVersion", Value::from(item.revision.to_string())),
            ]),
        ),
        ("spec", Value::map([("path", Value::from("./app"))])),
        (
            "status",
            Value::map([
                ("conditions", Value::List(vec![condition])),
                ("lastAppliedRevision", Value::from(revision)),
                ("observedGeneration", Value::from(1_i64)),
            ]),
        ),
    ])
}
