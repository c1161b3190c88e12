//! Labels, annotations and names that Starling writes onto objects in managed clusters.

/// The field manager of the agent's server-side apply.
pub const APPLY_MANAGER: &str = "starling-agent";

/// The field manager of reconcile, suspend and resume commands, another than the apply's so that a command's
/// fields are not taken for drift.
pub const COMMAND_MANAGER: &str = "starling-command";

/// Label: the UID of the assignment that an object came from.
pub const ASSIGNMENT: &str = "starling.dev/assignment";

/// Label: the instance's name.
pub const INSTANCE: &str = "starling.dev/instance";

/// Label: the first 12 hexadecimal digits of the assignment's revision.
pub const REVISION: &str = "starling.dev/revision";

/// Annotation: the fence under which an object was last written, as `<era number>.<position>`.
pub const FENCE: &str = "starling.dev/fence";

/// Annotation of a ManagedCluster: the id of the workspace's join token with which the cluster registered by itself.
pub const JOINED_WITH: &str = "starling.dev/joined-with";

/// The namespace in a managed cluster that holds the agent and its inventory.
pub const SYSTEM_NAMESPACE: &str = "starling-system";

/// The namespace of addons of a workspace that names none.
pub const DEFAULT_ADDON_NAMESPACE: &str = "starling-addons";
