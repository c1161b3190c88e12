//! Metrics of the admin API's calls.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use starling_telemetry::histogram;
use tonic::Code;

/// The methods of the admin API; any other name is counted as `other`.
const METHODS: [&str; 22] = [
    "GetStatus",
    "Adopt",
    "Detach",
    "Apply",
    "Delete",
    "Approve",
    "ListProposals",
    "ListClusters",
    "ListAddons",
    "ListAssignments",
    "ListObjects",
    "ListInstalls",
    "ListProblems",
    "Watch",
    "RunCommand",
    "RecoverStore",
    "WhoAmI",
    "CreateJoinToken",
    "ListJoinTokens",
    "RevokeJoinToken",
    "ListShards",
    "SimulateShards",
];

type Label = [(&'static str, &'static str); 1];

/// Metrics of calls that were let in; cheap to clone.
#[derive(Clone, Debug)]
pub struct CallMetrics {
    calls: Family<[(&'static str, &'static str); 2], Counter>,
    took: Family<Label, Histogram, fn() -> Histogram>,
}

impl CallMetrics {
    /// Notes a call that was answered, and how long it took until its answer began.
    pub fn answered(&self, method: &'static str, code: Code, took: Duration) {
        self.calls.get_or_create_owned(&[("method", method), ("code", name_of(code))]).inc();
        self.took.get_or_create_owned(&[("method", method)]).observe(took.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        for method in METHODS {
            self.calls.get_or_create_owned(&[("method", method), ("code", name_of(Code::Ok))]);
        }
        self.took.get_or_create_owned(&[("method", "GetStatus")]);
        registry.register("admin_calls", "Calls of the admin API that were let in, by gRPC code", self.calls.clone());
        let help = "How long calls of the admin API took until their answer began";
        registry.register_with_unit("admin_call_duration", help, Unit::Seconds, self.took.clone());
    }
}

impl Default for CallMetrics {
    fn default() -> Self {
        Self { calls: Family::default(), took: Family::new_with_constructor(histogram::seconds) }
    }
}

/// Returns the method of a call's path, from a closed set.
#[must_use]
pub fn method(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    METHODS.into_iter().find(|method| *method == name).unwrap_or("other")
}

fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid-argument",
        Code::DeadlineExceeded => "deadline-exceeded",
        Code::NotFound => "not-found",
        Code::AlreadyExists => "already-exists",
        Code::PermissionDenied => "permission-denied",
        Code::ResourceExhausted => "resource-exhausted",
        Code::FailedPrecondition => "failed-precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out-of-range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data-loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_of_a_closed_set() {
        assert_eq!(method("/starling.v1.AdminService/Apply"), "Apply");
        assert_eq!(method("/starling.v1.AdminService/DropEverything"), "other");
    }
}
