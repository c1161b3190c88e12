use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::ports::SystemClock;
use crate::store::{Outcome, Store as _, Transaction, Write};

/// A file on a disk of limited size.
#[derive(Clone, Debug)]
struct LimitedDisk {
    file: LockedFile,
    bytes: Arc<AtomicU64>,
}

impl LimitedDisk {
    fn check(&self, end: u64) -> io::Result<()> {
        if end <= self.bytes.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"))
        }
    }
}

impl StorageBackend for LimitedDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(len)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(offset + data.len() as u64)?;
        self.file.write(offset, data)
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

async fn put(store: &RedbStore, key: String, value: &[u8]) -> Result<Outcome, StoreError> {
    store.transact(Transaction { compares: vec![], writes: vec![Write::put(key, value.to_vec())] }).await
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_writing_goes_on_when_there_is_space() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let (file, bytes) = (LockedFile::open(&path).unwrap(), Arc::new(AtomicU64::new(16 << 20)));
    let disk = LimitedDisk { file, bytes: Arc::clone(&bytes) };
    let store = RedbStore::open_with(&path, move || disk.clone(), clock()).unwrap();
    let mut watch = store.watch(b"", Revision(0)).await.unwrap();

    let value = vec![b'x'; 300_000];
    let mut acknowledged = 0;
    let refused = loop {
        assert!(acknowledged < 100, "the disk is full before");
        match put(&store, format!("k/{acknowledged:03}"), &value).await {
            Ok(Outcome::Committed(_)) => acknowledged += 1,
            Ok(Outcome::Conflict) => panic!("nothing was compared"),
            Err(error) => break error,
        }
    };
    assert!(refused.retry_helps(), "{refused}");
    assert!(acknowledged > 3);
    assert!(put(&store, "k/again".into(), &value).await.is_err(), "the disk is still full");
    assert_eq!(store.range(b"k/").await.unwrap().entries.len(), acknowledged);

    bytes.store(u64::MAX, Ordering::SeqCst);
    let Outcome::Committed(revision) = put(&store, "k/after".into(), &value).await.unwrap() else {
        panic!("committed")
    };
    let range = store.range(b"k/").await.unwrap();
    assert_eq!((range.revision, range.entries.len()), (revision, acknowledged + 1));
    for _ in 0..=acknowledged {
        assert!(matches!(watch.next().await.unwrap(), crate::store::Watched::Events { .. }));
    }
    drop((store, watch));
    let store = RedbStore::open(&path, clock()).unwrap();
    assert_eq!(store.range(b"k/").await.unwrap().entries.len(), acknowledged + 1);
}

#[tokio::test]
async fn a_restart_keeps_everything_but_leases() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = RedbStore::open(&path, clock()).unwrap();
    let lease = store.grant(std::time::Duration::from_secs(3600)).await.unwrap();
    let leased = Write::Put { key: "leased".into(), value: "v".into(), lease: Some(lease) };
    let transaction = Transaction { compares: vec![], writes: vec![Write::put("kept", "v"), leased] };
    let Outcome::Committed(before) = store.transact(transaction).await.unwrap() else { panic!("committed") };
    drop(store);

    let store = RedbStore::open(&path, clock()).unwrap();
    let range = store.range(b"").await.unwrap();
    assert_eq!(range.entries.iter().map(|entry| entry.key.as_slice()).collect::<Vec<_>>(), [b"kept"]);
    assert_eq!(range.revision, Revision(before.0 + 1));
    let mut stale = store.watch(b"", before).await.unwrap();
    assert_eq!(stale.next().await.unwrap(), crate::store::Watched::Compacted);
}

#[test]
fn a_second_hub_is_told_whose_file_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let first = RedbStore::open(&path, clock()).unwrap();
    let refused = RedbStore::open(&path, clock()).err().unwrap();
    assert!(matches!(&refused, StoreError::InUse(file) if *file == path));
    assert!(refused.to_string().contains("store.redb is in use"), "{refused}");
    drop(first);
    RedbStore::open(&path, clock()).unwrap();
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let text = "apiVersion: v1\n".repeat(1000);
    std::fs::write(&path, &text).unwrap();
    let refused = RedbStore::open(&path, clock()).err().unwrap();
    assert!(matches!(refused, StoreError::Unusable { .. }), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_layout_of_another_build_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    drop(RedbStore::open(&path, clock()).unwrap());
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("layout", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = RedbStore::open(&path, clock()).err().unwrap();
    assert!(refused.to_string().contains("layout 2"), "{refused}");
}

#[tokio::test]
async fn a_deleted_file_takes_no_more_commits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = RedbStore::open(&path, clock()).unwrap();
    let _ = put(&store, "before".into(), b"v").await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let refused = put(&store, "after".into(), b"v").await.unwrap_err();
    assert!(refused.to_string().contains("deleted"), "{refused}");
}
