//! The CustomResourceDefinitions of the resources, made of the very types that a directory's documents are read into.
//!
//! Owns what Kubernetes asks beyond the fields: scope, names, columns, and schemas in its structural form. Does not own the
//! files that hold them: `cargo xtask crds` writes these, and a test compares them.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::status::{AddonStatus, AssignmentStatus, ClusterStatus, TombstoneStatus, WorkspaceStatus};
use super::{AddonSpec, AssignmentSpec, ClusterSpec, Kind, TombstoneSpec, WorkspaceSpec};

/// The group of all resources.
pub const GROUP: &str = "starling.dev";

/// The version of all resources.
pub const VERSION: &str = "v1alpha1";

/// What a name must be, for people.
const NAME_RULE: &str =
    "a name has at most 63 lower-case letters, digits and '-', and starts and ends with a letter or digit";

impl Kind {
    /// Returns the name of the resource in the API's paths.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Workspace => "workspaces",
            Self::ManagedCluster => "managedclusters",
            Self::Addon => "addons",
            Self::AddonAssignment => "addonassignments",
            Self::Tombstone => "tombstones",
        }
    }

    fn short_name(self) -> &'static str {
        match self {
            Self::Workspace => "ws",
            Self::ManagedCluster => "mcl",
            Self::Addon => "ad",
            Self::AddonAssignment => "aa",
            Self::Tombstone => "tomb",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Workspace => {
                "A group of clusters under one set of administrators. It owns the namespace of its name: the ManagedClusters \
                 there are its clusters, the AddonAssignments there reach these and no others."
            }
            Self::ManagedCluster => {
                "A managed cluster, in the namespace of its workspace. Its labels are what the selectors of assignments see. It \
                 may be written before the cluster exists: `starling adopt` makes the command that an agent joins with."
            }
            Self::Addon => {
                "A catalogue entry: something to install, and the versions of it that can be assigned. One in the platform's \
                 namespace is for everybody, one in a workspace's for that workspace."
            }
            Self::AddonAssignment => {
                "\"This addon, this version, these values, on the clusters that this selector matches.\" One in a workspace's \
                 namespace reaches that workspace's clusters, one in the platform's namespace reaches all."
            }
            Self::Tombstone => {
                "Evidence, committed like any other document, that one incarnation of a resource is meant to go. The resource is \
                 in the Tombstone's own namespace; a Workspace is in none."
            }
        }
    }

    fn schemas(self) -> (Value, Value) {
        match self {
            Self::Workspace => (schema::<WorkspaceSpec>(), schema::<WorkspaceStatus>()),
            Self::ManagedCluster => (schema::<ClusterSpec>(), schema::<ClusterStatus>()),
            Self::Addon => (schema::<AddonSpec>(), schema::<AddonStatus>()),
            Self::AddonAssignment => (schema::<AssignmentSpec>(), schema::<AssignmentStatus>()),
            Self::Tombstone => (schema::<TombstoneSpec>(), schema::<TombstoneStatus>()),
        }
    }

    fn columns(self) -> Value {
        let accepted = condition_column("Accepted", 0);
        match self {
            Self::Workspace => json!([
                column("Clusters", "integer", ".status.clusters", 0),
                accepted,
                column("Namespace", "string", ".spec.namespace", 1),
                column("Account", "string", ".spec.serviceAccountName", 1),
                column("Description", "string", ".spec.description", 1),
                age(),
            ]),
            Self::ManagedCluster => json!([
                column("Connection", "string", ".status.connection", 0),
                condition_column("Ready", 0),
                column("Installs", "integer", ".status.installs", 0),
                column("Installed", "integer", ".status.installsReady", 0),
                column("Kubernetes", "string", ".status.facts.kubernetesVersion", 0),
                condition_column("Accepted", 1),
                column("Flux", "string", ".status.facts.fluxVersion", 1),
                column("Nodes", "integer", ".status.facts.nodes", 1),
                column("Platform", "string", ".status.facts.platform", 1),
                column("Agent", "string", ".status.agentVersion", 1),
                column("Id", "string", ".status.id", 1),
                age(),
            ]),
            Self::Addon => json!([
                column("Title", "string", ".spec.title", 0),
                column("Assignments", "integer", ".status.assignments", 0),
                accepted,
                column("Versions", "string", ".spec.versions[*].version", 1),
                column("Kubernetes", "string", ".spec.kubernetes", 1),
                age(),
            ]),
            Self::AddonAssignment => json!([
                column("Addon", "string", ".spec.addon.name", 0),
                column("Version", "string", ".spec.version", 0),
                column("Selected", "integer", ".status.selected", 0),
                column("Applied", "integer", ".status.applied", 0),
                column("Ready", "integer", ".status.ready", 0),
                column("Failing", "integer", ".status.failing", 0),
                accepted,
                column("Blocked", "integer", ".status.blocked", 1),
                condition_column("RemovalWaits", 1),
                column("Paused", "boolean", ".spec.paused", 1),
                column("Revision", "string", ".status.revision", 1),
                column("Uid", "string", ".status.uid", 1),
                age(),
            ]),
            Self::Tombstone => json!([
                column("Kind", "string", ".spec.kind", 0),
                column("Target", "string", ".spec.name", 0),
                accepted,
                column("Uid", "string", ".spec.uid", 1),
                column("Message", "string", ".status.conditions[?(@.type==\"Accepted\")].message", 1,),
                age(),
            ]),
        }
    }

    /// Tells whether a document without a specification means something.
    fn needs_spec(self) -> bool {
        match self {
            Self::Workspace | Self::ManagedCluster => false,
            Self::Addon | Self::AddonAssignment | Self::Tombstone => true,
        }
    }
}

