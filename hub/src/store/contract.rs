//! What every store does, told as tests that each implementation passes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use starling_model::Millis;

use super::etcd::testing::{Setup, TestEtcd};
use super::memory::MemoryStore;
use super::redb::RedbStore;
use super::{
    Compare, Event, MAX_COMPARES, MAX_VALUE_BYTES, Outcome, Revision, Store, StoreError, Transaction, Watch, Watched,
    Write,
};
use crate::ports::Clock;

/// A clock that a test moves.
#[derive(Default)]
pub(super) struct HandClock(AtomicU64);

/// A store to test, with whatever it stands on.
struct Subject {
    store: Arc<dyn Store>,
    ground: Ground,
}

/// What a store stands on, and what its leases follow.
enum Ground {
    Memory(Arc<HandClock>),
    File(Arc<HandClock>, #[expect(dead_code, reason = "it is removed when the test ends")] tempfile::TempDir),
    Etcd(Arc<TestEtcd>),
}

impl Subject {
    /// A second of a clock that a test moves; less where a test has to wait.
    fn second(&self) -> Duration {
        match &self.ground {
            Ground::Memory(_) | Ground::File(..) => Duration::from_secs(1),
            Ground::Etcd(_) => Duration::from_millis(300),
        }
    }

    async fn pass(&self, duration: Duration) {
        match &self.ground {
            Ground::Memory(clock) | Ground::File(clock, _) => clock.pass(duration),
            Ground::Etcd(_) => tokio::time::sleep(duration).await,
        }
    }
}

impl HandClock {
    pub(super) fn pass(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Millis {
        self.uptime()
    }

    fn uptime(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for HandClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandClock({})", self.uptime())
    }
}

fn in_memory() -> Subject {
    let clock = Arc::new(HandClock::default());
    let store = Arc::new(MemoryStore::empty(Arc::<HandClock>::clone(&clock)));
    Subject { store, ground: Ground::Memory(clock) }
}

fn in_a_file() -> Subject {
    let clock = Arc::new(HandClock::default());
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&directory.path().join("store.redb"), Arc::<HandClock>::clone(&clock)).unwrap();
    Subject { store: Arc::new(store), ground: Ground::File(clock, directory) }
}

async fn in_etcd(test: &str) -> Subject {
    // What others write counts as well, and what is compacted is lost to all of them.
    let is_alone = ["revisions_count_changes", "a_watch_that_fell_behind_is_told"].contains(&test);
    let etcd = if is_alone { TestEtcd::start(&Setup::default()) } else { TestEtcd::shared() };
    let store = etcd.store().await;
    Subject { store: Arc::new(store), ground: Ground::Etcd(etcd) }
}

macro_rules! contract {
    ($($test:ident),* $(,)?) => {
        mod memory { $(#[tokio::test] async fn $test() { super::$test(super::in_memory()).await; })* }
        mod redb { $(#[tokio::test] async fn $test() { super::$test(super::in_a_file()).await; })* }
        mod etcd {
            $(#[tokio::test] async fn $test() { super::$test(super::in_etcd(stringify!($test)).await).await; })*
        }
    };
}

contract!(
    a_range_is_ordered_and_bounded_by_its_prefix,
    a_transaction_is_whole_or_not_at_all,
    every_comparison_compares,
    revisions_count_changes,
    a_watch_tells_each_transaction_whole,
    a_watch_goes_on_where_a_range_ended,
    a_watch_that_fell_behind_is_told,
    a_watch_wakes,
    a_large_transaction_is_whole,
    a_lease_ends_its_keys,
    a_key_leaves_its_lease,
    limits_are_errors,
    writers_do_not_lose_updates,
);

async fn commit(store: &dyn Store, writes: Vec<Write>) -> Revision {
    match store.transact(Transaction { compares: vec![], writes }).await.unwrap() {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict => panic!("a transaction without comparisons has no conflict"),
    }
}

async fn outcome_of(store: &dyn Store, compare: Compare, write: Write) -> Outcome {
    store.transact(Transaction { compares: vec![compare], writes: vec![write] }).await.unwrap()
}

async fn value(store: &dyn Store, key: &str) -> Option<Bytes> {
    store.get(key.as_bytes()).await.unwrap().map(|entry| entry.value)
}

async fn next(watch: &mut dyn Watch) -> Watched {
    let next = tokio::time::timeout(Duration::from_secs(20), watch.next());
    next.await.expect("the watch tells something in time").unwrap()
}

fn keys(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| std::str::from_utf8(event.key()).unwrap()).collect()
}

async fn a_range_is_ordered_and_bounded_by_its_prefix(subject: Subject) {
    let store = &*subject.store;
    assert!(store.range(b"").await.unwrap().entries.is_empty());
    assert_eq!(store.any(b"").await.unwrap(), None);
    let revision = commit(store, ["b/1", "a/2", "a/1", "a", "a0"].map(|key| Write::put(key, key)).into()).await;
    let range = store.range(b"a/").await.unwrap();
    assert_eq!(range.revision, revision);
    assert_eq!(range.entries.iter().map(|entry| entry.value.as_ref()).collect::<Vec<_>>(), [b"a/1", b"a/2"]);
    assert_eq!(store.range(b"").await.unwrap().entries.len(), 5);
    assert!(store.any(b"a/").await.unwrap().is_some_and(|key| key.starts_with(b"a/")));
}

async fn a_transaction_is_whole_or_not_at_all(subject: Subject) {
    let store = &*subject.store;
    commit(store, vec![Write::put("a", "1")]).await;
    let transaction = Transaction {
        compares: vec![Compare::Exists("a".into()), Compare::Exists("missing".into())],
        writes: vec![Write::put("a", "2"), Write::delete("a2")],
    };
    assert_eq!(store.transact(transaction).await.unwrap(), Outcome::Conflict);
    assert_eq!(value(store, "a").await.unwrap(), "1");
    commit(store, vec![Write::put("b", "2"), Write::delete("a")]).await;
    assert_eq!((value(store, "a").await, value(store, "b").await), (None, Some("2".into())));
}

async fn every_comparison_compares(subject: Subject) {
    let store = &*subject.store;
    let at = commit(store, vec![Write::put("a", "1")]).await;
    let later = commit(store, vec![Write::put("b", "1")]).await;
    let (here, gone) = (|| b"a".to_vec(), || b"gone".to_vec());
    for (compare, holds) in [
        (Compare::Exists(here()), true),
        (Compare::Exists(gone()), false),
        (Compare::Absent(here()), false),
        (Compare::Absent(gone()), true),
        (Compare::ModifiedAt(here(), at), true),
        (Compare::ModifiedAt(here(), later), false),
        (Compare::ModifiedAt(gone(), Revision(0)), false),
        (Compare::ValueEquals(here(), "1".into()), true),
        (Compare::ValueEquals(here(), "2".into()), false),
        (Compare::ValueEquals(gone(), "".into()), false),
    ] {
        let outcome = outcome_of(store, compare.clone(), Write::put("c", "x")).await;
        assert_eq!(matches!(outcome, Outcome::Committed(_)), holds, "{compare:?}");
    }
}

async fn revisions_count_changes(subject: Subject) {
    let store = &*subject.store;
    let first = commit(store, vec![Write::put("a", "1"), Write::put("b", "1")]).await;
    let second = commit(store, vec![Write::put("a", "1")]).await;
    assert_eq!(second, Revision(first.0 + 1), "one transaction is one revision, also if it writes the same value");
    assert_eq!(commit(store, vec![Write::delete("missing")]).await, second, "what changes nothing has no revision");
    assert_eq!(commit(store, vec![]).await, second);
    let entry = store.get(b"a").await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified), (first, second));
    commit(store, vec![Write::delete("a")]).await;
    let again = commit(store, vec![Write::put("a", "1")]).await;
    assert_eq!(store.get(b"a").await.unwrap().unwrap().created, again);
}

async fn a_watch_tells_each_transaction_whole(subject: Subject) {
    let store = &*subject.store;
    let start = commit(store, vec![Write::put("w/0", "0")]).await;
    let mut watch = store.watch(b"w/", start).await.unwrap();
    let first = commit(store, vec![Write::put("w/1", "1"), Write::put("x", "1"), Write::delete("w/0")]).await;
    commit(store, vec![Write::put("x", "2")]).await;
    let third = commit(store, vec![Write::put("w/2", "2")]).await;
    let Watched::Events { revision, events } = next(&mut *watch).await else { panic!("events") };
    assert_eq!((revision, keys(&events)), (first, vec!["w/1", "w/0"]));
    assert!(
        matches!(&events[..], [Event::Put(put), Event::Delete { .. }] if put.value == "1" && put.modified == first)
    );
    let Watched::Events { revision, events } = next(&mut *watch).await else { panic!("events") };
    assert_eq!((revision, keys(&events)), (third, vec!["w/2"]));
}

async fn a_watch_goes_on_where_a_range_ended(subject: Subject) {
    let store = &*subject.store;
    for number in 0..10 {
        commit(store, vec![Write::put(format!("k/{number}"), "v")]).await;
    }
    let range = store.range(b"k/").await.unwrap();
    let after = commit(store, vec![Write::put("k/after", "v")]).await;
    let mut watch = store.watch(b"k/", range.revision).await.unwrap();
    assert!(matches!(next(&mut *watch).await, Watched::Events { revision, .. } if revision == after));
    assert_eq!(range.entries.len(), 10);
}

async fn a_watch_that_fell_behind_is_told(subject: Subject) {
    let store = &*subject.store;
    let mut watch = store.watch(b"", Revision(0)).await.unwrap();
    // Twenty times half a mebibyte is more than any implementation keeps of one key.
    let large = Bytes::from(vec![b'x'; MAX_VALUE_BYTES]);
    for _ in 0..40 {
        commit(store, vec![Write::put("k", large.clone())]).await;
    }
    if let Ground::Etcd(etcd) = &subject.ground {
        // etcd keeps what a watch has not taken yet; who comes too late is told.
        etcd.compact().await;
        watch = store.watch(b"", Revision(0)).await.unwrap();
    }
    assert_eq!(next(&mut *watch).await, Watched::Compacted);
    let range = store.range(b"").await.unwrap();
    let mut watch = store.watch(b"", range.revision).await.unwrap();
    let after = commit(store, vec![Write::put("k", "small")]).await;
    assert!(matches!(next(&mut *watch).await, Watched::Events { revision, .. } if revision == after));
}

async fn a_watch_wakes(subject: Subject) {
    let mut watch = subject.store.watch(b"k", Revision(0)).await.unwrap();
    let waiting = tokio::spawn(async move { next(&mut *watch).await });
    tokio::task::yield_now().await;
    commit(&*subject.store, vec![Write::put("other", "1")]).await;
    let at = commit(&*subject.store, vec![Write::put("k", "1")]).await;
    assert!(matches!(waiting.await.unwrap(), Watched::Events { revision, .. } if revision == at));
}

async fn a_lease_ends_its_keys(subject: Subject) {
    let (store, second) = (&*subject.store, subject.second());
    let lease = store.grant(10 * second).await.unwrap();
    let put = Write::Put { key: "leased".into(), value: "v".into(), lease: Some(lease) };
    let at = commit(store, vec![put, Write::put("kept", "v")]).await;
    let mut watch = store.watch(b"", at).await.unwrap();
    assert_eq!(store.get(b"leased").await.unwrap().unwrap().lease, Some(lease));
    subject.pass(7 * second).await;
    store.keep_alive(lease).await.unwrap();
    subject.pass(7 * second).await;
    assert!(value(store, "leased").await.is_some(), "it was kept alive");
    subject.pass(3 * second).await;
    assert!(matches!(next(&mut *watch).await, Watched::Events { events, .. } if keys(&events) == ["leased"]));
    assert!(value(store, "leased").await.is_none());
    assert!(value(store, "kept").await.is_some());
    assert!(matches!(store.keep_alive(lease).await, Err(StoreError::LeaseEnded(ended)) if ended == lease));
    let put = Write::Put { key: "late".into(), value: "v".into(), lease: Some(lease) };
    let late = store.transact(Transaction { compares: vec![], writes: vec![put] }).await;
    assert!(matches!(late, Err(StoreError::LeaseEnded(_))));
}

async fn a_key_leaves_its_lease(subject: Subject) {
    let store = &*subject.store;
    let (one, other) =
        (store.grant(Duration::from_secs(10)).await.unwrap(), store.grant(Duration::from_secs(10)).await.unwrap());
    let put = |key: &str, lease| Write::Put { key: key.into(), value: "v".into(), lease };
    commit(store, vec![put("a", Some(one)), put("b", Some(one)), put("c", Some(one))]).await;
    commit(store, vec![put("a", None), put("b", Some(other))]).await;
    store.revoke(one).await.unwrap();
    let left: Vec<Vec<u8>> = store.range(b"").await.unwrap().entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(left, [b"a", b"b"]);
    store.revoke(other).await.unwrap();
    store.revoke(other).await.unwrap();
    assert_eq!(store.range(b"").await.unwrap().entries.len(), 1);
}

async fn limits_are_errors(subject: Subject) {
    let store = &*subject.store;
    let transact = |writes| store.transact(Transaction { compares: vec![], writes });
    let whole = Bytes::from(vec![0; MAX_VALUE_BYTES]);
    commit(store, vec![Write::put("k", whole.clone())]).await;
    assert_eq!(value(store, "k").await.unwrap(), whole);
    let larger = Bytes::from(vec![0; MAX_VALUE_BYTES + 1]);
    let refused = transact(vec![Write::put("fine", "v"), Write::put("k", larger)]).await;
    assert!(matches!(refused, Err(StoreError::ValueTooLarge { bytes, .. }) if bytes == MAX_VALUE_BYTES + 1));
    assert!(matches!(transact(vec![Write::put("", "v")]).await, Err(StoreError::KeySize(0))));
    let twice = transact(vec![Write::put("fine", "v"), Write::delete("fine")]).await;
    assert!(matches!(twice, Err(StoreError::WrittenTwice(key)) if key == "fine"));
    assert!(value(store, "fine").await.is_none());
    let compares = vec![Compare::Absent("k".into()); MAX_COMPARES + 1];
    let many = store.transact(Transaction { compares, writes: vec![] }).await;
    assert!(matches!(many, Err(StoreError::TooManyCompares(_))));
}

async fn a_large_transaction_is_whole(subject: Subject) {
    let store = &*subject.store;
    commit(store, vec![Write::put("position", "1"), Write::put("l/old", "1"), Write::put("l/00007", "old")]).await;
    let start = store.range(b"").await.unwrap().revision;
    let (mut whole, mut part) =
        (store.watch(b"l/", start).await.unwrap(), store.watch(b"position", start).await.unwrap());

    let mut writes: Vec<Write> = (0..3000).map(|n| Write::put(format!("l/{n:05}"), vec![b'x'; 900])).collect();
    writes.push(Write::delete("l/old"));
    writes.push(Write::delete("l/missing"));
    writes.push(Write::put("position", "2"));
    let at = |position: &'static str| vec![Compare::ValueEquals("position".into(), position.into())];
    let refused = Transaction { compares: at("9"), writes: writes.clone() };
    assert_eq!(store.transact(refused).await.unwrap(), Outcome::Conflict);
    let committed = store.transact(Transaction { compares: at("1"), writes }).await.unwrap();
    let Outcome::Committed(revision) = committed else { panic!("committed") };

    let Watched::Events { revision: seen, events } = next(&mut *whole).await else { panic!("events") };
    let mut expected: Vec<String> = (0..3000).map(|n| format!("l/{n:05}")).collect();
    expected.push("l/old".to_owned());
    assert_eq!((seen, keys(&events)), (revision, expected.iter().map(String::as_str).collect()));
    assert!(matches!(&events[7], Event::Put(put) if put.created < revision && put.modified == revision));
    assert!(matches!(&events[8], Event::Put(put) if put.created == revision && put.value.len() == 900));
    let Watched::Events { revision: seen, events } = next(&mut *part).await else { panic!("events") };
    assert_eq!((seen, keys(&events)), (revision, vec!["position"]));

    let range = store.range(b"").await.unwrap();
    assert_eq!(range.entries.len(), 3001);
    assert!(range.revision >= revision);
    assert_eq!(
        store.get(b"position").await.unwrap().unwrap().modified,
        revision,
        "what is compared keeps its revision"
    );
    let after = commit(store, vec![Write::put("l/00001", "after")]).await;
    assert!(matches!(next(&mut *whole).await, Watched::Events { revision, .. } if revision == after));

    let all = (0..3000).map(|n| Write::delete(format!("l/{n:05}"))).collect();
    let emptied = commit(store, all).await;
    let Watched::Events { revision: seen, events } = next(&mut *whole).await else { panic!("events") };
    assert_eq!((seen, events.len()), (emptied, 3000));
    assert_eq!(store.range(b"").await.unwrap().entries.len(), 1);
}

async fn writers_do_not_lose_updates(subject: Subject) {
    commit(&*subject.store, vec![Write::put("counter", "0")]).await;
    let writers = (0..4).map(|_| {
        let store = Arc::clone(&subject.store);
        tokio::spawn(async move {
            for _ in 0..5 {
                loop {
                    let entry = store.get(b"counter").await.unwrap().unwrap();
                    let count: u32 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                    let compare = Compare::ModifiedAt("counter".into(), entry.modified);
                    let write = Write::put("counter", (count + 1).to_string());
                    if matches!(outcome_of(&*store, compare, write).await, Outcome::Committed(_)) {
                        break;
                    }
                }
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    assert_eq!(value(&*subject.store, "counter").await.unwrap(), "20");
}
