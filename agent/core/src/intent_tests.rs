use proptest::prelude::*;
use starling_model::session::{DesiredAction, DesiredEntry};
use starling_model::{ObjectKey, Position};

use super::*;
use crate::invariants::absence_is_not_deletion;
use crate::inventory::Outcome;
use crate::parked::{ParkError, RenderShelf};
use crate::testing::{
    desired, entry, fence, fence_of, holding, install, parked, release_key, render, source_key, tombstone, uid,
};

fn rendered(name: &str, assignment: Uid, version: &str) -> DesiredEntry {
    entry(name, assignment, DesiredAction::Render(render(name, assignment, "HelmRepository", version, Vec::new())))
}

fn apply(inventory: &mut Inventory, plan: &Parked) -> Intent {
    let intent = intend(inventory, plan);
    inventory.commit(&intent).unwrap();
    intent
}

#[test]
fn a_new_install_is_recorded_before_it_is_written() {
    let mut inventory = Inventory::default();
    let plan = parked(fence(4), vec![rendered("podinfo", uid(1), "1")], Vec::new());
    let intent = apply(&mut inventory, &plan);
    assert_eq!(intent.writes.len(), 1);
    let held = &inventory.installs()[&install("podinfo")];
    assert_eq!((held.state, held.recorded), (InstallState::Applying, (1, Position(4))));
    assert_eq!(inventory.open_intent().unwrap().installs, BTreeSet::from([install("podinfo")]));
    let keys = BTreeSet::from([source_key("HelmRepository", "podinfo"), release_key("podinfo")]);
    assert_eq!(inventory.intent_objects(), keys);
    // The same plan again changes nothing.
    let again = intend(&inventory, &plan);
    assert!(again.is_empty() && !again.needs_commit(&inventory));
}

#[test]
fn another_era_is_committed_even_if_the_plan_is_the_same() {
    let mut inventory = Inventory::default();
    let mut plan = parked(fence(4), vec![rendered("podinfo", uid(1), "1")], Vec::new());
    apply(&mut inventory, &plan);
    plan.fence = fence(5);
    assert!(!intend(&inventory, &plan).needs_commit(&inventory), "a position is not worth a write");
    plan.fence = fence_of((2, 2), 1);
    assert!(intend(&inventory, &plan).needs_commit(&inventory));
    assert!(inventory.begins_era(&plan.fence));
    inventory.advance(&plan.fence);
    assert_eq!(inventory.newest_fence(), Some(plan.fence));
    assert!(!inventory.begins_era(&plan.fence));
}

#[test]
fn an_empty_plan_keeps_everything() {
    let mut inventory = holding("podinfo", uid(1), 4);
    let before = inventory.clone();
    let intent = apply(&mut inventory, &parked(fence(5), Vec::new(), Vec::new()));
    assert!(intent.is_empty());
    assert_eq!(inventory.installs(), before.installs());
}

#[test]
fn keep_and_blocked_change_nothing_that_is_held() {
    for action in [DesiredAction::Keep("paused".into()), DesiredAction::Blocked("collision".into())] {
        let mut inventory = holding("podinfo", uid(1), 4);
        let entries = vec![entry("podinfo", uid(1), action.clone()), entry("other", uid(2), action)];
        let intent = apply(&mut inventory, &parked(fence(5), entries, Vec::new()));
        assert!(intent.is_empty());
        assert_eq!(inventory.installs().len(), 1);
        assert_eq!(inventory.installs()[&install("podinfo")].recorded, (1, Position(4)));
    }
}

#[test]
fn a_tombstone_applies_by_key_assignment_and_position() {
    let cases = [
        (tombstone(1, "podinfo", uid(1), 5), true),
        (tombstone(1, "podinfo", uid(1), 4), false),
        (tombstone(1, "podinfo", uid(2), 5), false),
        (tombstone(1, "other", uid(1), 5), false),
        (Tombstone { minted: (0, Position(99)), ..tombstone(1, "podinfo", uid(1), 5) }, false),
        (Tombstone { minted: (2, Position(0)), ..tombstone(1, "podinfo", uid(1), 5) }, true),
    ];
    for (tombstone, expected) in cases {
        let inventory = holding("podinfo", uid(1), 4);
        let intent = intend(&inventory, &parked(fence(9), Vec::new(), vec![tombstone.clone()]));
        assert_eq!(intent.removals.len() == 1, expected, "{tombstone:?}");
    }
}

