//! The kinds that the command line knows, with the short names and singular forms that people type.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What `starling get` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Managed clusters.
    Clusters,
    /// Catalogue entries.
    Addons,
    /// Assignments of addons.
    Assignments,
    /// Flux objects of the fleet.
    Objects,
    /// Assignments on clusters.
    Installs,
    /// What the hub could not accept.
    Problems,
    /// Removals that wait for approval.
    Proposals,
    /// Tokens of workspaces with which clusters join by themselves.
    Tokens,
    /// The hub's processes.
    Shards,
}

/// What people call a join token, singular first.
const TOKEN_NAMES: &[&str] = &["token", "jointokens", "jointoken", "jt"];

/// What can be deleted by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletable {
    /// A resource.
    Resource(ResourceKind),
    /// A join token.
    Token,
}

/// A resource kind that can be deleted by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ResourceKind {
    /// Dependents come first: this is the order in which several resources are deleted.
    AddonAssignment,
    /// A catalogue entry.
    Addon,
    /// A managed cluster.
    ManagedCluster,
    /// A tombstone document.
    Tombstone,
    /// A workspace.
    Workspace,
}

impl Listed {
    const ALL: [Self; 9] = [
        Self::Clusters,
        Self::Addons,
        Self::Assignments,
        Self::Objects,
        Self::Installs,
        Self::Problems,
        Self::Proposals,
        Self::Tokens,
        Self::Shards,
    ];

    /// Returns the plural and the other names, singular first.
    fn names(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Clusters => ("clusters", &["cluster", "cl", "managedclusters", "managedcluster", "mc"]),
            Self::Addons => ("addons", &["addon", "ad"]),
            Self::Assignments => {
                ("assignments", &["assignment", "as", "addonassignments", "addonassignment", "assign"])
            }
            Self::Objects => ("objects", &["object", "obj"]),
            Self::Installs => ("installs", &["install", "in"]),
            Self::Problems => ("problems", &["problem", "pb"]),
            Self::Proposals => ("proposals", &["proposal", "pr"]),
            Self::Tokens => ("tokens", TOKEN_NAMES),
            Self::Shards => ("shards", &["shard", "sh", "hubs", "hub"]),
        }
    }

    /// Returns the plural.
    pub(crate) fn plural(self) -> &'static str {
        self.names().0
    }

    /// Returns the singular.
    pub(crate) fn singular(self) -> &'static str {
        self.names().1[0]
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.to_lowercase();
        Self::ALL.into_iter().find(|kind| kind.plural() == text || kind.names().1.contains(&text.as_str()))
    }
}

impl ResourceKind {
    const ALL: [Self; 5] = [Self::AddonAssignment, Self::Addon, Self::ManagedCluster, Self::Tombstone, Self::Workspace];

    /// Returns the kind as documents write it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AddonAssignment => "AddonAssignment",
            Self::Addon => "Addon",
            Self::ManagedCluster => "ManagedCluster",
            Self::Tombstone => "Tombstone",
            Self::Workspace => "Workspace",
        }
    }

    /// Returns the name that people type.
    pub(crate) fn singular(self) -> &'static str {
        self.names()[0]
    }

    /// Returns the plural by which an API server knows it.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::AddonAssignment => "addonassignments",
            Self::Addon => "addons",
            Self::ManagedCluster => "managedclusters",
            Self::Tombstone => "tombstones",
            Self::Workspace => "workspaces",
        }
    }

    /// Tells whether resources of this kind live in a namespace.
    pub(crate) fn is_namespaced(self) -> bool {
        match self {
            Self::AddonAssignment | Self::Addon | Self::ManagedCluster | Self::Tombstone => true,
            Self::Workspace => false,
        }
    }

    /// Returns what a person calls a resource, as in `cluster retail/edge-1`.
    pub(crate) fn text(self, namespace: &str, name: &str) -> String {
        match namespace {
            "" => format!("{} {name}", self.singular()),
            namespace => format!("{} {namespace}/{name}", self.singular()),
        }
    }

    /// Reads a kind from what people type or documents write.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.to_lowercase();
        Self::ALL.into_iter().find(|kind| kind.names().contains(&text.as_str()))
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::AddonAssignment => {
                &["assignment", "assignments", "as", "assign", "addonassignment", "addonassignments"]
            }
            Self::Addon => &["addon", "addons", "ad"],
            Self::ManagedCluster => &["cluster", "clusters", "cl", "managedcluster", "managedclusters", "mc"],
            Self::Tombstone => &["tombstone", "tombstones"],
            Self::Workspace => &["workspace", "workspaces", "ws"],
        }
    }
}

