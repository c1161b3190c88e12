//! What this process answers of its own clusters.

use std::collections::{BTreeMap, BTreeSet};

use starling_hub_core::index::Filter;
use starling_hub_core::status::Tally;
use starling_model::{ClusterId, Uid};

use super::question::{Answer, Asked, InstallPage, InstallQuery, ObjectPage, Part, Question};
use crate::api::Problems;
use crate::load::Load;
use crate::shard::{Shard, Told};

pub(super) fn answer(shard: &Shard, problems: &Problems, load: &Load, asked: &Asked) -> Part {
    let told = shard.told(&asked.division);
    let answer = match &asked.question {
        Question::Overview => Answer::Overview(shard.overview_of(&told)),
        Question::Views(ids) => Answer::Views(shard.views_of(&told, ids.as_ref())),
        Question::Objects { filter, after, size } => {
            let page = shard.query(&told.narrow(filter), after.as_ref(), *size);
            let clusters: BTreeSet<ClusterId> = page.objects.iter().map(|found| found.cluster).collect();
            let old = clusters.into_iter().filter_map(|id| Some((id, shard.old_since(&id)?))).collect();
            Answer::Objects(ObjectPage { page, old })
        }
        Question::Installs(query) => Answer::Installs(installs(shard, &told, query)),
        Question::Tallies => Answer::Tallies(tallies(shard, &told)),
        Question::Held { clusters, position } => {
            let is_behind = shard.fleet().position() < *position;
            let mine = clusters.iter().filter(|id| told.covers(id) && shard.knows(id));
            Answer::Held(mine.map(|id| (*id, shard.heard(id).filter(|_| !is_behind))).collect())
        }
        Question::Complete(ids) => Answer::Complete(ids.iter().filter(|id| shard.is_complete(id)).copied().collect()),
        Question::Unassigned => {
            let fleet = shard.fleet();
            let ids = fleet.unmanaged(shard.identities().into_iter());
            Answer::Unassigned(ids.filter(|id| told.covers(id)).collect())
        }
        Question::Problems => Answer::Problems(problems.found()),
        Question::Process => Answer::Process(shard.process_figures(load)),
    };
    Part { answer, epoch: told.epoch, extra: told.extra }
}

fn installs(shard: &Shard, told: &Told, query: &InstallQuery) -> InstallPage {
    let fleet = shard.fleet();
    let managed = fleet.managed_clusters().map(|cluster| (cluster.id, cluster.name()));
    let unassigned = fleet.unmanaged(shard.identities().into_iter());
    let unassigned = unassigned.map(|id| (id, starling_model::ResourceName::new("", id.to_string())));
    let is_asked = |id: &ClusterId| {
        told.covers(id)
            && query.clusters.as_ref().is_none_or(|ids| ids.contains(id))
            && query
                .visible
                .as_ref()
                .is_none_or(|visible| visible.clusters.contains(id) || !visible.assignments.is_empty())
    };
    let mut page = InstallPage::default();
    for (id, name) in managed.chain(unassigned).filter(|(id, _)| is_asked(id)) {
        let sees_all = query.visible.as_ref().is_none_or(|visible| visible.clusters.contains(&id));
        let sees = |uid: Option<Uid>| {
            sees_all || query.visible.as_ref().zip(uid).is_some_and(|(visible, uid)| visible.assignments.contains(&uid))
        };
        let rows = shard.installs(&id).into_iter().filter(|view| sees(view.assignment()));
        let rows = rows.map(|view| view.into_row(id, &name));
        let rows = rows.filter(|row| query.assignment.is_empty() || row.assignment_name == query.assignment);
        for row in rows {
            page.total += 1;
            if query.after.is_empty() || row.place().as_str() > query.after.as_str() {
                page.rows.push(row);
            }
        }
    }
    page.rows.sort_by_cached_key(|row| row.place());
    page.rows.truncate(query.size);
    page
}

fn tallies(shard: &Shard, told: &Told) -> BTreeMap<Uid, Tally> {
    let (fleet, clusters) = (shard.fleet(), shard.clusters());
    let mut leaving = fleet.leaving().peekable();
    let mut tallies: BTreeMap<Uid, Tally> = BTreeMap::new();
    for cluster in &clusters {
        // Both come by identity.
        while leaving.next_if(|id| *id < cluster.id).is_some() {}
        if leaving.peek() == Some(&cluster.id) || !told.covers(&cluster.id) {
            continue;
        }
        shard.install_standings(cluster, |assignment, standing| tallies.entry(assignment).or_default().add(standing));
    }
    tallies
}

impl Told {
    /// Narrows a filter to the clusters that this process tells of.
    fn narrow(&self, filter: &Filter) -> Filter {
        let Some(clusters) = &self.clusters else { return filter.clone() };
        let asked = filter.clusters.as_ref();
        let clusters = clusters.iter().filter(|id| asked.is_none_or(|asked| asked.contains(id))).copied().collect();
        Filter { clusters: Some(clusters), ..filter.clone() }
    }
}
