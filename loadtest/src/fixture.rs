//! The resources that are measured with: two workspaces, one addon, one assignment for everybody and one for one cluster.

/// The assignment that every cluster has.
pub(super) const EVERYBODY: Subject = Subject { name: "everybody", selector: "{}" };

/// The assignment that one cluster has: the one with the probe's label.
pub(super) const ONE: Subject = Subject { name: "one", selector: "{matchLabels: {probe: \"yes\"}}" };

/// The label of the cluster that [`ONE`] selects.
pub(super) const PROBE_LABEL: (&str, &str) = ("probe", "yes");

/// Flux objects that an assignment brings: HelmRepository and HelmRelease.
pub(super) const OBJECTS_OF_AN_ASSIGNMENT: u32 = 2;

/// An assignment whose values are changed.
pub(super) struct Subject {
    name: &'static str,
    selector: &'static str,
}

impl Subject {
    /// Returns the assignment's document with its one value set.
    pub(super) fn document(&self, message: &str) -> String {
        let Self { name, selector } = self;
        format!(
            "apiVersion: starling.dev/v1alpha1\n\
             kind: AddonAssignment\n\
             metadata: {{name: bench-{name}, namespace: starling-platform}}\n\
             spec:\n  \
               addon: {{name: bench}}\n  \
               version: 1.0.0\n  \
               clusterSelector: {selector}\n  \
               values: {{message: \"{message}\"}}\n"
        )
    }
}

/// Returns the documents of everything.
pub(super) fn documents() -> String {
    let workspaces = ["retail", "factory"].map(|name| {
        format!("apiVersion: starling.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\nspec: {{}}\n")
    });
    let addon = "\
apiVersion: starling.dev/v1alpha1
kind: Addon
metadata: {name: bench, namespace: starling-platform}
spec:
  title: bench
  targetNamespace: bench
  versions:
    - version: 1.0.0
      source:
        helmRepository: {url: \"https://charts.example.com\", chart: bench}
      values: {message: hello}
";
    let documents = [&workspaces[0], &workspaces[1], addon, &EVERYBODY.document("first"), &ONE.document("first")];
    documents.map(ToOwned::to_owned).join("---\n")
}
