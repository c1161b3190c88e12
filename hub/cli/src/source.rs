//! Where a hub's resources are edited: in its own directory, by the hub, or in its API server, by the person.

use crate::contexts::target::Target;
use crate::failure::{Exit, Failure};
use crate::hub::Hub;
use crate::kubernetes::Kubernetes;
use starling_proto::v1;

/// The word of a hub that reads custom resources.
const KUBERNETES: &str = "kubernetes";

/// Where edits go.
pub(crate) enum Source {
    /// To the hub, which writes its directory.
    Directory,
    /// To the API server, under the person's own identity.
    Kubernetes(Box<Kubernetes>),
}

impl Source {
    /// Asks the hub where its resources are, and makes sure that the kubeconfig leads to the same hub.
    ///
    /// # Errors
    /// When the hub reads Kubernetes and no kubeconfig leads there.
    pub(crate) async fn find(hub: &Hub, target: &Target) -> Result<Self, Failure> {
        let request = v1::GetStatusRequest {};
        let status = hub.call(request, |mut client, request| async move { client.get_status(request).await }).await?;
        if status.source != KUBERNETES {
            return Ok(Self::Directory);
        }
        if let Some(kubernetes) = &target.kubernetes {
            return Ok(Self::Kubernetes(Box::new(kubernetes.clone())));
        }
        let next = "name its kubeconfig with --kubeconfig and --kube-context, or in the context of `starling config`";
        let about = "this hub's resources are edited in its own cluster";
        let kubernetes =
            Kubernetes::open(&target.place, hub.deadline()).await.map_err(|failure| failure.about(about))?;
        let published = kubernetes.publication().await.map_err(|failure| failure.about(about))?;
        // The hub was named without a cluster: an edit in any other cluster would be none of this hub.
        if published.fleet != status.fleet || published.trust_pem.trim().as_bytes() != target.ca_pem.trim_ascii() {
            return Err(Failure::new(
                Exit::Usage,
                format!("{about}, and {} leads to another hub (fleet {:?})", kubernetes.origin(), published.fleet),
            )
            .next(next));
        }
        Ok(Self::Kubernetes(Box::new(kubernetes)))
    }
}
