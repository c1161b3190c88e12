//! A Flux that does nothing but report: what it says of an object that it was given.

use starling_model::{ObjectKey, Value};

use super::State;

/// Tells whether Flux reconciles objects of a group.
pub(super) fn reconciles(key: &ObjectKey) -> bool {
    key.group.ends_with(".toolkit.fluxcd.io")
}

/// Writes the status of an object that is being reconciled.
pub(super) fn begin(state: &mut State, key: &ObjectKey) {
    report(state, key, "Unknown", "Progressing", "reconciliation in progress");
}

/// Writes the status of an object that was reconciled.
pub(super) fn settle(state: &mut State, key: &ObjectKey) {
    match state.failing.get(&key.name).cloned() {
        Some(message) => report(state, key, "False", "ReconciliationFailed", &message),
        None => report(state, key, "True", "ReconciliationSucceeded", "reconciled"),
    }
}

fn report(state: &mut State, key: &ObjectKey, status: &str, reason: &str, message: &str) {
    let Some(mut object) = state.objects.get(key).cloned() else { return };
    let generation = object.at(&["metadata", "generation"]).cloned().unwrap_or_default();
    let suspended = object.at(&["spec", "suspend"]).and_then(Value::as_bool).unwrap_or(false);
    if suspended {
        return;
    }
    let condition = Value::map([
        ("type", Value::from("Ready")),
        ("status", Value::from(status)),
        ("reason", Value::from(reason)),
        ("message", Value::from(message)),
        ("observedGeneration", generation.clone()),
    ]);
    let mut members = vec![("conditions", Value::List(vec![condition])), ("observedGeneration", generation)];
    let requested = object.at(&["metadata", "annotations", "reconcile.fluxcd.io/requestedAt"]).cloned();
    members.extend(requested.map(|token| ("lastHandledReconcileAt", token)));
    if let Value::Map(map) = &mut object {
        map.insert("status".into(), Value::map(members));
    }
    state.write(key.clone(), object);
}
