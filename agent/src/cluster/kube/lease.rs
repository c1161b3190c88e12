//! A Lease (coordination.k8s.io) of the agent's namespace.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::Method;
use k8s_openapi::jiff::Timestamp;
use starling_agent_core::standby::{Lease, LeaseWrite};
use starling_model::{Value, labels};

use super::request::{JSON, MERGE_PATCH, Requests};
use crate::cluster::{ClusterError, LeaseApi};

/// The Lease of one name.
pub struct KubeLease {
    requests: Arc<Requests>,
    namespace: String,
    name: String,
}

impl KubeLease {
    pub(super) fn new(requests: Arc<Requests>, namespace: &str, name: &str) -> Self {
        Self { requests, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn collection(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }
}

#[async_trait]
impl LeaseApi for KubeLease {
    async fn read(&self) -> Result<Option<Lease>, ClusterError> {
        match self.requests.read(&format!("{}/{}", self.collection(), self.name), JSON).await {
            Ok(document) => Ok(Some(lease_of(&document))),
            Err(ClusterError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, write: &LeaseWrite) -> Result<Lease, ClusterError> {
        let manager = labels::APPLY_MANAGER;
        let stored = match &write.expected {
            None => {
                let mut metadata = vec![("name", Value::from(self.name.as_str()))];
                metadata.push(("labels", Value::map([("app.kubernetes.io/part-of", "starling")])));
                let document = Value::map([
                    ("apiVersion", Value::from("coordination.k8s.io/v1")),
                    ("kind", Value::from("Lease")),
                    ("metadata", Value::map(metadata)),
                    ("spec", spec(write)),
                ]);
                let path = format!("{}?fieldManager={manager}", self.collection());
                match self.requests.write(Method::POST, &path, JSON, &document).await {
                    // Not the Lease is missing but its namespace, and only just, or its API.
                    Err(ClusterError::NotFound) => {
                        Err(ClusterError::Rejected(format!("namespace {} takes no lease", self.namespace)))
                    }
                    answer => answer,
                }?
            }
            Some(version) => {
                // A patch that names the version is refused when the object has another; what others wrote beside stays.
                let metadata = Value::map([("resourceVersion", version.as_str())]);
                let patch = Value::map([("metadata", metadata), ("spec", spec(write))]);
                let path = format!("{}/{}?fieldManager={manager}", self.collection(), self.name);
                match self.requests.write(Method::PATCH, &path, MERGE_PATCH, &patch).await {
                    Err(ClusterError::NotFound) => Err(ClusterError::Conflict("the lease was deleted".to_owned())),
                    answer => answer,
                }?
            }
        };
        Ok(lease_of(&stored))
    }
}

fn spec(write: &LeaseWrite) -> Value {
    // For people alone: no agent compares another machine's time.
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    let now = Value::from(format!("{now:.6}"));
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let mut fields = vec![
        ("holderIdentity", Value::from(write.holder.as_str())),
        ("leaseDurationSeconds", Value::from(seconds(write.duration))),
        ("leaseTransitions", Value::from(i64::try_from(write.transitions).unwrap_or(i64::from(i32::MAX)))),
        ("renewTime", now.clone()),
    ];
    if write.is_taken {
        fields.push(("acquireTime", now));
    }
    Value::map(fields)
}

fn lease_of(document: &Value) -> Lease {
    let number = |field: &str| match document.at(&["spec", field]) {
        Some(Value::Int(number)) => u64::try_from(*number).unwrap_or_default(),
        _ => 0,
    };
    let text = |path: &[&str]| document.at(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    Lease {
        holder: text(&["spec", "holderIdentity"]),
        duration: Duration::from_secs(number("leaseDurationSeconds")),
        transitions: number("leaseTransitions"),
        version: text(&["metadata", "resourceVersion"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_reads_as_it_is_written() {
        let write = LeaseWrite {
            expected: None,
            holder: "starling-agent-0".to_owned(),
            duration: Duration::from_secs(15),
            transitions: 3,
            is_taken: true,
        };
        let metadata = Value::map([("resourceVersion", "42")]);
        let document = Value::map([("metadata", metadata), ("spec", spec(&write))]);
        let lease = lease_of(&document);
        assert_eq!((lease.holder.as_str(), lease.version.as_str(), lease.transitions), ("starling-agent-0", "42", 3));
        assert_eq!(lease.duration, write.duration);
        // What the API server calls MicroTime has six digits, no more and no less.
        let time = document.at(&["spec", "renewTime"]).and_then(Value::as_str).unwrap();
        assert_eq!((time.len(), &time[19..20], &time[26..]), (27, ".", "Z"), "{time}");
    }
}