#[test]
fn an_entry_wins_over_a_tombstone_of_the_same_plan() {
    let inventory = holding("podinfo", uid(1), 4);
    for action in [DesiredAction::Keep("x".into()), DesiredAction::Blocked("x".into())] {
        let plan = parked(fence(9), vec![entry("podinfo", uid(1), action)], vec![tombstone(1, "podinfo", uid(1), 5)]);
        assert!(intend(&inventory, &plan).is_empty());
    }
}

#[test]
fn a_tombstone_older_than_the_last_plan_that_wanted_the_install_is_void() {
    let old = tombstone(1, "podinfo", uid(1), 5);
    // Listed again at 6, with nothing to write.
    let mut inventory = holding("podinfo", uid(1), 4);
    apply(&mut inventory, &parked(fence(6), vec![rendered("podinfo", uid(1), "1")], Vec::new()));
    assert_eq!(inventory.installs()[&install("podinfo")].recorded, (1, Position(4)));
    assert!(intend(&inventory, &parked(fence(7), Vec::new(), vec![old.clone()])).is_empty());
    // The same by an unchanged plan.
    let mut inventory = holding("podinfo", uid(1), 4);
    inventory.advance(&fence(6));
    assert!(intend(&inventory, &parked(fence(7), Vec::new(), vec![old.clone()])).is_empty());
    // What the committed plan no longer lists is not wanted by its confirmation.
    let mut inventory = holding("podinfo", uid(1), 4);
    apply(&mut inventory, &parked(fence(5), Vec::new(), Vec::new()));
    inventory.advance(&fence(6));
    assert!(!intend(&inventory, &parked(fence(7), Vec::new(), vec![old])).is_empty());
}

#[test]
fn a_new_incarnation_takes_the_install_over() {
    let mut inventory = holding("podinfo", uid(1), 4);
    let plan = parked(fence(8), vec![rendered("podinfo", uid(2), "1")], Vec::new());
    apply(&mut inventory, &plan);
    let held = &inventory.installs()[&install("podinfo")];
    assert_eq!((held.assignment, held.recorded), (uid(2), (1, Position(8))));
    assert_eq!(held.owners(), BTreeSet::from([uid(1), uid(2)]));
    // The tombstone of the old incarnation means nothing now, whenever it was minted.
    let late = parked(fence(9), Vec::new(), vec![tombstone(1, "podinfo", uid(1), 7)]);
    assert!(intend(&inventory, &late).is_empty());
}

#[test]
fn a_plan_that_wants_an_install_ends_its_removal() {
    let mut inventory = holding("podinfo", uid(1), 4);
    apply(&mut inventory, &parked(fence(6), Vec::new(), vec![tombstone(1, "podinfo", uid(1), 5)]));
    assert_eq!(inventory.installs()[&install("podinfo")].state, InstallState::Removing);
    inventory.complete(&install("podinfo"), Outcome::Gone(release_key("podinfo")));
    apply(&mut inventory, &parked(fence(7), vec![rendered("podinfo", uid(1), "1")], Vec::new()));
    let held = &inventory.installs()[&install("podinfo")];
    assert_eq!((held.state, &held.removing), (InstallState::Applying, &None));
    assert!(held.objects.contains_key(&release_key("podinfo")));
}

