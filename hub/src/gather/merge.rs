//! One answer out of those of all processes. Pure; an answer of another kind than the question counts as none.

use std::collections::{BTreeMap, BTreeSet};

use starling_hub_core::index::Cursor;
use starling_hub_core::status::Tally;
use starling_model::{ClusterId, Uid};

use super::question::{Answer, HeldInstalls, InstallPage, ObjectPage};
use crate::api::FoundProblem;
use crate::shard::{ClusterView, Overview};

pub(super) fn overview(answers: Vec<Answer>) -> Overview {
    let mut sum = Overview::default();
    for answer in answers {
        let Answer::Overview(part) = answer else { continue };
        sum.connected += part.connected;
        sum.live += part.live;
        sum.ready += part.ready;
        sum.health.add_all(&part.health);
    }
    sum
}

pub(super) fn views(answers: Vec<Answer>) -> BTreeMap<ClusterId, ClusterView> {
    let mut views: BTreeMap<ClusterId, ClusterView> = BTreeMap::new();
    for answer in answers {
        let Answer::Views(part) = answer else { continue };
        for view in part {
            // Two may have heard a cluster: whoever has its session knows more, then whoever heard it last.
            let worth = |view: &ClusterView| (view.connected, view.last_seen);
            match views.get(&view.id) {
                Some(present) if worth(present) >= worth(&view) => {}
                Some(_) | None => drop(views.insert(view.id, view)),
            }
        }
    }
    views
}

pub(super) fn objects(answers: Vec<Answer>, size: usize) -> ObjectPage {
    let mut merged = ObjectPage::default();
    for answer in answers {
        let Answer::Objects(part) = answer else { continue };
        merged.page.total += part.page.total;
        merged.page.more |= part.page.more;
        merged.page.objects.extend(part.page.objects);
        merged.old.extend(part.old);
    }
    merged.page.objects.sort_by_cached_key(|found| Cursor { cluster: found.cluster, key: found.status.key.clone() });
    if merged.page.objects.len() > size {
        merged.page.objects.truncate(size);
        merged.page.more = true;
    }
    merged
}

pub(super) fn installs(answers: Vec<Answer>, size: usize) -> InstallPage {
    let mut merged = InstallPage::default();
    for answer in answers {
        let Answer::Installs(part) = answer else { continue };
        merged.total += part.total;
        merged.rows.extend(part.rows);
    }
    merged.rows.sort_by_cached_key(|row| row.place());
    merged.rows.truncate(size);
    merged
}

pub(super) fn tallies(answers: Vec<Answer>) -> BTreeMap<Uid, Tally> {
    let mut sum: BTreeMap<Uid, Tally> = BTreeMap::new();
    for answer in answers {
        let Answer::Tallies(part) = answer else { continue };
        for (uid, tally) in part {
            sum.entry(uid).or_default().add_all(&tally);
        }
    }
    sum
}

pub(super) fn held(answers: Vec<Answer>) -> BTreeMap<ClusterId, HeldInstalls> {
    let mut held: BTreeMap<ClusterId, HeldInstalls> = BTreeMap::new();
    for answer in answers {
        let Answer::Held(part) = answer else { continue };
        for (id, installs) in part {
            // Where two heard it, either may be what is true: what is held is both.
            match (held.get_mut(&id), installs) {
                (Some(Some(present)), Some(more)) => present.extend(more),
                (Some(present @ None), more @ Some(_)) => *present = more,
                (Some(_), None) => {}
                (None, installs) => drop(held.insert(id, installs)),
            }
        }
    }
    held
}

pub(super) fn unassigned(answers: Vec<Answer>) -> BTreeSet<ClusterId> {
    let parts = answers.into_iter().filter_map(|answer| match answer {
        Answer::Unassigned(ids) => Some(ids),
        _ => None,
    });
    parts.flatten().collect()
}

pub(super) fn problems(answers: Vec<Answer>) -> Vec<FoundProblem> {
    let parts = answers.into_iter().filter_map(|answer| match answer {
        Answer::Problems(problems) => Some(problems),
        _ => None,
    });
    parts.flatten().collect()
}
