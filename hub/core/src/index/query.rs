//! Questions to the index: which objects, a page at a time, and how many in all.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use starling_model::{ClusterId, Millis, ObjectKey, ObjectStatus, Uid};

use super::StatusIndex;
use super::assignments::Tag;
use super::cluster::ClusterStatus;
use super::counts::HealthSet;
use super::interner::Symbol;
use super::row::Row;

/// Which objects; a field that is `None` takes all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Only objects of these clusters.
    pub clusters: Option<BTreeSet<ClusterId>>,
    /// Only objects of these healths.
    pub health: HealthSet,
    /// Only objects of this API group.
    pub group: Option<String>,
    /// Only objects of this kind.
    pub kind: Option<String>,
    /// Only objects of this namespace.
    pub namespace: Option<String>,
    /// Only objects of this name.
    pub name: Option<String>,
    /// Only objects that came from this assignment.
    pub assignment: Option<Uid>,
    /// Only objects that whoever asks may see.
    pub visible: Option<Visible>,
}

/// What somebody may see: everything in some clusters, and what came from some assignments in all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visible {
    /// The clusters of which everything is seen.
    pub clusters: BTreeSet<ClusterId>,
    /// The assignments whose objects are seen everywhere.
    pub assignments: BTreeSet<Uid>,
}

/// An object's place in the order of answers: by cluster id, then by key. Also the token of the page behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// The cluster.
    pub cluster: ClusterId,
    /// The object.
    pub key: ObjectKey,
}

/// Text that is not a page token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a page token of this list")]
pub struct CursorError;

/// One object of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The cluster.
    pub cluster: ClusterId,
    /// What its agent said last.
    pub status: ObjectStatus,
    /// Wall time of the hub when the health became what it is.
    pub since: Millis,
}

/// A page of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The objects, by cluster id, then by key.
    pub objects: Vec<Found>,
    /// How many match in all, on every page.
    pub total: u64,
    /// True when more match behind the last.
    pub more: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            clusters: None,
            health: HealthSet::ALL,
            group: None,
            kind: None,
            namespace: None,
            name: None,
            assignment: None,
            visible: None,
        }
    }
}

impl Page {
    /// Returns the place behind which the next page begins; `None` on the last page.
    #[must_use]
    pub fn next(&self) -> Option<Cursor> {
        let last = self.objects.last().filter(|_| self.more)?;
        Some(Cursor { cluster: last.cluster, key: last.status.key.clone() })
    }
}

impl StatusIndex {
    /// Answers a filter with at most `size` objects behind `after`.
    #[must_use]
    pub fn query(&self, filter: &Filter, after: Option<&Cursor>, size: usize) -> Page {
        let mut page = Page::default();
        let Some(matcher) = Matcher::new(filter, self) else { return page };
        match &filter.clusters {
            None => {
                for (id, cluster) in self.clusters() {
                    self.visit(*id, cluster, &matcher, after, size, &mut page);
                }
            }
            Some(ids) => {
                for id in ids {
                    if let Some(cluster) = self.cluster(id) {
                        self.visit(*id, cluster, &matcher, after, size, &mut page);
                    }
                }
            }
        }
        page
    }

    fn visit(
        &self,
        id: ClusterId,
        cluster: &ClusterStatus,
        matcher: &Matcher<'_>,
        after: Option<&Cursor>,
        size: usize,
        page: &mut Page,
    ) {
        let in_set = cluster.counts().in_set(matcher.health);
        if in_set == 0 {
            return;
        }
        let Some(matcher) = matcher.in_cluster(&id) else { return };
        // A cluster before the page, or behind a full one, is only counted.
        let before_page = after.is_some_and(|cursor| id < cursor.cluster);
        if before_page || page.more {
            page.total += if matcher.is_cluster_seen && matcher.all.is_health_alone() {
                in_set
            } else {
                matcher.count(cluster.rows())
            };
            return;
        }
        let start = match after {
            Some(cursor) if cursor.cluster == id => cluster.after(&cursor.key, self.interner()),
            _ => 0,
        };
        page.total += matcher.count(&cluster.rows()[..start]);
        for (row, detail) in cluster.rows().iter().zip(cluster.details()).skip(start) {
            if !matcher.matches(row) {
                continue;
            }
            page.total += 1;
            if page.objects.len() < size {
                page.objects.push(self.found(id, row, detail));
            } else {
                page.more = true;
            }
        }
    }
}

/// A filter in symbols; there is none when a text of the filter is not in use anywhere.
struct Matcher<'a> {
    health: HealthSet,
    group: Option<Symbol>,
    kind: Option<Symbol>,
    namespace: Option<Symbol>,
    name: Option<Symbol>,
    assignment: Option<Tag>,
    visible: Option<(&'a BTreeSet<ClusterId>, BTreeSet<Tag>)>,
}

/// A filter for the objects of one cluster.
struct InCluster<'a> {
    all: &'a Matcher<'a>,
    /// Everything in it is seen.
    is_cluster_seen: bool,
}

impl<'a> Matcher<'a> {
    fn new(filter: &'a Filter, index: &StatusIndex) -> Option<Self> {
        let symbol = |text: &Option<String>| match text {
            None => Some(None),
            Some(text) => index.interner().find(text).map(Some),
        };
        Some(Self {
            health: filter.health,
            group: symbol(&filter.group)?,
            kind: symbol(&filter.kind)?,
            namespace: symbol(&filter.namespace)?,
            name: symbol(&filter.name)?,
            assignment: match &filter.assignment {
                None => None,
                Some(uid) => Some(index.tag(uid)?),
            },
            visible: filter.visible.as_ref().map(|visible| {
                let tags = visible.assignments.iter().filter_map(|uid| index.tag(uid));
                (&visible.clusters, tags.collect())
            }),
        })
    }

    /// Returns the filter for one cluster; `None` when nothing in it is seen.
    fn in_cluster(&self, id: &ClusterId) -> Option<InCluster<'_>> {
        let (is_cluster_seen, is_anything_seen) = match &self.visible {
            None => (true, true),
            Some((clusters, tags)) => (clusters.contains(id), !tags.is_empty()),
        };
        (is_cluster_seen || is_anything_seen).then_some(InCluster { all: self, is_cluster_seen })
    }

    fn matches(&self, row: &Row) -> bool {
        self.health.contains(row.health)
            && self.kind.is_none_or(|kind| kind == row.kind)
            && self.name.is_none_or(|name| name == row.name)
            && self.namespace.is_none_or(|namespace| namespace == row.namespace)
            && self.group.is_none_or(|group| group == row.group)
            && self.assignment.is_none_or(|assignment| assignment == row.assignment)
    }

    fn is_seen_everywhere(&self, row: &Row) -> bool {
        self.visible.as_ref().is_none_or(|(_, tags)| tags.contains(&row.assignment))
    }

    /// Tells whether the counts that are kept already answer the filter.
    fn is_health_alone(&self) -> bool {
        [self.group, self.kind, self.namespace, self.name].iter().all(Option::is_none) && self.assignment.is_none()
    }
}

impl InCluster<'_> {
    fn matches(&self, row: &Row) -> bool {
        self.all.matches(row) && (self.is_cluster_seen || self.all.is_seen_everywhere(row))
    }

    fn count(&self, rows: &[Row]) -> u64 {
        rows.iter().filter(|row| self.matches(row)).count() as u64
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.key)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (cluster, key) = text.split_once('/').ok_or(CursorError)?;
        let cluster = cluster.parse().map_err(|_| CursorError)?;
        Ok(Self { cluster, key: ObjectKey::parse(key).ok_or(CursorError)? })
    }
}