/// Returns the CustomResourceDefinition of a kind.
#[must_use]
pub fn custom_resource_definition(kind: Kind) -> Value {
    let singular = kind.as_str().to_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{GROUP}", kind.plural()),
            "labels": {"app.kubernetes.io/part-of": "starling"},
        },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.as_str(),
                "listKind": format!("{}List", kind.as_str()),
                "plural": kind.plural(),
                "singular": singular,
                "shortNames": [kind.short_name()],
                "categories": ["starling"],
            },
            "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": kind.columns(),
                "schema": {"openAPIV3Schema": whole_schema(kind)},
            }],
        },
    })
}

fn whole_schema(kind: Kind) -> Value {
    let (mut spec, status) = kind.schemas();
    let mut schema = json!({
        "type": "object",
        "description": kind.description(),
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "status": status,
        },
        "x-kubernetes-validations": [{
            "rule": "size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "message": NAME_RULE,
        }],
    });
    if kind.needs_spec() {
        schema["required"] = json!(["spec"]);
    } else {
        spec["default"] = json!({});
    }
    schema["properties"]["spec"] = spec;
    schema
}

fn column(name: &str, form: &str, path: &str, priority: i32) -> Value {
    let mut column = json!({"name": name, "type": form, "jsonPath": path});
    if priority > 0 {
        column["priority"] = json!(priority);
    }
    column
}

fn condition_column(condition: &str, priority: i32) -> Value {
    column(condition, "string", &format!(".status.conditions[?(@.type==\"{condition}\")].status"), priority)
}

fn age() -> Value {
    column("Age", "date", ".metadata.creationTimestamp", 0)
}

fn schema<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::openapi3();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    make_structural(&mut schema);
    schema
}

/// Brings a schema into the form that Kubernetes calls structural.
fn make_structural(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    for foreign in ["$schema", "title", "nullable", "components", "definitions", "$defs", "example"] {
        members.remove(foreign);
    }
    // What is not known is pruned, and refused before that by clients that validate strictly.
    if members.get("additionalProperties") == Some(&Value::Bool(false)) {
        members.remove("additionalProperties");
    }
    // Whole numbers are bounded by `minimum`; Kubernetes knows only the signed formats.
    if members.get("default") == Some(&Value::Null) {
        members.remove("default");
    }
    unite_words(members);
    if let Some(Value::String(text)) = members.get_mut("description") {
        *text = one_line(text);
    }
    for each in ["properties"] {
        let Some(Value::Object(inner)) = members.get_mut(each) else { continue };
        inner.values_mut().for_each(make_structural);
    }
    for single in ["items", "additionalProperties"] {
        members.get_mut(single).into_iter().for_each(make_structural);
    }
}

/// Turns the alternatives of an enum's documented words into the words, with what each means in the description.
fn unite_words(members: &mut Map<String, Value>) {
    let Some(alternatives) = members.remove("oneOf") else { return };
    let (mut words, mut meanings) = (Vec::new(), Vec::new());
    for alternative in alternatives.as_array().into_iter().flatten() {
        let named = alternative.get("enum").and_then(Value::as_array).cloned().unwrap_or_default();
        let meaning = alternative.get("description").and_then(Value::as_str).unwrap_or_default();
        meanings.extend(named.iter().filter_map(Value::as_str).map(|word| format!("{word}: {}", one_line(meaning))));
        words.extend(named);
    }
    let about = members.get("description").and_then(Value::as_str).unwrap_or_default();
    let description = format!("{about} {}", meanings.join(" "));
    members.insert("type".into(), json!("string"));
    members.insert("enum".into(), Value::Array(words));
    members.insert("description".into(), Value::String(description));
}

/// Joins the lines of a paragraph, which were broken for an editor's sake.
fn one_line(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests;
