//! How a document becomes a resource of its kind.
//!
//! The kind decides how the specification is read, so that this visitor does by hand what serde's tagged enums do by
//! buffering: a parser that knows lines and columns can name them for the field that is wrong, provided that `kind`
//! stands before `spec`, as it does in every document that people write.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use starling_model::Value;

use super::{API_VERSION, Document, Kind, Metadata, Resource};

const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec"];

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ResourceError {
    /// The path of the field, such as `spec.versions[1].source`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl ResourceError {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

pub(super) fn parse(value: &Value) -> Result<Resource, ResourceError> {
    let json = value.to_json();
    let mut deserializer = serde_json::Deserializer::from_str(&json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // The position in JSON that nobody wrote would only mislead.
        let text = error.inner().to_string();
        let message = text.split(" at line ").next().unwrap_or_default().to_owned();
        ResourceError::new(error.path().to_string(), message)
    })
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ResourceVisitor)
    }
}

struct ResourceVisitor;

/// A specification, read as soon as the kind is known.
enum Spec {
    Known(Box<Resource>),
    Unread(Value),
}

impl<'de> Visitor<'de> for ResourceVisitor {
    type Value = Resource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a document of {API_VERSION}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Resource, A::Error> {
        let mut api_version = false;
        let mut kind: Option<Kind> = None;
        let mut metadata: Option<Metadata> = None;
        let mut spec: Option<Spec> = None;
        while let Some(field) = members.next_key::<String>()? {
            match field.as_str() {
                "apiVersion" => {
                    check_api_version(&members.next_value::<String>()?).map_err(A::Error::custom)?;
                    api_version = true;
                }
                "kind" => kind = Some(read_kind(&members.next_value::<String>()?).map_err(A::Error::custom)?),
                "metadata" => metadata = Some(members.next_value()?),
                "spec" => {
                    spec = Some(match kind {
                        Some(kind) => Spec::Known(Box::new(read_spec(kind, &mut members)?)),
                        None => Spec::Unread(members.next_value()?),
                    });
                }
                // What a cluster adds when a document is read back from it.
                "status" => {
                    members.next_value::<IgnoredAny>()?;
                }
                other => return Err(A::Error::unknown_field(other, FIELDS)),
            }
        }
        if !api_version {
            return Err(A::Error::missing_field("apiVersion"));
        }
        let kind = kind.ok_or_else(|| A::Error::missing_field("kind"))?;
        let metadata = metadata.ok_or_else(|| A::Error::missing_field("metadata"))?;
        let resource = match spec {
            Some(Spec::Known(resource)) => *resource,
            Some(Spec::Unread(value)) => spec_of_value(kind, &value).map_err(A::Error::custom)?,
            None => spec_of_value(kind, &Value::empty_map())
                .map_err(|error| A::Error::custom(format_args!("spec is missing: {error}")))?,
        };
        Ok(resource.with_metadata(metadata))
    }
}

fn check_api_version(text: &str) -> Result<(), String> {
    if text == API_VERSION { Ok(()) } else { Err(format!("apiVersion {text:?} is not {API_VERSION}")) }
}

fn read_kind(text: &str) -> Result<Kind, String> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::as_str).join(", ");
        format!("kind {text:?} is none of {known}")
    })
}

fn read_spec<'de, A: MapAccess<'de>>(kind: Kind, members: &mut A) -> Result<Resource, A::Error> {
    Ok(match kind {
        Kind::Workspace => Resource::Workspace(bare(members.next_value()?)),
        Kind::ManagedCluster => Resource::ManagedCluster(bare(members.next_value()?)),
        Kind::Addon => Resource::Addon(bare(members.next_value()?)),
        Kind::AddonAssignment => Resource::AddonAssignment(bare(members.next_value()?)),
        Kind::Tombstone => Resource::Tombstone(bare(members.next_value()?)),
    })
}

fn spec_of_value(kind: Kind, value: &Value) -> Result<Resource, serde_json::Error> {
    fn read<S: DeserializeOwned>(value: &Value) -> Result<Document<S>, serde_json::Error> {
        serde_json::from_str(&value.to_json()).map(bare)
    }
    Ok(match kind {
        Kind::Workspace => Resource::Workspace(read(value)?),
        Kind::ManagedCluster => Resource::ManagedCluster(read(value)?),
        Kind::Addon => Resource::Addon(read(value)?),
        Kind::AddonAssignment => Resource::AddonAssignment(read(value)?),
        Kind::Tombstone => Resource::Tombstone(read(value)?),
    })
}

fn bare<S>(spec: S) -> Document<S> {
    Document { metadata: Metadata::default(), spec }
}

impl Resource {
    fn with_metadata(mut self, metadata: Metadata) -> Self {
        *self.metadata_mut() = metadata;
        self
    }

    pub(crate) fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Self::Workspace(document) => &mut document.metadata,
            Self::ManagedCluster(document) => &mut document.metadata,
            Self::Addon(document) => &mut document.metadata,
            Self::AddonAssignment(document) => &mut document.metadata,
            Self::Tombstone(document) => &mut document.metadata,
        }
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("Resource", FIELDS.len())?;
        document.serialize_field("apiVersion", API_VERSION)?;
        document.serialize_field("kind", self.kind().as_str())?;
        document.serialize_field("metadata", self.metadata())?;
        match self {
            Self::Workspace(workspace) => document.serialize_field("spec", &workspace.spec)?,
            Self::ManagedCluster(cluster) => document.serialize_field("spec", &cluster.spec)?,
            Self::Addon(addon) => document.serialize_field("spec", &addon.spec)?,
            Self::AddonAssignment(assignment) => document.serialize_field("spec", &assignment.spec)?,
            Self::Tombstone(tombstone) => document.serialize_field("spec", &tombstone.spec)?,
        }
        document.end()
    }
}
