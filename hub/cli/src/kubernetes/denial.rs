//! What an API server's refusal says, in the words that the hub uses for its own.

/// What somebody may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial<'a> {
    user: &'a str,
    verb: &'a str,
    /// Subresource included, as in `serviceaccounts/token`.
    resource: &'a str,
    group: &'a str,
    name: &'a str,
    /// Empty at the cluster's scope.
    namespace: &'a str,
}

impl<'a> Denial<'a> {
    /// Reads a message of the RBAC authorizer, as in `managedclusters.starling.dev "edge-1" is forbidden: User "jane" cannot
    /// patch resource "managedclusters" in API group "starling.dev" in the namespace "retail"` (k8s.io/apiserver,
    /// `responsewriters.forbiddenMessage`).
    pub(super) fn parse(message: &'a str) -> Option<Self> {
        let (head, rest) = message.split_once(" is forbidden: User \"")?;
        let (user, rest) = rest.split_once("\" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, rest) = rest.split_once('"')?;
        let namespace = rest.split_once("in the namespace \"").and_then(|(_, rest)| rest.split_once('"'));
        let name = head.split_once('"').map_or("", |(_, name)| name.trim_end_matches('"'));
        Some(Self { user, verb, resource, group, name, namespace: namespace.map_or("", |(namespace, _)| namespace) })
    }

    /// Returns who may not do what.
    pub(super) fn what(&self) -> String {
        let Self { user, verb, resource, name, namespace, .. } = self;
        let name = if name.is_empty() { String::new() } else { format!(" {name}") };
        let place = match (*namespace, *resource) {
            ("", "workspaces") => String::new(),
            ("", _) => " in all namespaces".to_owned(),
            (namespace, _) => format!(" in namespace {namespace}"),
        };
        format!("{user} may not {verb} {resource}{name}{place}")
    }

    /// Returns what helps.
    pub(super) fn next(&self) -> String {
        let binding = binding(self.namespace);
        match (self.group, self.resource) {
            ("starling.dev", resource) => what_allows(resource, self.verb, self.namespace),
            ("", "serviceaccounts/token") => format!("ask for `create` on serviceaccounts/token, with {binding}"),
            ("", "configmaps") => {
                "the hub's chart lets everybody read it who is in the group system:authenticated: ask for its Role to be restored"
                    .to_owned()
            }
            _ => format!("ask for {binding} to a role that allows it"),
        }
    }
}

/// Returns which ClusterRole of the hub's chart allows a verb on a kind's objects, and how it is given.
pub(super) fn what_allows(resource: &str, verb: &str, namespace: &str) -> String {
    format!("the ClusterRole {} allows it: ask for {}", granted_by(resource, verb), binding(namespace))
}

fn binding(namespace: &str) -> String {
    match namespace {
        "" => "a ClusterRoleBinding".to_owned(),
        namespace => format!("a RoleBinding in {namespace}"),
    }
}

/// Returns the smallest ClusterRole of the hub's chart that grants a verb on documents.
fn granted_by(resource: &str, verb: &str) -> &'static str {
    match (resource, verb) {
        (_, "get" | "list" | "watch") => "starling-viewer",
        ("workspaces", _) => "starling-platform-admin",
        ("managedclusters/labels", _) => "starling-cluster-labeller",
        _ => "starling-workspace-admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_who_what_where_and_what_helps() {
        let message = "managedclusters.starling.dev \"edge-1\" is forbidden: User \"jane\" cannot patch resource \
                       \"managedclusters\" in API group \"starling.dev\" in the namespace \"retail\"";
        let denial = Denial::parse(message).unwrap();
        assert_eq!(denial.what(), "jane may not patch managedclusters edge-1 in namespace retail");
        assert_eq!(
            denial.next(),
            "the ClusterRole starling-workspace-admin allows it: ask for a RoleBinding in retail"
        );
        let cluster_wide = "workspaces.starling.dev is forbidden: User \"system:serviceaccount:ci:bot\" cannot create resource \
                            \"workspaces\" in API group \"starling.dev\" at the cluster scope";
        let denial = Denial::parse(cluster_wide).unwrap();
        assert_eq!(denial.what(), "system:serviceaccount:ci:bot may not create workspaces");
        assert!(denial.next().contains("starling-platform-admin") && denial.next().contains("ClusterRoleBinding"));
        assert!(what_allows("managedclusters/labels", "update", "retail").contains("starling-cluster-labeller"));
        let mint = "serviceaccounts \"bot\" is forbidden: User \"jane\" cannot create resource \"serviceaccounts/token\" in API \
                    group \"\" in the namespace \"ci\"";
        assert!(Denial::parse(mint).unwrap().next().contains("`create` on serviceaccounts/token"));
        assert_eq!(Denial::parse("ValidatingAdmissionPolicy 'x' denied request: no"), None);
    }
}
