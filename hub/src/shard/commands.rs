//! Commands to agents, and their results.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use starling_model::ClusterId;
use starling_model::session::{Command, CommandResult};

use super::Shard;

/// Why a command has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum CommandError {
    /// The cluster has no open session.
    #[error("the cluster's agent is not connected")]
    NotConnected,
    /// Too many commands of the cluster wait for their result.
    #[error("too many commands of this cluster wait for their result")]
    TooMany,
    /// The session ended before the result came; the command may have been carried out.
    #[error("the agent's session ended before it answered; the command may have been carried out")]
    Lost,
    /// The result did not come in time; the command may have been carried out.
    #[error("the agent did not answer in time; the command may have been carried out")]
    TimedOut,
}

impl Shard {
    /// Sends a command to a cluster's agent and waits for the result, `within` at most.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn send_command(
        &self,
        id: &ClusterId,
        command: Command,
        within: Duration,
    ) -> Result<CommandResult, CommandError> {
        let session = self.cluster(id).and_then(|cluster| cluster.state().session.clone());
        let session = session.ok_or(CommandError::NotConnected)?;
        let result = session.command(command).ok_or(CommandError::TooMany)?;
        match tokio::time::timeout(within, result).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(CommandError::Lost),
            Err(_) => Err(CommandError::TimedOut),
        }
    }
}
