//! etcd's endpoints: one client each, one of them chosen, another one as soon as it fails.
//!
//! Owns deadlines, choosing and logging in. Does not own what is asked. A call that ended in doubt is made again elsewhere, so
//! everything that is asked here has to bear being done twice.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions, Error};
use rustls::ClientConfig;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::failure::{self, Refusal, Verdict};
use super::options::EtcdLogin;
use crate::channel;
use crate::ports::Dialer;
use crate::store::StoreError;

/// How long one endpoint may take.
pub(super) const ATTEMPT: Duration = Duration::from_secs(3);

/// How long a call may take over all endpoints.
pub(super) const CALL: Duration = Duration::from_secs(5);

/// The pause after every endpoint has failed.
const PAUSE: Duration = Duration::from_millis(200);

/// The endpoints of one etcd.
pub(super) struct Endpoints {
    endpoints: Vec<Endpoint>,
    login: Option<EtcdLogin>,
    chosen: AtomicUsize,
}

struct Endpoint {
    url: String,
    channel: tonic::transport::Channel,
    client: Mutex<Option<Client>>,
}

/// An answer, and whether an earlier attempt ended in doubt: it may have been done before, or may yet be done.
pub(super) struct Answer<T> {
    pub(super) value: T,
    pub(super) in_doubt: bool,
}

/// A call that was not answered.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) refusal: Refusal,
    pub(super) in_doubt: bool,
}

/// A client with the number of its endpoint.
pub(super) struct Chosen {
    pub(super) client: Client,
    index: usize,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.refusal.into()
    }
}

impl Endpoints {
    /// Makes a channel to each endpoint; none is dialled yet.
    pub(super) fn new(
        urls: &[String],
        dialer: &Arc<dyn Dialer>,
        tls: Option<&Arc<ClientConfig>>,
        login: Option<EtcdLogin>,
    ) -> Result<Self, StoreError> {
        let endpoints = urls.iter().map(|url| Endpoint::new(url, dialer, tls)).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(StoreError::Refused("no endpoint is named: set --etcd-endpoints".to_owned()));
        }
        Ok(Self { endpoints, login, chosen: AtomicUsize::new(0) })
    }

    /// Asks the chosen endpoint, and the next ones while they fail, until there is an answer or the time is over.
    pub(super) async fn call<T, F: Future<Output = Result<T, Error>>>(
        &self,
        doing: &'static str,
        ask: impl Fn(Client) -> F,
    ) -> Result<Answer<T>, Failure> {
        let deadline = Instant::now() + CALL;
        let mut problems: Vec<Option<String>> = vec![None; self.endpoints.len()];
        let (mut in_doubt, mut logins) = (false, 0);
        loop {
            let within = ATTEMPT.min(deadline.saturating_duration_since(Instant::now()));
            if within.is_zero() {
                let refusal = Refusal::Error(self.unavailable(doing, &problems));
                return Err(Failure { refusal, in_doubt });
            }
            let index = self.index();
            let attempt = async {
                let chosen = self.endpoints[index].client(self.login.as_ref()).await?;
                // From here on it may be done without our hearing of it.
                Ok::<_, Error>(ask(chosen).await)
            };
            let verdict = match timeout(within, attempt).await {
                Ok(Ok(Ok(value))) => return Ok(Answer { value, in_doubt }),
                Ok(Ok(Err(error))) => Verdict::of(doing, &error),
                Ok(Err(login)) => Verdict::of(doing, &login),
                Err(_) => Verdict::Elsewhere(format!("no answer within {} ms", within.as_millis())),
            };
            match self.judge(verdict) {
                Verdict::Final(refusal) => return Err(Failure { refusal, in_doubt }),
                Verdict::LogInAgain(problem) if logins < 2 => {
                    logins += 1;
                    tracing::info!(endpoint = %self.endpoints[index].url, problem, "logging in to etcd again");
                    self.endpoints[index].forget_client().await;
                }
                Verdict::Elsewhere(problem) | Verdict::LogInAgain(problem) => {
                    in_doubt = true;
                    self.rotate(index, problems[index].is_none().then_some(&problem));
                    problems[index] = Some(problem);
                    if problems.iter().all(Option::is_some) {
                        sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now()))).await;
                    }
                }
            }
        }
    }

    /// Returns the chosen endpoint's client, for a stream.
    pub(super) async fn chosen(&self) -> Result<Chosen, (usize, Error)> {
        let index = self.index();
        match self.endpoints[index].client(self.login.as_ref()).await {
            Ok(client) => Ok(Chosen { client, index }),
            Err(error) => Err((index, error)),
        }
    }

    /// Chooses the next endpoint after one failed, unless somebody else has done so already, and tells of a problem that is news.
    pub(super) fn rotate(&self, failed: usize, news: Option<&String>) {
        let next = (failed + 1) % self.endpoints.len();
        let moved = self.chosen.compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
        if let (Ok(_), Some(problem)) = (moved, news)
            && next != failed
        {
            let (failed, next) = (&self.endpoints[failed].url, &self.endpoints[next].url);
            tracing::warn!(endpoint = %failed, next = %next, problem, "an endpoint of etcd fails, going to the next");
        }
    }

    /// Knows that logging in again is of no use to somebody without a login.
    pub(super) fn judge(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::LogInAgain(problem) if self.login.is_none() => Verdict::no_login(&problem),
            verdict => verdict,
        }
    }

    /// Forgets a login that etcd does not take any more.
    pub(super) async fn forget_login(&self, index: usize) {
        self.endpoints[index].forget_client().await;
    }

    /// Returns the number of the chosen endpoint.
    pub(super) fn index(&self) -> usize {
        self.chosen.load(Ordering::Relaxed) % self.endpoints.len()
    }

    fn unavailable(&self, doing: &'static str, problems: &[Option<String>]) -> StoreError {
        let each = self.endpoints.iter().zip(problems);
        let each: Vec<String> = each
            .map(|(endpoint, problem)| format!("{} ({})", endpoint.url, problem.as_deref().unwrap_or("not asked")))
            .collect();
        StoreError::Unavailable { doing, problem: format!("no endpoint of etcd answers: {}", each.join(", ")) }
    }
}