#[test]
fn a_retired_source_goes_and_what_is_merely_left_out_stays_known() {
    let mut inventory = holding("podinfo", uid(1), 4);
    let old = source_key("HelmRepository", "podinfo");
    for (position, retires) in [(5, vec![old.clone()]), (6, Vec::new())] {
        let next = render("podinfo", uid(1), "OCIRepository", &position.to_string(), retires);
        let plan = parked(fence(position), vec![entry("podinfo", uid(1), DesiredAction::Render(next))], Vec::new());
        apply(&mut inventory, &plan);
        // What was to retire and is not yet gone is not forgotten by the next revision.
        assert_eq!(inventory.installs()[&install("podinfo")].retiring, BTreeSet::from([old.clone()]));
    }
    inventory.complete(&install("podinfo"), Outcome::Retired(old.clone()));
    assert!(!inventory.installs()[&install("podinfo")].objects.contains_key(&old));

    let mut inventory = holding("podinfo", uid(1), 4);
    let next = render("podinfo", uid(1), "OCIRepository", "2", Vec::new());
    apply(&mut inventory, &parked(fence(5), vec![entry("podinfo", uid(1), DesiredAction::Render(next))], Vec::new()));
    let held = &inventory.installs()[&install("podinfo")];
    assert!(held.retiring.is_empty() && held.objects.contains_key(&old));
}

#[test]
fn an_older_or_foreign_fence_is_superseded() {
    let mut inventory = holding("podinfo", uid(1), 4);
    for fence in [fence(3), fence_of((1, 9), 99)] {
        let intent = intend(&inventory, &parked(fence, Vec::new(), Vec::new()));
        assert_eq!(inventory.commit(&intent), Err(Superseded));
    }
}

#[test]
fn detaching_leaves_everything_and_adopting_again_forgets_the_old_fleet() {
    let mut inventory = holding("podinfo", uid(1), 4);
    let mut plan = parked(fence(6), Vec::new(), vec![tombstone(1, "podinfo", uid(1), 5)]);
    plan.detach = Some(Detach::Orphan);
    let intent = apply(&mut inventory, &plan);
    assert!(intent.removals.is_empty());
    assert_eq!((inventory.detached(), inventory.newest_fence()), (Some(fence(6)), None));
    assert!(!intend(&inventory, &plan).needs_commit(&inventory));
    let other_fleet = parked(fence_of((1, 9), 1), vec![rendered("podinfo", uid(7), "1")], Vec::new());
    apply(&mut inventory, &other_fleet);
    assert_eq!(inventory.detached(), None);
    assert_eq!(inventory.installs()[&install("podinfo")].assignment, uid(7));
}

#[test]
fn a_plan_is_parked_only_with_every_render_at_hand() {
    let held = render("podinfo", uid(1), "HelmRepository", "1", Vec::new());
    let by_digest = || vec![entry("podinfo", uid(1), DesiredAction::HeldRender(held.digest))];
    let none = Parked::new(desired(fence(5), 1, by_digest(), Vec::new()), &RenderShelf::new());
    assert_eq!(none, Err(ParkError::RenderNotHeld(held.digest, install("podinfo"))));
    let shelf = holding("podinfo", uid(1), 4).shelf();
    let plan = Parked::new(desired(fence(5), 1, by_digest(), Vec::new()), &shelf).unwrap();
    assert_eq!(plan.renders().next().unwrap().2, &held);
    let forged = Arc::new(Render { digest: Digest([1; 32]), ..(*held).clone() });
    let forged = vec![entry("podinfo", uid(1), DesiredAction::Render(forged))];
    let refused = Parked::new(desired(fence(5), 1, forged, Vec::new()), &shelf);
    assert_eq!(refused, Err(ParkError::RenderDiffers(install("podinfo"))));
    let twice = [by_digest(), by_digest()].concat();
    let refused = Parked::new(desired(fence(5), 1, twice, Vec::new()), &shelf);
    assert_eq!(refused, Err(ParkError::NamedTwice(install("podinfo"))));
}

#[derive(Clone, Debug)]
enum Step {
    Plan { entries: Vec<DesiredEntry>, tombstones: Vec<Tombstone> },
    Unchanged,
    Finish(usize),
    Restart,
}

