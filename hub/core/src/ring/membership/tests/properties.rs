use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{World, read};
use crate::ring::membership::Presence;
use crate::ring::{HOLD_LONGEST, RingRecord};
use starling_model::Millis;

/// What happens: after so many milliseconds these are there.
type Step = (u64, Vec<Presence>);

fn presences() -> impl Strategy<Value = Vec<Presence>> {
    let one = (0_usize..5, 1_u8..4, any::<bool>(), prop::sample::select(vec![50_u32, 100]));
    prop::collection::vec(one, 0..6).prop_map(|all| {
        let mut names = BTreeSet::new();
        let all = all.into_iter().map(|(name, start, draining, weight)| {
            let mut presence = read(&format!("hub-{name}.{start}*{weight}"));
            presence.draining = draining && start == 3;
            presence
        });
        all.filter(|presence| names.insert(presence.name.clone())).collect()
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![0_u64..3_000, 3_000_u64..40_000, 40_000_u64..900_000];
    prop::collection::vec((after, presences()), 1..40)
}

/// Epochs that grow by one and good records are asserted by the world.
fn play(steps: &[Step]) -> World {
    let mut world = World::new(RingRecord::default());
    for (after, present) in steps {
        let was_empty = world.record.members.is_empty();
        let at = Millis(world.uptime.0 + after);
        world.go_to(at, present.clone());
        assert!(was_empty || !world.record.members.is_empty(), "the ring became empty");
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn it_comes_to_rest_at_who_is_there(steps in steps(), last in presences()) {
        let mut last = last;
        last.retain(|presence| !presence.draining);
        prop_assume!(!last.is_empty());
        let mut world = play(&steps);
        let now = world.uptime;
        world.go_to(now, last.clone());
        world.pass_until(now.plus(HOLD_LONGEST + HOLD_LONGEST));
        let members: BTreeSet<_> = world.record.members.iter().map(|member| (member.name.clone(), member.incarnation, member.weight)).collect();
        let expected: BTreeSet<_> = last.into_iter().map(|presence| (presence.name, presence.incarnation, presence.weight)).collect();
        prop_assert_eq!(members, expected);
        let epoch = world.record.epoch;
        world.pass_until(now.plus(HOLD_LONGEST * 8));
        prop_assert_eq!((world.record.epoch, world.wake), (epoch, None));
    }

    #[test]
    fn changes_keep_their_distance(steps in steps()) {
        let log = play(&steps).log;
        let times: Vec<f64> = log.lines().filter(|line| !line.starts_with(' ')).map(|line| {
            line.split_once(' ').and_then(|(at, _)| at.parse().ok()).expect("seconds")
        }).collect();
        prop_assert!(times.windows(2).all(|pair| pair[1] - pair[0] > 1.999), "{times:?}");
    }
}
