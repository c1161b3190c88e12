//! Writing what was judged: tombstones and their place in the ledger, proposals.

use std::collections::BTreeSet;

use starling_model::{ClusterId, InstallKey, ResourceName, Uid};

use super::Context;
use super::draft::Draft;
use crate::change::Change;
use crate::deletion::budget;
use crate::records::{
    CLUSTERS_PER_RECORD, ClusterSet, ProposalKind, ProposalRecord, SpentRecord, TombstoneRecord, TombstoneScope,
};

/// Installs of one assignment that are to go.
#[derive(Clone)]
pub(super) struct Removal {
    pub(super) assignment: Uid,
    pub(super) name: ResourceName,
    pub(super) addon: ResourceName,
    pub(super) install: InstallKey,
    /// How many clusters hold it.
    pub(super) installs: u64,
    /// For people.
    pub(super) reason: String,
}

/// On whose authority installs go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Authority {
    /// The budget's, which is charged.
    Budget,
    /// The actor's, who was shown the count.
    Approval,
}

/// Mints the tombstone of a removal and charges the budget where nobody approved it.
pub(super) fn mint(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    removal: &Removal,
    scope: TombstoneScope,
    authority: Authority,
) {
    cover(draft, removal, &scope);
    let era = draft.after.era().map_or(0, |record| record.era.number);
    for scope in split(scope) {
        let record = TombstoneRecord {
            id: context.new_uid(),
            assignment: removal.assignment,
            name: removal.name.clone(),
            install: removal.install.clone(),
            scope,
            minted: (era, context.position),
            reason: removal.reason.clone(),
            approved_by: (authority == Authority::Approval).then(|| context.actor.clone()),
        };
        draft.change(Change::PutTombstone(record));
    }
    draft.audit("tombstone-minted", &removal.name, format!("{} installs: {}", removal.installs, removal.reason));
    charge_for(draft, context, removal, authority);
}

/// Forgets what the new tombstone covers, so that one record stays for a deleted assignment.
fn cover(draft: &mut Draft<'_>, removal: &Removal, scope: &TombstoneScope) {
    let same = |record: &TombstoneRecord| record.assignment == removal.assignment && record.install == removal.install;
    let older: Vec<TombstoneRecord> =
        draft.after.tombstones().filter(|record| same(record)).map(|record| (**record).clone()).collect();
    for record in older {
        let (id, listed) = match (&record.scope, scope) {
            // A cluster of another workspace is not reached by the new one.
            (TombstoneScope::Clusters(old), TombstoneScope::All) => {
                let reached = |cluster: &&ClusterId| {
                    let input = draft.after.cluster(**cluster);
                    input.is_some_and(|input| {
                        input.document().metadata.namespace == record.name.namespace
                            || record.name.namespace == crate::resources::PLATFORM_NAMESPACE
                    })
                };
                (record.id, Some(old.0.iter().filter(|cluster| !reached(cluster)).copied().collect::<BTreeSet<_>>()))
            }
            (TombstoneScope::Clusters(old), TombstoneScope::Clusters(new)) => {
                (record.id, Some(old.0.difference(&new.0).copied().collect()))
            }
            (TombstoneScope::All, TombstoneScope::All) => (record.id, Some(BTreeSet::new())),
            (TombstoneScope::All, TombstoneScope::Clusters(_)) => (record.id, None),
        };
        match listed {
            None => {}
            Some(rest) if rest.is_empty() => {
                draft.change(Change::DeleteTombstone(id));
                withdraw_renewal(draft, id);
            }
            Some(rest) => {
                let scope = TombstoneScope::Clusters(ClusterSet(rest));
                draft.change(Change::PutTombstone(TombstoneRecord { scope, ..record }));
            }
        }
    }
}

/// Forgets the proposal to mint a tombstone again that is there no more.
fn withdraw_renewal(draft: &mut Draft<'_>, tombstone: Uid) {
    let kind = ProposalKind::Renew(tombstone);
    let waiting: Vec<Uid> =
        draft.after.proposals().filter(|proposal| proposal.kind == kind).map(|proposal| proposal.id).collect();
    for id in waiting {
        draft.change(Change::DeleteProposal(id));
    }
}

fn split(scope: TombstoneScope) -> Vec<TombstoneScope> {
    match scope {
        TombstoneScope::All => vec![TombstoneScope::All],
        TombstoneScope::Clusters(clusters) => chunks(&clusters.0).map(TombstoneScope::Clusters).collect(),
    }
}

fn chunks(clusters: &BTreeSet<ClusterId>) -> impl Iterator<Item = ClusterSet> {
    let all: Vec<ClusterId> = clusters.iter().copied().collect();
    let chunks: Vec<ClusterSet> =
        all.chunks(CLUSTERS_PER_RECORD).map(|chunk| chunk.iter().copied().collect()).collect();
    chunks.into_iter()
}

/// Charges the budget for a removal that nobody approved, and forgets entries that no longer count.
pub(super) fn charge_for(draft: &mut Draft<'_>, context: &mut Context<'_>, removal: &Removal, authority: Authority) {
    if authority == Authority::Approval || removal.installs == 0 {
        return;
    }
    let old: Vec<Uid> =
        draft.after.spent().filter(|entry| !budget::counts(entry, context.now)).map(|entry| entry.id).collect();
    for id in old {
        draft.change(Change::DeleteSpent(id));
    }
    let (addon, installs) = (removal.addon.clone(), removal.installs);
    draft.change(Change::PutSpent(SpentRecord { id: context.new_uid(), addon, installs, at: context.now }));
}

/// Writes the proposal of a removal that waits; one that waits already for the same thing takes the clusters up.
pub(super) fn propose(
    draft: &mut Draft<'_>,
    context: &mut Context<'_>,
    removal: &Removal,
    kind: &ProposalKind,
    clusters: &BTreeSet<ClusterId>,
) {
    let same = |record: &ProposalRecord| {
        record.assignment == removal.assignment && record.install == removal.install && record.kind == *kind
    };
    let waiting = draft.after.proposals().find(|record| same(record)).map(|record| (**record).clone());
    let (mut all, since, first_id) = match waiting {
        Some(record) => (record.clusters.0, record.since, Some(record.id)),
        None => (BTreeSet::new(), context.now, None),
    };
    all.extend(clusters);
    let mut id = first_id;
    // An empty set still is a proposal: who holds it is counted again when it is approved.
    let sets = if all.is_empty() { vec![ClusterSet::default()] } else { chunks(&all).collect() };
    for set in sets {
        let record = ProposalRecord {
            id: id.take().unwrap_or_else(|| context.new_uid()),
            assignment: removal.assignment,
            name: removal.name.clone(),
            addon: removal.addon.clone(),
            install: removal.install.clone(),
            kind: kind.clone(),
            clusters: set,
            since,
            reason: removal.reason.clone(),
        };
        draft.change(Change::PutProposal(record));
    }
    draft.audit("removal-proposed", &removal.name, format!("{} installs: {}", removal.installs, removal.reason));
}