impl Chosen {
    /// The number of the endpoint, to rotate away from it.
    pub(super) fn index(&self) -> usize {
        self.index
    }
}

impl Endpoint {
    fn new(url: &str, dialer: &Arc<dyn Dialer>, tls: Option<&Arc<ClientConfig>>) -> Result<Self, StoreError> {
        let refused = |problem: String| StoreError::Refused(format!("the endpoint {url:?} {problem}"));
        let (address, tls) = match (url.strip_prefix("http://"), url.strip_prefix("https://"), tls) {
            (Some(address), _, None) => (address, None),
            (None, Some(address), Some(tls)) => (address, Some(Arc::clone(tls))),
            (Some(_), _, Some(_)) => {
                return Err(refused("is plain http, but a certificate authority is given: write https://".to_owned()));
            }
            (None, Some(_), None) => {
                return Err(refused("needs the authority of its certificate: --etcd-ca-file".to_owned()));
            }
            (None, None, _) => return Err(refused("is neither http:// nor https://".to_owned())),
        };
        let address = address.trim_end_matches('/');
        let channel =
            channel::lazy(dialer, address, tls).map_err(|error| refused(format!("cannot be dialled: {error}")))?;
        Ok(Self { url: url.to_owned(), channel, client: Mutex::new(None) })
    }

    /// Returns the client, and logs in first where that is asked for.
    async fn client(&self, login: Option<&EtcdLogin>) -> Result<Client, Error> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let options = || ConnectOptions::new().with_require_leader(true);
        let channel = || Channel::Tonic(self.channel.clone());
        let made = match login {
            None => Client::from_channel(channel(), Some(options())).await?,
            Some(login) => {
                let (user, password) = login.read()?;
                let with_user = options().with_user(user, password);
                match Client::from_channel(channel(), Some(with_user)).await {
                    // As long as etcd does not ask who we are, it does not take the answer either.
                    Err(error) if failure::login_is_off(&error) => {
                        Client::from_channel(channel(), Some(options())).await?
                    }
                    made => made?,
                }
            }
        };
        *client = Some(made.clone());
        Ok(made)
    }

    async fn forget_client(&self) {
        *self.client.lock().await = None;
    }
}
