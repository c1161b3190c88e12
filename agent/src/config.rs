//! What an agent is told when it starts.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::identity::IdentityPlace;

/// The configuration of one agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Where to dial, `host:port`.
    pub hub: String,
    /// The fleet's name.
    pub fleet: String,
    /// The pinned certificate authorities, PEM.
    pub trust_pem: Vec<u8>,
    /// Where the one-time token comes from.
    pub token: TokenSource,
    /// The name under which to join with a workspace's token; empty where the token names the cluster.
    pub cluster_name: String,
    /// Where the identity is kept.
    pub identity: IdentityPlace,
    /// The agent's version, for people.
    pub version: String,
}

/// Where the one-time join token comes from.
#[derive(Clone)]
pub enum TokenSource {
    /// Nowhere: there is an identity already.
    None,
    /// It was given.
    Text(String),
    /// A file, read again for each attempt, so that a replaced Secret is noticed.
    File(PathBuf),
}

impl TokenSource {
    /// Reads the token; `None` when there is none (yet).
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub(crate) fn read(&self) -> io::Result<Option<String>> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Text(text) => text.clone(),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(_) => f.write_str("Text(redacted)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}
