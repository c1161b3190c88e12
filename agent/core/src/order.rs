//! The order of a removal: the reverse of how things were applied and of what depends on what.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use starling_model::{InstallKey, ObjectKey, Value};

use crate::inventory::{HeldInstall, Inventory};
use crate::reconcile::is_orphanable;

impl HeldInstall {
    /// Returns the objects to remove, in stages: each begins once everything of the one before is really gone. What
    /// installs (HelmRelease, Kustomization) goes before what it installs from; kinds that are never deleted are left out.
    #[must_use]
    pub fn removal_stages(&self) -> Vec<Vec<ObjectKey>> {
        self.stages(self.objects.keys())
    }

    /// Returns the retired objects that are not yet gone, in stages as [`Self::removal_stages`]. They are removed once
    /// every object of the render is Ready.
    #[must_use]
    pub fn retirement_stages(&self) -> Vec<Vec<ObjectKey>> {
        self.stages(self.retiring.iter())
    }

    fn stages<'a>(&self, keys: impl Iterator<Item = &'a ObjectKey>) -> Vec<Vec<ObjectKey>> {
        let applied_at = |key: &ObjectKey| self.render.objects.iter().position(|object| object.key() == key);
        let mut keys: Vec<&ObjectKey> = keys.filter(|key| !is_orphanable(key)).collect();
        keys.sort_by_cached_key(|key| (removal_rank(key), Reverse(applied_at(key)), (*key).clone()));
        let stages = keys.chunk_by(|one, other| removal_rank(one) == removal_rank(other));
        stages.map(|stage| stage.iter().map(|key| (*key).clone()).collect()).collect()
    }

    /// Returns the objects that the install's objects name in `spec.dependsOn`.
    fn dependencies(&self) -> BTreeSet<ObjectKey> {
        let mut found = BTreeSet::new();
        for object in &self.render.objects {
            let key = object.key();
            let named = object.document().at(&["spec", "dependsOn"]).and_then(Value::as_list).unwrap_or_default();
            for dependency in named {
                let text = |field: &str| dependency.get(field).and_then(Value::as_str);
                let namespace = text("namespace").unwrap_or(&key.namespace);
                found.extend(text("name").map(|name| ObjectKey::new(&key.group, &key.kind, namespace, name)));
            }
        }
        found
    }
}

impl Inventory {
    /// Returns the installs whose removal can go on now, sorted: those that nothing depends on that is itself still
    /// being removed. Where each waits for another, all of them go on.
    #[must_use]
    pub fn removable_now(&self) -> Vec<InstallKey> {
        let removing: Vec<_> = self.installs().iter().filter(|(_, held)| held.removing.is_some()).collect();
        let waits = |install: &InstallKey, held: &HeldInstall| {
            let mut others = removing.iter().filter(|(other, _)| *other != install);
            others.any(|(_, other)| other.dependencies().iter().any(|key| held.objects.contains_key(key)))
        };
        let free: Vec<InstallKey> = removing
            .iter()
            .filter(|(install, held)| !waits(install, held))
            .map(|(install, _)| (*install).clone())
            .collect();
        if free.is_empty() { removing.into_iter().map(|(install, _)| install.clone()).collect() } else { free }
    }
}

/// Returns when an object goes in a removal: what installs first, then the rest, sources last.
#[must_use]
pub fn removal_rank(key: &ObjectKey) -> u8 {
    match key.group.as_str() {
        "helm.toolkit.fluxcd.io" | "kustomize.toolkit.fluxcd.io" => 0,
        "source.toolkit.fluxcd.io" | "source.extensions.fluxcd.io" => 2,
        _ => 1,
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
