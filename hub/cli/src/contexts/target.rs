//! From arguments, environment, contexts and a kubeconfig to the one hub that a command asks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{Context, ContextFile};
use crate::arguments::Global;
use crate::failure::{Exit, Failure};
use crate::kubernetes::credentials::Credentials;
use crate::kubernetes::{self, DEFAULT_NAMESPACE, Kubernetes, Place, ServiceAccount};

/// The port of a server that names none.
const DEFAULT_PORT: u16 = 8443;

/// Where the hub is and how to talk to it.
#[derive(Clone)]
pub(crate) struct Target {
    /// The host, without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// The host that the hub's certificate names; another one than `host` behind a port that is forwarded.
    pub(crate) server_name: String,
    /// The authorities to trust, in PEM.
    pub(crate) ca_pem: Vec<u8>,
    /// What the hub is shown.
    pub(crate) credentials: Credentials,
    /// The hub's own cluster, where a kubeconfig led to the hub.
    pub(crate) kubernetes: Option<Kubernetes>,
    /// Where the kubeconfig is when resources are edited and none was needed to find the hub.
    pub(crate) place: Place,
    /// Where the parts come from.
    pub(crate) origins: Origins,
}

/// Where the parts of a target come from, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origins {
    /// The address.
    pub(crate) server: String,
    /// The authorities.
    pub(crate) authorities: String,
    /// The credentials.
    pub(crate) credentials: String,
}

/// What was chosen before anything was read: arguments over a context.
struct Chosen {
    context: Context,
    /// What the context is called in messages.
    origin: String,
    /// A kubeconfig tells what the context does not.
    kubernetes: bool,
}

/// Returns the path of the file of contexts.
///
/// # Errors
/// When there is no home directory to find it in.
pub(crate) fn context_path(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(path) = &global.config {
        return Ok(path.clone());
    }
    let directory = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = directory("XDG_CONFIG_HOME").or_else(|| directory("HOME").map(|home| home.join(".config")));
    config.map(|config| config.join("starling/config.yaml")).ok_or_else(|| {
        Failure::new(Exit::Usage, "neither HOME nor XDG_CONFIG_HOME says where contexts are kept")
            .next("name a file with --config or STARLING_CONFIG")
    })
}

/// Finds the hub to ask; what is given as an argument or in the environment wins over the context, and both win over what the
/// hub publishes in its own cluster.
///
/// # Errors
/// Says what is missing and how to get it.
pub(crate) async fn resolve(global: &Global) -> Result<Target, Failure> {
    let chosen = choose(global)?;
    let place = place(global, &chosen.context)?;
    let complete = global.server.is_some() && global.ca.is_some() && global.token_file.is_some();
    if chosen.kubernetes && !complete && !is_complete(&chosen.context) {
        return through_kubernetes(global, &chosen, place).await;
    }
    let server = server(global, &chosen)?.ok_or_else(|| {
        let name = &chosen.context.name;
        Failure::usage(format!("context {name:?} names no server"))
            .next(format!("starling config set-context {name} --server HOST:PORT"))
    })?;
    let (host, port) = split_server(&server.0)?;
    let ca = authorities(global, &chosen)?.ok_or_else(|| {
        Failure::usage(format!("no authority is named to trust {} by", server.0)).next(
            "name a PEM file with --ca, or take the hub's own context with `starling config import <state>/admin.yaml`",
        )
    })?;
    let token = token(global, &chosen)?.ok_or_else(|| {
        Failure::usage(format!("no token file is named for {}", server.0))
            .next("name it with --token-file; the hub's own is <state>/keys/admin.token")
    })?;
    Ok(Target {
        server_name: host.clone(),
        host,
        port,
        ca_pem: ca.0,
        credentials: Credentials::Fixed(token.0),
        kubernetes: None,
        place,
        origins: Origins { server: server.1, authorities: ca.1, credentials: token.1 },
    })
}

