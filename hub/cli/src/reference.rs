//! How people name one thing: `NAME`, `WORKSPACE/NAME`, `KIND/NAME`, and the longer forms that `-o name` prints.

use crate::failure::Failure;
use crate::kind::flux_kind;

/// A name on the hub, with or without its workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The workspace, where it was given.
    pub(crate) namespace: Option<String>,
    /// The name.
    pub(crate) name: String,
}

/// A Flux object of the fleet, as far as it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObjectReference {
    /// The cluster's workspace.
    pub(crate) workspace: Option<String>,
    /// The cluster.
    pub(crate) cluster: Option<String>,
    /// The kind in full, without its group.
    pub(crate) kind: Option<String>,
    /// The namespace in the cluster.
    pub(crate) namespace: Option<String>,
    /// The name.
    pub(crate) name: String,
}

impl Reference {
    /// Reads `NAME` or `WORKSPACE/NAME`; a workspace that was given beside it must agree.
    ///
    /// # Errors
    /// Of usage, when the text has another form or the two workspaces differ.
    pub(crate) fn parse(text: &str, workspace: Option<&str>) -> Result<Self, Failure> {
        let reference = match text.split_once('/') {
            Some((namespace, name)) => Self { namespace: Some(namespace.to_owned()), name: name.to_owned() },
            None => Self { namespace: workspace.map(str::to_owned), name: text.to_owned() },
        };
        if reference.name.is_empty() || reference.name.contains('/') || reference.namespace.as_deref() == Some("") {
            return Err(Failure::usage(format!("{text:?} is not NAME or WORKSPACE/NAME")));
        }
        match (workspace, &reference.namespace) {
            (Some(given), Some(named)) if given != named => {
                Err(Failure::usage(format!("{text:?} is not in workspace {given:?}"))
                    .next("leave one of the two workspaces out"))
            }
            _ => Ok(reference),
        }
    }
}

impl ObjectReference {
    /// Reads `NAME`, `KIND/NAME`, `KIND/NAMESPACE/NAME` or `[object/]WORKSPACE/CLUSTER/KIND/NAMESPACE/NAME`.
    ///
    /// # Errors
    /// Of usage, when the text has another form.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let given = |part: &str| Some(part.to_owned());
        let parts: Vec<&str> = text.strip_prefix("object/").unwrap_or(text).split('/').collect();
        let reference = match parts.as_slice() {
            [name] => Self { name: (*name).to_owned(), ..Self::default() },
            [kind, name] => Self { kind: Some(flux_kind(kind)), name: (*name).to_owned(), ..Self::default() },
            [kind, namespace, name] => Self {
                kind: Some(flux_kind(kind)),
                namespace: given(namespace),
                name: (*name).to_owned(),
                ..Self::default()
            },
            [workspace, cluster, kind, namespace, name] => Self {
                workspace: given(workspace),
                cluster: given(cluster),
                kind: Some(flux_kind(kind)),
                namespace: given(namespace),
                name: (*name).to_owned(),
            },
            _ => Self::default(),
        };
        if reference.name.is_empty() {
            return Err(Failure::usage(format!("{text:?} does not name an object"))
                .next("write KIND/NAME, KIND/NAMESPACE/NAME, or what `starling get objects -o name` prints"));
        }
        Ok(reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn names_carry_their_workspace() {
        let full = Reference { namespace: Some("retail".into()), name: "edge-1".into() };
        assert_eq!(Reference::parse("retail/edge-1", None).unwrap(), full);
        assert_eq!(Reference::parse("edge-1", Some("retail")).unwrap(), full);
        assert_eq!(Reference::parse("edge-1", None).unwrap().namespace, None);
        for (text, workspace) in [("retail/edge-1", Some("other")), ("a/b/c", None), ("/x", None), ("x/", None)] {
            assert_eq!(Reference::parse(text, workspace).unwrap_err().exit(), Exit::Usage, "{text}");
        }
    }

    #[test]
    fn what_get_prints_names_an_object() {
        let text = "object/retail/edge-1/HelmRelease.helm.toolkit.fluxcd.io/apps/podinfo";
        let reference = ObjectReference::parse(text).unwrap();
        assert_eq!(reference.cluster.as_deref(), Some("edge-1"));
        assert_eq!(reference.kind.as_deref(), Some("HelmRelease"));
        assert_eq!(reference.namespace.as_deref(), Some("apps"));
        let short = ObjectReference::parse("hr/podinfo").unwrap();
        assert_eq!((short.kind.as_deref(), short.name.as_str()), (Some("HelmRelease"), "podinfo"));
        assert!(ObjectReference::parse("a/b/c/d").is_err());
    }
}
