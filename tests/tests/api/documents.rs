//! Documents that tests write into a hub's directory.

/// The workspace of the tests.
pub(crate) const WORKSPACE: &str = "retail";

/// Two workspaces, and an addon that nobody has to serve: clusters in memory fetch nothing.
pub(crate) const CATALOGUE: &str = "\
apiVersion: starling.dev/v1alpha1
kind: Workspace
metadata: {name: retail}
spec: {}
---
apiVersion: starling.dev/v1alpha1
kind: Workspace
metadata: {name: factory}
spec: {}
---
apiVersion: starling.dev/v1alpha1
kind: Addon
metadata: {name: web, namespace: starling-platform}
spec:
  title: web
  targetNamespace: default
  versions:
    - version: 1.0.0
      source: {helmRepository: {url: 'https://charts.example.org', chart: web}}
    - version: 1.1.0
      source: {helmRepository: {url: 'https://charts.example.org', chart: web}}
";

/// An assignment of the addon by the platform to the clusters of a selector.
pub(crate) fn assignment(name: &str, selector: &str) -> String {
    format!(
        "apiVersion: starling.dev/v1alpha1\nkind: AddonAssignment\n\
         metadata: {{name: {name}, namespace: starling-platform}}\n\
         spec:\n  addon: {{name: web}}\n  version: 1.0.0\n  clusterSelector: {selector}\n"
    )
}
