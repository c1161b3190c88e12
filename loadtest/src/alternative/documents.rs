//! What is stored in the API server: a namespace, a work object and a lease for each cluster, and what is read off an event.

use std::fmt::Write as _;

use serde_json::json;

/// Where definitions are made.
pub(super) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Where namespaces are made.
pub(super) const NAMESPACES: &str = "/api/v1/namespaces";

/// All work objects.
pub(crate) const WORKS: &str = "/apis/loadtest.starling.dev/v1/works";

/// How much of a status is written: etcd refuses requests of 1.5 MiB, and the rest of the object needs a little.
const STATUS_LIMIT: usize = 1_400_000;

/// Bytes of one object in a status, at most.
const OBJECT_BYTES: usize = 256;

/// Returns how many objects a status may have.
pub(crate) const fn objects_limit() -> usize {
    STATUS_LIMIT / OBJECT_BYTES
}

/// The definition of a work object: what a cluster should have in `spec`, what became of it in `status`.
pub(super) fn definition() -> String {
    let text = json!({ "type": "string" });
    let number = json!({ "type": "integer", "format": "int64" });
    let object = json!({
        "type": "object",
        "properties": {
            "kind": text, "namespace": text, "name": text, "ready": text, "reason": text, "message": text,
            "revision": text, "observedGeneration": number,
        },
    });
    let schema = json!({
        "type": "object",
        "properties": {
            "spec": { "type": "object", "properties": { "change": number } },
            "status": {
                "type": "object",
                "properties": {
                    "observedChange": number,
                    "sequence": number,
                    "objects": { "type": "array", "items": object },
                },
            },
        },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "works.loadtest.starling.dev" },
        "spec": {
            "group": "loadtest.starling.dev",
            "scope": "Namespaced",
            "names": { "kind": "Work", "listKind": "WorkList", "plural": "works", "singular": "work" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": schema },
            }],
        },
    })
    .to_string()
}

pub(super) fn namespace(name: &str) -> String {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }).to_string()
}

pub(super) fn work() -> String {
    let kind = "Work";
    let metadata = json!({ "name": "work" });
    json!({ "apiVersion": "loadtest.starling.dev/v1", "kind": kind, "metadata": metadata, "spec": { "change": 0 } })
        .to_string()
}

pub(super) fn lease() -> String {
    let metadata = json!({ "name": "alive" });
    json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {} }).to_string()
}

/// The work objects of one cluster, which are one.
pub(super) fn works_path(cluster: &str) -> String {
    format!("/apis/loadtest.starling.dev/v1/namespaces/{cluster}/works")
}

pub(crate) fn work_path(cluster: &str) -> String {
    format!("{}/work", works_path(cluster))
}

pub(super) fn status_path(cluster: &str) -> String {
    format!("{}/status", work_path(cluster))
}

/// A watch of one cluster's work that begins with what there is, from the API server's cache.
pub(super) fn watch_path(cluster: &str) -> String {
    format!("{}?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Dwork", works_path(cluster))
}

pub(super) fn leases_path(cluster: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{cluster}/leases")
}

/// The patch that asks a cluster for something.
pub(crate) fn change_patch(change: u64) -> String {
    format!("{{\"spec\":{{\"change\":{change}}}}}")
}

/// The patch that renews a cluster's lease.
pub(super) fn lease_patch(holder: &str, now: jiff::Timestamp) -> String {
    format!("{{\"spec\":{{\"holderIdentity\":\"{holder}\",\"renewTime\":\"{now:.6}\"}}}}")
}

/// The patch of a cluster's status, the so many-eth: all of its Flux objects, of which the first is at a revision of that number.
pub(super) fn status_patch(objects: usize, change: u64, sequence: u64) -> String {
    let objects = objects.min(objects_limit());
    let mut text = String::with_capacity(64 + objects * OBJECT_BYTES);
    // Text is written to memory, which does not fail.
    let _ = write!(text, "{{\"status\":{{\"observedChange\":{change},\"sequence\":{sequence},\"objects\":[");
    for number in 0..objects {
        let at = if number == 0 { sequence } else { 1 };
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(
            text,
            "{comma}{{\"kind\":\"Kustomization\",\"namespace\":\"apps\",\"name\":\"app-{number}\",\"ready\":\"True\",\
             \"reason\":\"ReconciliationSucceeded\",\"message\":\"Applied revision: main\",\
             \"revision\":\"main@sha1:{at:040x}\",\"observedGeneration\":1}}"
        );
    }
    text.push_str("]}}");
    text
}

/// Reads a number of an event or object by its name, where it stands first: documents are written in the order of their names, so
/// that `change` is that of `spec`.
pub(super) fn number_of(document: &[u8], name: &str) -> Option<u64> {
    let wanted = format!("\"{name}\":");
    let at = document.windows(wanted.len()).position(|window| window == wanted.as_bytes())?;
    let digits = &document[at + wanted.len()..];
    let length = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_all_objects_that_fit() {
        let patch = status_patch(40, 3, 7);
        let read: serde_json::Value = serde_json::from_str(&patch).expect("it is JSON");
        let status = &read["status"];
        assert_eq!((&status["observedChange"], &status["sequence"]), (&3.into(), &7.into()));
        assert_eq!(status["objects"].as_array().map(Vec::len), Some(40));
        assert!((200..=OBJECT_BYTES).contains(&(patch.len() / 40)), "{} bytes for each object", patch.len() / 40);
        let whole = status_patch(10_000, 0, 1);
        assert!(whole.len() <= STATUS_LIMIT, "{} bytes", whole.len());
        let read: serde_json::Value = serde_json::from_str(&whole).expect("it is JSON");
        assert_eq!(read["status"]["objects"].as_array().map(Vec::len), Some(objects_limit()));
    }

    #[test]
    fn an_event_tells_its_change() {
        let event = br#"{"type":"MODIFIED","object":{"metadata":{"generation":3,"managedFields":[{"fieldsV1":{"f:spec":{"f:change":{}}}}]},"spec":{"change":12},"status":{"sequence":5}}}"#;
        assert_eq!(number_of(event, "change"), Some(12));
        assert_eq!(number_of(event, "sequence"), Some(5));
        assert_eq!(number_of(event, "nothing"), None);
    }
}
