//! The management cluster's API: resources come from there, and the fleet's secrets are kept there.
//!
//! Owns the client, watching the resources' objects and handing them to the steward, confirming deletions, the finalizer, the
//! namespaces of workspaces, the Secret of the keyring and the ConfigMap that tells how to reach the hub. Does not own what
//! an object means for the fleet: the steward decides, and plans follow the store, which serves alone while the API is away.

mod api;
mod client;
mod documents;
mod evidence;
mod metadata;
mod mirror;
mod namespaces;
mod publish;
mod secrets;
mod seen;
mod source;
pub mod status;
mod untaken;
mod waits;

pub use client::{ConnectError, Connection, connect};
pub use documents::KubernetesDocuments;
pub use publish::{Published, publish};
pub use secrets::KeySecret;
pub use seen::Seen;
pub use source::{KubernetesSource, Observer, SourceParts};
pub use untaken::Untaken;

/// The finalizer under which a deletion is evidence.
pub const FINALIZER: &str = "starling.dev/evidence";

/// The field manager of what the hub writes besides statuses and finalizers.
pub const FIELD_MANAGER: &str = "starling-hub";

/// The field manager of the finalizer: of its own, because an apply takes away what its manager applied before and leaves out now.
pub const FINALIZER_MANAGER: &str = "starling-hub-finalizer";

/// Labels in which Flux and Helm note where an object comes from. A ManagedCluster's are not taken: whoever may not label clusters
/// may have them written, as the chart's admission policy says with the same list.
pub const NOTES: [&str; 5] = [
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/namespace",
    "helm.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/namespace",
    "app.kubernetes.io/managed-by",
];

/// The hub's own namespace where none is named.
pub const HUB_NAMESPACE: &str = "starling-system";

/// The Secret of the fleet's secrets, in the hub's own namespace.
pub const KEYS_SECRET: &str = "starling-hub-keys";

/// The ConfigMap that tells how to reach the hub, in the hub's own namespace.
pub const HUB_CONFIG: &str = "starling-hub";

/// The label of what the hub makes.
const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "starling");
