//! Join tokens, and who may open a session.
//!
//! Owns the form of a token, the reasons for which a credential is refused, and judging a certificate's owner against
//! the fleet. Does not own certificates or signatures: the shell verifies these first.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use starling_model::{ClusterId, Digest, DigestWriter};

use crate::fleet::Fleet;
use crate::records::{ClusterRecord, ClusterStage};

/// A one-time join token, printed `st1.<fleet>.<43 characters of base64url>`; never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    fleet: String,
    secret: [u8; 32],
}

/// Text that is not a join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a join token of this version")]
pub struct NotAToken;

/// Why a credential is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialRefusal {
    /// No such token was made, or it is void.
    TokenUnknown,
    /// Another key has used the token.
    TokenUsed,
    /// The token's time is over.
    TokenExpired,
    /// The token is of another fleet, or its cluster is no longer in the workspace it was made for.
    TokenForeign,
    /// As many clusters have joined with the workspace's token as it was made for.
    TokenExhausted,
    /// Somebody voided the workspace's token.
    TokenRevoked,
    /// A workspace's token came without a name that a cluster can have.
    NameInvalid,
    /// Another cluster has joined under the name.
    NameTaken,
    /// The ManagedCluster says that the cluster is revoked.
    ClusterRevoked,
    /// The cluster was detached.
    ClusterDetached,
    /// The key is not the cluster's recorded one.
    KeyUnknown,
    /// The identity belongs to a cluster with another kube-system.
    FingerprintChanged,
    /// The cluster is in the fleet already, with another identity.
    ClusterKnown,
}

/// What to do about a session's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The store knows all of it.
    Known,
    /// Let in, and record it with [`crate::steward::Request::SeeCluster`]: the key was renewed, or the store was lost.
    ToRecord,
    /// Refused.
    Refused(CredentialRefusal),
}

/// Judges the identity that a session shows: a valid certificate of ours for `cluster` with this key, and the cluster's fingerprint.
///
/// A cluster without a ManagedCluster is let in, and its plan is empty: it is shown as unassigned.
#[must_use]
pub fn admit(fleet: &Fleet, cluster: ClusterId, key: &Digest, fingerprint: &str) -> Admission {
    if fleet.cluster(cluster).is_some_and(|input| input.document().spec.revoked) {
        return Admission::Refused(CredentialRefusal::ClusterRevoked);
    }
    let Some(record) = fleet.identity(cluster) else { return Admission::ToRecord };
    match record.stage {
        ClusterStage::Attached | ClusterStage::Removing { .. } | ClusterStage::Detaching { .. } => {}
        ClusterStage::Detached { .. } => return Admission::Refused(CredentialRefusal::ClusterDetached),
    }
    let predates_recovery = predates_recovery(fleet, record);
    if record.revoked_keys.contains(key) || !(record.keys.contains(key) || predates_recovery) {
        return Admission::Refused(CredentialRefusal::KeyUnknown);
    }
    // A renewal in a store that was lost records a key without having seen the cluster.
    if record.fingerprint.is_empty() && !fingerprint.is_empty() {
        return Admission::ToRecord;
    }
    // A renewal that came before any session, after the store was lost, left it open.
    let is_fingerprint_open = record.fingerprint.is_empty() && !fingerprint.is_empty();
    if record.fingerprint != fingerprint && !is_fingerprint_open {
        return Admission::Refused(CredentialRefusal::FingerprintChanged);
    }
    if predates_recovery || is_fingerprint_open {
        return Admission::ToRecord;
    }
    // The present key being seen ends the use of the one before.
    let is_present = record.keys.last() == Some(key);
    if is_present && record.keys.len() > 1 { Admission::ToRecord } else { Admission::Known }
}

/// Tells whether a record is of a store that was recovered since: that may have been restored from before a renewal, so that
/// a certificate of ours, which is still valid, knows better.
pub(crate) fn predates_recovery(fleet: &Fleet, record: &ClusterRecord) -> bool {
    fleet.era().is_some_and(|present| record.era < present.era.number)
}

