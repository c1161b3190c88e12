//! Requests to the API server, each within a time, with the few failures that matter told apart.

use std::future::Future;
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use starling_hub_core::resources::{InputKey, Kind};

use crate::metrics::SourceError;

/// How long a request may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// There is no such object, or no such kind.
    #[error("not found")]
    NotFound,
    /// Somebody else was faster.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The hub may not do it.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The API server refuses it.
    #[error("refused: {0}")]
    Refused(String),
    /// The API server does not answer.
    #[error("the API server does not answer: {0}")]
    Unreachable(String),
}

impl ApiError {
    /// Tells which failure a client's error is.
    pub(crate) fn of(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Unreachable(with_causes(error)) };
        let message = status.message.clone();
        match status.code {
            404 => Self::NotFound,
            409 => Self::Conflict(message),
            401 | 403 => Self::Forbidden(message),
            429 | 500..=599 => Self::Unreachable(message),
            _ => Self::Refused(message),
        }
    }

    /// Returns the label of the failure in metrics.
    pub(crate) fn label(&self) -> SourceError {
        match self {
            Self::NotFound | Self::Conflict(_) => SourceError::Conflict,
            Self::Forbidden(_) => SourceError::Forbidden,
            Self::Refused(_) => SourceError::Refused,
            Self::Unreachable(_) => SourceError::Unreachable,
        }
    }
}

/// Waits for an answer, for a time.
pub(crate) async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match tokio::time::timeout(ANSWERS_WITHIN, request).await {
        Ok(answer) => answer.map_err(|error| ApiError::of(&error)),
        Err(_) => Err(ApiError::Unreachable(format!("no answer within {} s", ANSWERS_WITHIN.as_secs()))),
    }
}

/// Returns how the API names a kind.
pub(crate) fn api_resource(kind: Kind) -> ApiResource {
    use starling_hub_core::resources::crd::{GROUP, VERSION};
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind.as_str()), kind.plural())
}

/// Returns the objects of a kind, of all namespaces.
pub(crate) fn objects_of(client: &Client, kind: Kind) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &api_resource(kind))
}

/// Returns the objects beside one.
pub(crate) fn objects_beside(client: &Client, key: &InputKey) -> Api<DynamicObject> {
    let resource = api_resource(key.kind);
    if key.namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), &key.namespace, &resource)
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
