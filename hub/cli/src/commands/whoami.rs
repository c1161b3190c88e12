//! `starling whoami`.

use serde::Serialize;
use starling_proto::v1;

use crate::arguments::look::{OneFormat, WhoAmIArguments};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::document::{self, Notation};
use crate::terminal::Output;

/// Who the caller is to the hub, as documents show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WhoAmIView {
    name: String,
    groups: Vec<String>,
    /// How the hub knows: token-file or kubernetes.
    authenticator: String,
}

/// Shows who the caller is.
pub(super) async fn run(hub: &Hub, arguments: &WhoAmIArguments, output: &mut Output) -> Result<(), Failure> {
    let request = v1::WhoAmIRequest {};
    let answer = hub.call(request, |mut client, request| async move { client.who_am_i(request).await }).await?;
    let who = WhoAmIView { name: answer.name, groups: answer.groups, authenticator: answer.authenticator };
    match arguments.output {
        OneFormat::Text => {
            output.line(format!("Name:     {}", who.name))?;
            let groups = if who.groups.is_empty() { "-".to_owned() } else { who.groups.join(", ") };
            output.line(format!("Groups:   {groups}"))?;
            output.line(format!("Known by: {}", known_by(&who.authenticator)))
        }
        OneFormat::Json => document::print(output, Notation::Json, "WhoAmI", &who),
        OneFormat::Yaml => document::print(output, Notation::Yaml, "WhoAmI", &who),
    }
}

fn known_by(authenticator: &str) -> &str {
    match authenticator {
        "token-file" => "the hub's own administrator token, which may do everything",
        "kubernetes" => "the hub's API server, whose RBAC says what is allowed",
        other => other,
    }
}
