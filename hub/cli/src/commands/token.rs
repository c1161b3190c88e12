//! `starling create token` and `starling delete token`.

use std::time::Duration;

use serde::Serialize;
use starling_model::Uid;
use starling_proto::v1;

use crate::arguments::token::{CreateArguments, TokenFormat};
use crate::failure::{Exit, Failure};
use crate::helm;
use crate::hub::Hub;
use crate::manifest::{self, CLUSTER_NAME_VARIABLE, Parameters};
use crate::render::age::{human, now};
use crate::render::document::{self, Notation};
use crate::terminal::{Output, note};
use crate::views::cluster::labels_text;
use crate::views::token::TokenView;
use crate::views::{Query, list_all};

/// A new token with everything that is done with it, for scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CreatedView {
    #[serde(flatten)]
    join_token: TokenView,
    token: String,
    trust_pem: String,
    agent_address: String,
    fleet: String,
    /// The manifest to apply in each cluster.
    manifest: String,
    /// The command that installs an agent with Helm.
    helm: String,
}

/// Makes a token and prints it, once.
pub(super) async fn create(hub: &Hub, arguments: CreateArguments, output: &mut Output) -> Result<(), Failure> {
    let request = v1::CreateJoinTokenRequest {
        workspace: arguments.workspace,
        labels: arguments.labels.into_iter().collect(),
        uses: arguments.uses.unwrap_or(0),
        token_seconds: arguments.ttl.map_or(0, whole_seconds),
        description: arguments.description,
    };
    let answer =
        hub.call(request, |mut client, request| async move { client.create_join_token(request).await }).await?;
    let trust_pem = String::from_utf8(answer.trust_pem)
        .map_err(|_| Failure::new(Exit::Failed, "the hub's authorities are not PEM"))?;
    let parameters = Parameters {
        token: answer.token.clone(),
        trust_pem: trust_pem.clone(),
        hub: answer.agent_address.clone(),
        fleet: answer.fleet.clone(),
        image: arguments.image.unwrap_or_else(|| manifest::DEFAULT_IMAGE.to_owned()),
        cluster_name: arguments.cluster_name.unwrap_or_else(|| CLUSTER_NAME_VARIABLE.to_owned()),
    };
    let created = CreatedView {
        join_token: TokenView::from_wire(answer.join_token.unwrap_or_default())?,
        token: answer.token,
        trust_pem,
        agent_address: answer.agent_address,
        fleet: answer.fleet,
        manifest: manifest::render(&parameters)?,
        helm: helm::command(&parameters, arguments.chart.as_deref()),
    };
    match arguments.output {
        TokenFormat::Text => print_text(&created, output),
        TokenFormat::Yaml => {
            note(&summary(&created));
            output.raw(&created.manifest)
        }
        TokenFormat::Helm => {
            note(&summary(&created));
            output.raw(&created.helm)
        }
        TokenFormat::Json => document::print(output, Notation::Json, "CreatedJoinToken", &created),
    }
}

/// Voids a token.
///
/// # Errors
/// [`Exit::NotFound`] when there is none of that id.
pub(super) async fn delete(hub: &Hub, text: &str, output: &mut Output) -> Result<(), Failure> {
    let tokens: Vec<TokenView> = list_all(hub, &Query::default()).await?;
    let start = text.to_lowercase();
    let matching: Vec<&TokenView> = tokens.iter().filter(|token| token.id.starts_with(&start)).collect();
    let token = match matching.as_slice() {
        [token] => token,
        [] => {
            return Err(Failure::new(Exit::NotFound, format!("there is no token {text:?}"))
                .next("`starling get tokens` lists them"));
        }
        several => {
            return Err(Failure::usage(format!("{text:?} is the beginning of {} tokens' ids", several.len()))
                .next("give more of the id"));
        }
    };
    let id: Uid = token
        .id
        .parse()
        .map_err(|_| Failure::new(Exit::Failed, format!("the hub gave {:?} as a token's id", token.id)))?;
    let request = v1::RevokeJoinTokenRequest { id: id.0.to_vec() };
    hub.call(request, |mut client, request| async move { client.revoke_join_token(request).await }).await?;
    output.line(format!("token {} is void; {} joined with it and stay", token.id, joined(token.used)))
}

/// Returns seconds; a part of one counts as a whole one, because zero would be the default.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

fn joined(used: u32) -> String {
    if used == 1 { "1 cluster".to_owned() } else { format!("{used} clusters") }
}

fn summary(created: &CreatedView) -> String {
    let token = &created.join_token;
    let labels = match token.labels.is_empty() {
        true => String::new(),
        false => format!(" with labels {}", labels_text(&token.labels)),
    };
    let good_for = token.expires.map(|end| format!(" within {}", human(end.0.since(now())))).unwrap_or_default();
    format!("token {}: {} may join {}{labels}{good_for}", token.id, joined(token.uses), token.workspace)
}

fn print_text(created: &CreatedView, output: &mut Output) -> Result<(), Failure> {
    output.line(format!("{}. It is shown once:", summary(created)))?;
    output.line(format!("\n  {}\n", created.token))?;
    output.line("In each cluster, with Helm:\n")?;
    output.raw(&created.helm)?;
    output.line("\nOr apply the manifest there that `-o yaml` makes with a new token.")?;
    if created.helm.contains(CLUSTER_NAME_VARIABLE) {
        output.line(format!("Put each cluster's own name in the place of {CLUSTER_NAME_VARIABLE}."))?;
    }
    Ok(())
}
