//! Reviews by a Kubernetes API server: TokenReview and SubjectAccessReview.

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use super::attributes::GROUP;
use super::{Attributes, Caller, Person, ReviewError, Reviews, TokenVerdict};

/// The audience of tokens that are made for a hub and open nothing else.
pub(crate) const AUDIENCE: &str = "starling-hub";

/// The user and the group of whoever showed no token; never the answer to one.
const NOBODY: (&str, &str) = ("system:anonymous", "system:unauthenticated");

/// Asks an API server.
#[derive(Clone)]
pub struct KubernetesReviews {
    client: Client,
}

impl KubernetesReviews {
    /// Makes it; the client's own account needs the ClusterRole `system:auth-delegator`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn review(&self, token: &str, audiences: Option<Vec<String>>) -> Result<TokenReviewStatus, ReviewError> {
        let spec = TokenReviewSpec { audiences, token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|error| cannot("tokens", &error))?;
        Ok(answer.status.unwrap_or_default())
    }
}

#[async_trait]
impl Reviews for KubernetesReviews {
    async fn token(&self, token: &str) -> Result<TokenVerdict, ReviewError> {
        let ours = self.review(token, Some(vec![AUDIENCE.to_owned()])).await?;
        // An authenticator that knows no audiences says nothing about them, and then this is no token for a hub.
        if ours.audiences.iter().flatten().any(|audience| audience == AUDIENCE)
            && let Some(person) = person(&ours)
        {
            return Ok(TokenVerdict::Known(Caller::kubernetes(person)));
        }
        let general = self.review(token, None).await?;
        Ok(match person(&general) {
            Some(person) => TokenVerdict::Known(Caller::kubernetes(person)),
            None => TokenVerdict::Unknown(general.error.unwrap_or_default()),
        })
    }

    async fn access(&self, person: &Person, attributes: &Attributes) -> Result<bool, ReviewError> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (resource, subresource) = attributes.resource.plural();
        let attributes = ResourceAttributes {
            group: Some(GROUP.to_owned()),
            version: Some("v1alpha1".to_owned()),
            resource: some(resource),
            subresource: some(subresource),
            verb: some(attributes.verb.as_str()),
            namespace: some(&attributes.namespace),
            name: some(&attributes.name),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: some(&person.name),
            uid: some(&person.uid),
            groups: Some(person.groups.clone()),
            extra: Some(person.extra.clone()),
            resource_attributes: Some(attributes),
            non_resource_attributes: None,
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|error| cannot("access", &error))?;
        Ok(answer.status.is_some_and(|status| status.allowed && !status.denied.unwrap_or_default()))
    }
}

fn person(status: &TokenReviewStatus) -> Option<Person> {
    let user = status.user.as_ref().filter(|_| status.authenticated.unwrap_or_default())?;
    let person = Person {
        name: user.username.clone().unwrap_or_default(),
        uid: user.uid.clone().unwrap_or_default(),
        groups: user.groups.clone().unwrap_or_default(),
        extra: user.extra.clone().unwrap_or_default(),
    };
    let (nobody, nobodies) = NOBODY;
    let is_somebody =
        !person.name.is_empty() && person.name != nobody && !person.groups.iter().any(|it| it == nobodies);
    is_somebody.then_some(person)
}

fn cannot(what: &str, error: &kube::Error) -> ReviewError {
    let message = match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "the hub's own account may not review {what}: bind the ClusterRole system:auth-delegator to it ({})",
            status.message
        ),
        error => error.to_string(),
    };
    tracing::warn!(what, reason = %message, "a review failed");
    ReviewError::new(message)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn status(authenticated: bool, name: &str, group: &str) -> TokenReviewStatus {
        let user =
            UserInfo { username: Some(name.to_owned()), groups: Some(vec![group.to_owned()]), ..UserInfo::default() };
        TokenReviewStatus { authenticated: Some(authenticated), user: Some(user), ..TokenReviewStatus::default() }
    }

    #[test]
    fn only_somebody_is_somebody() {
        assert_eq!(person(&status(true, "alice", "people")).map(|person| person.name), Some("alice".to_owned()));
        for nobody in [
            status(false, "alice", "people"),
            status(true, "", "people"),
            status(true, "system:anonymous", "people"),
            status(true, "alice", "system:unauthenticated"),
            TokenReviewStatus { authenticated: Some(true), ..TokenReviewStatus::default() },
            TokenReviewStatus::default(),
        ] {
            assert_eq!(person(&nobody), None, "{nobody:?}");
        }
    }
}