/// Asks the hub's own cluster for whatever was not given.
async fn through_kubernetes(global: &Global, chosen: &Chosen, place: Place) -> Result<Target, Failure> {
    let kubernetes = Kubernetes::open(&place, deadline(global)).await?;
    let published = kubernetes.publication().await?;
    let by_hub = format!("published in namespace {} of {}", place.namespace, kubernetes.origin());
    let (published_host, _) = split_server(&published.address)?;
    let server = server(global, chosen)?.unwrap_or_else(|| (published.address.clone(), by_hub.clone()));
    let (host, port) = split_server(&server.0)?;
    let ca = authorities(global, chosen)?.unwrap_or_else(|| (published.trust_pem.clone().into_bytes(), by_hub));
    let (credentials, origin) = match token(global, chosen)? {
        Some((token, origin)) => (Credentials::Fixed(token), origin),
        None => {
            let user = &kubernetes.origin().user;
            let whose = match &place.service_account {
                Some(account) => format!("a token of ServiceAccount {account}, asked for by user {user:?}"),
                None => format!("user {user:?}"),
            };
            (kubernetes.credentials().clone(), format!("{whose} of {}", kubernetes.origin()))
        }
    };
    Ok(Target {
        host,
        port,
        server_name: published_host,
        ca_pem: ca.0,
        credentials,
        kubernetes: Some(kubernetes),
        place,
        origins: Origins { server: server.1, authorities: ca.1, credentials: origin },
    })
}

/// Returns how long each question to an API server may take.
pub(crate) fn deadline(global: &Global) -> Duration {
    global.timeout
}

fn choose(global: &Global) -> Result<Chosen, Failure> {
    let wants_cluster = global.kubeconfig.is_some() || global.kube_context.is_some();
    let wants_kubernetes = wants_cluster || global.hub_namespace.is_some() || global.service_account.is_some();
    let nothing = |kubernetes| Chosen { context: Context::default(), origin: String::new(), kubernetes };
    if global.context.is_none() {
        // Everything is given: a broken file of contexts is none of our business.
        if global.server.is_some() && global.token_file.is_some() && global.ca.is_some() {
            return Ok(nothing(wants_kubernetes));
        }
        // A cluster is named: the current context may be of another one.
        if wants_cluster {
            return Ok(nothing(true));
        }
    }
    let path = context_path(global)?;
    let file = ContextFile::load(&path)?;
    let name = global.context.clone().or_else(|| file.as_ref().map(|file| file.current_context.clone()));
    match (file, name.as_deref()) {
        (Some(file), Some(name)) if !name.is_empty() => {
            let context = file.get(name)?.clone();
            if wants_kubernetes && global.context.is_none() && !context.names_kubernetes() {
                return Ok(nothing(true));
            }
            let origin = format!("context {name:?} of {}", path.display());
            let kubernetes = wants_kubernetes || context.names_kubernetes();
            Ok(Chosen { context, origin, kubernetes })
        }
        // Enough was given to do without a context: what is missing is told precisely later.
        _ if global.context.is_none() && (wants_kubernetes || kubernetes::any_kubeconfig()) => Ok(nothing(true)),
        (None, None) if global.server.is_some() => Ok(nothing(false)),
        (None, _) => Err(Failure::usage(format!(
            "no hub is configured: {} does not exist, and there is no kubeconfig",
            path.display()
        ))
        .next(
            "run `starling config import <state>/admin.yaml` with the state directory of a hub, or pass it as --config; \
             for a hub on Kubernetes name a --kubeconfig",
        )),
        (Some(_), _) => Err(Failure::usage(format!("{} has no current context", path.display()))
            .next("choose one: `starling config get-contexts`, then `starling config use-context NAME`")),
    }
}

fn place(global: &Global, context: &Context) -> Result<Place, Failure> {
    let service_account = global.service_account.as_deref().or(context.service_account.as_deref());
    let namespace = global.hub_namespace.as_deref().or(context.hub_namespace.as_deref());
    Ok(Place {
        kubeconfig: global.kubeconfig.clone().or_else(|| context.kubeconfig.clone()),
        context: global.kube_context.clone().or_else(|| context.kube_context.clone()),
        namespace: namespace.unwrap_or(DEFAULT_NAMESPACE).to_owned(),
        service_account: service_account.map(ServiceAccount::parse).transpose()?,
    })
}

fn is_complete(context: &Context) -> bool {
    let trusts = !context.ca_pem.is_empty() || context.ca_file.is_some();
    !context.server.is_empty() && trusts && context.token_file.is_some()
}

/// Returns the server that was given and where.
fn server(global: &Global, chosen: &Chosen) -> Result<Option<(String, String)>, Failure> {
    let given = global.server.clone().map(|server| (server, "--server or STARLING_SERVER".to_owned()));
    let context = Some(&chosen.context.server).filter(|server| !server.is_empty());
    Ok(given.or_else(|| context.map(|server| (server.clone(), chosen.origin.clone()))))
}

