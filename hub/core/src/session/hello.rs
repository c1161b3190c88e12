//! The first message of a session: which protocol is spoken, and whether the message keeps to the limits.

use starling_model::limits::PROTOCOL_VERSIONS;
use starling_model::session::{Hello, KindDigest};
use starling_model::{ClusterId, Digest, Facts, Limits};

use crate::index::StatusIndex;

/// The most kinds of objects that an agent watches.
const KINDS: usize = 256;

/// Why a Hello is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// No protocol is spoken by both sides.
    #[error(
        "the agent speaks session protocols {0} to {1} and this hub {first} to {last}: upgrade the older of the two",
        first = PROTOCOL_VERSIONS.0,
        last = PROTOCOL_VERSIONS.1
    )]
    NoCommonProtocol(u32, u32),
    /// A part of it is larger than the limit allows.
    #[error("{what} exceed the limit of {limit}")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u32,
    },
}

/// Chooses the newest protocol that both sides speak.
///
/// # Errors
/// There is none.
pub fn choose_protocol(agent: (u32, u32)) -> Result<u32, HelloError> {
    let chosen = agent.1.min(PROTOCOL_VERSIONS.1);
    if chosen < agent.0.max(PROTOCOL_VERSIONS.0) {
        return Err(HelloError::NoCommonProtocol(agent.0, agent.1));
    }
    Ok(chosen)
}

/// Checks that a Hello keeps to the limits.
///
/// # Errors
/// What there is too much of.
pub fn check_limits(hello: &Hello, limits: &Limits) -> Result<(), HelloError> {
    let at_most = |what, count: usize, limit: u32| {
        if count > limit as usize { Err(HelloError::TooMuch { what, limit }) } else { Ok(()) }
    };
    at_most("bytes of the fingerprint", hello.fingerprint.len(), limits.text_bytes)?;
    at_most("bytes of the agent's version", hello.agent_version.len(), limits.text_bytes)?;
    at_most("held installs", hello.held.len(), limits.objects)?;
    at_most("kinds", hello.kinds.len(), KINDS as u32)?;
    check_facts(&hello.facts, limits)
}

/// Checks that facts keep to the limits. They are refused whole rather than cut: plans name the digest of all of them.
///
/// # Errors
/// What there is too much of.
pub fn check_facts(facts: &Facts, limits: &Limits) -> Result<(), HelloError> {
    if facts.extra.len() > limits.labels as usize {
        return Err(HelloError::TooMuch { what: "further facts", limit: limits.labels });
    }
    let texts = [&facts.kubernetes_version, &facts.flux_version, &facts.platform];
    let longest =
        texts.into_iter().chain(facts.extra.iter().flat_map(|(name, value)| [name, value])).map(String::len).max();
    if longest.is_some_and(|longest| longest > limits.text_bytes as usize) {
        return Err(HelloError::TooMuch { what: "bytes of a fact", limit: limits.text_bytes });
    }
    Ok(())
}

/// Tells whether the index shows exactly what the agent's digests stand for, so that no snapshot is wanted.
#[must_use]
pub fn is_status_known(index: &StatusIndex, cluster: ClusterId, kinds: &[KindDigest], installs: &Digest) -> bool {
    // Digests of the index cost a hash an object: compare what is free first.
    let shown = index.kind_count(&cluster);
    shown == kinds.len() && index.installs_digest(&cluster) == *installs && index.kind_digests(&cluster) == kinds
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_newest_common_protocol_is_chosen() {
        assert_eq!(choose_protocol((1, 1)), Ok(1));
        assert_eq!(choose_protocol((1, 9)), Ok(1));
        assert_eq!(choose_protocol((2, 9)), Err(HelloError::NoCommonProtocol(2, 9)));
        assert_eq!(choose_protocol((0, 0)), Err(HelloError::NoCommonProtocol(0, 0)));
        assert_eq!(choose_protocol((9, 1)), Err(HelloError::NoCommonProtocol(9, 1)));
    }

    #[test]
    fn too_many_facts_are_refused_whole() {
        let extra: BTreeMap<_, _> = (0..65).map(|number| (format!("fact-{number}"), String::new())).collect();
        let facts = Facts { extra, ..Facts::default() };
        let refused = HelloError::TooMuch { what: "further facts", limit: 64 };
        assert_eq!(check_facts(&facts, &Limits::DEFAULT), Err(refused));
        assert_eq!(check_facts(&Facts::default(), &Limits::DEFAULT), Ok(()));
    }
}
