//! Getting an identity from the hub with a one-time token, and renewing it.
//!
//! A refusal that no retry can better is not retried blindly: it waits long, or until the token is another.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::KeyPair;
use starling_model::ErrorCode;
use starling_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use starling_proto::v1::{JoinRequest, RenewRequest};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::{Identity, IdentityError, IdentityStore, IdentityStoreError, new_key, signing_request};
use crate::client::channel::{self, DialError};
use crate::cluster::{ClusterApi, ClusterError, StoredIdentity};
use crate::config::AgentConfig;
use crate::ports::Ports;
use crate::tls::{self, TlsError};

/// Waits between attempts that may succeed by themselves: first and longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Waits after a refusal that needs a person: least and most.
const REFUSED_RETRY: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(600));

/// How often a waiting agent looks whether the token was replaced.
const TOKEN_POLL: Duration = Duration::from_secs(10);

/// How long the hub may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The metadata key in which the hub names its error code.
const ERROR_CODE_KEY: &str = "starling-error";

/// The metadata key in which the hub says after how many milliseconds it wants to be tried again.
const RETRY_AFTER_KEY: &str = "starling-retry-after-millis";

/// An identity that could not be got or renewed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    /// The hub refused, with its reason.
    #[error("the hub refused: {message} ({code})")]
    Refused {
        /// The hub's code.
        code: ErrorCode,
        /// The hub's words.
        message: String,
        /// After how long the hub wants to be asked again, where it says so.
        retry_after: Option<Duration>,
    },
    /// The hub did not answer.
    #[error("the hub did not answer: {0}")]
    Unanswered(String),
    /// The hub could not be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The cluster did not tell its fingerprint.
    #[error("cannot read the cluster's fingerprint: {0}")]
    Fingerprint(#[from] ClusterError),
    /// The identity could not be stored.
    #[error("cannot store the identity: {0}")]
    Store(#[from] IdentityStoreError),
    /// The key or the signing request could not be made.
    #[error("cannot make a signing request: {0}")]
    Request(#[from] rcgen::Error),
    /// The hub's certificate cannot be used.
    #[error("the hub's answer cannot be used: {0}")]
    Answer(String),
    /// The token cannot be read.
    #[error("cannot read the join token: {0}")]
    Token(std::io::Error),
    /// There is no token to join with.
    #[error("there is no identity and no join token")]
    NoToken,
}

/// Gets and renews the identity of one agent.
pub(crate) struct Enrolment {
    config: Arc<AgentConfig>,
    cluster: Arc<dyn ClusterApi>,
    store: IdentityStore,
    ports: Ports,
    /// The token and the key with which joining anew was begun: where the hub's answer was lost, the same key is what
    /// tells this agent from a thief of the token.
    rejoining: Mutex<Option<(String, String)>>,
}

impl EnrolError {
    /// Tells whether a person has to do something before another attempt can succeed.
    pub(crate) fn needs_a_person(&self) -> bool {
        match self {
            Self::Refused { code, .. } => !code.retry_helps() && *code != ErrorCode::FleetHolds,
            Self::NoToken | Self::Answer(_) => true,
            Self::Unanswered(_)
            | Self::Dial(_)
            | Self::Fingerprint(_)
            | Self::Store(_)
            | Self::Request(_)
            | Self::Token(_) => false,
        }
    }
}

impl EnrolError {
    fn retry_after(&self) -> Option<Duration> {
        let Self::Refused { retry_after, .. } = self else { return None };
        *retry_after
    }
}

impl From<TlsError> for EnrolError {
    fn from(error: TlsError) -> Self {
        Self::Dial(DialError::Tls(error))
    }
}

impl From<IdentityError> for EnrolError {
    fn from(error: IdentityError) -> Self {
        Self::Answer(error.to_string())
    }
}

impl Enrolment {
    pub(crate) fn new(config: Arc<AgentConfig>, cluster: Arc<dyn ClusterApi>, ports: Ports) -> Self {
        let store = IdentityStore::new(config.identity.clone(), Arc::clone(&cluster));
        Self { config, cluster, store, ports, rejoining: Mutex::default() }
    }

    /// Returns the stored identity, or joins until there is one.
    pub(crate) async fn obtain(&self) -> Identity {
        let mut failures = 0;
        loop {
            let error = match self.load_or_join().await {
                Ok(identity) => return identity,
                Err(error) => error,
            };
            self.wait_after(&error, &mut failures).await;
        }
    }

    /// Returns the token that is there now.
    pub(crate) fn token(&self) -> Option<String> {
        self.config.token.read().ok().flatten()
    }

    /// Joins anew because the hub no longer takes the identity that is there; `None` if there is no token to do so.
    pub(crate) async fn rejoin(&self) -> Result<Option<Identity>, EnrolError> {
        let Some(token) = self.config.token.read().map_err(EnrolError::Token)? else { return Ok(None) };
        // The old identity stays stored until there is a new one: the refusal may be the hub's own trouble.
        let joined = self.join(self.rejoining_key(token)?).await?;
        *self.rejoining.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(Some(joined))
    }

    fn rejoining_key(&self, token: String) -> Result<KeyPair, EnrolError> {
        let mut rejoining = self.rejoining.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key_pem)) = rejoining.as_ref().filter(|(begun_with, _)| *begun_with == token) {
            return Ok(KeyPair::from_pem(key_pem)?);
        }
        let key = new_key()?;
        *rejoining = Some((token, key.serialize_pem()));
        Ok(key)
    }

    /// Tells whether an identity was got from other authorities than those that are pinned now, and that these have nothing
    /// to do with each other: the hub was set up anew, and its new manifest applied.
    pub(crate) fn is_of_others(&self, identity: &Identity) -> bool {
        let pinned = &self.config.trust_pem[..];
        !tls::have_in_common(pinned, identity.stored().trust_pem.as_bytes()) && !identity.is_issued_by(pinned)
    }

    /// Renews an identity, valid or expired, with a new key.
    pub(crate) async fn renew(&self, identity: &Identity) -> Result<Identity, EnrolError> {
        let key = new_key()?;
        let csr_der = signing_request(&key)?;
        let pinned = &self.config.trust_pem[..];
        let (tls, request) = if identity.is_expired(self.ports.clock.now()) {
            // The handshake does not carry an expired certificate, so the recorded key signs for itself.
            let proof = identity.sign(&csr_der)?;
            let certificate_pem = identity.stored().certificate_pem.clone().into_bytes();
            let trust = [pinned, identity.stored().trust_pem.as_bytes()];
            let tls = tls::client_config(&trust, None, &self.ports.clock)?;
            (tls, RenewRequest { csr_der, certificate_pem, proof })
        } else {
            let tls = identity.tls(pinned, &self.ports.clock)?;
            (tls, RenewRequest { csr_der, certificate_pem: Vec::new(), proof: Vec::new() })
        };
        let channel = channel::open(&*self.ports.dialer, &self.config.hub, tls).await?;
        let answer = answered(EnrolmentServiceClient::new(channel).renew(request)).await?;
        self.keep(&key, answer.certificate_pem, answer.trust_pem).await
    }

    /// Stores other authorities beside the identity.
    pub(crate) async fn keep_trust(&self, identity: Identity, trust_pem: Vec<u8>) -> Result<Identity, EnrolError> {
        let trust_pem = String::from_utf8(trust_pem).map_err(|_| EnrolError::Answer("not PEM".to_owned()))?;
        let changed = identity.with_trust(trust_pem);
        // Checked before it is stored: authorities that cannot be read must not replace those that can.
        tls::client_config(&[changed.stored().trust_pem.as_bytes()], None, &self.ports.clock)?;
        self.store.store(changed.stored()).await?;
        Ok(changed)
    }

    async fn load_or_join(&self) -> Result<Identity, EnrolError> {
        if let Some(stored) = self.store.load().await?
            && !stored.certificate_pem.is_empty()
        {
            match Identity::read(stored, &self.config.fleet) {
                Ok(identity) => return Ok(identity),
                Err(error) => tracing::warn!(%error, "the stored identity cannot be used, joining anew"),
            }
        }
        if self.config.token.read().map_err(EnrolError::Token)?.is_none() {
            return Err(EnrolError::NoToken);
        }
        let key = self.pending_key().await?;
        self.join(key).await
    }

    async fn join(&self, key: KeyPair) -> Result<Identity, EnrolError> {
        let token = self.config.token.read().map_err(EnrolError::Token)?.ok_or(EnrolError::NoToken)?;
        let fingerprint = self.cluster.fingerprint().await?;
        let csr_der = signing_request(&key)?;
        let tls = tls::client_config(&[&self.config.trust_pem], None, &self.ports.clock)?;
        let channel = channel::open(&*self.ports.dialer, &self.config.hub, tls).await?;
        let cluster_name = self.config.cluster_name.clone();
        let request = JoinRequest { token, csr_der, fingerprint, cluster_name };
        let answer = answered(EnrolmentServiceClient::new(channel).join(request)).await?;
        let identity = self.keep(&key, answer.certificate_pem, answer.trust_pem).await?;
        tracing::info!(cluster = %identity.cluster, fleet = %self.config.fleet, "joined the fleet");
        Ok(identity)
    }

    /// Returns the key to join with. It is stored before it is used: an agent that dies between the hub's answer and
    /// its own record joins again with the same key, which the hub can tell from a stolen token.
    async fn pending_key(&self) -> Result<KeyPair, EnrolError> {
        if let Some(stored) = self.store.load().await?
            && stored.certificate_pem.is_empty()
            && let Ok(key) = KeyPair::from_pem(&stored.key_pem)
        {
            return Ok(key);
        }
        let key = new_key()?;
        let pending =
            StoredIdentity { certificate_pem: String::new(), key_pem: key.serialize_pem(), trust_pem: String::new() };
        self.store.store(&pending).await?;
        Ok(key)
    }

    async fn keep(&self, key: &KeyPair, certificate: Vec<u8>, trust: Vec<u8>) -> Result<Identity, EnrolError> {
        let text = |bytes| String::from_utf8(bytes).map_err(|_| EnrolError::Answer("not PEM".to_owned()));
        let stored = StoredIdentity {
            certificate_pem: text(certificate)?,
            key_pem: key.serialize_pem(),
            trust_pem: text(trust)?,
        };
        let identity = Identity::read(stored, &self.config.fleet)?;
        self.store.store(identity.stored()).await?;
        Ok(identity)
    }

    /// Logs a failure with what to do, and waits as long as it deserves.
    pub(crate) async fn wait_after(&self, error: &EnrolError, failures: &mut u32) {
        if !error.needs_a_person() {
            tracing::warn!(%error, hub = %self.config.hub, "cannot get an identity, trying again");
            let longest = RETRY.0.saturating_mul(1 << (*failures).min(8)).min(RETRY.1);
            *failures = failures.saturating_add(1);
            let asked = error.retry_after().unwrap_or_default().min(REFUSED_RETRY.1);
            sleep(asked + self.ports.draw_wait(RETRY.0 / 4, longest)).await;
            return;
        }
        tracing::warn!(
            %error,
            hub = %self.config.hub,
            next = "run `starling adopt cluster` for this cluster again and apply the manifest that it prints",
            "no identity"
        );
        let refused = self.config.token.read().ok().flatten();
        let until = self.ports.clock.uptime().plus(self.ports.draw_wait(REFUSED_RETRY.0, REFUSED_RETRY.1));
        while self.ports.clock.uptime() < until {
            sleep(TOKEN_POLL).await;
            let now = self.config.token.read().ok().flatten();
            if now.is_some() && now != refused {
                return;
            }
        }
    }
}