/// Returns the authorities that were given and where.
fn authorities(global: &Global, chosen: &Chosen) -> Result<Option<(Vec<u8>, String)>, Failure> {
    let context = &chosen.context;
    if let Some(path) = &global.ca {
        return Ok(Some((read(path, "authorities")?, format!("{} (--ca or STARLING_CA)", path.display()))));
    }
    if !context.ca_pem.is_empty() {
        return Ok(Some((context.ca_pem.clone().into_bytes(), chosen.origin.clone())));
    }
    let Some(path) = &context.ca_file else {
        return Ok(None);
    };
    Ok(Some((read(path, "authorities")?, format!("{} ({})", path.display(), chosen.origin))))
}

/// Returns the token that was given in a file and where.
fn token(global: &Global, chosen: &Chosen) -> Result<Option<(String, String)>, Failure> {
    let (path, origin) = match (&global.token_file, &chosen.context.token_file) {
        (Some(path), _) => (path, "--token-file or STARLING_TOKEN_FILE"),
        (None, Some(path)) => (path, chosen.origin.as_str()),
        (None, None) => return Ok(None),
    };
    let token = String::from_utf8(read(path, "token")?).unwrap_or_default().trim().to_owned();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new(Exit::Unreachable, format!("{} holds no token", path.display()))
            .next("the hub writes its administrator's token to <state>/keys/admin.token"));
    }
    Ok(Some((token, format!("{} ({origin})", path.display()))))
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        Failure::new(Exit::Unreachable, format!("cannot read the {what} in {}: {error}", path.display()))
            .next("`starling config view` shows which files the context names")
    })
}

/// Reads `host`, `host:port`, `[v6]:port`, each with or without `https://`.
fn split_server(server: &str) -> Result<(String, u16), Failure> {
    let wrong = || Failure::usage(format!("{server:?} is not HOST:PORT"));
    let address = server.strip_prefix("https://").unwrap_or(server).trim_end_matches('/');
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
        (host, rest.strip_prefix(':'))
    } else {
        match address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (address, None),
        }
    };
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| wrong())?;
    if host.is_empty() || host.contains(['/', ' ', '@']) {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(config: &Path) -> Global {
        Global::of_file(config, Duration::from_secs(1))
    }

    #[test]
    fn servers_are_read() {
        for (text, host, port) in [
            ("hub:8443", "hub", 8443),
            ("hub", "hub", 8443),
            ("https://hub.example:443/", "hub.example", 443),
            ("[::1]:9000", "::1", 9000),
            ("::1", "::1", 8443),
        ] {
            assert_eq!(split_server(text).unwrap(), (host.to_owned(), port), "{text}");
        }
        for text in ["", ":1", "hub:x", "http://hub:1", "[::1"] {
            assert!(split_server(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn arguments_win_over_the_context() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("admin.yaml");
        fs::write(
            &path,
            "current-context: a\ncontexts:\n- {name: a, server: 'one:1', ca-pem: pem, token-file: token}\n",
        )
        .unwrap();
        fs::write(scratch.path().join("token"), "secret\n").unwrap();
        let target = resolve(&global(&path)).await.unwrap();
        assert_eq!((target.host.as_str(), target.port), ("one", 1));
        assert_eq!(target.credentials.bearer().await.unwrap(), "secret");
        assert_eq!(target.ca_pem, b"pem");
        assert!(target.origins.server.starts_with("context \"a\" of "), "{}", target.origins.server);
        let given = Global { server: Some("two:2".into()), ..global(&path) };
        assert_eq!(resolve(&given).await.unwrap().host, "two");
        let unknown = Global { context: Some("b".into()), ..global(&path) };
        assert_eq!(resolve(&unknown).await.err().unwrap().exit(), Exit::NotFound);
    }

    #[tokio::test]
    async fn a_named_cluster_passes_the_current_context_by() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("config.yaml");
        fs::write(&path, "current-context: a\ncontexts:\n- {name: a, server: 'one:1', ca-pem: pem, token-file: t}\n")
            .unwrap();
        let named = Global { kubeconfig: Some(scratch.path().join("none")), ..global(&path) };
        assert!(choose(&named).unwrap().kubernetes);
        assert!(choose(&named).unwrap().context.server.is_empty());
        let both = Global { context: Some("a".into()), ..named };
        assert_eq!(choose(&both).unwrap().context.server, "one:1");
        let account = Global { service_account: Some("ops".into()), ..global(&path) };
        assert!(place(&account, &Context::default()).unwrap_err().to_string().contains("NAMESPACE/NAME"));
    }
}
