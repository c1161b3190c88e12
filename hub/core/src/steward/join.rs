//! Letting clusters in: by token, by renewal, and by what a session shows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use starling_model::{ClusterId, Digest, ResourceName, Uid};

use super::register::register;
use super::{Answer, AuditEntry, Context, Decision, Refusal};
use crate::change::Change;
use crate::enrolment::{Admission, CredentialRefusal, JoinToken, admit, predates_recovery};
use crate::fleet::Fleet;
use crate::records::{ClusterRecord, ClusterStage, TokenRecord};

/// The first request of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Join {
    // Between processes of the hub alone, which prove themselves to one another.
    #[serde(with = "token_text")]
    /// The token as it was shown.
    pub token: JoinToken,
    /// SHA-256 of the public key of the signing request, whose signature the shell has verified.
    pub key: Digest,
    /// UID of the cluster's kube-system namespace; empty where there is none.
    pub fingerprint: String,
    /// The name that the cluster wants; read only with a workspace's token, and empty where the agent was told none.
    pub cluster_name: String,
}

/// The renewal of a certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Renew {
    /// The cluster that the present certificate names, which is ours, valid or expired.
    pub cluster: ClusterId,
    /// SHA-256 of the present public key, of which the caller proved possession.
    pub proven_key: Digest,
    /// SHA-256 of the public key of the signing request, whose signature the shell has verified.
    pub new_key: Digest,
    /// Whether the present certificate has expired.
    pub expired: bool,
}

/// What a session showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeeCluster {
    /// The cluster that the valid certificate names.
    pub cluster: ClusterId,
    /// SHA-256 of its public key.
    pub key: Digest,
    /// UID of the cluster's kube-system namespace; empty where there is none.
    pub fingerprint: String,
}

/// Lets an agent in by its token; the same key may repeat it, because its answer may have been lost.
pub(super) fn join(fleet: &Fleet, join: &Join, context: &mut Context<'_>) -> Result<Decision, Refusal> {
    if join.token.fleet() == fleet.name()
        && let Some(token) = fleet.join_token(&join.token.hash())
    {
        return register(fleet, join, token, context);
    }
    let token = check_token(fleet, join, context).map_err(Refusal::credential)?;
    let cluster = token.cluster;
    let known = fleet.identity(cluster);
    if known.is_some_and(|record| record.revoked_keys.contains(&join.key)) {
        return Err(Refusal::credential(CredentialRefusal::KeyUnknown));
    }
    if known
        .is_some_and(|record| matches!(record.stage, ClusterStage::Removing { .. } | ClusterStage::Detaching { .. }))
    {
        return Err(Refusal::credential(CredentialRefusal::ClusterDetached));
    }
    check_fingerprint(fleet, cluster, &join.fingerprint)?;
    let name = fleet.cluster(cluster).map(|input| input.name());
    let used = TokenRecord { used_by: Some(join.key), ..token.clone() };
    let mut changes: Vec<Change> = identify(fleet, cluster, name.clone(), join, None, context).into_iter().collect();
    if used != *token {
        changes.push(Change::PutToken(used));
    }
    Ok(admitted(context, "cluster-joined", cluster, name, changes))
}

/// Makes the key of a joining agent the only one of its cluster; `None` if that is recorded already.
pub(super) fn identify(
    fleet: &Fleet,
    id: ClusterId,
    name: Option<ResourceName>,
    join: &Join,
    joined_with: Option<Uid>,
    context: &Context<'_>,
) -> Option<Change> {
    let known = fleet.identity(id);
    let mut revoked_keys = known.map(|record| record.revoked_keys.clone()).unwrap_or_default();
    // Whoever joins anew with another key has lost the one before, or was copied.
    revoked_keys.extend(known.iter().flat_map(|record| &record.keys).filter(|key| **key != join.key));
    let record = ClusterRecord {
        id,
        name,
        keys: vec![join.key],
        revoked_keys,
        fingerprint: join.fingerprint.clone(),
        joined: context.now,
        era: era(fleet),
        joined_with,
        stage: ClusterStage::Attached,
    };
    let is_new = known.is_none_or(|known| ClusterRecord { joined: known.joined, ..record.clone() } != **known);
    is_new.then_some(Change::PutCluster(record))
}

fn check_token<'a>(fleet: &'a Fleet, join: &Join, context: &Context<'_>) -> Result<&'a TokenRecord, CredentialRefusal> {
    if join.token.fleet() != fleet.name() {
        return Err(CredentialRefusal::TokenForeign);
    }
    let token = fleet.token(&join.token.hash()).ok_or(CredentialRefusal::TokenUnknown)?;
    if token.used_by.is_some_and(|key| key != join.key) {
        return Err(CredentialRefusal::TokenUsed);
    }
    if context.now >= token.expires {
        return Err(CredentialRefusal::TokenExpired);
    }
    let cluster = fleet.cluster(token.cluster).ok_or(CredentialRefusal::TokenForeign)?;
    if cluster.document().metadata.namespace != token.workspace {
        return Err(CredentialRefusal::TokenForeign);
    }
    if cluster.document().spec.revoked {
        return Err(CredentialRefusal::ClusterRevoked);
    }
    Ok(token)
}

