//! The local administrator's token.

/// The token that lies with the hub's keys; never printed.
#[derive(Clone)]
pub struct AdminToken(String);

impl AdminToken {
    /// Wraps the secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Tells whether a token is this one, in a time that says nothing about where they differ.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        !self.0.is_empty() && equal_in_constant_time(shown.as_bytes(), self.0.as_bytes())
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(redacted)")
    }
}

/// Compares without telling by its time where two texts differ; their lengths are no secret.
fn equal_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_the_token() {
        let token = AdminToken::new("secret");
        assert!(token.is("secret"));
        for wrong in ["", "other", "secret2", "secre", "Secret"] {
            assert!(!token.is(wrong), "{wrong:?}");
        }
        assert!(!AdminToken::new("").is(""));
        assert_eq!(format!("{token:?}"), "AdminToken(redacted)");
    }
}
