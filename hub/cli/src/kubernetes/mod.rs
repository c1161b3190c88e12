//! The hub's own cluster, as the person at the terminal reaches it: with a kubeconfig.
//!
//! Owns which kubeconfig and context, the token for the hub, where the hub publishes how to reach it, and edits of
//! resources under the person's own identity. Does not own what an edit means: that is the hub's, which reads them there.

mod config;
pub(crate) mod credentials;
mod denial;
mod failure;
mod flux;
pub(crate) mod objects;
pub(crate) mod publication;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kube::Client;

use self::credentials::Credentials;
use crate::failure::Failure;

pub(crate) use self::config::any_kubeconfig;

/// Where the chart installs a hub.
pub(crate) const DEFAULT_NAMESPACE: &str = "starling-system";

/// Which cluster to ask, and in whose name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The kubeconfig, instead of kubectl's.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Its context, instead of the current one.
    pub(crate) context: Option<String>,
    /// The hub's namespace.
    pub(crate) namespace: String,
    /// The ServiceAccount in whose name the hub is called.
    pub(crate) service_account: Option<ServiceAccount>,
}

/// The name of a ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceAccount {
    namespace: String,
    name: String,
}

/// A cluster that a kubeconfig leads to; nothing was asked of it yet.
#[derive(Clone)]
pub(crate) struct Kubernetes {
    client: Client,
    deadline: Duration,
    place: Place,
    /// The kubeconfig's context, user and server, for messages.
    origin: Origin,
    credentials: Credentials,
}

/// What a kubeconfig says of a cluster and of who asks, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The kubeconfig's path, or what stands in its place.
    pub(crate) file: String,
    /// Its context.
    pub(crate) context: String,
    /// The user of the context.
    pub(crate) user: String,
    /// The API server.
    pub(crate) server: String,
}

impl Kubernetes {
    /// Reads the kubeconfig and prepares the credentials; runs their plugin where there is one.
    ///
    /// # Errors
    /// What is wrong with the kubeconfig.
    pub(crate) async fn open(place: &Place, deadline: Duration) -> Result<Self, Failure> {
        let (config, origin) = config::load(place, deadline).await?;
        let (client, credentials) = credentials::prepare(config, place, &origin, deadline).await?;
        Ok(Self { client, deadline, place: place.clone(), origin, credentials })
    }

    /// Returns what the hub is to be shown.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Returns the hub's namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.place.namespace
    }

    /// Returns what the kubeconfig says.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl ServiceAccount {
    /// Reads `namespace/name`.
    ///
    /// # Errors
    /// Of usage, when it has another form.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(Failure::usage(format!("{text:?} is not a ServiceAccount as NAMESPACE/NAME"))),
        }
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "context {:?} of {}", self.context, self.file)
    }
}
