//! A Flux that does nothing but report: what it says of an object that it was given.

use starling_model::{ObjectKey, Value};

use super::stored::Stored;

/// Flux's request for a reconcile at once.
const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// What Flux says of an object.
pub(super) struct Report {
    /// The generation that it looked at.
    generation: i64,
    outcome: Outcome,
    /// The request that it answered last.
    handled: Option<Box<str>>,
}

enum Outcome {
    Progressing,
    Ready,
    Failing(Box<str>),
}

/// Tells whether Flux reconciles objects of a group; these carry its finalizer.
pub(super) fn reconciles(key: &ObjectKey) -> bool {
    key.group.ends_with(".toolkit.fluxcd.io")
}

/// Begins to reconcile an object if its specification is another than before, or somebody asks; tells whether.
pub(super) fn begin(object: &mut Stored, before: Option<&Value>) -> bool {
    let now = object.specified();
    let is_news = before.is_none_or(|before| {
        before.get("spec") != now.get("spec") || (request(before) != request(&now) && request(&now).is_some())
    });
    if !is_news || is_suspended(&now) || object.deleting {
        return false;
    }
    let handled = object.report.take().and_then(|report| report.handled);
    object.report = Some(Report { generation: object.generation, outcome: Outcome::Progressing, handled });
    true
}

/// Ends reconciling an object, with the failure that the simulation wants.
pub(super) fn settle(object: &mut Stored, failure: Option<&str>) {
    let now = object.specified();
    if is_suspended(&now) {
        return;
    }
    let outcome = failure.map_or(Outcome::Ready, |message| Outcome::Failing(message.into()));
    object.report = Some(Report { generation: object.generation, outcome, handled: request(&now).map(Into::into) });
}

impl Report {
    /// Writes the status of a document, in the fields that Flux's own kinds have.
    pub(super) fn status(&self, document: &Value) -> Value {
        let (status, reason, message) = match &self.outcome {
            Outcome::Progressing => ("Unknown", "Progressing", "reconciliation in progress"),
            Outcome::Ready => ("True", "ReconciliationSucceeded", "reconciled"),
            Outcome::Failing(message) => ("False", "ReconciliationFailed", &**message),
        };
        let condition = Value::map([
            ("type", Value::from("Ready")),
            ("status", Value::from(status)),
            ("reason", Value::from(reason)),
            ("message", Value::from(message)),
            ("observedGeneration", Value::from(self.generation)),
        ]);
        let mut fields =
            vec![("conditions", Value::List(vec![condition])), ("observedGeneration", Value::from(self.generation))];
        if let Some(token) = &self.handled {
            fields.push(("lastHandledReconcileAt", Value::from(&**token)));
        }
        if matches!(self.outcome, Outcome::Ready) {
            fields.extend(applied(document));
        }
        Value::map(fields)
    }
}

/// Returns the field that says what is applied.
fn applied(document: &Value) -> Option<(&'static str, Value)> {
    let text = |path: &[&str]| document.at(path).and_then(Value::as_str).unwrap_or("latest");
    match document.get("kind")?.as_str()? {
        "Kustomization" => {
            Some(("lastAppliedRevision", Value::from("main@sha1:0000000000000000000000000000000000000001")))
        }
        "HelmRelease" => {
            let version = text(&["spec", "chart", "spec", "version"]);
            let release = Value::map([("chartVersion", version), ("status", "deployed")]);
            Some(("history", Value::List(vec![release])))
        }
        "GitRepository" | "OCIRepository" | "HelmRepository" | "HelmChart" => {
            let revision = format!("{}@sha256:{:064x}", text(&["spec", "ref", "tag"]), 1);
            Some(("artifact", Value::map([("revision", revision)])))
        }
        _ => None,
    }
}

fn is_suspended(document: &Value) -> bool {
    document.at(&["spec", "suspend"]).and_then(Value::as_bool) == Some(true)
}

fn request(document: &Value) -> Option<&str> {
    document.at(&["metadata", "annotations", REQUESTED_AT])?.as_str()
}
