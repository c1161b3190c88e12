//! What only a store over etcd can get wrong. What every store does is in the contract.

use std::time::{Duration, Instant};

use super::testing::{Setup, TestEtcd, connect, options};
use super::*;
use crate::store::{Compare, Event, Watched, Write};

mod faults;
mod large;
mod proxy;
mod refused;

async fn commit(store: &EtcdStore, writes: Vec<Write>) -> Revision {
    match store.transact(Transaction { compares: vec![], writes }).await.unwrap() {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict => panic!("nothing was compared"),
    }
}

async fn next(watch: &mut dyn Watch) -> Watched {
    let next = tokio::time::timeout(Duration::from_secs(30), watch.next());
    next.await.expect("the watch tells something in time").unwrap()
}

async fn count(store: &EtcdStore, prefix: &str) -> usize {
    store.range(prefix.as_bytes()).await.unwrap().entries.len()
}

#[tokio::test]
async fn prefixes_are_worlds_apart() {
    let etcd = TestEtcd::shared();
    let (mine, others) = (etcd.store().await, etcd.store().await);
    let start = commit(&mine, vec![Write::put("k", "mine")]).await;
    let mut watch = mine.watch(b"", start).await.unwrap();
    commit(&others, vec![Write::put("k", "others"), Write::put("l", "others")]).await;
    assert_eq!(count(&mine, "").await, 1);
    assert_eq!(mine.get(b"k").await.unwrap().unwrap().value, "mine");
    let at = commit(&mine, vec![Write::delete("k")]).await;
    assert_eq!(
        next(&mut *watch).await,
        Watched::Events { revision: at, events: vec![Event::Delete { key: "k".into() }] }
    );
    assert_eq!(count(&others, "").await, 2);
}

#[tokio::test]
async fn processes_write_side_by_side_and_one_name_twice_is_no_damage() {
    let etcd = TestEtcd::shared();
    let mine = etcd.options();
    let stores = ["hub-0", "hub-1", "hub-1"].map(|process| EtcdOptions { process: process.to_owned(), ..mine.clone() });
    let stores = futures::future::try_join_all(stores.map(connect)).await.unwrap();
    let writers = stores.iter().enumerate().map(|(number, store)| async move {
        for n in 0..20 {
            commit(store, vec![Write::put(format!("{number}/{n}"), "v")]).await;
        }
    });
    futures::future::join_all(writers).await;
    assert_eq!(count(&stores[0], "").await, 60);
    assert!(stores[0].range(b"starling/v1/writer/").await.unwrap().entries.is_empty(), "own keys stay inside");
}

#[tokio::test]
async fn a_range_has_as_many_pages_as_it_takes() {
    let etcd = TestEtcd::shared();
    let store = etcd.store().await;
    for part in 0..3 {
        let large = bytes::Bytes::from(vec![part; crate::store::MAX_VALUE_BYTES]);
        let large = (0..8).map(|n| Write::put(format!("z/{part}/{n}"), large.clone()));
        let small = (0..2000).map(|n| Write::put(format!("a/{part}/{n:05}"), "small"));
        commit(&store, small.chain(large).collect()).await;
    }
    let range = store.range(b"").await.unwrap();
    assert_eq!(range.entries.len(), 3 * 2008);
    assert!(range.entries.is_sorted_by(|one, other| one.key < other.key));
    assert!(range.entries.iter().filter(|entry| entry.key[0] == b'z').all(|entry| entry.value.len() == 512 * 1024));
}
