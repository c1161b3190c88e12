//! Objects in a managed cluster: how they are named, and the documents that are applied there.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::canonical::digest_value;
use crate::digest::Digest;
use crate::value::Value;

/// The name of an object: group, kind, namespace and name; versions do not take part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// The API group, empty for the core group.
    pub group: String,
    /// The kind, such as `HelmRelease`.
    pub kind: String,
    /// The namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A document to apply: a complete Kubernetes object as Starling wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    key: ObjectKey,
    api_version: String,
    document: Value,
}

/// A document that is not a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("object lacks {0}")]
pub struct NotAnObject(&'static str);

impl ObjectKey {
    /// Makes a key.
    #[must_use]
    pub fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self { group: group.into(), kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }

    /// Reads the form that [`fmt::Display`] prints: `Kind.group/namespace/name` (`Kind/namespace/name` for the core group,
    /// `Kind.group//name` for cluster-scoped objects).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let (type_name, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let (kind, group) = type_name.split_once('.').unwrap_or((type_name, ""));
        (!kind.is_empty() && !name.is_empty()).then(|| Self::new(group, kind, namespace, name))
    }
}

impl Object {
    /// Reads the key out of a document.
    ///
    /// # Errors
    /// Names the field that a Kubernetes object must have and this document lacks.
    pub fn new(document: Value) -> Result<Self, NotAnObject> {
        let text = |path: &[&str]| document.at(path).and_then(Value::as_str).map(str::to_owned);
        let api_version = text(&["apiVersion"]).ok_or(NotAnObject("apiVersion"))?;
        let kind = text(&["kind"]).ok_or(NotAnObject("kind"))?;
        let name = text(&["metadata", "name"]).ok_or(NotAnObject("metadata.name"))?;
        let namespace = text(&["metadata", "namespace"]).unwrap_or_default();
        let group = api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
        Ok(Self { key: ObjectKey { group, kind, namespace, name }, api_version, document })
    }

    /// Returns the object's name.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// Returns `group/version`, or `version` for the core group.
    #[must_use]
    pub fn api_version(&self) -> &str {
        &self.api_version
    }

    /// Returns the whole document.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Returns the digest of the document.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest_value("object", &self.document)
    }
}

impl Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{}{dot}{}/{}/{}", self.kind, self.group, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip() {
        for key in [
            ObjectKey::new("helm.toolkit.fluxcd.io", "HelmRelease", "apps", "podinfo"),
            ObjectKey::new("", "ConfigMap", "apps", "settings"),
            ObjectKey::new("", "Namespace", "", "apps"),
        ] {
            assert_eq!(ObjectKey::parse(&key.to_string()), Some(key));
        }
        assert_eq!(ObjectKey::parse("HelmRelease"), None);
    }

    #[test]
    fn an_object_needs_a_name() {
        let document = Value::map([("apiVersion", "v1"), ("kind", "ConfigMap")]);
        assert_eq!(Object::new(document), Err(NotAnObject("metadata.name")));
    }
}
