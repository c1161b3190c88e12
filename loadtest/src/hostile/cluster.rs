//! A cluster of which nothing exists but its identity, which the hub gave in good faith.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use rcgen::{CertificateParams, KeyPair};
use starling_cli::client::Client;
use starling_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use starling_proto::v1::{AdoptRequest, JoinRequest};

use super::peer::{Credential, Target};
use super::words::fingerprint;
use crate::link::{Link, LinkOptions};

/// A cluster with a certificate of the fleet and nobody behind it who could be trusted.
pub(super) struct WildCluster {
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) credential: Credential,
}

impl WildCluster {
    /// Adopts a cluster and joins with its token, as an agent does.
    pub(super) async fn adopt(hub: &Client, workspace: &str, name: &str) -> Result<Self> {
        let request = AdoptRequest {
            workspace: workspace.to_owned(),
            name: name.to_owned(),
            labels: BTreeMap::new(),
            token_seconds: 0,
        };
        let adopted = hub.call(request, |mut hub, request| async move { hub.adopt(request).await }).await;
        let adopted = adopted.map_err(|failure| anyhow!("{failure}")).with_context(|| format!("adopt {name}"))?;
        let trust_pem = String::from_utf8(adopted.trust_pem).context("read the hub's authority")?;
        let target = Target { address: adopted.agent_address, trust_pem: trust_pem.into() };
        let key = KeyPair::generate().context("make a key")?;
        let csr_der = CertificateParams::default().serialize_request(&key).context("make a request")?.der().to_vec();
        let request =
            JoinRequest { token: adopted.token, csr_der, fingerprint: fingerprint(name), cluster_name: String::new() };
        let link = Link::new(LinkOptions::default(), Arc::default());
        let channel = target.channel(None, &link).await?;
        let joined =
            EnrolmentServiceClient::new(channel).join(request).await.with_context(|| format!("join {name}"))?;
        let certificate = String::from_utf8(joined.into_inner().certificate_pem).context("read a certificate")?;
        let credential = Credential { certificate, key: key.serialize_pem() };
        Ok(Self { name: name.to_owned(), target, credential })
    }
}
