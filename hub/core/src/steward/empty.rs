//! Emptying a cluster before it is detached: a tombstone, for this cluster alone, of each install that it holds.
//!
//! The tombstones are minted in one decision, so that the agent sees all of them at once and takes the reverse order of what
//! depends on what. An install that shows only later has none: it stays until somebody who was shown the new count approves it.

use std::collections::{BTreeMap, BTreeSet};

use starling_model::{ClusterId, InstallKey, ResourceName, Uid};

use super::detach::{DetachStage, void_tokens, withdraw_proposals};
use super::draft::Draft;
use super::mint::{Authority, Removal, mint, propose};
use super::{Context, Heard};
use crate::change::Change;
use crate::deletion::{Cause, Verdict};
use crate::fleet::{ClusterInput, Fleet};
use crate::records::{ClusterRecord, ClusterSet, ClusterStage, ProposalKind, TombstoneScope};

/// Installs, each with its assignment.
type Held = BTreeSet<(InstallKey, Uid)>;

/// Returns what a cluster holds: what it said, or what it is meant to hold where it was not heard in this era.
pub(super) fn held_by(fleet: &Fleet, context: &Context<'_>, cluster: &ClusterInput) -> Held {
    crate::deletion::held_by(fleet, context.heard, cluster)
}

/// Counts what is left of a cluster that is being emptied.
pub(super) fn left(fleet: &Fleet, heard: &dyn Heard, id: ClusterId) -> u64 {
    let cluster = fleet.cluster(id);
    cluster.map_or(0, |cluster| crate::deletion::held_by(fleet, heard, &cluster).len() as u64)
}

/// Judges a removal that nobody was shown the count of, by the budget of each addon and of the fleet, whole.
pub(super) fn by_evidence(draft: &mut Draft<'_>, context: &mut Context<'_>, cluster: &ClusterInput) -> DetachStage {
    let held = crate::deletion::held_by(&draft.after, context.heard, cluster);
    let installs = held.len() as u64;
    match judge(draft, context, cluster, &held) {
        Verdict::Go => {
            remove_all(draft, context, cluster, &held, &Cause::Detached.to_string(), Authority::Budget);
            DetachStage::Removing { installs }
        }
        Verdict::Wait(reason) => {
            let name = cluster.name();
            let removal = Removal {
                assignment: cluster.record.uid,
                install: InstallKey::new(name.namespace.clone(), name.name.clone()),
                addon: name.clone(),
                name,
                installs,
                reason,
            };
            propose(draft, context, &removal, &ProposalKind::Detach, &BTreeSet::from([cluster.id]));
            DetachStage::Asked { installs }
        }
    }
}

fn judge(draft: &mut Draft<'_>, context: &Context<'_>, cluster: &ClusterInput, held: &Held) -> Verdict {
    let mut asked: BTreeMap<ResourceName, u64> = BTreeMap::new();
    for (install, assignment) in held {
        *asked.entry(removal(&draft.after, cluster, install, *assignment, "").addon).or_default() += 1;
    }
    for (addon, count) in &asked {
        if let wait @ Verdict::Wait(_) = draft.judge(context, addon, Cause::Detached, *count) {
            return wait;
        }
    }
    draft.judge_all(context, Cause::Detached, held.len() as u64)
}

/// Mints the tombstones, and lets the cluster be emptied.
pub(super) fn remove_all(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    cluster: &ClusterInput,
    held: &Held,
    reason: &str,
    authority: Authority,
) {
    let Some(record) = draft.after.identity(cluster.id).cloned() else { return };
    for (install, assignment) in held {
        let removal = removal(&draft.after, cluster, install, *assignment, reason);
        let scope = TombstoneScope::Clusters(ClusterSet::from_iter([cluster.id]));
        mint(draft, context, &removal, scope, authority);
    }
    withdraw_proposals(draft, cluster.id);
    void_tokens(draft, cluster.id);
    draft.audit("removal-begun", &cluster.name(), format!("{} installs of cluster {}", held.len(), cluster.id));
    if !matches!(record.stage, ClusterStage::Removing { .. }) {
        let stage = ClusterStage::Removing { since: context.now };
        draft.change(Change::PutCluster(ClusterRecord { stage, ..(*record).clone() }));
    }
}

/// Describes the removal of one install; of an assignment that is not known any more there is only the install's own name.
fn removal(fleet: &Fleet, cluster: &ClusterInput, install: &InstallKey, assignment: Uid, reason: &str) -> Removal {
    let known = fleet.assignment(assignment);
    let unknown = || ResourceName::new(cluster.name().namespace, install.name.clone());
    Removal {
        assignment,
        name: known.map_or_else(unknown, |record| record.name.clone()),
        addon: known.map_or_else(unknown, |record| record.addon.clone()),
        install: install.clone(),
        installs: 1,
        reason: reason.to_owned(),
    }
}
