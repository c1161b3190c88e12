//! What is wrong with the fleet's resources, computed from the fleet alone.

use starling_model::BlockedReason;

use super::Fleet;
use crate::records::{Absence, DeletedRecord, InputRecord, ObjectOrigin};
use crate::resources::{InputKey, Kind, PLATFORM_NAMESPACE, Resource};

/// Something that is wrong with a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Which resource.
    pub key: InputKey,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub next: String,
    /// What is wrong, in one word for machines.
    pub reason: &'static str,
}

impl Problem {
    /// The reason of a resource whose document is no longer there.
    pub const MISSING: &'static str = "SourceMissing";

    pub(crate) fn new(key: InputKey, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { key, message: message.into(), next: next.into(), reason: "NotTaken" }
    }

    /// Names what is wrong, for machines.
    fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }
}

impl Problem {
    /// Makes the problem of an object that cannot be read, or not be dealt with.
    #[must_use]
    pub fn of_object(key: InputKey, message: impl Into<String>) -> Self {
        Self::new(key, message, "correct the object; until then nothing of it changes")
    }
}

impl Fleet {
    /// Returns what is wrong with the resources, by kind, namespace and name.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        for record in self.inputs() {
            self.collect(record, &mut problems);
        }
        problems.extend(self.all_deleted().map(|record| not_removed(record)));
        problems.sort();
        problems
    }

    /// Returns what is wrong with one resource.
    #[must_use]
    pub fn problems_of(&self, key: &InputKey) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(record) = self.input(key) {
            self.collect(record, &mut problems);
        }
        problems.extend(self.deleted(key).map(|record| not_removed(record)));
        problems.sort();
        problems
    }

    fn collect(&self, record: &InputRecord, problems: &mut Vec<Problem>) {
        problems.extend(missing(record));
        problems.extend(self.without_workspace(record));
        match &record.resource {
            Resource::ManagedCluster(_) => problems.extend(self.second_name(record)),
            Resource::AddonAssignment(_) => problems.extend(self.blocked(record)),
            Resource::Tombstone(_) => problems.extend(self.not_carried_out(record)),
            Resource::Workspace(_) | Resource::Addon(_) => {}
        }
    }

    fn without_workspace(&self, record: &InputRecord) -> Option<Problem> {
        let namespace = record.resource.namespace();
        let needs_one = !namespace.is_empty() && namespace != PLATFORM_NAMESPACE;
        (needs_one && self.workspace(namespace).is_none()).then(|| {
            Problem::new(
                record.resource.key(),
                format!("workspace {namespace} does not exist"),
                format!("write a Workspace document named {namespace}, or correct metadata.namespace"),
            )
            .because("WorkspaceNotFound")
        })
    }

    fn second_name(&self, record: &InputRecord) -> Option<Problem> {
        let Resource::ManagedCluster(cluster) = &record.resource else { return None };
        let id = cluster.id(self.name());
        let key = record.resource.key();
        let first = self.cluster(id)?.record.resource.key();
        (first != key).then(|| {
            Problem::new(
                key.clone(),
                format!("cluster {id} is already managed as {}", first.qualified()),
                format!("remove one of the two documents, or give {} an id of its own", key.qualified()),
            )
            .because("AlreadyManaged")
        })
    }

    fn blocked(&self, record: &InputRecord) -> Option<Problem> {
        let reason = self.assignment(record.uid)?.blocked.as_ref()?;
        let next = match reason {
            BlockedReason::AddonNotFound(addon) => {
                format!("write an Addon document for {addon}, or correct spec.addon")
            }
            BlockedReason::VersionNotFound(_) => "choose a version from `starling get addons -o wide`".to_owned(),
            BlockedReason::NotPermitted(_) => {
                format!(
                    "use an addon of this workspace or of {PLATFORM_NAMESPACE}, and a namespace that is not Starling's own"
                )
            }
            BlockedReason::KubernetesOutOfRange(_)
            | BlockedReason::KubernetesUnknown
            | BlockedReason::NameCollision(_)
            | BlockedReason::Invalid(_) => "correct the document".to_owned(),
        };
        let word = match reason {
            BlockedReason::AddonNotFound(_) => "AddonNotFound",
            BlockedReason::VersionNotFound(_) => "VersionNotFound",
            BlockedReason::NotPermitted(_) => "NotPermitted",
            BlockedReason::KubernetesOutOfRange(_) => "KubernetesOutOfRange",
            BlockedReason::KubernetesUnknown => "KubernetesUnknown",
            BlockedReason::NameCollision(_) => "NameCollision",
            BlockedReason::Invalid(_) => "Invalid",
        };
        Some(Problem::new(record.resource.key(), reason.to_string(), next).because(word))
    }

    fn not_carried_out(&self, record: &InputRecord) -> Option<Problem> {
        let Resource::Tombstone(tombstone) = &record.resource else { return None };
        if record.judged || record.missing.is_some() {
            return None;
        }
        let spec = &tombstone.spec;
        let named = format!("{} {}", spec.kind.word(), spec.name);
        let (word, message, next) = if self.tombstone_target(tombstone).is_some() {
            ("InUse", format!("{named} cannot be deleted while others need it"), "delete or detach these first")
        } else {
            let next = "take the UID that `starling delete` prints";
            ("UnknownUid", format!("{named} with the UID {} is unknown, so that this does nothing", spec.uid), next)
        };
        Some(Problem::new(record.resource.key(), message, next).because(word))
    }
}

