use starling_model::session::DesiredAction;

use super::*;
use crate::intent::intend;
use crate::testing::{entry, fence, holding, install, parked, render, tombstone, uid};

#[test]
fn an_inventory_round_trips() {
    let mut inventory = holding("podinfo", uid(1), 4);
    let other =
        entry("other", uid(2), DesiredAction::Render(render("other", uid(2), "OCIRepository", "1", Vec::new())));
    let plan = parked(fence(6), vec![other], vec![tombstone(1, "podinfo", uid(1), 5)]);
    let intent = intend(&inventory, &plan);
    inventory.commit(&intent).unwrap();
    let records = inventory.to_records();
    assert_eq!(records.bodies.len(), 2);
    let loaded = Inventory::from_records(&records.head, &records.bodies).unwrap();
    assert_eq!(loaded, Loaded { inventory, damaged: Vec::new() });
}

#[test]
fn a_large_inventory_is_cut_into_pages() {
    let mut inventory = Inventory::default();
    let entries = (0..1200).map(|number| {
        let (name, version) =
            (format!("addon-{number:04}"), if number == 0 { "ä".repeat(500_000) } else { "1".into() });
        let action = DesiredAction::Render(render(&name, uid(1), "HelmRepository", &version, Vec::new()));
        entry(&name, uid(1), action)
    });
    let intent = intend(&inventory, &parked(fence(1), entries.collect(), Vec::new()));
    inventory.commit(&intent).unwrap();
    let records = inventory.to_records();
    assert!(records.head.len() <= PAGE_BYTES);
    assert!(records.bodies.values().all(|body| body.len() <= PAGE_BYTES));
    assert!(records.bodies.len() > 1203, "the first render and the state take several pages");
    assert_eq!(Inventory::from_records(&records.head, &records.bodies).unwrap().inventory, inventory);
    // Any stored body of another head does not matter.
    let mut more = records.bodies.clone();
    more.insert("stray".to_owned(), "x".to_owned());
    assert_eq!(Inventory::from_records(&records.head, &more).unwrap().inventory, inventory);

    let page = &serde_json::from_str::<Head>(&records.head).unwrap().state_pages[0];
    more.remove(page);
    assert_eq!(Inventory::from_records(&records.head, &more), Err(RecordError::BodyLost(page.clone())));
}

#[test]
fn a_lost_render_damages_its_install_alone() {
    let inventory = holding("podinfo", uid(1), 4);
    let mut records = inventory.to_records();
    for changed in [true, false] {
        match changed {
            true => records.bodies.values_mut().for_each(|body| body.push(' ')),
            false => records.bodies.clear(),
        }
        let loaded = Inventory::from_records(&records.head, &records.bodies).unwrap();
        assert_eq!(loaded.damaged, vec![install("podinfo")]);
        let held = &loaded.inventory.installs()[&install("podinfo")];
        assert!(held.is_damaged());
        assert_eq!(held.removal_stages().concat().len(), 2, "its objects are still known");
        assert!(loaded.inventory.held().is_empty() && loaded.inventory.shelf().is_empty());
        assert_eq!(loaded.inventory.plan_digest(), None, "so that the hub sends the plan again");
        let stored = loaded.inventory.to_records();
        let again = Inventory::from_records(&stored.head, &stored.bodies).unwrap();
        assert_eq!(again.damaged, vec![install("podinfo")]);
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let bodies = BTreeMap::new();
    let read = |head: &str| Inventory::from_records(head, &bodies);
    assert!(matches!(read("{"), Err(RecordError::Unreadable(_))));
    assert!(matches!(read(r#"{"format":1}"#), Err(RecordError::Unreadable(_))));
    assert_eq!(read(r#"{"format":2,"other":1}"#), Err(RecordError::UnknownFormat(2)));
}
