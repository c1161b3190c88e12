//! From a kubeconfig, or a Pod's own ServiceAccount, to how its API server is asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use starling_dial::{Address, Proxies};

use super::{Origin, Place};
use crate::failure::{Exit, Failure, one_line};

/// Set in every container of a cluster.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

/// Where a proxy is named, in the order in which they count.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Tells whether there is anything that leads to a cluster without being named.
pub(crate) fn any_kubeconfig() -> bool {
    default_files().iter().any(|file| file.is_file()) || std::env::var_os(IN_CLUSTER).is_some()
}

/// Reads a place's configuration.
pub(super) async fn load(place: &Place, deadline: Duration) -> Result<(Config, Origin), Failure> {
    let (mut config, origin) = match &place.kubeconfig {
        Some(file) => {
            let kubeconfig =
                Kubeconfig::read_from(file).map_err(|error| unusable(&file.display().to_string(), &error))?;
            of_kubeconfig(kubeconfig, place, file.display().to_string()).await?
        }
        None if default_files().iter().any(|file| file.is_file()) => {
            let files: Vec<String> = default_files().iter().map(|file| file.display().to_string()).collect();
            let files = files.join(":");
            let kubeconfig = Kubeconfig::read().map_err(|error| unusable(&files, &error))?;
            of_kubeconfig(kubeconfig, place, files).await?
        }
        None => in_cluster(place)?,
    };
    config.connect_timeout = Some(deadline);
    config.read_timeout = Some(deadline);
    // Every call has one deadline of its own; a person reads the first failure rather than wait for the third.
    config.default_retry = false;
    Ok((config, origin))
}

async fn of_kubeconfig(kubeconfig: Kubeconfig, place: &Place, file: String) -> Result<(Config, Origin), Failure> {
    let context = place.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    if context.is_empty() {
        return Err(Failure::usage(format!("{file} has no current context"))
            .next("choose one with `kubectl config use-context NAME`, or name it with --kube-context"));
    }
    let named = kubeconfig.contexts.iter().find(|named| named.name == context);
    let Some(named) = named else {
        let names: Vec<&str> = kubeconfig.contexts.iter().map(|named| named.name.as_str()).collect();
        return Err(Failure::new(Exit::NotFound, format!("{file} has no context {context:?}"))
            .next(format!("there are: {}", names.join(", "))));
    };
    let user = named.context.as_ref().and_then(|context| context.user.clone()).unwrap_or_default();
    let cluster = named.context.as_ref().map(|context| context.cluster.as_str());
    let cluster = kubeconfig.clusters.iter().find(|named| Some(named.name.as_str()) == cluster);
    let own_proxy = cluster.and_then(|named| named.cluster.as_ref()).and_then(|cluster| cluster.proxy_url.clone());
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(&file, &error))?;
    config.proxy_url = proxy(own_proxy.filter(|url| !url.is_empty()), &config.cluster_url)?;
    let server = config.cluster_url.to_string();
    Ok((config, Origin { file, context, user, server }))
}

fn in_cluster(place: &Place) -> Result<(Config, Origin), Failure> {
    if let Some(context) = &place.context {
        return Err(Failure::usage(format!("there is no kubeconfig with a context {context:?}"))
            .next("name one with --kubeconfig or KUBECONFIG"));
    }
    if std::env::var_os(IN_CLUSTER).is_none() {
        return Err(Failure::usage("there is no kubeconfig").next("name one with --kubeconfig or KUBECONFIG"));
    }
    let config = Config::incluster().map_err(|error| unusable("the Pod's own ServiceAccount", &error))?;
    let server = config.cluster_url.to_string();
    let words = ("the Pod's ServiceAccount", "in-cluster", "its own ServiceAccount");
    Ok((config, Origin { file: words.0.into(), context: words.1.into(), user: words.2.into(), server }))
}

/// Returns the proxy that leads to an API server: the kubeconfig's own, else as the environment asks, its exceptions included.
fn proxy(own: Option<String>, server: &Uri) -> Result<Option<Uri>, Failure> {
    let url = match own {
        Some(url) => url,
        None => {
            let port = server.port_u16().unwrap_or(443);
            let address = Address::new(server.host().unwrap_or_default().trim_matches(['[', ']']), port);
            let proxies = Proxies::from_env().map_err(|error| Failure::usage(error.to_string()))?;
            if proxies.leading_to(&address).is_none() {
                return Ok(None);
            }
            let given = PROXY_VARIABLES.iter().filter_map(|name| std::env::var(name).ok()).find(|url| !url.is_empty());
            given.unwrap_or_default()
        }
    };
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    url.parse().map(Some).map_err(|_| Failure::usage("the proxy of the API server is no URL"))
}

/// Returns where kubectl looks for kubeconfigs.
fn default_files() -> Vec<PathBuf> {
    match std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        Some(files) => std::env::split_paths(&files).filter(|file| !file.as_os_str().is_empty()).collect(),
        None => std::env::home_dir().map(|home| home.join(Path::new(".kube/config"))).into_iter().collect(),
    }
}

fn unusable(file: &str, error: &dyn std::error::Error) -> Failure {
    Failure::usage(format!("{file} cannot be used: {}", one_line(&super::failure::chain(error))))
        .next("`kubectl config view` reads the same file")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "\
current-context: dev
contexts:
- {name: dev, context: {cluster: c, user: jane}}
clusters:
- {name: c, cluster: {server: 'http://127.0.0.1:1'}}
users:
- {name: jane, user: {token: secret}}
";

    fn place(file: &Path, context: Option<&str>) -> Place {
        Place {
            kubeconfig: Some(file.to_owned()),
            context: context.map(str::to_owned),
            namespace: "starling-system".into(),
            service_account: None,
        }
    }

    #[test]
    fn a_kubeconfigs_own_proxy_counts() {
        let server = "https://10.0.0.1:6443".parse().unwrap();
        let own = proxy(Some("proxy.example:3128".into()), &server).unwrap().unwrap();
        assert_eq!(own, "http://proxy.example:3128");
        assert!(proxy(Some("http://a b".into()), &server).is_err());
    }

    #[tokio::test]
    async fn a_kubeconfig_says_who_asks_whom() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("kubeconfig");
        std::fs::write(&file, KUBECONFIG).unwrap();
        let (_, origin) = load(&place(&file, None), Duration::from_secs(1)).await.unwrap();
        assert_eq!((origin.context.as_str(), origin.user.as_str()), ("dev", "jane"));
        let unknown = load(&place(&file, Some("prod")), Duration::from_secs(1)).await.unwrap_err();
        assert_eq!((unknown.exit(), unknown.to_string().contains("no context \"prod\"")), (Exit::NotFound, true));
        std::fs::write(&file, "contexts: 7").unwrap();
        let broken = load(&place(&file, None), Duration::from_secs(1)).await.unwrap_err();
        assert!(broken.to_string().contains("cannot be used"), "{broken}");
    }
}
