//! What a change of the ring would move, and how even a ring is.

use std::collections::BTreeMap;

use starling_model::{ClusterId, Uid};

use super::{DEFAULT_WEIGHT, MEMBERS_LIMIT, Placement, RingMember, RingRecord};

/// How many clusters each member owns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Balance {
    /// Clusters of each member, by name; members that own none are there with 0.
    pub counts: BTreeMap<String, u64>,
    /// Clusters of them all.
    pub total: u64,
    /// The largest count over what the member's weight stands for, which with equal weights is the mean; 0 without clusters.
    pub max_over_mean: f64,
}

/// What moves between two placements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moves {
    /// All clusters.
    pub total: u64,
    /// Those whose owner changes; a cluster that had no owner, or gets none, does not move.
    pub moved: u64,
    /// Those that move from one member to another, by names.
    pub by: BTreeMap<(String, String), u64>,
    /// How many have to move for every member to own what its weight stands for, on average.
    pub ideal: f64,
}

/// What would happen if members joined and left.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// The record as it would be, under the next epoch.
    pub record: RingRecord,
    /// Who owns how much now.
    pub before: Balance,
    /// Who would own how much.
    pub after: Balance,
    /// What would move.
    pub moves: Moves,
}

/// A change that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// A name that is not in the ring.
    #[error("there is no hub process {name}: there are {}", known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// Nobody would be left.
    #[error("nobody would be left: add a hub process, or remove fewer")]
    Empty,
    /// More than a ring may have.
    #[error("there would be {0} hub processes: at most {MEMBERS_LIMIT} are supported")]
    TooMany(usize),
}

/// Counts the clusters of each member.
#[must_use]
pub fn balance<'a>(placement: &Placement, clusters: impl IntoIterator<Item = &'a ClusterId>) -> Balance {
    let members = &placement.record().members;
    let mut counts: BTreeMap<&str, u64> = members.iter().map(|member| (member.name.as_str(), 0)).collect();
    let mut total = 0;
    for cluster in clusters {
        total += 1;
        if let Some(owner) = placement.owner(cluster) {
            *counts.entry(&owner.name).or_default() += 1;
        }
    }
    let weights: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let over = |member: &RingMember| {
        let fair = total as f64 * f64::from(member.weight) / weights as f64;
        if fair > 0.0 { counts[member.name.as_str()] as f64 / fair } else { 0.0 }
    };
    let max_over_mean = members.iter().map(over).fold(0.0, f64::max);
    let counts = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    Balance { counts, total, max_over_mean }
}

/// Compares the owners of clusters by two placements.
#[must_use]
pub fn moves(before: &Placement, after: &Placement, clusters: impl IntoIterator<Item = ClusterId>) -> Moves {
    let mut moves = Moves::default();
    for cluster in clusters {
        moves.total += 1;
        let (Some(from), Some(to)) = (before.owner(&cluster), after.owner(&cluster)) else { continue };
        if from.name != to.name {
            moves.moved += 1;
            *moves.by.entry((from.name.clone(), to.name.clone())).or_default() += 1;
        }
    }
    moves.ideal = moves.total as f64 * gained(before.record(), after.record());
    moves
}

