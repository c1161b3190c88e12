//! `starling adopt cluster`.

use std::collections::BTreeMap;

use serde::Serialize;
use starling_proto::v1;

use crate::arguments::change::{AdoptArguments, AdoptFormat};
use crate::failure::{Exit, Failure};
use crate::hub::Hub;
use crate::manifest::{self, Parameters};
use crate::reference::Reference;
use crate::render::age::{Moment, human, now};
use crate::render::document::{self, Notation};
use crate::terminal::{Output, note};

/// What an adoption gives, for scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AdoptionView {
    workspace: String,
    name: String,
    cluster_id: String,
    /// False when the cluster was there already.
    created: bool,
    token: String,
    token_expires: Option<Moment>,
    trust_pem: String,
    agent_address: String,
    fleet: String,
    /// The document to commit where the hub cannot write its directory; else empty.
    edit_to_make: String,
    /// The manifest to apply in the cluster.
    manifest: String,
}

/// Makes the cluster and its token, and prints the manifest.
pub(super) async fn run(hub: &Hub, arguments: AdoptArguments, output: &mut Output) -> Result<(), Failure> {
    let reference = Reference::parse(&arguments.name, Some(&arguments.workspace))?;
    let request = v1::AdoptRequest {
        workspace: arguments.workspace.clone(),
        name: reference.name.clone(),
        labels: arguments.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
        // A part of a second counts as a whole one: zero would be the default.
        token_seconds: arguments
            .token_ttl
            .map_or(0, |ttl| ttl.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)),
    };
    let answer = hub.call(request, |mut client, request| async move { client.adopt(request).await }).await?;
    let trust_pem = String::from_utf8(answer.trust_pem)
        .map_err(|_| Failure::new(Exit::Failed, "the hub's authorities are not PEM"))?;
    let manifest = manifest::render(&Parameters {
        token: answer.token.clone(),
        trust_pem: trust_pem.clone(),
        hub: answer.agent_address.clone(),
        fleet: answer.fleet.clone(),
        image: arguments.image.unwrap_or_else(|| manifest::DEFAULT_IMAGE.to_owned()),
        cluster_name: String::new(),
    })?;
    let adoption = AdoptionView {
        workspace: arguments.workspace,
        name: reference.name,
        cluster_id: answer.cluster_id,
        created: answer.created,
        token: answer.token,
        token_expires: Moment::from_wire(answer.token_expires_millis),
        trust_pem,
        agent_address: answer.agent_address,
        fleet: answer.fleet,
        edit_to_make: answer.edit_to_make,
        manifest,
    };
    hint(&adoption, arguments.output);
    match arguments.output {
        AdoptFormat::Yaml => output.raw(&adoption.manifest),
        AdoptFormat::Json => document::print(output, Notation::Json, "Adoption", &adoption),
    }
}

fn hint(adoption: &AdoptionView, format: AdoptFormat) {
    let cluster = format!("{}/{}", adoption.workspace, adoption.name);
    let outcome = if adoption.created { "is adopted" } else { "was adopted before; this is a new token for it" };
    note(&format!("cluster {cluster} {outcome} (id {})", adoption.cluster_id));
    if !adoption.edit_to_make.is_empty() {
        note("the hub cannot write its directory; commit this document there:");
        note(adoption.edit_to_make.trim_end());
    }
    let good_for = adoption.token_expires.map(|end| human(end.0.since(now())));
    let good_for = good_for.map_or_else(String::new, |time| format!(" within {time}"));
    if format == AdoptFormat::Yaml {
        note(&format!(
            "apply the manifest in that cluster{good_for}: ... | kubectl --context {} apply -f -",
            adoption.name
        ));
    }
    note(&format!("then watch it come: starling get clusters {} -w {} --watch", adoption.name, adoption.workspace));
}