fn any_entry() -> impl Strategy<Value = DesiredEntry> {
    let retired = proptest::option::of(Just(source_key("HelmRepository", "a")));
    (0..3_usize, 1..4_u8, 0..3_u8, 0..4_u8, retired).prop_map(|(name, assignment, version, action, retired)| {
        let (name, assignment) = (["a", "b", "c"][name], uid(assignment));
        let retires: Vec<ObjectKey> = retired.into_iter().filter(|key| key.name == name).collect();
        let source = if version == 2 { "OCIRepository" } else { "HelmRepository" };
        let render = render(name, assignment, source, &version.to_string(), retires);
        entry(
            name,
            assignment,
            match action {
                0 => DesiredAction::Keep("paused".to_owned()),
                1 => DesiredAction::Blocked("collision".to_owned()),
                _ => DesiredAction::Render(render),
            },
        )
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let tombstone = (1..9_u8, 0..3_usize, 1..4_u8, 1..30_u64)
        .prop_map(|(id, name, assignment, minted)| tombstone(id, ["a", "b", "c"][name], uid(assignment), minted));
    prop_oneof![
        4 => (prop::collection::vec(any_entry(), 0..3), prop::collection::vec(tombstone, 0..3)).prop_map(
            |(mut entries, tombstones)| {
                entries.sort_by(|one, other| one.install.cmp(&other.install));
                entries.dedup_by(|one, other| one.install == other.install);
                Step::Plan { entries, tombstones }
            }
        ),
        1 => Just(Step::Unchanged),
        2 => (0..6_usize).prop_map(Step::Finish),
        1 => Just(Step::Restart),
    ]
}

/// Finishes some step of what is open, as a shell would.
fn finish(inventory: &mut Inventory, choice: usize) {
    let Some((install, held)) = inventory.installs().iter().nth(choice % 3) else { return };
    let (install, held) = (install.clone(), held.clone());
    if held.removing.is_some() {
        let Some(key) = held.removal_stages().into_iter().flatten().next() else { return };
        inventory.complete(&install, Outcome::Gone(key));
    } else if let Some(key) = held.retiring.first() {
        inventory.complete(&install, Outcome::Retired(key.clone()));
    } else {
        inventory.complete(&install, Outcome::Applied(held.render.digest));
    }
}

proptest! {
    /// Invariant I1, over any sequence of plans, confirmations, completions and restarts.
    #[test]
    fn nothing_goes_without_a_tombstone(steps in prop::collection::vec(any_step(), 0..24)) {
        let mut inventory = Inventory::default();
        let mut position = 0;
        for step in steps {
            position += 1;
            let before = inventory.clone();
            let mut named = Vec::new();
            match step {
                Step::Plan { entries, tombstones } => {
                    named.clone_from(&tombstones);
                    let plan = parked(fence(position), entries.clone(), tombstones);
                    let intent = intend(&inventory, &plan);
                    for removal in &intent.removals {
                        prop_assert!(!entries.iter().any(|entry| entry.install == removal.install));
                    }
                    inventory.commit(&intent).unwrap();
                    prop_assert!(intend(&inventory, &plan).is_empty(), "a plan is idempotent");
                }
                Step::Unchanged => inventory.advance(&fence(position)),
                Step::Finish(choice) => finish(&mut inventory, choice),
                Step::Restart => {
                    let records = inventory.to_records();
                    let loaded = Inventory::from_records(&records.head, &records.bodies).unwrap();
                    prop_assert_eq!(&loaded.inventory, &inventory);
                    inventory = loaded.inventory;
                }
            }
            prop_assert_eq!(absence_is_not_deletion(&before, &inventory, &named), Ok(()));
            for (install, held) in inventory.installs() {
                let is_open = inventory.open_intent().is_some_and(|open| open.installs.contains(install));
                let is_busy = matches!(held.state, InstallState::Applying | InstallState::Removing);
                prop_assert_eq!(is_open, is_busy, "what is not finished is in the open intent");
            }
        }
    }
}
