//! Facts that an agent reports about its cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestWriter};

/// What an agent observed about its cluster; plans name the digest of the facts they used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The API server's `gitVersion`, such as `v1.35.4`; empty when unknown.
    pub kubernetes_version: String,
    /// The Flux distribution's version where it can be told; empty when unknown.
    pub flux_version: String,
    /// The number of nodes.
    pub nodes: u32,
    /// The cloud or distribution, such as `kind`; empty when unknown.
    pub platform: String,
    /// Further facts by name.
    pub extra: BTreeMap<String, String>,
}

impl Facts {
    /// Returns the digest of all facts.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut writer = DigestWriter::new("facts");
        writer
            .field(self.kubernetes_version.as_bytes())
            .field(self.flux_version.as_bytes())
            .number(u64::from(self.nodes))
            .field(self.platform.as_bytes());
        for (name, value) in &self.extra {
            writer.field(name.as_bytes()).field(value.as_bytes());
        }
        writer.finish()
    }
}
