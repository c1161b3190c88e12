//! Identities: of clusters, of resources and their incarnations, of what is installed in a cluster.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The namespace of all UUIDv5 that Starling derives, itself UUIDv5(DNS, `starling.dev`).
const STARLING_NAMESPACE: Uuid = uuid::uuid!("1a088b35-02c9-5d0d-a468-824cd6eb67cd");

/// The immutable identity of a managed cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

/// The identity of one incarnation of a resource (or of a tombstone, proposal, token), random and the steward's own.
///
/// The same name made again after a deletion gets another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub [u8; 16]);

/// The name of a namespaced resource on the hub: workspace namespace and name, printed `namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName {
    /// The namespace: a workspace's, or the platform namespace.
    pub namespace: String,
    /// The name inside the namespace.
    pub name: String,
}

/// What one instance of an addon is called inside a managed cluster: the namespace that holds its Flux objects
/// and the instance's name, printed `namespace/name`.
///
/// It outlives the assignment that brought it: an assignment made again under the same name finds the same install.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstallKey {
    /// The namespace of the Flux objects.
    pub namespace: String,
    /// The instance's name, which is also the name of its HelmRelease or Kustomization.
    pub name: String,
}

/// A name that Kubernetes would not accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a DNS label.
    #[error(
        "{0:?} is not a valid name: use at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit"
    )]
    NotALabel(String),
    /// Not `namespace/name`.
    #[error("{0:?} is not of the form namespace/name")]
    NotQualified(String),
    /// Not a UUID.
    #[error("{0:?} is not a UUID")]
    NotAUuid(String),
}

impl ClusterId {
    /// Derives the id of a cluster whose resource names none: UUIDv5 of fleet, namespace and name.
    #[must_use]
    pub fn derive(fleet: &str, namespace: &str, name: &str) -> Self {
        let text = format!("cluster\0{fleet}\0{namespace}\0{name}");
        Self(Uuid::new_v5(&STARLING_NAMESPACE, text.as_bytes()).into_bytes())
    }

    /// Reads an id from exactly 16 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().map(Self).ok()
    }

    /// Returns the identity that a cluster's certificate carries: `starling://<fleet>/cluster/<id>`.
    #[must_use]
    pub fn uri(&self, fleet: &str) -> String {
        format!("starling://{fleet}/cluster/{self}")
    }

    /// Reads the identity of a certificate; `None` if it is of another fleet or of another form.
    #[must_use]
    pub fn from_uri(fleet: &str, uri: &str) -> Option<Self> {
        uri.strip_prefix("starling://")?.strip_prefix(fleet)?.strip_prefix("/cluster/")?.parse().ok()
    }
}

impl Uid {
    /// Makes a version 4 UUID of random bytes that the caller drew.
    #[must_use]
    pub fn from_entropy(entropy: [u8; 16]) -> Self {
        let mut bytes = entropy;
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// Reads a UID from exactly 16 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().map(Self).ok()
    }
}

impl ResourceName {
    /// Makes a name without checking it; [`check_label`] is for the edge.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl InstallKey {
    /// Makes a key without checking it.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// Checks that a text is a DNS label (RFC 1123), which every name of Starling is.
///
/// # Errors
/// The text as [`NameError::NotALabel`].
pub fn check_label(text: &str) -> Result<(), NameError> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    let bytes = text.as_bytes();
    if bytes.len() <= 63 && bytes.iter().all(|byte| inner(*byte)) && edge(bytes.first()) && edge(bytes.last()) {
        Ok(())
    } else {
        Err(NameError::NotALabel(text.to_owned()))
    }
}

macro_rules! uuid_text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_bytes(self.0).fmt(f)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let uuid = Uuid::try_parse(text).map_err(|_| NameError::NotAUuid(text.to_owned()))?;
                Ok(Self(uuid.into_bytes()))
            }
        }

        text_serde!($type);
    };
}

macro_rules! qualified_text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.namespace, self.name)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let (namespace, name) = text.split_once('/').ok_or_else(|| NameError::NotQualified(text.to_owned()))?;
                check_label(namespace)?;
                check_label(name)?;
                Ok(Self::new(namespace, name))
            }
        }

        text_serde!($type);
    };
}

macro_rules! text_serde {
    ($type:ident) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

uuid_text!(ClusterId);
uuid_text!(Uid);
qualified_text!(ResourceName);
qualified_text!(InstallKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_derived_from_its_name() {
        let id = ClusterId::derive("demo", "default", "edge-1");
        assert_eq!(id.to_string(), "5492b768-9114-5db9-9df5-a271647019c9");
        assert_ne!(id, ClusterId::derive("demo", "default", "edge-2"));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_certificate_of_another_fleet_names_nobody() {
        let id = ClusterId::derive("demo", "default", "edge-1");
        assert_eq!(ClusterId::from_uri("demo", &id.uri("demo")), Some(id));
        assert_eq!(ClusterId::from_uri("demo", &id.uri("demo2")), None);
        assert_eq!(ClusterId::from_uri("demo2", &id.uri("demo")), None);
        assert_eq!(ClusterId::from_uri("demo", "starling://demo/cluster/../x"), None);
    }

    #[test]
    fn labels_are_checked() {
        for good in ["a", "edge-1", "0", &"x".repeat(63)] {
            assert_eq!(check_label(good), Ok(()));
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "ä", &"x".repeat(64)] {
            assert!(check_label(bad).is_err(), "{bad:?}");
        }
    }
}
