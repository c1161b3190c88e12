//! What people meant to go, and what the hub made of it: the evidence that every removal must have (invariant I1).
//!
//! Two layers. Whatever the hub commits (tombstones, retirements) must be what somebody meant; whatever an agent removes must
//! be named by a plan that the hub committed for that very cluster.

use std::collections::{BTreeMap, BTreeSet};

use starling_hub_core::fleet::Fleet;
use starling_hub_core::planner;
use starling_hub_core::records::{RevisionRecord, TombstoneRecord, TombstoneScope};
use starling_hub_core::resources::{Kind, Resource};
use starling_model::{Action, ClusterId, Digest, Facts, InstallKey, ObjectKey, Position, Tombstone, Uid};

use crate::cluster::Removal;
use crate::documents::{SLOTS, Wanted};

/// The installs of an addon that may go in a day without approval: three, or a tenth if that is more.
const UNAPPROVED: usize = 3;

/// The evidence of one simulation.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Assignments that somebody deleted.
    deleted: BTreeSet<Uid>,
    /// Clusters that somebody took out of an assignment's selection, by labels or selector.
    deselected: BTreeSet<(Uid, ClusterId)>,
    /// Clusters that somebody detaches with all that they hold.
    emptied: BTreeSet<ClusterId>,
    /// Which clusters the documents that the hub has now select.
    selected: BTreeSet<(Uid, ClusterId)>,
    /// The kinds that an assignment of a name has ever been meant to have.
    kinds: BTreeMap<String, BTreeSet<&'static str>>,
    /// What plans named for each cluster.
    named: BTreeMap<ClusterId, Named>,
    /// Tombstones that were judged, each with whether nobody approved it: the budget alone allows those.
    judged: BTreeMap<Uid, bool>,
    /// The installs of each addon that went without anybody's approval.
    unapproved: BTreeMap<&'static str, BTreeSet<(Uid, ClusterId)>>,
    position: Position,
    violation: Option<String>,
}

/// What plans of one cluster named.
#[derive(Debug, Default)]
struct Named {
    tombstones: BTreeMap<Uid, Tombstone>,
    retired: BTreeSet<(InstallKey, ObjectKey)>,
}

impl Evidence {
    /// Notes that somebody deletes an assignment.
    pub(crate) fn mean_deletion(&mut self, assignment: Uid) {
        self.deleted.insert(assignment);
    }

    /// Notes that somebody no longer wants an assignment on a cluster.
    pub(crate) fn mean_deselection(&mut self, assignment: Uid, cluster: ClusterId) {
        self.deselected.insert((assignment, cluster));
    }

    /// Notes that somebody detaches a cluster with all that it holds.
    pub(crate) fn mean_emptying(&mut self, cluster: ClusterId) {
        self.emptied.insert(cluster);
    }

    /// Notes that somebody wants a cluster, from now on.
    pub(crate) fn mean_staying(&mut self, cluster: ClusterId) {
        self.emptied.remove(&cluster);
    }

    /// Notes what somebody wants an assignment to be.
    pub(crate) fn mean_version(&mut self, name: &str, wanted: Wanted) {
        let slot = SLOTS.iter().find(|slot| slot.name == name).expect("one of the slots");
        self.kinds.entry(name.to_owned()).or_default().extend(slot.kinds(wanted.version));
    }

    /// Takes in a fleet that was committed, or with which a hub begins: everything that its plans name, once it is judged.
    pub(crate) fn see(
        &mut self,
        fleet: &Fleet,
        begins: bool,
        clusters: &[ClusterId],
        was_written: impl Fn(&Digest) -> bool,
    ) {
        let selected = selected(fleet);
        if fleet.position() < self.position {
            // The ledger is what the backup says.
            self.unapproved.clear();
        }
        self.position = fleet.position();
        if !begins {
            self.compare(fleet, &selected, &was_written);
        }
        self.selected = selected;
        if fleet.era().is_none() {
            return;
        }
        for tombstone in fleet.tombstones() {
            let is_new = self.judged.insert(tombstone.id, tombstone.approved_by.is_none()).is_none();
            if is_new && !self.was_meant(tombstone) {
                self.violate(format!("I1: nobody meant what tombstone {tombstone:?} removes"));
            }
        }
        for revision in fleet.revisions() {
            if let Some(key) = self.unmeant_retirement(revision) {
                self.violate(format!(
                    "I1: nobody meant to retire {key}, and revision {} does",
                    revision.digest.short()
                ));
            }
        }
        for cluster in clusters {
            // No addon of the scenario looks at facts.
            let plan = planner::plan(fleet, *cluster, &Facts::default());
            let named = self.named.entry(*cluster).or_default();
            named.tombstones.extend(plan.tombstones.into_iter().map(|tombstone| (tombstone.id, tombstone)));
            for entry in plan.entries {
                if let Action::Render(render) = entry.action {
                    named.retired.extend(render.retires.iter().map(|key| (entry.install.clone(), key.clone())));
                }
            }
        }
    }

