//! Who may call the admin API: whoever shows the local administrator's token.

use starling_model::ErrorCode;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::error::status;

/// The administrator's token; never printed.
#[derive(Clone)]
pub struct AdminToken(String);

/// An authenticated caller, put into the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name for the audit record.
    pub name: String,
}

impl AdminToken {
    /// Wraps the secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Lets a request pass when its `authorization` is `Bearer` and this token.
    ///
    /// # Errors
    /// `Unauthenticated`, with what to do.
    pub fn authenticate(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let Some(shown) = bearer(request.metadata()) else {
            return Err(status(
                ErrorCode::Unauthenticated,
                "no token was sent: use the context that the hub wrote, `starling --config <state>/admin.yaml`",
            ));
        };
        if !equal_in_constant_time(shown.as_bytes(), self.0.as_bytes()) {
            return Err(status(
                ErrorCode::Unauthenticated,
                "the token is not this hub's: use the admin.token in its keys directory",
            ));
        }
        request.extensions_mut().insert(Caller { name: "admin".to_owned() });
        Ok(request)
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(redacted)")
    }
}

fn bearer(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

/// Compares without telling by its time where two texts differ; their lengths are no secret.
fn equal_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(authorization: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        if let Some(text) = authorization {
            request.metadata_mut().insert("authorization", text.parse().expect("a header value"));
        }
        request
    }

    #[test]
    fn only_the_token_lets_in() {
        let token = AdminToken::new("secret");
        let passed = token.authenticate(request(Some("Bearer secret"))).expect("the right token");
        assert_eq!(passed.extensions().get::<Caller>(), Some(&Caller { name: "admin".into() }));
        for wrong in [None, Some("Bearer other"), Some("Bearer secret2"), Some("secret"), Some("Basic secret")] {
            let refused = token.authenticate(request(wrong)).expect_err("a wrong token");
            assert_eq!(refused.code(), tonic::Code::Unauthenticated);
        }
    }
}
