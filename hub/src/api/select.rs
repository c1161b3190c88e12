//! Which clusters a question is about, and which page of the answer.

use std::collections::{BTreeMap, BTreeSet};

use starling_hub_core::fleet::{ClusterInput, Fleet};
use starling_hub_core::resources::Kind;
use starling_hub_core::selector::LabelSelector;
use starling_model::{ClusterId, ErrorCode, ResourceName};
use starling_proto::v1;
use tonic::Status;

use super::Admin;
use super::error::status;
use super::sight::Sight;

/// Items of a page unless the caller asks for another number.
const PAGE: usize = 500;

/// Items of a page at most.
const PAGE_LIMIT: usize = 5000;

/// A cluster that the hub knows, managed or not.
pub(super) struct Known {
    pub(super) id: ClusterId,
    /// Its workspace and name; for an unassigned cluster no workspace, and its identity.
    pub(super) name: ResourceName,
}

impl Admin {
    /// Lists the clusters of a selector, by workspace and name.
    pub(super) async fn select(
        &self,
        fleet: &Fleet,
        selector: Option<&v1::ClusterSelector>,
    ) -> Result<Vec<Known>, Status> {
        let everything = v1::ClusterSelector::default();
        let selector = selector.unwrap_or(&everything);
        let labels = LabelSelector::parse(&selector.labels).map_err(|error| {
            status(ErrorCode::InvalidRequest, format!("label selector {:?}: {error}", selector.labels))
        })?;
        let wanted = |name: &ResourceName, own: &BTreeMap<String, String>| {
            (selector.workspace.is_empty() || selector.workspace == name.namespace)
                && (selector.names.is_empty() || selector.names.contains(&name.name))
                && labels.matches(own)
        };
        let managed: Vec<ClusterInput> = match selector.names.is_empty() {
            true => fleet.managed_clusters().collect(),
            false => named(fleet, selector),
        };
        let managed = managed.into_iter().map(|cluster| {
            let is_wanted = wanted(&cluster.name(), &cluster.document().metadata.labels);
            (Known { id: cluster.id, name: cluster.name() }, is_wanted)
        });
        let unlabelled = BTreeMap::new();
        // Those that nobody manages are in no workspace, have no labels, and are called by their identity.
        let may_be_identity =
            selector.names.is_empty() || selector.names.iter().any(|name| name.parse::<ClusterId>().is_ok());
        let may_have_unassigned = selector.workspace.is_empty() && may_be_identity && labels.matches(&unlabelled);
        let ids = match may_have_unassigned {
            true => self.parts.gather.unassigned().await.value,
            false => BTreeSet::new(),
        };
        let unassigned = ids.into_iter().map(|id| {
            let name = unassigned(id);
            let is_wanted = wanted(&name, &unlabelled);
            (Known { id, name }, is_wanted)
        });
        let mut selected: Vec<Known> =
            managed.chain(unassigned).filter_map(|(known, is_wanted)| is_wanted.then_some(known)).collect();
        selected.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(selected)
    }

    /// Returns the clusters of a selector as a set, as far as the caller may select them; `None` is all.
    pub(super) async fn select_ids(
        &self,
        fleet: &Fleet,
        selector: Option<&v1::ClusterSelector>,
        sight: &Sight,
    ) -> Result<Option<BTreeSet<ClusterId>>, Status> {
        match selector {
            Some(selector) if *selector != v1::ClusterSelector::default() => {
                let selected = self.select(fleet, Some(selector)).await?.into_iter();
                Ok(Some(selected.filter(|known| sight.selects(known)).map(|known| known.id).collect()))
            }
            _ => Ok(None),
        }
    }
}

/// Returns the managed clusters of a selector's names; costs these, and not the fleet.
fn named(fleet: &Fleet, selector: &v1::ClusterSelector) -> Vec<ClusterInput> {
    let workspaces = match selector.workspace.is_empty() {
        true => fleet.namespaces_of(Kind::ManagedCluster),
        false => BTreeSet::from([selector.workspace.clone()]),
    };
    let names: BTreeSet<&String> = selector.names.iter().collect();
    let named = names.iter().flat_map(|name| workspaces.iter().map(move |workspace| (workspace, name)));
    named
        .filter_map(|(workspace, name)| fleet.cluster_named(workspace, name))
        // Of several documents for one cluster, it is known by the first.
        .filter(|cluster| fleet.cluster(cluster.id).is_some_and(|first| first.name() == cluster.name()))
        .collect()
}

/// Returns the name of a cluster.
pub(super) fn name_of(fleet: &Fleet, id: ClusterId) -> ResourceName {
    fleet.cluster(id).map_or_else(|| unassigned(id), |cluster| cluster.name())
}

/// Returns the number of items that a page holds.
pub(super) fn page_size(page: Option<&v1::Page>) -> usize {
    match page.map_or(0, |page| page.size as usize) {
        0 => PAGE,
        size => size.min(PAGE_LIMIT),
    }
}

/// Cuts a page out of items that are sorted by their token; returns it with the token of the next.
pub(super) fn cut<T>(items: Vec<T>, page: Option<&v1::Page>, token: impl Fn(&T) -> String) -> (Vec<T>, String) {
    let size = page_size(page);
    let after = page.map_or("", |page| page.token.as_str());
    let behind = items.into_iter().filter(|item| after.is_empty() || token(item).as_str() > after);
    let mut cut: Vec<T> = behind.take(size + 1).collect();
    let more = cut.len() > size;
    cut.truncate(size);
    let next = if more { cut.last().map(token).unwrap_or_default() } else { String::new() };
    (cut, next)
}

fn unassigned(id: ClusterId) -> ResourceName {
    ResourceName::new("", id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another() {
        let items: Vec<String> = (0..10).map(|number| format!("item-{number}")).collect();
        let mut page = v1::Page { size: 4, token: String::new() };
        let mut seen = Vec::new();
        loop {
            let (cut, next) = cut(items.clone(), Some(&page), String::clone);
            seen.extend(cut);
            if next.is_empty() {
                break;
            }
            page.token = next;
        }
        assert_eq!(seen, items);
    }
}
