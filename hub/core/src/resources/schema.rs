//! Pieces of the resources' schemas that serde's types alone do not say: patterns, sizes, free values, rules.
//!
//! Owns what [`super::validate`] checks, as far as OpenAPI and CEL can say it. Sizes are bounded so that an API server can
//! tell the cost of each rule beforehand.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// The most versions of an addon.
pub(super) const VERSIONS: usize = 256;

/// The most variables of a cluster.
pub(super) const VARIABLES: usize = 256;

/// The most requirements of a selector, and the most values of one.
pub(crate) const REQUIREMENTS: usize = 64;

/// The longest name of a version, in characters.
pub(super) const VERSION_CHARACTERS: usize = 128;

/// The longest address, path, branch or tag, in characters.
pub(super) const TEXT_CHARACTERS: usize = 2048;

/// The longest key of a label, in characters: a prefix of 253, '/', and a name of 63.
const LABEL_KEY_CHARACTERS: usize = 317;

const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const LABEL_VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
const LABEL_KEY: &str =
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$";
const UUID: &str = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";
const VERSION: &str = "^[A-Za-z0-9]([-A-Za-z0-9._+/]*[A-Za-z0-9])?$";
const DURATION: &str = "^([0-9]+([.][0-9]+)?(ms|s|m|h))+$";
const KUBERNETES_RANGE: &str = r"^[-0-9.xXv*<>=!~^|, \t]+$";

/// A DNS label.
pub(super) fn name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL})
}

/// A UUID as text.
pub(super) fn uuid(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 36, "pattern": UUID})
}

/// The name of an addon's version.
pub(super) fn version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": VERSION_CHARACTERS, "pattern": VERSION})
}

/// A text that is not empty and not only spaces.
pub(super) fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": TEXT_CHARACTERS, "pattern": r"\S"})
}

/// How long Flux waits between reconciliations.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 64, "pattern": DURATION})
}

/// A range of Kubernetes versions, as far as a pattern tells it.
pub(super) fn kubernetes_range(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 256, "pattern": KUBERNETES_RANGE})
}

/// The address of a Helm repository.
pub(super) fn helm_url(_: &mut SchemaGenerator) -> Schema {
    url("(https|http|oci)")
}

/// The address of something in an OCI registry.
pub(super) fn oci_url(_: &mut SchemaGenerator) -> Schema {
    url("oci")
}

/// The address of a Git repository.
pub(super) fn git_url(_: &mut SchemaGenerator) -> Schema {
    url("(https|http|ssh)")
}

fn url(schemes: &str) -> Schema {
    json_schema!({"type": "string", "maxLength": TEXT_CHARACTERS, "pattern": format!(r"^{schemes}://\S+$")})
}

/// A mapping whose members are the addon's business.
pub(super) fn values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Variables: texts, numbers and truth values, which no structural type unites.
pub(super) fn variables(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": VARIABLES,
        "additionalProperties": {"x-kubernetes-preserve-unknown-fields": true},
    })
}

/// The kind of what a Tombstone names.
pub(super) fn removable_kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["Workspace", "ManagedCluster", "Addon", "AddonAssignment"]})
}

/// A label's key.
pub(crate) fn label_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": LABEL_KEY_CHARACTERS, "pattern": LABEL_KEY})
}

/// Labels that must have values.
pub(crate) fn match_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": REQUIREMENTS,
        "additionalProperties": label_value(),
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-validations": [{
            "rule": format!("self.all(key, size(key) <= {LABEL_KEY_CHARACTERS} && key.matches('{LABEL_KEY}'))"),
            "message": "every key must be a label's key, such as env or example.com/tier",
        }],
    })
}

/// The values of one requirement.
pub(crate) fn label_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": REQUIREMENTS,
        "items": label_value(),
        "x-kubernetes-list-type": "atomic",
    })
}

fn label_value() -> Value {
    json!({"type": "string", "maxLength": 63, "pattern": LABEL_VALUE})
}
