//! An authenticated caller.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use starling_model::{Digest, DigestWriter};

/// The longest name of a caller in records and logs, in characters.
const NAME_CHARACTERS: usize = 128;

/// How the hub knows who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authenticator {
    /// The token that lies with the hub's keys: the local administrator.
    TokenFile,
    /// A Kubernetes API server's TokenReview.
    Kubernetes,
}

/// Somebody, as Kubernetes describes people and programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: String,
    /// An identity that is not given again; may be empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Who calls; cheap to clone. Printed, it is the name for records: `admin`, or `user:` and the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(Arc<Known>);

#[derive(Debug, PartialEq, Eq)]
struct Known {
    person: Person,
    authenticator: Authenticator,
    identity: Digest,
}

impl Caller {
    /// The local administrator.
    #[must_use]
    pub fn local() -> Self {
        Self::new(Person { name: "admin".to_owned(), ..Person::default() }, Authenticator::TokenFile)
    }

    /// Somebody whom Kubernetes knows.
    #[must_use]
    pub fn kubernetes(person: Person) -> Self {
        Self::new(person, Authenticator::Kubernetes)
    }

    fn new(person: Person, authenticator: Authenticator) -> Self {
        let identity = identity(&person);
        Self(Arc::new(Known { person, authenticator, identity }))
    }

    /// Returns everything that is known of the caller.
    #[must_use]
    pub fn person(&self) -> &Person {
        &self.0.person
    }

    /// Returns how the hub knows.
    #[must_use]
    pub fn authenticator(&self) -> Authenticator {
        self.0.authenticator
    }

    /// Returns a digest of everything that permissions may depend on.
    #[must_use]
    pub fn identity(&self) -> Digest {
        self.0.identity
    }
}

impl Authenticator {
    /// Returns its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenFile => "token-file",
            Self::Kubernetes => "kubernetes",
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A user that calls itself `admin` must not look like the local administrator.
        let prefix = match self.0.authenticator {
            Authenticator::TokenFile => "",
            Authenticator::Kubernetes => "user:",
        };
        let name: String = self.0.person.name.chars().filter(|char| !char.is_control()).take(NAME_CHARACTERS).collect();
        write!(f, "{prefix}{name}")
    }
}

fn identity(person: &Person) -> Digest {
    let mut writer = DigestWriter::new("caller");
    writer.field(person.name.as_bytes()).field(person.uid.as_bytes()).number(person.groups.len() as u64);
    for group in &person.groups {
        writer.field(group.as_bytes());
    }
    for (key, values) in &person.extra {
        writer.field(key.as_bytes()).number(values.len() as u64);
        for value in values {
            writer.field(value.as_bytes());
        }
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str, groups: &[&str]) -> Person {
        Person {
            name: name.to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            ..Person::default()
        }
    }

    #[test]
    fn names_in_records_are_bounded_and_not_the_administrators() {
        assert_eq!(Caller::local().to_string(), "admin");
        assert_eq!(Caller::kubernetes(person("admin", &[])).to_string(), "user:admin");
        assert_eq!(Caller::kubernetes(person("a\n\x1bb", &[])).to_string(), "user:ab");
        assert_eq!(Caller::kubernetes(person(&"é".repeat(500), &[])).to_string().chars().count(), 5 + NAME_CHARACTERS);
    }

    #[test]
    fn an_identity_is_everything_that_is_known() {
        let of = |name, groups: &[&str]| Caller::kubernetes(person(name, groups)).identity();
        assert_eq!(of("a", &["b", "c"]), of("a", &["b", "c"]));
        for other in [of("a", &["bc"]), of("a", &["b"]), of("ab", &["c"]), of("a", &["c", "b"])] {
            assert_ne!(of("a", &["b", "c"]), other);
        }
        let extra = Person { extra: BTreeMap::from([("a".into(), vec!["b".into()])]), ..Person::default() };
        assert_ne!(Caller::kubernetes(extra).identity(), Caller::kubernetes(Person::default()).identity());
    }
}
