//! Who calls the admin API, and what they may do.
//!
//! Owns proving a bearer token, asking whether its bearer may do one thing, and remembering both answers for a few seconds.
//! Does not own which thing a call does: [`crate::api`] asks here before it answers. A question that nobody can answer is
//! *unavailable*, never *allowed*.

mod admin_token;
mod attributes;
mod cache;
mod caller;
mod denial;
mod failure;
mod kubernetes;
mod layer;
mod metrics;
mod reach;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use starling_model::{Digest, DigestWriter};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::enrolment::rate::RateLimit;
use crate::ports::Clock;

pub use admin_token::AdminToken;
pub use attributes::{Attributes, Resource, Verb};
pub use caller::{Authenticator, Caller, Person};
pub(crate) use denial::unavailable;
pub use failure::{ReviewError, Unauthenticated};
pub use kubernetes::KubernetesReviews;
pub use layer::{Authenticated, Standing};
pub use metrics::AccessMetrics;
pub use reach::{Reach, There, Wanted};

use cache::Cache;

/// How long a good answer is used again, counted from when it was asked for.
pub const REMEMBERED: Duration = Duration::from_secs(10);

/// How long a token that is nobody's is refused without asking again.
const REFUSED: Duration = Duration::from_secs(2);

/// Tokens that are remembered, by their hash.
const TOKENS: usize = 4096;

/// Answers about permissions that are remembered.
const DECISIONS: usize = 65_536;

/// Questions that are under way at once, to whoever answers them.
const QUESTIONS: usize = 32;

/// Questions that are under way or wait; one beyond them is not asked.
const WAITING: usize = 1024;

/// How long an answer may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The longest token that is looked at, in bytes.
const TOKEN_BYTES: usize = 16 * 1024;

/// Whoever knows tokens and permissions, such as a Kubernetes API server.
#[async_trait]
pub trait Reviews: Send + Sync + 'static {
    /// Tells whose token it is.
    ///
    /// # Errors
    /// It could not be asked, or did not understand: that says nothing about the token.
    async fn token(&self, token: &str) -> Result<TokenVerdict, ReviewError>;

    /// Tells whether somebody may do something.
    ///
    /// # Errors
    /// It could not be asked, or did not understand: that says nothing about the permission.
    async fn access(&self, person: &Person, attributes: &Attributes) -> Result<bool, ReviewError>;
}

/// What became of a token's review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenVerdict {
    /// It is somebody's.
    Known(Caller),
    /// It is nobody's, with the reviewer's reason; may be empty.
    Unknown(String),
}

/// What access works with.
pub struct AccessParts {
    /// The local administrator's token.
    pub admin_token: AdminToken,
    /// Whoever knows everybody else; `None` where there is only the local administrator.
    pub reviews: Option<Arc<dyn Reviews>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where it is counted.
    pub metrics: AccessMetrics,
}

/// Authentication and authorization of the admin API; cheap to clone.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    parts: AccessParts,
    tokens: Arc<Cache<Digest, TokenVerdict, ReviewError>>,
    decisions: Arc<Cache<(Digest, Attributes), bool, ReviewError>>,
    questions: Arc<Questions>,
    failures: RateLimit,
}

/// How much is asked at once.
struct Questions {
    asked: Semaphore,
    waiting: Semaphore,
}

impl Access {
    /// Makes it, with nothing remembered.
    #[must_use]
    pub fn new(parts: AccessParts) -> Self {
        Self(Arc::new(Inner {
            tokens: Cache::new(TOKENS, Arc::clone(&parts.clock)),
            decisions: Cache::new(DECISIONS, Arc::clone(&parts.clock)),
            questions: Arc::new(Questions::default()),
            failures: RateLimit::new(1, 1),
            parts,
        }))
    }

    /// Tells whose token it is; `host` is where the caller comes from, whose failures are limited.
    ///
    /// # Errors
    /// It is nobody's, nobody can be asked, or the host failed too often.
    pub async fn authenticate(&self, token: &str, host: &str) -> Result<Caller, Unauthenticated> {
        let outcome = self.prove(token, host).await;
        if let Err(refused) = &outcome {
            self.0.parts.metrics.refuse(refused);
        }
        outcome
    }