    /// Judges a removal that an agent asked for.
    pub(crate) fn judge(&mut self, cluster: ClusterId, removal: &Removal) -> Result<(), String> {
        let named = self.named.entry(cluster).or_default();
        let is_its_own = |tombstone: &&Tombstone| {
            let Tombstone { install, .. } = tombstone;
            install.name == removal.key.name && install.namespace == removal.key.namespace
        };
        let is_named = |tombstone: &&Tombstone| named.tombstones.get(&tombstone.id) == Some(*tombstone);
        let of_its_own = removal.tombstones.iter().filter(is_its_own);
        if let Some(tombstone) = of_its_own.filter(is_named).max_by_key(|tombstone| tombstone.minted) {
            return self.charge(cluster, tombstone);
        }
        let is_retired = |install: &InstallKey| named.retired.contains(&(install.clone(), removal.key.clone()));
        if removal.retiring.iter().any(is_retired) {
            return Ok(());
        }
        Err(format!("I1: {} was removed, and no committed plan of the cluster names it: {removal:?}", removal.key))
    }

    /// Notes an install that went, and judges by the budget if nobody approved it (I2): no scenario lasts a day, and none has an addon
    /// with so many installs that more than the least may go.
    fn charge(&mut self, cluster: ClusterId, tombstone: &Tombstone) -> Result<(), String> {
        let is_unapproved = self.judged.get(&tombstone.id).is_some_and(|unapproved| *unapproved);
        let slot = SLOTS.iter().find(|slot| slot.name == tombstone.install.name);
        let Some(slot) = slot.filter(|_| is_unapproved && !self.emptied.contains(&cluster)) else { return Ok(()) };
        let gone = self.unapproved.entry(slot.addon).or_default();
        gone.insert((tombstone.id, cluster));
        if gone.len() > UNAPPROVED {
            return Err(format!(
                "I2: {} installs of {} went, and nobody approved it: {gone:?}",
                gone.len(),
                slot.addon
            ));
        }
        Ok(())
    }

    /// Returns what was found wrong with what the hub committed.
    pub(crate) fn violation(&self) -> Option<&String> {
        self.violation.as_ref()
    }

    /// Notes what changed documents mean, compared with those that the hub had before.
    fn compare(
        &mut self,
        fleet: &Fleet,
        selected: &BTreeSet<(Uid, ClusterId)>,
        was_written: &impl Fn(&Digest) -> bool,
    ) {
        let mut present = BTreeSet::new();
        for record in fleet.inputs_of(Kind::AddonAssignment) {
            present.insert(record.uid);
            if !was_written(&record.resource.digest()) {
                self.violate(format!("the hub has a document that nobody wrote: {record:?}"));
            }
        }
        // A document that is not there any more means nothing by itself.
        let gone = self.selected.difference(selected).filter(|(assignment, _)| present.contains(assignment));
        self.deselected.extend(gone);
        self.deselected.retain(|pair| !selected.contains(pair));
    }

    fn was_meant(&self, tombstone: &TombstoneRecord) -> bool {
        if self.deleted.contains(&tombstone.assignment) {
            return true;
        }
        match &tombstone.scope {
            TombstoneScope::All => false,
            TombstoneScope::Clusters(clusters) => {
                let is_meant = |cluster: &ClusterId| {
                    self.deselected.contains(&(tombstone.assignment, *cluster)) || self.emptied.contains(cluster)
                };
                clusters.0.iter().all(is_meant)
            }
        }
    }

    fn unmeant_retirement(&self, revision: &RevisionRecord) -> Option<ObjectKey> {
        let kinds = self.kinds.get(&revision.install.name);
        let is_meant = |key: &&ObjectKey| {
            key.name == revision.install.name
                && key.namespace == revision.install.namespace
                && kinds.is_some_and(|kinds| kinds.contains(key.kind.as_str()))
        };
        revision.render.retires.iter().find(|key| !is_meant(key)).cloned()
    }

    fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }
}

/// Returns which assignments the documents that a hub has select for which clusters, found without any code of the hub's:
/// selectors of a scenario are one label at most, and everything is in one workspace.
fn selected(fleet: &Fleet) -> BTreeSet<(Uid, ClusterId)> {
    let mut selected = BTreeSet::new();
    for assignment in fleet.inputs_of(Kind::AddonAssignment) {
        let Resource::AddonAssignment(document) = &assignment.resource else { continue };
        for cluster in fleet.inputs_of(Kind::ManagedCluster) {
            let Resource::ManagedCluster(cluster) = &cluster.resource else { continue };
            let labels = &cluster.metadata.labels;
            if document.spec.cluster_selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value)) {
                selected.insert((assignment.uid, cluster.id(fleet.name())));
            }
        }
    }
    selected
}
