//! What a hub is shown: a token, always a fresh one.
//!
//! A hub learns who somebody is by asking its API server about a bearer token. A client certificate proves nothing to it, so
//! whoever has only that calls in the name of a ServiceAccount.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1;
use kube::api::PostParams;
use kube::client::{Body, ConfigExt as _};
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use tokio::sync::Mutex;
use tower::util::BoxService;
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};

use super::failure::{no_credentials, of_kube};
use super::{Origin, Place, ServiceAccount};
use crate::failure::{Exit, Failure};

/// Whom a token of a ServiceAccount is for: no API server takes it, and no other service.
const AUDIENCE: &str = "starling-hub";

/// What is asked for; the API server may give less.
const LIFETIME: Duration = Duration::from_secs(3600);

/// A token is renewed when less than this is left of the asked lifetime.
const LEAST_LEFT: Duration = Duration::from_secs(300);

/// Answers every request with the header that the kubeconfig's credentials put on it.
type Authorization = BoxService<Request<Body>, Response<Option<HeaderValue>>, BoxError>;

/// Where tokens for the hub come from; clones share what they hold.
#[derive(Clone)]
pub(crate) enum Credentials {
    /// A token that stays.
    Fixed(String),
    /// A file whose token somebody else renews.
    File(PathBuf),
    /// The kubeconfig's own token, its plugin's included.
    Kubeconfig(Arc<Mutex<Authorization>>),
    /// Tokens of a ServiceAccount, asked for with the kubeconfig.
    ServiceAccount(Arc<Mutex<Minter>>),
    /// There is no token; says why.
    Missing(Arc<(String, String)>),
}

/// Asks for tokens of a ServiceAccount.
pub(crate) struct Minter {
    client: Client,
    deadline: Duration,
    account: ServiceAccount,
    minted: Option<(String, Instant)>,
}

/// Makes the client of the API server and what the hub is shown, running a plugin only once for both.
pub(super) async fn prepare(
    mut config: Config,
    place: &Place,
    origin: &Origin,
    deadline: Duration,
) -> Result<(Client, Credentials), Failure> {
    let impersonates = config.auth_info.impersonate.clone();
    let credentials = match config.auth_info.token_file.as_deref().filter(|_| config.auth_info.token.is_none()) {
        Some(file) => Credentials::File(PathBuf::from(file)),
        None => match config.auth_layer().map_err(|error| of_kube(&error, origin))? {
            Some(layer) => {
                let answer = service_fn(|request: Request<Body>| async move {
                    let header = request.headers().get(http::header::AUTHORIZATION).cloned();
                    Ok::<_, BoxError>(Response::new(header))
                });
                Credentials::Kubeconfig(Arc::new(Mutex::new(BoxService::new(layer.layer(answer)))))
            }
            None => Credentials::Missing(Arc::new(without_token(origin))),
        },
    };
    if let Ok(token) = credentials.bearer().await {
        replace_by_token(&mut config.auth_info, &token)?;
    }
    let client = Client::try_from(config).map_err(|error| of_kube(&error, origin))?;
    let credentials = match (&place.service_account, impersonates) {
        (Some(account), _) => {
            let minter = Minter { client: client.clone(), deadline, account: account.clone(), minted: None };
            Credentials::ServiceAccount(Arc::new(Mutex::new(minter)))
        }
        (None, Some(other)) => Credentials::Missing(Arc::new((
            format!("{origin} acts as {other:?}, which no hub can check"),
            "name a ServiceAccount to call the hub with: --service-account NAMESPACE/NAME".into(),
        ))),
        (None, None) => credentials,
    };
    Ok((client, credentials))
}

impl Credentials {
    /// Returns a token that is good now.
    ///
    /// # Errors
    /// [`Exit::Unreachable`], saying how to get one.
    pub(crate) async fn bearer(&self) -> Result<String, Failure> {
        match self {
            Self::Fixed(token) => Ok(token.clone()),
            Self::File(path) => from_file(path),
            Self::Kubeconfig(authorization) => {
                let mut authorization = authorization.lock().await;
                let service = authorization.ready().await.map_err(|error| no_credentials(error.as_ref()))?;
                let asked = tower::Service::call(service, Request::new(Body::empty())).await;
                let header = asked.map_err(|error| no_credentials(error.as_ref()))?.into_body();
                let text = header.as_ref().and_then(|header| header.to_str().ok()).unwrap_or_default();
                let Some(token) = text.strip_prefix("Bearer ") else {
                    return Err(Failure::new(
                        Exit::Unreachable,
                        "the kubeconfig holds a name and a password, and no token",
                    )
                    .next("name a ServiceAccount to call the hub with: --service-account NAMESPACE/NAME"));
                };
                Ok(token.trim().to_owned())
            }
            Self::ServiceAccount(minter) => minter.lock().await.token().await,
            Self::Missing(why) => Err(Failure::new(Exit::Unreachable, &why.0).next(&why.1)),
        }
    }
}

impl Minter {
    async fn token(&mut self) -> Result<String, Failure> {
        if let Some((token, minted)) = &self.minted
            && minted.elapsed() + LEAST_LEFT < LIFETIME
        {
            return Ok(token.clone());
        }
        let ServiceAccount { namespace, name } = &self.account;
        let spec = TokenRequestSpec {
            audiences: vec![AUDIENCE.to_owned()],
            expiration_seconds: i64::try_from(LIFETIME.as_secs()).ok(),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts: Api<v1::ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PostParams::default();
        let asked = accounts.create_token_request(name, &parameters, &request);
        let about = format!("no token of ServiceAccount {}", self.account);
        let answer = super::failure::within(self.deadline, asked).await.map_err(|failure| failure.about(&about))?;
        let token = answer.status.map(|status| status.token).unwrap_or_default();
        self.minted = Some((token.clone(), Instant::now()));
        Ok(token)
    }
}

fn from_file(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::Unreachable, format!("cannot read the token in {}: {error}", path.display()))
            .next("the kubeconfig names this file; log in again, or name another kubeconfig")
    })?;
    Ok(text.trim().to_owned())
}

/// Puts the token itself where it came from, so that nothing is asked for it a second time.
fn replace_by_token(info: &mut AuthInfo, token: &str) -> Result<(), Failure> {
    let bare: AuthInfo = serde_json::from_value(serde_json::json!({ "token": token }))
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot use the kubeconfig's token: {error}")))?;
    info.token = bare.token;
    info.exec = None;
    info.auth_provider = None;
    info.token_file = None;
    Ok(())
}

fn without_token(origin: &Origin) -> (String, String) {
    (
        format!(
            "user {:?} of {origin} has no token (a client certificate, which a hub cannot check with its API server)",
            origin.user
        ),
        "name a ServiceAccount to call the hub with: --service-account NAMESPACE/NAME; you need `create` on its serviceaccounts/token"
            .into(),
    )
}
