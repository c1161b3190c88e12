use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ports::SystemClock;
use crate::store::etcd::testing::TestEtcd;
use crate::store::memory::MemoryStore;

fn memory() -> MemoryStore {
    MemoryStore::empty(Arc::new(SystemClock))
}

async fn put(store: &dyn Store, writes: Vec<Write>) {
    assert!(matches!(store.transact(Transaction { compares: vec![], writes }).await.unwrap(), Outcome::Committed(_)));
}

/// A store of a fleet: two records, a position, and what belongs to processes that run.
async fn fleet(name: &str) -> MemoryStore {
    let store = memory();
    keys::ensure_format(&store, name).await.unwrap();
    let key = |rest: &str| format!("starling/v1/{rest}");
    put(
        &store,
        vec![
            Write::put(keys::POSITION, "77"),
            Write::put(keys::RING, r#"{"epoch":3,"members":[]}"#),
            Write::put(key("summary/hub-0/1"), "[]"),
            Write::put(keys::STEWARD, "hub-0"),
            Write::put(key("member/hub-0"), "m"),
            Write::put(key("hold"), "h"),
        ],
    )
    .await;
    store
}

#[tokio::test]
async fn a_store_moves_from_any_kind_to_any_and_again_changes_nothing() {
    let server = TestEtcd::shared();
    let (source, etcd, back) = (fleet("lab").await, server.store().await, memory());
    let content = Content::of(&source, "lab", false).await.unwrap();
    assert_eq!(content.summary().to_string(), "fleet lab, before its first era, position 77, 5 records");
    assert_eq!(content.write_into(&etcd).await.unwrap(), Written::Now);
    assert_eq!(content.write_into(&etcd).await.unwrap(), Written::Before);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lab.store");
    Content::of(&etcd, "lab", false).await.unwrap().into_file(&file).unwrap();
    let read = Content::from_file(&file).unwrap();
    assert_eq!(read, content);
    assert_eq!(read.write_into(&back).await.unwrap(), Written::Now);
    keys::ensure_format(&back, "lab").await.unwrap();
    let position = back.get(keys::POSITION.as_bytes()).await.unwrap().unwrap().value;
    assert_eq!(keys::decode_record(keys::POSITION.as_bytes(), &position).unwrap(), Record::Position(Position(77)));
    assert!(back.get(keys::STEWARD.as_bytes()).await.unwrap().is_none(), "a process does not move");
}

#[tokio::test]
async fn thousands_of_records_move_whole() {
    let server = TestEtcd::shared();
    let (source, etcd) = (fleet("lab").await, server.store().await);
    // Spaces around it change no JSON.
    let large = format!("[]{}", " ".repeat(500));
    let writes = (0..4000).map(|n| Write::put(format!("starling/v1/summary/hub-0/{n:05}"), large.clone()));
    put(&source, writes.collect()).await;
    let content = Content::of(&source, "lab", false).await.unwrap();
    assert_eq!(content.write_into(&etcd).await.unwrap(), Written::Now);
    assert_eq!(Content::of(&etcd, "lab", false).await.unwrap(), content);
}

#[tokio::test]
async fn what_is_there_is_not_overwritten() {
    let content = Content::of(&fleet("lab").await, "lab", false).await.unwrap();
    let gone_on = fleet("lab").await;
    put(&gone_on, vec![Write::put(keys::POSITION, "78")]).await;
    let refused = content.write_into(&gone_on).await.unwrap_err().to_string();
    assert!(refused.contains("position 78") && refused.contains("position 77"), "{refused}");

    let others = content.write_into(&fleet("prod").await).await.unwrap_err();
    assert!(matches!(others, TransferError::Store(StoreError::OtherFleet { .. })), "{others}");
    let foreign = memory();
    put(&foreign, vec![Write::put("registry/pods/a", "v")]).await;
    let refused = content.write_into(&foreign).await.unwrap_err();
    assert!(matches!(refused, TransferError::Store(StoreError::Foreign(_))), "{refused}");
    assert_eq!(foreign.range(b"").await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn a_store_that_is_used_is_backed_up_but_not_moved() {
    let store = fleet("lab").await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let member = Write::Put { key: "starling/v1/member/hub-0".into(), value: "m".into(), lease: Some(lease) };
    put(&store, vec![member]).await;
    let refused = Content::of(&store, "lab", false).await.unwrap_err();
    assert!(matches!(&refused, TransferError::InUse(process) if process == "hub-0"), "{refused}");
    assert_eq!(Content::of(&store, "lab", true).await.unwrap().summary().records, 5);
    assert!(matches!(Content::of(&memory(), "lab", false).await, Err(TransferError::Empty)));
    assert!(matches!(
        Content::of(&store, "prod", true).await,
        Err(TransferError::Store(StoreError::OtherFleet { .. }))
    ));
}
