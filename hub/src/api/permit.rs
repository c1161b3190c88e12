//! What a caller may do, as handlers ask it.

use starling_model::ErrorCode;
use tonic::{Request, Status};

use super::Admin;
use super::error::status;
use crate::access::{Attributes, Caller, Reach, Resource, Standing, Verb, Wanted, unavailable};

impl Admin {
    /// Lets a caller do one thing, or refuses with what is missing; an empty namespace is all, an empty name is all.
    pub(super) async fn permit(
        &self,
        caller: &Caller,
        verb: Verb,
        resource: Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        self.parts.access.permit(caller, Attributes::new(verb, resource, namespace, name)).await
    }

    /// Tells whether a caller may do one thing.
    pub(super) async fn may(
        &self,
        caller: &Caller,
        verb: Verb,
        resource: Resource,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Status> {
        self.parts.access.may(caller, Attributes::new(verb, resource, namespace, name)).await.map_err(unavailable)
    }

    /// Returns how far a caller sees; it may be nothing.
    pub(super) async fn reach(
        &self,
        caller: &Caller,
        verb: Verb,
        resource: Resource,
        wanted: Wanted<'_>,
    ) -> Result<Reach, Status> {
        self.parts.access.reach(caller, verb, resource, wanted).await.map_err(unavailable)
    }

    /// Returns how far a caller sees; that it is nothing is refused, naming what is missing.
    pub(super) async fn some_reach(
        &self,
        caller: &Caller,
        verb: Verb,
        resource: Resource,
        wanted: Wanted<'_>,
    ) -> Result<Reach, Status> {
        let reach = self.reach(caller, verb, resource, wanted).await?;
        if reach.is_nothing() {
            let Wanted { namespace, names, .. } = wanted;
            return Err(self.denied(caller, verb, resource, namespace, names));
        }
        Ok(reach)
    }

    /// Refuses a question to somebody who may see nothing that it asks for.
    pub(super) fn denied(
        &self,
        caller: &Caller,
        verb: Verb,
        resource: Resource,
        namespace: &str,
        names: &[String],
    ) -> Status {
        let attributes = match names {
            [name] if verb == Verb::List => Attributes::new(Verb::Get, resource, namespace, name.as_str()),
            [name] => Attributes::new(verb, resource, namespace, name.as_str()),
            _ => Attributes::new(verb, resource, namespace, ""),
        };
        self.parts.access.denied(caller, &attributes)
    }
}

/// Returns who calls.
pub(super) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    extension(request)
}

/// Returns what a call that lasts needs to learn that its token is no longer good.
pub(super) fn standing<T>(request: &Request<T>) -> Result<Standing, Status> {
    extension(request)
}

fn extension<T, E: Clone + Send + Sync + 'static>(request: &Request<T>) -> Result<E, Status> {
    let extension = request.extensions().get::<E>();
    extension.cloned().ok_or_else(|| status(ErrorCode::Unauthenticated, "no token was sent"))
}
