//! Authentication in front of a gRPC service: before a call's body is read, whoever sends it is known.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::{Access, Caller, Unauthenticated};
use crate::accept::Peer;
use crate::api::error::status;

/// A service that only authenticated callers reach; their requests carry a [`Caller`] and a [`Standing`].
#[derive(Clone)]
pub struct Authenticated<S> {
    inner: S,
    access: Access,
}

/// What a call that lasts needs to learn that its token is no longer good.
#[derive(Clone)]
pub struct Standing {
    access: Access,
    token: Arc<str>,
    host: Arc<str>,
}

impl<S> Authenticated<S> {
    /// Puts authentication in front of a service.
    #[must_use]
    pub fn new(inner: S, access: Access) -> Self {
        Self { inner, access }
    }
}

impl Standing {
    /// Tells whose the token is now.
    ///
    /// # Errors
    /// It is nobody's any more, or nobody can tell.
    pub async fn recheck(&self) -> Result<Caller, Status> {
        self.access.authenticate(&self.token, &self.host).await.map_err(|error| refusal(&error))
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").field("host", &self.host).finish_non_exhaustive()
    }
}

impl<S: NamedService> NamedService for Authenticated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for Authenticated<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let unready = self.inner.clone();
        // The one that said it is ready has to be the one that is called.
        let mut inner = std::mem::replace(&mut self.inner, unready);
        let access = self.access.clone();
        async move {
            let standing = match standing(access, &request) {
                Ok(standing) => standing,
                Err(error) => return Ok(refusal(&error).into_http()),
            };
            match standing.recheck().await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    request.extensions_mut().insert(standing);
                    inner.call(request).await
                }
                Err(refusal) => Ok(refusal.into_http()),
            }
        }
        .boxed()
    }
}

fn standing<B>(access: Access, request: &http::Request<B>) -> Result<Standing, Unauthenticated> {
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
    let host = peer.address.rsplit_once(':').map_or(&*peer.address, |(host, _)| host).into();
    // Whatever certificate the connection has shown, it takes a token.
    let Some(token) = bearer(request.headers()) else {
        access.metrics().refuse(&Unauthenticated::NoToken);
        return Err(Unauthenticated::NoToken);
    };
    Ok(Standing { access, token: token.into(), host })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?.trim();
    (!token.is_empty()).then_some(token)
}

fn refusal(error: &Unauthenticated) -> Status {
    status(error.code(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_behind_bearer() {
        let of = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer  secret "), Some("secret".to_owned()));
        for none in ["secret", "Basic secret", "Bearer ", "Bearer", "bearer"] {
            assert_eq!(of(none), None, "{none:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