/// Tells what moves if `add` members of the usual weight join and those of the given names leave.
///
/// Members that join are called `new-1`, `new-2` and so on; which clusters they get depends on their names in the end, and
/// how many hardly does.
///
/// # Errors
/// A change that cannot be.
pub fn simulate(
    record: &RingRecord,
    add: usize,
    remove: &[String],
    clusters: &[ClusterId],
) -> Result<Simulation, SimulateError> {
    if let Some(name) = remove.iter().find(|name| record.member(name).is_none()) {
        let known = record.members.iter().map(|member| member.name.clone()).collect();
        return Err(SimulateError::Unknown { name: name.clone(), known });
    }
    let mut members: Vec<RingMember> =
        record.members.iter().filter(|member| !remove.contains(&member.name)).cloned().collect();
    let count = members.len().saturating_add(add);
    if count > MEMBERS_LIMIT {
        return Err(SimulateError::TooMany(count));
    }
    if count == 0 {
        return Err(SimulateError::Empty);
    }
    let names = (1_u64..).map(|number| format!("new-{number}")).filter(|name| record.member(name).is_none());
    members.extend(names.take(add).map(|name| RingMember {
        address: format!("{name}:443"),
        name,
        incarnation: Uid([0; 16]),
        weight: DEFAULT_WEIGHT,
    }));
    members.sort_by(|one, other| one.name.cmp(&other.name));
    let next = RingRecord { epoch: record.epoch.saturating_add(1), members };
    let (before, after) = (Placement::of(record), Placement::of(&next));
    Ok(Simulation {
        before: balance(&before, clusters),
        after: balance(&after, clusters),
        moves: moves(&before, &after, clusters.iter().copied()),
        record: next,
    })
}

/// Returns the part of all clusters that members gain by their weights; 0 if there was nobody, or there is nobody now.
fn gained(before: &RingRecord, after: &RingRecord) -> f64 {
    let sum = |record: &RingRecord| record.members.iter().map(|member| f64::from(member.weight)).sum::<f64>();
    let (weights_before, weights_after) = (sum(before), sum(after));
    if weights_before == 0.0 || weights_after == 0.0 {
        return 0.0;
    }
    let gain = |member: &RingMember| {
        let had = before.member(&member.name).map_or(0.0, |member| f64::from(member.weight) / weights_before);
        (f64::from(member.weight) / weights_after - had).max(0.0)
    };
    after.members.iter().map(gain).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::testing::{clusters, hubs, ring};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_simulation_adds_and_removes() {
        let ids = clusters(10_000);
        let simulation = simulate(&hubs(3), 2, &names(&["hub-1"]), &ids).expect("a ring of four");
        let after: Vec<&str> = simulation.after.counts.keys().map(String::as_str).collect();
        assert_eq!(after, ["hub-0", "hub-2", "new-1", "new-2"]);
        assert_eq!((simulation.record.epoch, simulation.record.check()), (2, Ok(())));
        let moves = &simulation.moves;
        assert_eq!((moves.total, moves.moved, simulation.after.total), (10_000, moves.by.values().sum(), 10_000));
        assert!((moves.ideal - 5_000.0).abs() < 1e-6, "new-1 and new-2 get half: {}", moves.ideal);
        assert!(moves.moved as f64 <= 1.25 * moves.ideal, "{moves:?}");
        assert_eq!(simulation.before.counts.values().sum::<u64>(), 10_000);
    }

    #[test]
    fn names_of_added_members_are_free_ones() {
        let simulation = simulate(&ring([("new-1", 100)]), 1, &[], &[]).expect("a ring of two");
        assert!(simulation.record.member("new-2").is_some());
        assert!(simulation.before.max_over_mean.abs() < f64::EPSILON);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let error = simulate(&hubs(2), 0, &names(&["hub-9"]), &[]).expect_err("no such member");
        assert_eq!(error.to_string(), "there is no hub process hub-9: there are hub-0, hub-1");
        assert_eq!(simulate(&hubs(2), 0, &names(&["hub-0", "hub-1"]), &[]), Err(SimulateError::Empty));
        assert_eq!(simulate(&RingRecord::default(), 0, &[], &[]), Err(SimulateError::Empty));
        assert_eq!(simulate(&hubs(2), 255, &[], &[]), Err(SimulateError::TooMany(257)));
        assert!(simulate(&hubs(2), usize::MAX, &[], &[]).is_err());
    }

    #[test]
    fn nobody_moves_out_of_nothing() {
        let ids = clusters(100);
        let (nobody, two) = (Placement::of(&RingRecord::default()), Placement::of(&hubs(2)));
        for moves in [moves(&nobody, &two, ids.iter().copied()), moves(&two, &nobody, ids.iter().copied())] {
            assert_eq!(moves, Moves { total: 100, ..Moves::default() });
        }
    }
}
