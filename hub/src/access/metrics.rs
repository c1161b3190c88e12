//! What access counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Attributes, Unauthenticated};
use crate::metrics::{Metrics, Reason};

/// Metrics of access; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AccessMetrics {
    /// Calls, or parts of them, that their callers may not make.
    denied: Family<Permission, Counter>,
    /// Calls without a good token, by reason.
    refused: Family<Reason, Counter>,
    /// Questions about permissions that were not answered.
    pub(super) failed_reviews: Counter,
}

/// The label of a denial; both from a closed set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Permission {
    resource: &'static str,
    verb: &'static str,
}

impl AccessMetrics {
    /// Makes them and registers them.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        let access = Self::default();
        metrics.register(|registry| {
            let Self { denied, refused, failed_reviews } = &access;
            // Shown from the start, as every reason is: a rate of what appears with its first event misses that event.
            for reason in ["no-token", "unknown-token", "malformed-token", "too-many-failures", "unavailable"] {
                refused.get_or_create_owned(&Reason { reason });
            }
            denied.get_or_create_owned(&Permission { resource: "managedclusters", verb: "list" });
            registry.register("access_denied", "Calls that their callers may not make", denied.clone());
            registry.register("access_unauthenticated", "Admin calls without a good token", refused.clone());
            registry.register(
                "access_review_failures",
                "Questions about permissions that the API server did not answer",
                failed_reviews.clone(),
            );
        });
        access
    }

    pub(super) fn deny(&self, attributes: &Attributes) {
        let permission = Permission { resource: attributes.resource.as_str(), verb: attributes.verb.as_str() };
        self.denied.get_or_create_owned(&permission).inc();
    }

    pub(super) fn refuse(&self, refused: &Unauthenticated) {
        self.refused.get_or_create_owned(&Reason { reason: refused.as_str() }).inc();
    }
}
