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

/// The label by which some addons of a catalogue select clusters, and how many values of it there are.
pub(crate) const SLOT: (&str, u32) = ("slot", 10);

/// Bytes of text in the values of a chart of the catalogue, as values of charts have.
const VALUES: usize = 500;

/// Returns the name of an addon of the catalogue and of its assignment.
pub(crate) fn addon(number: u32) -> String {
    format!("load-{number:03}")
}

impl Fixture {
    /// Returns the documents of a catalogue of so many addons, each with an assignment: charts of both kinds of repositories and
    /// kustomizations in turn, most for every cluster, one in four for some.
    pub(crate) fn catalogue(&self, addons: u32) -> String {
        let namespace = self.namespace;
        let documents = (0..addons).map(|number| {
            let name = addon(number);
            let (source, values) = match number % 3 {
                0 => (
                    format!("helmRepository: {{url: \"https://charts.example.com\", chart: {name}}}"),
                    "x".repeat(VALUES),
                ),
                1 => (format!("ociChart: {{url: \"oci://registry.example.com/{name}\"}}"), "x".repeat(VALUES)),
                _ => (
                    format!("git: {{url: \"https://git.example.com/{name}\", branch: main, path: ./deploy}}"),
                    "some".to_owned(),
                ),
            };
            let selector = match number % 4 {
                3 => {
                    format!("{{matchExpressions: [{{key: {}, operator: In, values: [\"0\", \"1\", \"2\"]}}]}}", SLOT.0)
                }
                _ => "{}".to_owned(),
            };
            format!(
                "apiVersion: starling.dev/v1alpha1\n\
                 kind: Addon\n\
                 metadata: {{name: {name}, namespace: {namespace}}}\n\
                 spec:\n  \
                   title: {name}\n  \
                   targetNamespace: {name}\n  \
                   versions: [{{version: 1.0.0, source: {{{source}}}}}]\n\
                 ---\n\
                 apiVersion: starling.dev/v1alpha1\n\
                 kind: AddonAssignment\n\
                 metadata: {{name: {name}, namespace: {namespace}}}\n\
                 spec:\n  \
                   addon: {{name: {name}}}\n  \
                   version: 1.0.0\n  \
                   clusterSelector: {selector}\n  \
                   values: {{text: \"{values}\"}}\n"
            )
        });
        documents.collect::<Vec<_>>().join("---\n")
    }

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

    /// Returns the documents of everything but a catalogue.
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
