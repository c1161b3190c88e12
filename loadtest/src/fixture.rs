//! The resources that are measured with: one addon, one assignment for everybody and one for a single cluster.

/// The label of the cluster that [`ONE`] selects.
pub(crate) const PROBE_LABEL: (&str, &str) = ("probe", "yes");

/// Flux objects that an assignment brings: HelmRepository and HelmRelease.
pub(crate) const OBJECTS_OF_AN_ASSIGNMENT: u32 = 2;

/// The assignment that every cluster has.
pub(crate) const EVERYBODY: Subject = Subject { name: "bench-everybody", selector: "{}" };

/// The assignment that one cluster has: the one with the probe's label.
pub(crate) const ONE: Subject = Subject { name: "bench-one", selector: "{matchLabels: {probe: \"yes\"}}" };

/// An assignment whose values are changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    /// Its name.
    pub(crate) name: &'static str,
    selector: &'static str,
}

/// Where the addon and the assignments are, and which workspaces there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixture {
    /// The namespace of addon and assignments.
    pub(crate) namespace: &'static str,
    /// The workspaces, in which clusters take turns.
    pub(crate) workspaces: &'static [&'static str],
}

/// Two workspaces under the platform's namespace: of a hub that has nothing else.
pub(crate) const WHOLE_FLEET: Fixture = Fixture { namespace: "starling-platform", workspaces: &["retail", "factory"] };

/// One workspace that has everything itself: nothing of a hub with other clusters is touched.
pub(crate) const OWN_WORKSPACE: Fixture =
    Fixture { namespace: "starling-loadtest", workspaces: &["starling-loadtest"] };

/// The name of the addon.
pub(crate) const ADDON: &str = "bench";

impl Fixture {
    /// Returns an assignment's document with its one value set.
    pub(crate) fn assignment(&self, subject: &Subject, message: &str) -> String {
        let (Subject { name, selector }, namespace) = (subject, self.namespace);
        format!(
            "apiVersion: starling.dev/v1alpha1\n\
             kind: AddonAssignment\n\
             metadata: {{name: {name}, namespace: {namespace}}}\n\
             spec:\n  \
               addon: {{name: {ADDON}}}\n  \
               version: 1.0.0\n  \
               clusterSelector: {selector}\n  \
               values: {{message: \"{message}\"}}\n"
        )
    }

    /// Returns the documents of everything.
    pub(crate) fn documents(&self) -> String {
        let workspaces = self.workspaces.iter().map(|name| {
            format!("apiVersion: starling.dev/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\nspec: {{}}\n")
        });
        let addon = format!(
            "apiVersion: starling.dev/v1alpha1
kind: Addon
metadata: {{name: {ADDON}, namespace: {}}}
spec:
  title: bench
  targetNamespace: bench
  versions:
    - version: 1.0.0
      source:
        helmRepository: {{url: \"https://charts.example.com\", chart: bench}}
      values: {{message: hello}}
",
            self.namespace
        );
        let assignments = [&EVERYBODY, &ONE].map(|subject| self.assignment(subject, "first"));
        workspaces.chain([addon]).chain(assignments).collect::<Vec<_>>().join("---\n")
    }
}
