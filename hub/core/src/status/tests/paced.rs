use serde_json::json;

use super::super::*;
use crate::resources::status::{ClusterStatus, Condition, ConditionStatus, Status};
use crate::resources::{InputKey, Kind};

const PACE: Pace = Pace {
    per_second: 10,
    burst: 2,
    between: std::time::Duration::from_secs(5),
    counts: std::time::Duration::from_secs(30),
    connecting: std::time::Duration::from_secs(5),
};

fn key(name: &str) -> InputKey {
    InputKey::new(Kind::ManagedCluster, "dev", name)
}

fn seen(version: u64, status: Status) -> Sighting {
    Sighting { object: "one".into(), version, generation: 1, document: Err(String::new()), status }
}

fn empty() -> Status {
    Status::empty(Kind::ManagedCluster)
}

fn cluster(connection: &str, installs: i64) -> Status {
    Status::ManagedCluster(ClusterStatus {
        connection: connection.into(),
        installs: Some(installs),
        ..ClusterStatus::default()
    })
}

/// A book with clusters that have no status yet.
fn book(count: usize) -> Book {
    let mut book = Book::new(PACE, Millis(0));
    for index in 0..count {
        book.see(&key(&format!("edge-{index}")), seen(1, empty()));
    }
    book
}

fn write(book: &mut Book, at: u64) -> Option<String> {
    let write = book.next(Millis(at))?;
    book.wrote(&write.key, 2, Millis(at));
    Some(write.key.name)
}

#[test]
fn what_is_there_is_not_written_again() {
    let mut book = Book::new(PACE, Millis(0));
    book.see(&key("a"), seen(7, cluster("live", 3)));
    book.want(&key("a"), cluster("live", 3), Millis(0));
    assert_eq!((book.next(Millis(0)), book.wake(Millis(0))), (None, None));
}

#[test]
fn times_alone_are_no_reason_to_write() {
    let with = |seen_time: &str, since: &str| {
        let condition = Condition {
            kind: "Ready".into(),
            status: ConditionStatus::True,
            observed_generation: Some(1),
            last_transition_time: since.into(),
            reason: "InstallsReady".into(),
            message: String::new(),
        };
        Status::ManagedCluster(ClusterStatus {
            last_seen_time: Some(seen_time.into()),
            conditions: vec![condition],
            ..ClusterStatus::default()
        })
    };
    let mut book = Book::new(PACE, Millis(0));
    book.see(&key("a"), seen(7, with("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z")));
    book.want(&key("a"), with("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z"), Millis(0));
    assert_eq!(book.waiting(), 0);
}

#[test]
fn writes_keep_to_the_rate_and_the_newest_is_written() {
    let mut book = book(5);
    for installs in 0..100 {
        (0..5).for_each(|index| book.want(&key(&format!("edge-{index}")), cluster("live", installs), Millis(0)));
    }
    assert_eq!(book.waiting(), 5);
    let first = book.next(Millis(0)).expect("one is due");
    assert_eq!((first.object.as_str(), &first.patch), ("one", &json!({"connection": "live", "installs": 99})));
    assert!(book.next(Millis(0)).is_some());
    assert_eq!((book.next(Millis(0)), book.wake(Millis(0))), (None, Some(Millis(100))));
    let times: Vec<u64> = (0..400).step_by(10).filter(|at| book.next(Millis(*at)).is_some()).collect();
    assert_eq!(times, [100, 200, 300]);
}

#[test]
fn counts_wait_and_transitions_pass_them() {
    let mut book = book(2);
    for name in ["edge-0", "edge-1"] {
        book.want(&key(name), cluster("live", 1), Millis(0));
        assert_eq!(write(&mut book, 0).as_deref(), Some(name));
    }
    book.want(&key("edge-0"), cluster("live", 2), Millis(1_000));
    assert_eq!((write(&mut book, 20_000), book.wake(Millis(20_000))), (None, Some(Millis(30_000))));
    book.want(&key("edge-1"), cluster("disconnected", 1), Millis(20_000));
    assert_eq!(write(&mut book, 20_000).as_deref(), Some("edge-1"));
    assert_eq!(write(&mut book, 30_000).as_deref(), Some("edge-0"));
    // One that flaps is not written at each of its turns.
    book.want(&key("edge-1"), cluster("live", 1), Millis(21_000));
    assert_eq!(write(&mut book, 24_000), None);
    assert_eq!(write(&mut book, 25_000).as_deref(), Some("edge-1"));
}

#[test]
fn a_cluster_that_connects_is_written_once_it_is_live() {
    let mut book = book(1);
    book.want(&key("edge-0"), cluster("connecting", 0), Millis(0));
    assert_eq!((write(&mut book, 0), book.wake(Millis(0))), (None, Some(Millis(5_000))));
    book.want(&key("edge-0"), cluster("live", 1), Millis(700));
    assert_eq!(write(&mut book, 700).as_deref(), Some("edge-0"));
    assert_eq!(book.waiting(), 0);
}

