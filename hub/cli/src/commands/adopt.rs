//! `starling adopt cluster`.

use std::collections::BTreeMap;

use serde::Serialize;
use starling_proto::v1;

use super::status;
use super::token::whole_seconds;
use crate::arguments::change::{AdoptArguments, AdoptFormat};
use crate::failure::{Exit, Failure};
use crate::helm;
use crate::hub::Hub;
use crate::kind::ResourceKind;
use crate::kubernetes::Kubernetes;
use crate::kubernetes::objects::{ApplyMode, ObjectName};
use crate::manifest::{self, Parameters};
use crate::reference::Reference;
use crate::render::age::{Moment, human, now};
use crate::render::document::{self, Notation};
use crate::source::Source;
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
    /// The command that installs the agent with Helm, in the place of the manifest.
    helm: String,
}

/// Makes the cluster and its token, and prints the manifest.
pub(super) async fn run(
    hub: &Hub,
    source: &Source,
    arguments: AdoptArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let reference = Reference::parse(&arguments.name, Some(&arguments.workspace))?;
    let labels: BTreeMap<String, String> = arguments.labels.iter().cloned().collect();
    let made = match source {
        Source::Directory => false,
        Source::Kubernetes(kubernetes) => {
            refuse_while_the_fleet_holds(hub).await?;
            make(kubernetes, &arguments.workspace, &reference.name, &labels).await?
        }
    };
    let request = v1::AdoptRequest {
        workspace: arguments.workspace.clone(),
        name: reference.name.clone(),
        labels,
        token_seconds: arguments.token_ttl.map_or(0, whole_seconds),
    };
    let answer = hub.call(request, |mut client, request| async move { client.adopt(request).await }).await?;
    let trust_pem = String::from_utf8(answer.trust_pem)
        .map_err(|_| Failure::new(Exit::Failed, "the hub's authorities are not PEM"))?;
    let parameters = Parameters {
        token: answer.token.clone(),
        trust_pem: trust_pem.clone(),
        hub: answer.agent_address.clone(),
        fleet: answer.fleet.clone(),
        image: arguments.image.unwrap_or_else(|| manifest::DEFAULT_IMAGE.to_owned()),
        // The token is of this cluster alone.
        cluster_name: String::new(),
    };
    let adoption = AdoptionView {
        workspace: arguments.workspace,
        name: reference.name,
        cluster_id: answer.cluster_id,
        created: answer.created || made,
        token: answer.token,
        token_expires: Moment::from_wire(answer.token_expires_millis),
        trust_pem,
        agent_address: answer.agent_address,
        fleet: answer.fleet,
        edit_to_make: answer.edit_to_make,
        manifest: manifest::render(&parameters)?,
        helm: helm::command(&parameters, arguments.chart.as_deref()),
    };
    hint(&adoption, arguments.output);
    match arguments.output {
        AdoptFormat::Yaml => output.raw(&adoption.manifest),
        AdoptFormat::Helm => output.raw(&adoption.helm),
        AdoptFormat::Json => document::print(output, Notation::Json, "Adoption", &adoption),
    }
}

/// Leaves no object behind that the hub would not take.
async fn refuse_while_the_fleet_holds(hub: &Hub) -> Result<(), Failure> {
    let status = status::get(hub).await?;
    if status.hold_reason.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::FleetHolds, format!("the fleet holds: {}", status.hold_reason))
        .next(format!("starling store recover --fleet {}", status.fleet)))
}

/// Makes the ManagedCluster as the person who asks; tells whether it was not there.
///
/// # Errors
/// When it is there with other labels, or may not be made.
async fn make(
    kubernetes: &Kubernetes,
    workspace: &str,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> Result<bool, Failure> {
    let object =
        ObjectName { kind: ResourceKind::ManagedCluster, namespace: workspace.to_owned(), name: name.to_owned() };
    if let Some(live) = kubernetes.get(&object).await? {
        if labels.is_empty() || live.metadata.labels.unwrap_or_default() == *labels {
            return Ok(false);
        }
        return Err(Failure::new(Exit::Failed, format!("{} exists with other labels", object.text()))
            .next("change them where it is defined, and adopt it without --label"));
    }
    let document = serde_json::json!({
        "apiVersion": document::API_VERSION,
        "kind": object.kind.as_str(),
        "metadata": { "name": name, "namespace": workspace, "labels": labels },
        "spec": {},
    });
    kubernetes.apply(&object, &document, ApplyMode::default()).await?;
    Ok(true)
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
    match format {
        AdoptFormat::Yaml => note(&format!(
            "apply the manifest in that cluster{good_for}: ... | kubectl --context {} apply -f -",
            adoption.name
        )),
        AdoptFormat::Helm => note(&format!("run the command against that cluster{good_for}")),
        AdoptFormat::Json => {}
    }
    note(&format!("then watch it come: starling get clusters {} -w {} --watch", adoption.name, adoption.workspace));
}
