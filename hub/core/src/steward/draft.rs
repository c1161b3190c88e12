//! A decision being made: the fleet before, the fleet as it would be, and the changes between them.

use std::collections::{BTreeMap, BTreeSet};

use starling_model::{ResourceName, Uid};

use super::{Answer, AuditEntry, Context, Decision};
use crate::change::Change;
use crate::deletion::{Cause, Verdict, installs_of, judge, judge_all};
use crate::fleet::Fleet;
use crate::resources::InputKey;

/// Changes of one decision, and what the fleet is after them.
pub(super) struct Draft<'a> {
    /// The fleet before the decision.
    pub(super) before: &'a Fleet,
    /// The fleet after the changes so far.
    pub(super) after: Fleet,
    /// The resources that changed, came or went.
    pub(super) touched: BTreeSet<InputKey>,
    /// The installs of each addon before the decision, counted once.
    installs: BTreeMap<ResourceName, u64>,
    actor: String,
    changes: Vec<Change>,
    audit: Vec<AuditEntry>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(before: &'a Fleet, context: &Context<'_>) -> Self {
        Self {
            before,
            after: before.clone(),
            touched: BTreeSet::new(),
            installs: BTreeMap::new(),
            actor: context.actor.clone(),
            changes: Vec::new(),
            audit: Vec::new(),
        }
    }

    pub(super) fn change(&mut self, change: Change) {
        match &change {
            Change::PutInput(record) => {
                self.touched.insert(record.resource.key());
            }
            Change::DeleteInput(key) => {
                self.touched.insert(key.clone());
            }
            Change::PutDeleted(_)
            | Change::DeleteDeleted(_)
            | Change::PutAssignment(_)
            | Change::DeleteAssignment(_)
            | Change::PutRevision(_)
            | Change::DeleteRevision(_)
            | Change::PutTombstone(_)
            | Change::DeleteTombstone(_)
            | Change::PutProposal(_)
            | Change::DeleteProposal(_)
            | Change::PutSpent(_)
            | Change::DeleteSpent(_)
            | Change::PutCluster(_)
            | Change::DeleteCluster(_)
            | Change::PutToken(_)
            | Change::DeleteToken(_)
            | Change::PutJoinToken(_)
            | Change::DeleteJoinToken(_)
            | Change::PutEra(_)
            | Change::PutRing(_) => {}
        }
        self.after.apply(&change);
        self.changes.push(change);
    }

    /// Judges a removal by the budget: what the addon had before, and what has gone until now.
    pub(super) fn judge(&mut self, context: &Context<'_>, addon: &ResourceName, cause: Cause, asked: u64) -> Verdict {
        if asked == 0 {
            return Verdict::Go;
        }
        let before = self.before;
        let installs = *self.installs.entry(addon.clone()).or_insert_with(|| installs_of(before, addon));
        judge(&self.after, context.now, addon, installs, cause, asked)
    }

    /// Judges a removal of installs of several addons by the budget of the whole fleet.
    pub(super) fn judge_all(&self, context: &Context<'_>, cause: Cause, asked: u64) -> Verdict {
        judge_all(&self.after, context.now, cause, asked)
    }

    pub(super) fn audit(&mut self, action: &'static str, subject: &dyn ToString, detail: impl Into<String>) {
        let (actor, subject) = (self.actor.clone(), subject.to_string());
        self.audit.push(AuditEntry { actor, action, subject, detail: detail.into() });
    }

    pub(super) fn decision(self, answer: Answer, context: &Context<'_>) -> Decision {
        Decision { changes: self.changes, position: context.position, answer, audit: self.audit }
    }
}

impl Context<'_> {
    pub(super) fn new_uid(&mut self) -> Uid {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        Uid::from_entropy(bytes)
    }
}