impl JoinToken {
    /// Makes a token of random bytes that the caller drew.
    #[must_use]
    pub fn new(fleet: &str, entropy: [u8; 32]) -> Self {
        Self { fleet: fleet.to_owned(), secret: entropy }
    }

    /// Reads a token.
    ///
    /// # Errors
    /// Text of another form.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let rest = text.trim().strip_prefix("st1.").ok_or(NotAToken)?;
        let (fleet, secret) = rest.rsplit_once('.').ok_or(NotAToken)?;
        let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| NotAToken)?.try_into().map_err(|_| NotAToken)?;
        Ok(Self { fleet: fleet.to_owned(), secret })
    }

    /// Returns the fleet that the token says it is of.
    #[must_use]
    pub fn fleet(&self) -> &str {
        &self.fleet
    }

    /// Returns the hash under which the token is stored.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let mut writer = DigestWriter::new("join-token");
        writer.field(self.fleet.as_bytes()).field(&self.secret);
        writer.finish()
    }

    /// Returns the text to give to the agent, which is the secret itself.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("st1.{}.{}", self.fleet, URL_SAFE_NO_PAD.encode(self.secret))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}, redacted)", self.fleet)
    }
}

impl CredentialRefusal {
    /// Every reason, in the order of definition.
    pub const ALL: [Self; 13] = [
        Self::TokenUnknown,
        Self::TokenUsed,
        Self::TokenExpired,
        Self::TokenForeign,
        Self::TokenExhausted,
        Self::TokenRevoked,
        Self::NameInvalid,
        Self::NameTaken,
        Self::ClusterRevoked,
        Self::ClusterDetached,
        Self::KeyUnknown,
        Self::FingerprintChanged,
        Self::ClusterKnown,
    ];

    /// Returns the reason's name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenUnknown => "token-unknown",
            Self::TokenUsed => "token-used",
            Self::TokenExpired => "token-expired",
            Self::TokenForeign => "token-foreign",
            Self::TokenExhausted => "token-exhausted",
            Self::TokenRevoked => "token-revoked",
            Self::NameInvalid => "name-invalid",
            Self::NameTaken => "name-taken",
            Self::ClusterRevoked => "cluster-revoked",
            Self::ClusterDetached => "cluster-detached",
            Self::KeyUnknown => "key-unknown",
            Self::FingerprintChanged => "fingerprint-changed",
            Self::ClusterKnown => "cluster-known",
        }
    }
}

impl fmt::Display for CredentialRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenUnknown => "the token is not known here: print a new one with `starling adopt cluster`",
            Self::TokenUsed => "the token was used already: print a new one with `starling adopt cluster`",
            Self::TokenExpired => "the token has expired: print a new one with `starling adopt cluster`",
            Self::TokenForeign => {
                "the token is of another fleet or workspace: print one for this cluster with `starling adopt cluster`"
            }
            Self::TokenExhausted => {
                "as many clusters have joined with the token as it was made for: make another with `starling create token`"
            }
            Self::TokenRevoked => "the token was revoked: make another with `starling create token`",
            Self::NameInvalid => {
                "the token is a workspace's, and no name came with it that a cluster can have: give the agent one, a DNS label"
            }
            Self::NameTaken => "another cluster has joined under this name: give the agent another, or detach that one first",
            Self::ClusterRevoked => "the cluster is revoked: its ManagedCluster says `revoked: true`",
            Self::ClusterDetached => "the cluster was detached: adopt it again with `starling adopt cluster`",
            Self::KeyUnknown => "the key is not the cluster's: adopt the cluster again with `starling adopt cluster`",
            Self::FingerprintChanged => {
                "the identity belongs to another cluster: adopt this one under its own name with `starling adopt cluster`"
            }
            Self::ClusterKnown => "the cluster is in the fleet already under another name: detach it there first",
        })
    }
}

#[cfg(test)]
mod tests;
