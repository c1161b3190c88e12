//! How far a caller sees: everything, some namespaces, some named objects.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use starling_model::ResourceName;

use super::{Access, Attributes, Caller, Resource, ReviewError, Verb};

/// Permissions that one call asks about at once.
const AT_ONCE: usize = 16;

/// Objects that one call asks about by name; of more, the rest is out of reach.
const OBJECTS: usize = 256;

/// What a caller may see of a resource, of all that a question is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    everywhere: bool,
    namespaces: BTreeSet<String>,
    named: BTreeSet<ResourceName>,
}

/// What a question is about.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The namespace that it names; empty is any.
    pub namespace: &'a str,
    /// The names that it names; empty is all.
    pub names: &'a [String],
    /// Lists what there is; asked for where no namespace is named and the caller does not see everything.
    pub there: &'a (dyn Fn() -> There + Sync),
}

/// What there is that a question without a namespace may be about.
#[derive(Clone, Debug, Default)]
pub struct There {
    /// The namespaces that hold any.
    pub namespaces: BTreeSet<String>,
    /// The objects that are asked about one by one, such as those of the names that the question names.
    pub objects: Vec<ResourceName>,
}

impl Reach {
    /// The reach of whoever sees everything.
    #[must_use]
    pub fn everywhere() -> Self {
        Self { everywhere: true, ..Self::default() }
    }

    /// Tells whether an object is within reach.
    #[must_use]
    pub fn covers(&self, namespace: &str, name: &str) -> bool {
        self.everywhere
            || self.namespaces.contains(namespace)
            || (!self.named.is_empty() && self.named.contains(&ResourceName::new(namespace, name)))
    }

    /// Tells whether all objects of a namespace are within reach.
    #[must_use]
    pub fn covers_namespace(&self, namespace: &str) -> bool {
        self.everywhere || self.namespaces.contains(namespace)
    }

    /// Tells whether all of it is within reach, whatever there is.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.everywhere
    }

    /// Tells whether nothing is within reach.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        !self.everywhere && self.namespaces.is_empty() && self.named.is_empty()
    }
}

impl Access {
    /// Finds out how far a caller sees: in the namespace that was named; else everywhere; else in each namespace that there is.
    /// Where that is not enough and objects were named, each of them is asked about: by `get` where the question is to list.
    ///
    /// # Errors
    /// Nobody can tell.
    pub async fn reach(
        &self,
        caller: &Caller,
        verb: Verb,
        resource: Resource,
        wanted: Wanted<'_>,
    ) -> Result<Reach, ReviewError> {
        let mut reach = Reach::default();
        let There { namespaces, objects } = match wanted.namespace {
            "" => {
                reach.everywhere = self.may(caller, Attributes::new(verb, resource, "", "")).await?;
                if reach.everywhere {
                    return Ok(reach);
                }
                (wanted.there)()
            }
            named => There {
                namespaces: BTreeSet::from([named.to_owned()]),
                objects: wanted.names.iter().map(|name| ResourceName::new(named, name.as_str())).collect(),
            },
        };
        let ask = |namespace: String| async move {
            let attributes = Attributes::new(verb, resource, namespace.as_str(), "");
            Ok::<_, ReviewError>(self.may(caller, attributes).await?.then_some(namespace))
        };
        let asked = stream::iter(namespaces).map(ask).buffer_unordered(AT_ONCE);
        reach.namespaces = asked.try_filter_map(|namespace| async { Ok(namespace) }).try_collect().await?;
        let single = if verb == Verb::List { Verb::Get } else { verb };
        let ask = |object: ResourceName| async move {
            let attributes = Attributes::new(single, resource, object.namespace.as_str(), object.name.as_str());
            Ok::<_, ReviewError>(self.may(caller, attributes).await?.then_some(object))
        };
        let uncovered = objects.into_iter().filter(|name| !reach.namespaces.contains(&name.namespace));
        let uncovered: Vec<_> = uncovered.take(OBJECTS).collect();
        let asked = stream::iter(uncovered).map(ask).buffer_unordered(AT_ONCE);
        reach.named = asked.try_filter_map(|object| async { Ok(object) }).try_collect().await?;
        Ok(reach)
    }
}
