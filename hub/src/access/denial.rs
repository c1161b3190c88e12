//! What a caller is told who may not do something.

use starling_model::ErrorCode;
use tonic::Status;

use super::{Access, Attributes, Caller, ReviewError};
use crate::api::error::status;

impl Access {
    /// Lets a caller do something, or refuses with what is missing.
    ///
    /// # Errors
    /// `PermissionDenied`, naming who, what, where, and the ClusterRole that grants it; `Unavailable` when nobody can tell.
    pub async fn permit(&self, caller: &Caller, attributes: Attributes) -> Result<(), Status> {
        if self.may(caller, attributes.clone()).await.map_err(unavailable)? {
            return Ok(());
        }
        Err(self.denied(caller, &attributes))
    }

    /// Makes the refusal of something that a caller may not do; it is counted and logged.
    #[must_use]
    pub fn denied(&self, caller: &Caller, attributes: &Attributes) -> Status {
        let Attributes { verb, resource, namespace, name } = attributes;
        tracing::info!(%caller, verb = verb.as_str(), resource = resource.as_str(), %namespace, %name, "denied");
        self.metrics().deny(attributes);
        status(ErrorCode::PermissionDenied, denial(caller, attributes))
    }
}

/// Makes the status of a question that nobody answers.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "it is what errors are mapped with")]
pub(crate) fn unavailable(error: ReviewError) -> Status {
    status(ErrorCode::Unavailable, format!("{error}; nothing was done, try again"))
}

fn denial(caller: &Caller, attributes: &Attributes) -> String {
    let role = attributes.granted_by();
    let binding = if attributes.namespace.is_empty() {
        "a ClusterRoleBinding".to_owned()
    } else {
        format!("a RoleBinding in {}", attributes.namespace)
    };
    let name = &caller.person().name;
    format!("{name} may not {attributes}; the ClusterRole {role} allows it: ask for {binding}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Person, Resource, Verb};

    #[test]
    fn a_denial_says_who_what_where_and_what_helps() {
        let alice = Caller::kubernetes(Person { name: "alice".into(), ..Person::default() });
        let update = Attributes::new(Verb::Update, Resource::ClusterObjects, "retail", "edge-1");
        assert_eq!(
            denial(&alice, &update),
            "alice may not update managedclusters/objects edge-1 in namespace retail; the ClusterRole starling-oncall \
             allows it: ask for a RoleBinding in retail"
        );
        let list = Attributes::new(Verb::List, Resource::Clusters, "", "");
        assert_eq!(
            denial(&alice, &list),
            "alice may not list managedclusters in all namespaces; the ClusterRole starling-viewer allows it: ask for a \
             ClusterRoleBinding"
        );
    }
}
