//! Statuses: taken into the index, and asked for.

use std::hint::black_box;

use starling_hub_core::index::{Cursor, Filter, HealthSet, Page};
use starling_hub_core::session::hello::is_status_known;
use starling_hub_core::session::sequence::Sequence;
use starling_model::Health;
use starling_model::session::AgentMessage;

use crate::counted;
use crate::statuses::{
    OBJECTS, decoded, delta as delta_of, encoded, id, index_of, snapshot as snapshot_of, statuses, take,
};

/// Clusters of an index that statuses are taken into.
const CLUSTERS: usize = 250;

/// Clusters of an index that is asked.
const ASKED: usize = 500;

pub(super) fn delta() {
    let mut index = index_of(CLUSTERS);
    let mut sequence = Sequence::new(true);
    let messages: Vec<_> = (0..100)
        .map(|number| encoded(AgentMessage::Status(delta_of(7, number % OBJECTS, number as u64 + 1))))
        .collect();
    let changed = counted(|| messages.iter().map(|message| receive(&mut index, &mut sequence, message)).sum::<usize>());
    assert_eq!(changed, OBJECTS, "the rest says the same again");
}

pub(super) fn snapshot() {
    let mut index = index_of(CLUSTERS);
    let message = encoded(AgentMessage::Status(snapshot_of(CLUSTERS)));
    let changed = counted(|| {
        let AgentMessage::Status(batch) = decoded(&message) else { unreachable!("a status was encoded") };
        take(&mut index, &mut Sequence::new(false), id(CLUSTERS), &batch)
    });
    assert_eq!(changed, OBJECTS + 3);
}

fn receive(index: &mut starling_hub_core::index::StatusIndex, sequence: &mut Sequence, message: &[u8]) -> usize {
    let AgentMessage::Status(batch) = decoded(message) else { unreachable!("a status was encoded") };
    take(index, sequence, id(7), &batch)
}

pub(super) fn known() {
    let index = index_of(CLUSTERS);
    let (kinds, installs) = (index.kind_digests(&id(7)), index.installs_digest(&id(7)));
    assert!(counted(|| is_status_known(&index, id(7), &kinds, &installs)));
}

pub(super) fn page() {
    let mut ids: Vec<usize> = (0..ASKED).collect();
    ids.sort_by_key(|number| id(*number));
    let middle = ids[ASKED / 2];
    let after = Cursor { cluster: id(middle), key: statuses(middle)[0].key.clone() };
    let page = ask(&Filter { health: failing(), ..Filter::default() }, Some(&after), 100);
    assert_eq!((page.objects.len(), page.total, page.more), (100, ASKED as u64 * 2, true));
}

pub(super) fn count() {
    let (kind, name) = (Some("HelmRelease".to_owned()), Some("app-03".to_owned()));
    assert_eq!(ask(&Filter { kind, name, ..Filter::default() }, None, 0).total, ASKED as u64);
}

pub(super) fn count_health() {
    assert_eq!(ask(&Filter { health: failing(), ..Filter::default() }, None, 0).total, ASKED as u64 * 2);
}

fn ask(filter: &Filter, after: Option<&Cursor>, size: usize) -> Page {
    let index = index_of(ASKED);
    counted(|| index.query(black_box(filter), after, size))
}

fn failing() -> HealthSet {
    [Health::Failing].into_iter().collect()
}
