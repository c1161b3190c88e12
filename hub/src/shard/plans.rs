//! Plans in memory, each once: most clusters of a fleet have one of a few plans.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use starling_model::{Digest, Plan};

/// The plans in use, by digest.
#[derive(Debug, Default)]
pub(crate) struct Plans(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    plans: BTreeMap<Digest, Weak<Plan>>,
    /// How many were in use when those out of use were last forgotten.
    in_use: usize,
}

impl Plans {
    /// Returns a plan that says the same, with its digest; it may be of another position.
    pub(crate) fn share(&self, plan: Plan) -> (Arc<Plan>, Digest) {
        let digest = plan.digest();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Equal digests can still differ in reasons for people.
        let same = kept.plans.get(&digest).and_then(Weak::upgrade).filter(|same| is_same(same, &plan));
        if let Some(same) = same {
            return (same, digest);
        }
        if kept.plans.len() > 2 * kept.in_use + 64 {
            kept.plans.retain(|_, plan| plan.strong_count() > 0);
            kept.in_use = kept.plans.len();
        }
        let plan = Arc::new(plan);
        kept.plans.insert(digest, Arc::downgrade(&plan));
        (plan, digest)
    }
}

/// Tells whether two plans say the same; their positions may differ.
pub(crate) fn is_same(one: &Plan, other: &Plan) -> bool {
    one.facts == other.facts
        && one.entries == other.entries
        && one.tombstones == other.tombstones
        && one.detach == other.detach
}

#[cfg(test)]
mod tests {
    use starling_model::Position;

    use super::*;

    fn plan(position: u64, facts: u64) -> Plan {
        let mut digest = Digest::default();
        digest.0[..8].copy_from_slice(&facts.to_le_bytes());
        Plan { position: Position(position), facts: digest, entries: Vec::new(), tombstones: Vec::new(), detach: None }
    }

    #[test]
    fn the_same_plan_is_kept_once_and_as_long_as_it_is_used() {
        let plans = Plans::default();
        let (first, digest) = plans.share(plan(1, 1));
        let (second, _) = plans.share(plan(2, 1));
        assert!(Arc::ptr_eq(&first, &second) && first.digest() == digest);
        for facts in 0..10_000 {
            plans.share(plan(1, facts));
        }
        assert!(plans.0.lock().unwrap().plans.len() < 100);
    }
}
