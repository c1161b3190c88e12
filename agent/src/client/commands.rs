//! Commands: reconcile, suspend and resume, once, under a field manager of their own.

use std::sync::Arc;

use starling_agent_core::reconcile::command_patch;
use starling_model::labels;
use starling_model::session::{Command, CommandResult};

use crate::cluster::{ClusterApi, ResourceRef};

/// Runs a command on each of its objects, as long as there is a lease; one that fails does not stop the others.
pub(super) async fn run(
    cluster: Arc<dyn ClusterApi>,
    command: Command,
    lease_is_live: impl Fn() -> bool,
) -> CommandResult {
    let mut outcomes = Vec::with_capacity(command.objects.len());
    for key in command.objects {
        let outcome = match command_patch(command.verb, &key, &command.token) {
            Err(reason) => Some(reason),
            Ok(_) if !lease_is_live() => Some("the command lease ended before this object's turn".to_owned()),
            Ok(patch) => {
                let resource = ResourceRef::any_version(key.clone());
                let answer = cluster.merge_patch(&resource, &patch, labels::COMMAND_MANAGER).await;
                answer.err().map(|error| error.to_string())
            }
        };
        tracing::info!(
            verb = command.verb.as_str(),
            object = %key,
            error = outcome.as_deref().unwrap_or_default(),
            "command carried out"
        );
        outcomes.push((key, outcome));
    }
    CommandResult { id: command.id, outcomes }
}
