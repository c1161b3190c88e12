use std::collections::BTreeMap;
use std::sync::OnceLock;

use proptest::prelude::*;
use starling_model::Uid;

use super::*;
use crate::ring::testing::{clusters, hubs, ring};
use crate::ring::{Moves, balance, moves};

/// A hundred thousand clusters, made once.
fn many() -> &'static [ClusterId] {
    static IDS: OnceLock<Vec<ClusterId>> = OnceLock::new();
    IDS.get_or_init(|| clusters(100_000))
}

#[test]
fn placement_is_wire_format() {
    let mut placements = BTreeMap::new();
    let mut checked = 0;
    for line in include_str!("golden.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let hash = |word: &str| u64::from_str_radix(word, 16).unwrap();
        match words[..] {
            ["point", member, number, expected] => {
                let key = Key(member.as_bytes());
                assert_eq!(PinnedHash.hash_vnode(&key, number.parse().unwrap()), hash(expected), "{line}");
            }
            ["ring", name, ..] => {
                let members = words[2..].iter().filter_map(|member| member.split_once('='));
                let record = ring(members.map(|(name, weight)| (name, weight.parse().unwrap())));
                placements.insert(name, Placement::of(&record));
            }
            ["cluster", id, expected] => {
                let id: ClusterId = id.parse().unwrap();
                assert_eq!(PinnedHash.hash_item(&Key(id.0)), hash(expected), "{line}");
            }
            ["owner", name, id, expected] => {
                let owner = placements[name].owner(&id.parse().unwrap()).map(|member| member.name.as_str());
                assert_eq!(owner, Some(expected), "{line}");
            }
            _ => panic!("not understood: {line}"),
        }
        checked += 1;
    }
    assert_eq!(checked, 24 + 4 + 20 + 80);
}

#[test]
fn shares_are_close_to_the_mean() {
    for (members, bound) in [(1, 1.0), (3, 1.10), (10, 1.12), (32, 1.15)] {
        let ratio = balance(&Placement::of(&hubs(members)), many()).max_over_mean;
        assert!(ratio <= bound, "{members} members: {ratio}");
    }
}

#[test]
fn a_member_takes_by_its_weight() {
    let counts = balance(&Placement::of(&ring([("a", 50), ("b", 100), ("c", 250)])), many()).counts;
    for (name, share) in [("a", 12_500.0), ("b", 25_000.0), ("c", 62_500.0)] {
        let count = counts[name] as f64;
        assert!((count / share - 1.0).abs() < 0.12, "{name} has {count}, and its weight stands for {share}");
    }
}

#[test]
fn an_empty_ring_owns_nothing() {
    assert_eq!(Placement::of(&RingRecord::default()).owner(&ClusterId([7; 16])), None);
}

#[test]
fn only_names_and_weights_matter() {
    let record = hubs(5);
    let mut other = RingRecord { epoch: 9, ..record.clone() };
    for member in &mut other.members {
        (member.incarnation, member.address) = (Uid([9; 16]), "elsewhere:1".to_owned());
    }
    let (one, two) = (Placement::of(&record), Placement::of(&other));
    let followed = one.followed_by(Arc::new(other));
    assert!(Arc::ptr_eq(&one.points, &followed.points), "nothing is hashed again");
    for id in &many()[..2_000] {
        let names = [&one, &two, &followed].map(|placement| placement.owner(id).map(|member| member.name.clone()));
        assert!(names.iter().all(|name| *name == names[0]));
        assert_eq!(followed.owner(id).map(|member| member.address.as_str()), Some("elsewhere:1"));
    }
    let joined = followed.followed_by(Arc::new(hubs(6)));
    assert!(many()[..2_000].iter().any(|id| joined.owner(id).is_some_and(|member| member.name == "hub-5")));
}

/// Names and weights; the weights of the first, and every weight if `equal`, are the usual one.
fn members(equal: bool) -> impl Strategy<Value = BTreeMap<String, u32>> {
    let weight = if equal { 100_u32..101 } else { 1_u32..400 };
    prop::collection::btree_map("[a-z][a-z0-9]{0,8}", weight, 2..8)
}

fn placed(members: &BTreeMap<String, u32>) -> Placement {
    Placement::of(&ring(members.iter().map(|(name, weight)| (name.as_str(), *weight))))
}

/// Checks that every move of a join goes to the joiner, and that going back undoes exactly these.
fn check_minimal(members: &BTreeMap<String, u32>, chosen: prop::sample::Index, ids: &[ClusterId]) -> Moves {
    let joiner = chosen.get(&members.keys().cloned().collect::<Vec<_>>()).clone();
    let mut without = members.clone();
    without.remove(&joiner);
    let (small, large) = (placed(&without), placed(members));
    let joined = moves(&small, &large, ids.iter().copied());
    let left = moves(&large, &small, ids.iter().copied());
    assert!(joined.by.keys().all(|(_, to)| *to == joiner), "{joined:?}");
    assert!(left.by.keys().all(|(from, _)| *from == joiner), "{left:?}");
    assert_eq!(joined.moved, left.moved);
    joined
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_change_moves_only_what_the_changed_member_gains_or_loses(all in members(false), chosen: prop::sample::Index) {
        check_minimal(&all, chosen, &many()[..2_000]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_change_moves_little_more_than_the_ideal(all in members(true), chosen: prop::sample::Index) {
        let moves = check_minimal(&all, chosen, &many()[..20_000]);
        let ratio = moves.moved as f64 / moves.ideal;
        prop_assert!((0.75..=1.25).contains(&ratio), "{ratio} of {moves:?}");
    }

    #[test]
    fn a_heavier_member_only_gains(all in members(false), chosen: prop::sample::Index) {
        let name = chosen.get(&all.keys().cloned().collect::<Vec<_>>()).clone();
        let mut heavier = all.clone();
        heavier.entry(name.clone()).and_modify(|weight| *weight += 50);
        let moves = moves(&placed(&all), &placed(&heavier), many()[..2_000].iter().copied());
        prop_assert!(moves.by.keys().all(|(_, to)| *to == name), "{moves:?}");
    }
}
