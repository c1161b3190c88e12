//! Large transactions that are cut short by a crash.

use super::*;

fn large(count: usize) -> Transaction {
    let puts = (0..count).map(|n| Write::put(format!("l/{n:05}"), format!("{n}")));
    let writes = puts.chain([Write::delete("l/old"), Write::put("position", "2")]).collect();
    Transaction { compares: vec![Compare::ValueEquals("position".into(), "1".into())], writes }
}

/// Commits a large transaction and dies before any of it is carried out.
async fn commit_and_die(options: EtcdOptions, transaction: &Transaction) -> Revision {
    let store = connect(options).await.unwrap();
    let mut writer = store.inner.writer.lock().await;
    let parts = store.inner.stage(transaction).await.unwrap();
    assert_eq!(store.inner.settle(&mut writer).await.unwrap(), None);
    let step = store.inner.attempt(&mut writer, transaction, [7; 16], None, Some(&parts)).await.unwrap();
    let transact::Step::Committed(at) = step else { panic!("committed") };
    wire::revision(at)
}

async fn has_chunks(store: &EtcdStore) -> bool {
    let chunks = store.inner.raw_pages(&store.inner.names.all_chunks(), 0, true).await.unwrap();
    !chunks.is_empty()
}

#[tokio::test]
async fn what_is_committed_is_there_before_it_is_carried_out_and_after() {
    let etcd = TestEtcd::shared();
    let mine = etcd.options();
    let store = connect(EtcdOptions { process: "hub-1".to_owned(), ..mine.clone() }).await.unwrap();
    commit(&store, vec![Write::put("position", "1"), Write::put("l/old", "old"), Write::put("l/00003", "old")]).await;
    let start = store.range(b"").await.unwrap();
    let mut watch = store.watch(b"", start.revision).await.unwrap();
    let at = commit_and_die(mine.clone(), &large(1000)).await;

    // Nothing is carried out, and every way of reading shows all of it.
    let range = store.range(b"").await.unwrap();
    assert_eq!(range.entries.len(), 1001);
    assert!(range.entries.iter().all(|entry| entry.modified == at));
    assert_eq!(range.entries[3].created, start.entries[0].created);
    assert_eq!(store.get(b"l/00999").await.unwrap().unwrap().value, "999");
    assert_eq!(store.get(b"l/00003").await.unwrap().unwrap().value, "3");
    assert_eq!(store.get(b"l/old").await.unwrap(), None);
    assert_eq!(store.range(b"l/0099").await.unwrap().entries.len(), 10);
    let Watched::Events { revision, events } = next(&mut *watch).await else { panic!("events") };
    assert_eq!((revision, events.len()), (at, 1002));
    let mut from_here = store.watch(b"", range.revision).await.unwrap();

    // The next writer helps first.
    let after = commit(&store, vec![Write::put("l/00001", "after")]).await;
    assert_eq!(count(&store, "").await, 1001);
    assert!(!has_chunks(&store).await);
    for watch in [&mut watch, &mut from_here] {
        let Watched::Events { revision, events } = next(&mut **watch).await else { panic!("events") };
        assert_eq!((revision, events.len()), (after, 1), "its steps are told to nobody");
    }
}

#[tokio::test]
async fn many_helpers_carry_it_out_once() {
    let etcd = TestEtcd::shared();
    let mine = etcd.options();
    let names = ["hub-1", "hub-2", "hub-3"];
    let stores = names.map(|process| connect(EtcdOptions { process: process.to_owned(), ..mine.clone() }));
    let stores = futures::future::try_join_all(stores).await.unwrap();
    commit(&stores[0], vec![Write::put("position", "1")]).await;
    let at = commit_and_die(mine, &large(2000)).await;
    let writes = stores.iter().zip(names).map(|(store, name)| commit(store, vec![Write::put("l/00000", name)]));
    let last = futures::future::join_all(writes).await.into_iter().max().unwrap();
    assert!(last > at);
    let range = stores[0].range(b"l/").await.unwrap();
    assert_eq!(range.entries.len(), 2000);
    assert!(range.entries[0].value.starts_with(b"hub-"), "a late helper does not bring back what was there before");
    assert!(!has_chunks(&stores[0]).await);
}

#[tokio::test]
async fn parts_that_were_never_committed_are_swept_away() {
    let etcd = TestEtcd::shared();
    let mine = etcd.options();
    let store = connect(mine.clone()).await.unwrap();
    commit(&store, vec![Write::put("position", "1")]).await;
    let parts = store.inner.stage(&large(500)).await.unwrap();
    store.inner.sweep().await.unwrap();
    assert!(has_chunks(&store).await, "they may still be committed");
    assert_eq!(count(&store, "").await, 1, "and show nowhere");
    // The crashed process's lease ends.
    store.inner.revoke_lease(parts.lease).await.unwrap();
    let store = connect(mine).await.unwrap();
    assert!(!has_chunks(&store).await);
    assert!(store.transact(large(500)).await.is_ok_and(|outcome| matches!(outcome, Outcome::Committed(_))));
}

#[tokio::test]
async fn parts_that_were_swept_away_cannot_be_committed() {
    let etcd = TestEtcd::shared();
    let store = etcd.store().await;
    commit(&store, vec![Write::put("position", "1")]).await;
    let transaction = large(500);
    let parts = store.inner.stage(&transaction).await.unwrap();
    store.inner.revoke_lease(parts.lease).await.unwrap();
    store.inner.sweep().await.unwrap();
    let mut writer = store.inner.writer.lock().await;
    let step = store.inner.attempt(&mut writer, &transaction, [7; 16], None, Some(&parts)).await.unwrap();
    assert!(matches!(step, transact::Step::Again));
    drop(writer);
    assert_eq!(count(&store, "").await, 1);
}

#[tokio::test]
async fn fifty_thousand_writes_are_one_transaction() {
    let etcd = TestEtcd::shared();
    let store = etcd.store().await;
    commit(&store, vec![Write::put("position", "1")]).await;
    let mut watch = store.watch(b"l/", store.range(b"").await.unwrap().revision).await.unwrap();
    let started = Instant::now();
    assert!(matches!(store.transact(large(50_000)).await.unwrap(), Outcome::Committed(_)));
    println!("50,000 writes: {:.1} s", started.elapsed().as_secs_f64());
    assert!(matches!(next(&mut *watch).await, Watched::Events { events, .. } if events.len() == 50_000));
    assert_eq!(count(&store, "l/").await, 50_000);
}

#[tokio::test]
async fn a_large_transaction_under_an_ended_lease_is_refused_whole() {
    let etcd = TestEtcd::shared();
    let store = etcd.store().await;
    commit(&store, vec![Write::put("position", "1")]).await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let mut transaction = large(500);
    transaction.writes.push(Write::Put { key: "leased".into(), value: "v".into(), lease: Some(lease) });
    store.revoke(lease).await.unwrap();
    let refused = store.transact(transaction.clone()).await;
    assert!(matches!(refused, Err(StoreError::LeaseEnded(ended)) if ended == lease), "{refused:?}");
    assert_eq!(count(&store, "").await, 1);
    assert!(!has_chunks(&store).await);
}