    async fn prove(&self, token: &str, host: &str) -> Result<Caller, Unauthenticated> {
        let Inner { parts, tokens, failures, .. } = &*self.0;
        if parts.admin_token.is(token) {
            return Ok(Caller::local());
        }
        let uptime = parts.clock.uptime();
        let Some(reviews) = &parts.reviews else {
            failures.check(host, uptime).map_err(|_| Unauthenticated::TooManyFailures)?;
            failures.failed(host, uptime);
            return Err(Unauthenticated::NotTheAdminToken);
        };
        // The hash is all that is kept of a token.
        let mut hash = DigestWriter::new("bearer-token");
        hash.field(token.as_bytes());
        let hash = hash.finish();
        // Whoever is known passes, however often others behind the same address failed.
        let verdict = match tokens.known(&hash) {
            Some(verdict) => verdict,
            None => {
                failures.check(host, uptime).map_err(|_| Unauthenticated::TooManyFailures)?;
                if token.len() > TOKEN_BYTES || !is_token(token) {
                    failures.failed(host, uptime);
                    return Err(Unauthenticated::Malformed);
                }
                let (reviews, questions) = (Arc::clone(reviews), Arc::clone(&self.0.questions));
                let token = token.to_owned();
                let ask = move || async move { questions.put(reviews.token(&token)).await };
                tokens.ask(hash, ask, lifetime).await?
            }
        };
        match verdict {
            TokenVerdict::Known(caller) => Ok(caller),
            TokenVerdict::Unknown(reason) => {
                failures.failed(host, uptime);
                Err(Unauthenticated::Unknown(reason))
            }
        }
    }

    /// Tells whether a caller may do something.
    ///
    /// # Errors
    /// Nobody can be asked.
    pub async fn may(&self, caller: &Caller, attributes: Attributes) -> Result<bool, ReviewError> {
        let person = match caller.authenticator() {
            // Every permission, so that a hub can be repaired without the API server.
            Authenticator::TokenFile => return Ok(true),
            Authenticator::Kubernetes => caller.clone(),
        };
        let Some(reviews) = self.0.parts.reviews.clone() else { return Ok(false) };
        let key = (person.identity(), attributes.clone());
        let questions = Arc::clone(&self.0.questions);
        let ask = move || async move { questions.put(reviews.access(person.person(), &attributes)).await };
        let outcome = self.0.decisions.ask(key, ask, |_| REMEMBERED).await;
        if outcome.is_err() {
            self.0.parts.metrics.failed_reviews.inc();
        }
        outcome
    }

    /// Returns where it is counted.
    #[must_use]
    pub fn metrics(&self) -> &AccessMetrics {
        &self.0.parts.metrics
    }
}

impl Default for Questions {
    fn default() -> Self {
        Self { asked: Semaphore::new(QUESTIONS), waiting: Semaphore::new(WAITING) }
    }
}

impl Questions {
    /// Asks when it is this question's turn, and not for ever.
    async fn put<T>(&self, answer: impl Future<Output = Result<T, ReviewError>>) -> Result<T, ReviewError> {
        let _place = self.waiting.try_acquire().map_err(|_| ReviewError::new("too many questions wait"))?;
        let asked = async {
            let _turn = self.asked.acquire().await.map_err(|_| ReviewError::new("the hub stops"))?;
            answer.await
        };
        let late = |_| ReviewError::new(format!("it did not answer within {} seconds", ANSWERS_WITHIN.as_secs()));
        timeout(ANSWERS_WITHIN, asked).await.map_err(late)?
    }
}

fn lifetime(verdict: &TokenVerdict) -> Duration {
    match verdict {
        TokenVerdict::Known(_) => REMEMBERED,
        TokenVerdict::Unknown(_) => REFUSED,
    }
}

/// Tells whether a text can be a bearer token (RFC 6750, section 2.1).
fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=:".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}
