use starling_model::{FleetKey, Uid};

use super::*;

fn era(number: u64, id: u8) -> Era {
    Era { number, id: Uid([id; 16]) }
}

fn mark(number: u64, reserved: u64) -> Option<Mark> {
    Some(Mark { era: era(number, 1), reserved: Position(reserved) })
}

fn store(number: u64, position: u64) -> Option<(Era, Position)> {
    Some((era(number, 1), Position(position)))
}

fn fence(number: u64, id: u8, position: u64) -> Fence {
    FleetKey::new([7; 32]).fence(era(number, id), Position(position))
}

#[test]
fn a_start_is_judged_by_mark_and_store() {
    assert_eq!(at_start(None, None), Start::NewFleet);
    assert_eq!(at_start(mark(1, 2048), store(1, 2048)), Start::Continue);
    assert_eq!(at_start(mark(1, 2048), store(1, 1024)), Start::Continue, "a reserved block need not be used up");
    assert_eq!(at_start(mark(1, 2048), None), Start::Hold(HoldReason::StoreEmpty));
    assert_eq!(at_start(None, store(1, 5)), Start::Hold(HoldReason::MarkMissing));
    assert_eq!(at_start(mark(2, 10), store(1, 9)), Start::Hold(HoldReason::OtherEra { store: 1, mark: 2 }));
    let other = Some((era(1, 9), Position(2000)));
    assert_eq!(at_start(mark(1, 2048), other), Start::Hold(HoldReason::OtherEra { store: 1, mark: 1 }));
    let behind = HoldReason::BehindMark { store: Position(1023), mark: Position(2048) };
    assert_eq!(at_start(mark(1, 2048), store(1, 1023)), Start::Hold(behind));
}

#[test]
fn a_fence_from_the_future_holds_the_fleet() {
    let judge = |shown: Fence| at_fence(era(2, 1), Position(10), &shown).is_some();
    assert!(!judge(fence(2, 1, 10)), "the present position");
    assert!(!judge(fence(1, 5, 900)), "an older era, which a recovery left behind");
    assert!(judge(fence(2, 1, 11)), "a later position");
    assert!(judge(fence(2, 9, 3)), "an era of the same number recovered elsewhere");
    assert!(judge(fence(3, 1, 1)), "a later era");
}

#[test]
fn a_recovery_begins_beyond_everything_known() {
    assert_eq!(recovery(None, None, None), (1, Position(1)));
    assert_eq!(recovery(mark(2, 2048), store(1, 5), Some(&fence(2, 1, 2050))), (3, Position(2051)));
    assert_eq!(recovery(mark(1, 1024), None, Some(&fence(4, 1, 7))), (5, Position(1025)));
}

#[test]
fn every_reason_names_the_command() {
    let reasons = [
        HoldReason::StoreEmpty,
        HoldReason::MarkMissing,
        HoldReason::OtherEra { store: 1, mark: 2 },
        HoldReason::BehindMark { store: Position(1), mark: Position(2) },
        HoldReason::BehindFence { store: Position(1), era: 1, shown: Position(2) },
    ];
    for reason in reasons {
        assert!(reason.to_string().ends_with("`starling store recover` is run"), "{reason}");
    }
}
