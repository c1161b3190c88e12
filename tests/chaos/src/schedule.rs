//! The order of faults that a seed brings: each kind once before any comes again.

use crate::fault::{Fault, LEASE_SECONDS};
use crate::random::Random;

/// Members of etcd.
pub(crate) const MEMBERS: usize = 3;

/// An hour, by which clocks are wrong.
const SKEW: i64 = 3600;

/// An endless row of faults.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    random: Random,
    hubs: usize,
    network: bool,
    clocks: bool,
    bag: Vec<Fault>,
}

impl Schedule {
    /// How many faults of a round there are at most.
    pub(crate) const ROUND: usize = 14;

    /// Begins the row of a seed; faults that need a network or clocks that the hubs do not have are left out.
    pub(crate) fn new(seed: u64, hubs: usize, network: bool, clocks: bool) -> Self {
        Self { random: Random::new(seed, 1), hubs, network, clocks, bag: Vec::new() }
    }

    /// One fault of each kind, and of those that meet a lease one that is shorter and one that is longer.
    fn fill(&mut self) -> Vec<Fault> {
        let hubs = self.hubs;
        let random = &mut self.random;
        let shorter = |random: &mut Random| random.within(3..LEASE_SECONDS - 5);
        let longer = |random: &mut Random| random.within(LEASE_SECONDS + 5..LEASE_SECONDS + 20);
        let mut bag = vec![
            Fault::HubKilled { hub: random.index(hubs), seconds: random.within(0..3) },
            Fault::HubKilled { hub: random.index(hubs), seconds: longer(random) },
            Fault::HubPaused { hub: random.index(hubs), seconds: shorter(random) },
            Fault::HubPaused { hub: random.index(hubs), seconds: longer(random) },
            Fault::HubCutFromEtcd { hub: random.index(hubs), seconds: shorter(random) },
            Fault::HubCutFromEtcd { hub: random.index(hubs), seconds: longer(random) },
            Fault::HubCutFromAgents { hub: random.index(hubs), seconds: longer(random) },
            Fault::HubCutFromHubs { hub: random.index(hubs), seconds: longer(random) },
            Fault::EtcdMemberKilled { member: random.index(MEMBERS), seconds: longer(random) },
            Fault::EtcdMajorityLost { survivor: random.index(MEMBERS), seconds: 30 },
            Fault::ClockSkewed { hub: random.index(hubs), by: SKEW, seconds: longer(random) },
            Fault::ClockSkewed { hub: random.index(hubs), by: -SKEW, seconds: longer(random) },
            Fault::RollingRestart,
            Fault::ScaledOutAndBack { seconds: longer(random) },
        ];
        random.shuffle(&mut bag);
        bag.retain(|fault| (self.network || !fault.needs_network()) && (self.clocks || !fault.needs_clocks()));
        bag
    }
}

impl Iterator for Schedule {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.bag.is_empty() {
            self.bag = self.fill();
        }
        self.bag.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_brings_the_same_faults_and_each_kind_once_a_round() {
        let round = |seed| Schedule::new(seed, 4, true, true).take(14).collect::<Vec<_>>();
        assert_eq!(round(7), round(7));
        assert_ne!(round(7), round(8));
        for seed in 0..50 {
            let faults = round(seed);
            let count = |wanted: fn(&Fault) -> bool| faults.iter().filter(|fault| wanted(fault)).count();
            assert_eq!(count(|fault| matches!(fault, Fault::RollingRestart)), 1);
            assert_eq!(count(|fault| matches!(fault, Fault::HubPaused { seconds, .. } if *seconds < LEASE_SECONDS)), 1);
            assert_eq!(count(|fault| matches!(fault, Fault::HubPaused { seconds, .. } if *seconds > LEASE_SECONDS)), 1);
            assert_eq!(count(Fault::needs_network), 4);
            assert!(faults.iter().filter_map(Fault::victim).all(|hub| hub < 4));
        }
    }

    #[test]
    fn what_the_hubs_have_no_means_for_is_left_out() {
        let faults: Vec<Fault> = Schedule::new(1, 4, false, false).take(40).collect();
        assert!(faults.iter().all(|fault| !fault.needs_network() && !fault.needs_clocks()));
    }
}
