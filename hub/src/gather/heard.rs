//! What clusters hold, for decisions that want to know: of this process at once, of others once it was asked for.
//!
//! A decision is pure and does not wait. So it is made first with what is known; where it asked about clusters of other
//! processes, these are asked, and it is made again with what they said.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use starling_hub_core::steward::Heard;
use starling_model::{ClusterId, InstallKey, Uid};

use super::{Gather, Gathered, HeldInstalls};

/// How often a decision may ask for further clusters; those beyond count as not heard, which removes nothing.
const ROUNDS: usize = 4;

/// What is known so far, and what was asked for beyond.
struct Known<'a> {
    gather: &'a Gather,
    /// What other processes said.
    told: &'a BTreeMap<ClusterId, HeldInstalls>,
    missing: RefCell<BTreeSet<ClusterId>>,
}

impl Heard for Known<'_> {
    fn installs(&self, cluster: &ClusterId) -> Option<BTreeSet<(InstallKey, Uid)>> {
        if let Some(told) = self.told.get(cluster) {
            return told.clone();
        }
        if self.gather.others.is_some() && !self.gather.shard.is_at_home(cluster) {
            self.missing.borrow_mut().insert(*cluster);
            return None;
        }
        self.gather.shard.heard(cluster)
    }
}

/// Runs what wants to know what clusters hold, until it knows all that it asked for. Names the processes that did not answer:
/// what their clusters hold counts as not heard.
pub async fn ask<T>(gather: &Gather, mut run: impl FnMut(&dyn Heard) -> T) -> Gathered<T> {
    let (mut told, mut unanswered) = (BTreeMap::new(), BTreeSet::new());
    for _ in 1..ROUNDS {
        let missing = {
            let known = Known { gather, told: &told, missing: RefCell::default() };
            let outcome = run(&known);
            let missing = known.missing.into_inner();
            if missing.is_empty() {
                return Gathered { value: outcome, unanswered };
            }
            // Dropped: it was made without what is asked for now.
            drop(outcome);
            missing
        };
        let Gathered { value: mut answers, unanswered: silent } = gather.held(missing.clone()).await;
        unanswered.extend(silent);
        told.extend(missing.into_iter().map(|id| (id, answers.remove(&id).flatten())));
    }
    let known = Known { gather, told: &told, missing: RefCell::default() };
    Gathered { value: run(&known), unanswered }
}
