use proptest::prelude::*;
use rstest::rstest;
use starling_model::{Millis, ResourceName, Uid};

use super::budget::{FLEET, MOST, OverBudget, WINDOW, allowance, check};
use crate::records::SpentRecord;

#[rstest]
#[case(0, 3)]
#[case(10, 3)]
#[case(39, 3)]
#[case(40, 4)]
#[case(100, 10)]
#[case(250, 25)]
#[case(10_000, 25)]
fn allowances(#[case] installs: u64, #[case] expected: u64) {
    assert_eq!(allowance(installs), expected);
}

fn addon(name: &str) -> ResourceName {
    ResourceName::new("starling-platform", name)
}

fn entry(name: &str, installs: u64, at: u64) -> SpentRecord {
    SpentRecord { id: Uid([0; 16]), addon: addon(name), installs, at: Millis(at) }
}

fn day() -> u64 {
    u64::try_from(WINDOW.as_millis()).expect("a day")
}

#[test]
fn the_window_rolls() {
    let ledger = [entry("a", 3, 1000)];
    let asked = |now: u64| check(ledger.iter(), Millis(now), &addon("a"), 10, 1);
    assert!(matches!(asked(1000), Err(OverBudget::Addon { spent: 3, limit: 3, .. })));
    assert!(asked(1000 + day() - 1).is_err());
    assert_eq!(asked(1000 + day()), Ok(()));
    assert!(asked(0).is_err(), "a clock set back frees nothing");
}

#[test]
fn the_fleet_has_a_budget_of_its_own() {
    let ledger: Vec<_> = (0..4).map(|index| entry(&format!("addon-{index}"), 25, 0)).collect();
    let asked = check(ledger.iter(), Millis(1), &addon("other"), 1000, 1);
    assert!(matches!(asked, Err(OverBudget::Fleet { spent: FLEET, .. })));
}

proptest! {
    #[test]
    fn no_sequence_of_steps_removes_more_than_the_budget(
        installs in 0_u64..1000,
        steps in prop::collection::vec((0_u64..40, 0_u64..3), 1..60),
    ) {
        let mut ledger: Vec<SpentRecord> = Vec::new();
        let mut now = 0;
        for (asked, hours) in steps {
            now += hours * 60 * 60 * 1000;
            if check(ledger.iter(), Millis(now), &addon("a"), installs, asked).is_ok() {
                ledger.push(entry("a", asked, now));
            }
            let spent: u64 = ledger.iter().filter(|entry| entry.at.0 + day() > now).map(|entry| entry.installs).sum();
            prop_assert!(spent <= allowance(installs) && spent <= MOST.max(3));
        }
    }
}
