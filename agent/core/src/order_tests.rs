use std::sync::Arc;

use starling_model::plan::Render;
use starling_model::session::DesiredAction;

use super::*;
use crate::testing::{
    HELM, SOURCE, entry, fence, holding, install, object, parked, release_key, source_key, tombstone, uid,
};

#[test]
fn a_release_goes_before_its_source() {
    let inventory = holding("podinfo", uid(1), 4);
    let stages = inventory.installs()[&install("podinfo")].removal_stages();
    assert_eq!(stages, vec![vec![release_key("podinfo")], vec![source_key("HelmRepository", "podinfo")]]);
}

#[test]
fn namespaces_are_never_in_a_removal() {
    let mut inventory = holding("podinfo", uid(1), 4);
    let held = inventory.installs.get_mut(&install("podinfo")).unwrap();
    held.objects.insert(ObjectKey::new("", "Namespace", "", "apps"), None);
    assert_eq!(held.removal_stages().concat().len(), 2);
}

/// Releases named by the first of each pair that depend on the second, all being removed.
fn removing(dependencies: &[(&str, &str)]) -> Inventory {
    let mut inventory = Inventory::default();
    let renders = dependencies.iter().map(|(name, dependency)| {
        let spec = format!(r#"{{"dependsOn":[{{"name":"{dependency}"}}]}}"#);
        let objects =
            vec![object(SOURCE, "OCIRepository", name, uid(1), "{}"), object(HELM, "HelmRelease", name, uid(1), &spec)];
        entry(name, uid(1), DesiredAction::Render(Arc::new(Render::new(objects, Vec::new()))))
    });
    let tombstones = dependencies.iter().zip(1..).map(|((name, _), id)| tombstone(id, name, uid(1), 2));
    for plan in [parked(fence(1), renders.collect(), Vec::new()), parked(fence(2), Vec::new(), tombstones.collect())] {
        let intent = crate::intent::intend(&inventory, &plan);
        inventory.commit(&intent).unwrap();
    }
    inventory
}

#[test]
fn what_depends_on_others_goes_first() {
    let inventory = removing(&[("app", "db"), ("db", "operator"), ("operator", "none"), ("other", "none")]);
    assert_eq!(inventory.removable_now(), vec![install("app"), install("other")]);
}

#[test]
fn a_circle_of_dependencies_does_not_hang() {
    let inventory = removing(&[("a", "b"), ("b", "a")]);
    assert_eq!(inventory.removable_now(), vec![install("a"), install("b")]);
}