/// Returns the kind of a Flux object in full where a short name was typed; other texts as they are, without a group.
pub(crate) fn flux_kind(text: &str) -> String {
    const KINDS: [(&str, &[&str]); 8] = [
        ("HelmRelease", &["hr", "helmrelease", "helmreleases"]),
        ("Kustomization", &["ks", "kustomization", "kustomizations"]),
        ("GitRepository", &["gitrepo", "gitrepository", "gitrepositories"]),
        ("OCIRepository", &["ocirepo", "ocirepository", "ocirepositories"]),
        ("HelmRepository", &["helmrepo", "helmrepository", "helmrepositories"]),
        ("HelmChart", &["hc", "helmchart", "helmcharts"]),
        ("Bucket", &["bucket", "buckets"]),
        ("ExternalArtifact", &["ea", "externalartifact", "externalartifacts"]),
    ];
    let kind = text.split('.').next().unwrap_or(text);
    let lower = kind.to_lowercase();
    let known = KINDS.iter().find(|(_, names)| names.contains(&lower.as_str()));
    known.map_or_else(|| kind.to_owned(), |(name, _)| (*name).to_owned())
}

/// A kind with an optional name behind a slash, such as `cluster/edge-1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject<K> {
    /// The kind.
    pub(crate) kind: K,
    /// What stood behind the first slash.
    pub(crate) name: Option<String>,
}

/// Reads `KIND` or `KIND/NAME` of [`Listed`].
#[derive(Clone, Debug)]
pub(crate) struct ListedParser;

/// Reads `KIND` or `KIND/NAME` of [`Deletable`].
#[derive(Clone, Debug)]
pub(crate) struct DeletableParser;

impl TypedValueParser for ListedParser {
    type Value = Subject<Listed>;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let plurals: Vec<String> = Listed::ALL.map(|kind| kind.plural().to_owned()).to_vec();
        parse_subject(command, argument, value, Listed::parse, plurals)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Listed::ALL.into_iter().map(|kind| {
            let (plural, others) = kind.names();
            PossibleValue::new(plural).aliases(others.iter().copied())
        })))
    }
}

impl TypedValueParser for DeletableParser {
    type Value = Subject<Deletable>;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let names = Deletable::singulars().into_iter().map(str::to_owned).collect();
        parse_subject(command, argument, value, Deletable::parse, names)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Deletable::singulars().into_iter().map(PossibleValue::new)))
    }
}

impl Deletable {
    fn parse(text: &str) -> Option<Self> {
        let (plural, names) = Listed::Tokens.names();
        let lower = text.to_lowercase();
        if lower == plural || names.contains(&lower.as_str()) {
            return Some(Self::Token);
        }
        ResourceKind::parse(text).map(Self::Resource)
    }

    fn singulars() -> Vec<&'static str> {
        ResourceKind::ALL.into_iter().map(ResourceKind::singular).chain([TOKEN_NAMES[0]]).collect()
    }
}

fn parse_subject<K>(
    command: &clap::Command,
    argument: Option<&clap::Arg>,
    value: &std::ffi::OsStr,
    parse: impl Fn(&str) -> Option<K>,
    valid: Vec<String>,
) -> Result<Subject<K>, clap::Error> {
    let text = StringValueParser::new().parse_ref(command, argument, value)?;
    let (kind, name) = match text.split_once('/') {
        Some((kind, name)) => (kind, Some(name.to_owned())),
        None => (text.as_str(), None),
    };
    if let Some(kind) = parse(kind) {
        return Ok(Subject { kind, name });
    }
    let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(command);
    if let Some(argument) = argument {
        error.insert(ContextKind::InvalidArg, ContextValue::String(argument.to_string()));
    }
    error.insert(ContextKind::InvalidValue, ContextValue::String(kind.to_owned()));
    error.insert(ContextKind::ValidValue, ContextValue::Strings(valid));
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_two_kinds() {
        for kind in Listed::ALL {
            assert_eq!(Listed::parse(kind.plural()), Some(kind));
            for name in kind.names().1 {
                assert_eq!(Listed::parse(name), Some(kind), "{name}");
            }
        }
        for kind in ResourceKind::ALL {
            assert_eq!(ResourceKind::parse(kind.as_str()), Some(kind));
            for name in kind.names() {
                assert_eq!(ResourceKind::parse(name), Some(kind), "{name}");
            }
        }
        assert_eq!(Listed::parse("pods"), None);
    }

    #[test]
    fn flux_kinds_have_short_names() {
        for (typed, kind) in [
            ("hr", "HelmRelease"),
            ("helmreleases", "HelmRelease"),
            ("HelmRelease.helm.toolkit.fluxcd.io", "HelmRelease"),
            ("ks", "Kustomization"),
            ("Canary", "Canary"),
        ] {
            assert_eq!(flux_kind(typed), kind);
        }
    }
}