async fn answered<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, EnrolError> {
    match timeout(ANSWER_TIMEOUT, call).await {
        Err(_) => Err(EnrolError::Unanswered(format!("nothing in {} s", ANSWER_TIMEOUT.as_secs()))),
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(match refusal(&status) {
            Some(code) => {
                EnrolError::Refused { code, message: status.message().to_owned(), retry_after: retry_after(&status) }
            }
            None => EnrolError::Unanswered(format!("{}: {}", status.code(), status.message())),
        }),
    }
}

/// Returns after how long the hub wants to be tried again, where it says so.
pub(crate) fn retry_after(status: &Status) -> Option<Duration> {
    status.metadata().get(RETRY_AFTER_KEY)?.to_str().ok()?.parse().ok().map(Duration::from_millis)
}

/// Returns the error code that the hub named, or the one that its gRPC status stands for.
pub(crate) fn refusal(status: &Status) -> Option<ErrorCode> {
    let named = status.metadata().get(ERROR_CODE_KEY).and_then(|value| value.to_str().ok()).and_then(ErrorCode::parse);
    named.or(match status.code() {
        Code::Unauthenticated => Some(ErrorCode::Unauthenticated),
        Code::PermissionDenied => Some(ErrorCode::PermissionDenied),
        Code::InvalidArgument => Some(ErrorCode::InvalidRequest),
        _ => None,
    })
}