/// Accepts a new key from whoever proved the recorded one; the recorded one stays until the new one was seen.
pub(super) fn renew(fleet: &Fleet, renew: &Renew, context: &Context<'_>) -> Result<Decision, Refusal> {
    let name = fleet.cluster(renew.cluster).map(|input| input.name());
    let refuse = |reason| Err(Refusal::credential(reason));
    if fleet.cluster(renew.cluster).is_some_and(|input| input.document().spec.revoked) {
        return refuse(CredentialRefusal::ClusterRevoked);
    }
    let keys =
        if renew.proven_key == renew.new_key { vec![renew.new_key] } else { vec![renew.proven_key, renew.new_key] };
    let record = match fleet.identity(renew.cluster) {
        // The store was lost: a certificate that is still valid proves its key, an expired one would need the record.
        None if renew.expired => return refuse(CredentialRefusal::KeyUnknown),
        None => new_record(fleet, renew.cluster, name.clone(), keys, String::new(), context),
        Some(known) => {
            if matches!(known.stage, ClusterStage::Detached { .. }) {
                return refuse(CredentialRefusal::ClusterDetached);
            }
            // A store from before a renewal, and a certificate that is still valid.
            let knows_better = predates_recovery(fleet, known) && !renew.expired;
            let is_known = known.keys.contains(&renew.proven_key) || knows_better;
            let is_revoked = [renew.proven_key, renew.new_key].iter().any(|key| known.revoked_keys.contains(key));
            if !is_known || is_revoked {
                return refuse(CredentialRefusal::KeyUnknown);
            }
            ClusterRecord { keys, era: era(fleet), ..(**known).clone() }
        }
    };
    let is_same = fleet.identity(renew.cluster).is_some_and(|known| **known == record);
    let changes = if is_same { Vec::new() } else { vec![Change::PutCluster(record)] };
    Ok(admitted(context, "certificate-renewed", renew.cluster, name, changes))
}

/// Records what [`admit`] found worth recording.
pub(super) fn see(fleet: &Fleet, see: &SeeCluster, context: &Context<'_>) -> Result<Decision, Refusal> {
    let changes = match admit(fleet, see.cluster, &see.key, &see.fingerprint) {
        Admission::Refused(reason) => return Err(Refusal::credential(reason)),
        Admission::Known => Vec::new(),
        Admission::ToRecord => {
            check_fingerprint(fleet, see.cluster, &see.fingerprint)?;
            let name = fleet.cluster(see.cluster).map(|input| input.name());
            let fingerprint = see.fingerprint.clone();
            let record = match fleet.identity(see.cluster) {
                None => new_record(fleet, see.cluster, name, vec![see.key], fingerprint, context),
                Some(known) => {
                    // A key ends the use of those before it, and not of one that was issued since.
                    let place = known.keys.iter().position(|key| *key == see.key);
                    let keys = place.map_or_else(|| vec![see.key], |place| known.keys[place..].to_vec());
                    ClusterRecord { keys, fingerprint, era: era(fleet), ..(**known).clone() }
                }
            };
            vec![Change::PutCluster(record)]
        }
    };
    let audit = audit(context, "cluster-recorded", see.cluster, &changes);
    Ok(Decision { changes, position: context.position, answer: Answer::Seen, audit })
}

/// Refuses a cluster that another identity stands for already: both would be planned for the same objects.
pub(super) fn check_fingerprint(fleet: &Fleet, cluster: ClusterId, fingerprint: &str) -> Result<(), Refusal> {
    let is_other =
        |record: &ClusterRecord| record.id != cluster && !matches!(record.stage, ClusterStage::Detached { .. });
    let mut others = fleet.identities_with(fingerprint).filter(|record| is_other(record));
    let Some(other) = others.next() else {
        return Ok(());
    };
    let message = match fleet.cluster(other.id).map(|input| input.name()) {
        Some(name) => format!(
            "the cluster is in the fleet already as {name}: run `starling detach cluster {} --workspace {}` first",
            name.name, name.namespace
        ),
        None => format!(
            "the cluster is in the fleet already without a name: write a ManagedCluster document with `id: {}` to name it",
            other.id
        ),
    };
    Err(Refusal { message, ..Refusal::credential(CredentialRefusal::ClusterKnown) })
}

/// Returns the number of the present era.
fn era(fleet: &Fleet) -> u64 {
    fleet.era().map_or(0, |record| record.era.number)
}

fn new_record(
    fleet: &Fleet,
    id: ClusterId,
    name: Option<ResourceName>,
    keys: Vec<Digest>,
    fingerprint: String,
    context: &Context<'_>,
) -> ClusterRecord {
    let (revoked_keys, joined, stage) = (BTreeSet::new(), context.now, ClusterStage::Attached);
    ClusterRecord { id, name, keys, revoked_keys, fingerprint, joined, era: era(fleet), joined_with: None, stage }
}

fn admitted(
    context: &Context<'_>,
    action: &'static str,
    cluster: ClusterId,
    name: Option<ResourceName>,
    changes: Vec<Change>,
) -> Decision {
    let audit = audit(context, action, cluster, &changes);
    Decision { changes, position: context.position, answer: Answer::Admitted { cluster, name, put: None }, audit }
}

fn audit(context: &Context<'_>, action: &'static str, cluster: ClusterId, changes: &[Change]) -> Vec<AuditEntry> {
    if changes.is_empty() {
        return Vec::new();
    }
    let (actor, subject, detail) = (context.actor.clone(), cluster.to_string(), String::new());
    vec![AuditEntry { actor, action, subject, detail }]
}

mod token_text {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::enrolment::JoinToken;

    pub(super) fn serialize<S: Serializer>(token: &JoinToken, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&token.reveal())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JoinToken, D::Error> {
        JoinToken::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