#[test]
fn what_turned_back_in_time_is_not_written() {
    let mut book = Book::new(PACE, Millis(0));
    book.see(&key("a"), seen(7, cluster("live", 3)));
    book.want(&key("a"), cluster("connecting", 3), Millis(0));
    book.want(&key("a"), cluster("live", 3), Millis(900));
    assert_eq!((book.waiting(), write(&mut book, 9_000)), (0, None));
}

#[test]
fn an_older_sighting_than_our_own_write_changes_nothing() {
    let mut book = book(1);
    book.want(&key("edge-0"), cluster("live", 1), Millis(0));
    let written = book.next(Millis(0)).expect("it is due");
    book.wrote(&written.key, 9, Millis(0));
    book.see(&key("edge-0"), seen(8, empty()));
    book.want(&key("edge-0"), cluster("live", 1), Millis(10));
    assert_eq!(book.waiting(), 0);
    // Somebody else's hand, on the other hand, is put right.
    book.see(&key("edge-0"), seen(12, cluster("live", 77)));
    book.want(&key("edge-0"), cluster("live", 1), Millis(20));
    assert_eq!(book.waiting(), 1);
}

#[test]
fn what_changes_while_it_is_written_is_written_after() {
    let mut book = book(1);
    book.want(&key("edge-0"), cluster("live", 1), Millis(0));
    let written = book.next(Millis(0)).expect("it is due");
    book.want(&key("edge-0"), cluster("disconnected", 1), Millis(1));
    assert_eq!(book.next(Millis(1)), None, "one write of an object at a time");
    book.wrote(&written.key, 2, Millis(2));
    assert_eq!(book.wake(Millis(2)), Some(Millis(5_002)));
    assert_eq!(book.next(Millis(5_002)).map(|write| write.patch), Some(json!({"connection": "disconnected"})));
}

#[test]
fn an_api_server_that_is_away_is_asked_ever_more_seldom_and_nothing_is_lost() {
    let mut book = book(3);
    (0..3).for_each(|index| book.want(&key(&format!("edge-{index}")), cluster("live", 1), Millis(0)));
    let (mut now, mut waits) = (0, Vec::new());
    for _ in 0..9 {
        let write = book.next(Millis(now)).expect("it is due");
        book.failed(&write.key, WriteFailure::Away, Millis(now));
        assert_eq!((book.next(Millis(now)), book.waiting()), (None, 3));
        let wake = book.wake(Millis(now)).expect("it will be tried again").0;
        waits.push((wake - now) / 1000);
        now = wake;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    let write = book.next(Millis(now)).expect("it is due");
    book.wrote(&write.key, 2, Millis(now));
    assert!(book.next(Millis(now)).is_some(), "once it answers, it is asked at the rate again");
}

#[test]
fn objects_that_are_gone_or_others_are_forgotten_or_seen_anew() {
    let mut book = book(2);
    book.want(&key("edge-0"), cluster("live", 1), Millis(0));
    let write = book.next(Millis(0)).expect("it is due");
    book.failed(&write.key, WriteFailure::Gone, Millis(0));
    book.want(&key("edge-0"), cluster("live", 1), Millis(1));
    assert_eq!((book.waiting(), book.sightings().count()), (0, 1));

    book.want(&key("edge-1"), cluster("live", 1), Millis(1));
    let write = book.next(Millis(1)).expect("it is due");
    let again = Sighting { object: "two".into(), ..seen(3, empty()) };
    book.see(&key("edge-1"), again);
    book.failed(&write.key, WriteFailure::Conflict, Millis(2));
    assert_eq!(book.waiting(), 0, "what was meant for the one object is not written to the other");
    book.want(&key("edge-1"), cluster("live", 1), Millis(300));
    assert_eq!(book.next(Millis(300)).map(|write| write.object), Some("two".into()));
}

#[test]
fn what_is_refused_is_not_tried_at_once() {
    let mut book = book(1);
    book.want(&key("edge-0"), cluster("live", 1), Millis(0));
    let write = book.next(Millis(0)).expect("it is due");
    book.failed(&write.key, WriteFailure::Refused, Millis(0));
    book.want(&key("edge-0"), cluster("live", 2), Millis(10));
    assert_eq!(book.wake(Millis(10)), Some(Millis(60_000)));
}

#[test]
fn patches_name_what_goes() {
    let from = Status::ManagedCluster(ClusterStatus {
        connection: "live".into(),
        health: [("ready".to_owned(), 3), ("failing".to_owned(), 1)].into(),
        last_seen_time: Some("2026-01-01T00:00:00Z".into()),
        ..ClusterStatus::default()
    });
    let to = Status::ManagedCluster(ClusterStatus {
        connection: "live".into(),
        health: [("ready".to_owned(), 4)].into(),
        ..ClusterStatus::default()
    });
    let mut book = Book::new(PACE, Millis(0));
    book.see(&key("a"), seen(7, from));
    book.want(&key("a"), to, Millis(0));
    let write = book.next(Millis(0)).expect("it is due");
    assert_eq!(write.patch, json!({"health": {"ready": 4, "failing": null}, "lastSeenTime": null}));
}