/// Returns the command that takes a resource away for good.
fn settle(key: &InputKey) -> String {
    match key.kind {
        Kind::ManagedCluster => format!("starling detach cluster {} --workspace {}", key.name, key.namespace),
        Kind::Workspace => format!("starling delete workspace {}", key.name),
        Kind::Addon | Kind::AddonAssignment | Kind::Tombstone => {
            format!("starling delete {} {}", key.kind.word(), key.qualified())
        }
    }
}

fn not_removed(record: &DeletedRecord) -> Problem {
    if record.origin.is_some() {
        let key = record.key.clone();
        let namespace = if key.namespace.is_empty() { String::new() } else { format!(" -n {}", key.namespace) };
        let kind = key.kind.as_str().to_ascii_lowercase();
        let next = format!("run `kubectl delete {kind} {}{namespace}`", key.name);
        return Problem::new(key, "it was deleted, and its object is still there", next).because("Deleted");
    }
    let problem = Problem::new(
        record.key.clone(),
        format!("it was deleted, and its document is still in {}", record.file),
        format!("remove the document from {}", record.file),
    );
    problem.because("Deleted")
}

fn missing_object(key: InputKey, origin: &ObjectOrigin) -> Problem {
    let Some(absence) = origin.absence else {
        let message = "source missing: its object is not there, and nothing says that it was meant to go; nothing changes \
                       because of that";
        let next = format!("create the object again, or create and delete it: {}", settle(&key));
        return Problem::new(key, message, next);
    };
    let next = match absence {
        Absence::NamespaceTerminating | Absence::NamespaceMissing | Absence::KindTerminating | Absence::KindMissing => {
            format!("create the object again, or run `{}`", settle(&key))
        }
        Absence::InUse => "delete or detach what is in it, or create the object again".to_owned(),
        Absence::Detaching => format!("wait for its agent, or run `{} --forget`", settle(&key)),
    };
    Problem::new(key, format!("source missing: {absence}; nothing else changes"), next)
}

fn missing(record: &InputRecord) -> Option<Problem> {
    record.missing?;
    let key = record.resource.key();
    if let Some(origin) = &record.origin {
        return Some(missing_object(key, origin).because(Problem::MISSING));
    }
    let settle = settle(&key);
    let problem = Problem::new(
        key,
        format!("source missing: its document is no longer in {}; nothing changes because of that", record.file),
        format!("restore the document, or run `{settle}`"),
    );
    Some(problem.because(Problem::MISSING))
}
