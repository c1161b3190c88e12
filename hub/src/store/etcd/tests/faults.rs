//! Endpoints that die, answers that are lost, disks that are full, an etcd that was restored.

use super::proxy::{Mode, Proxy};
use super::*;

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_and_nothing_happens_twice() {
    let etcd = TestEtcd::shared();
    let proxy = Proxy::start(&etcd.urls()[0]).await;
    let mut mine = etcd.options();
    mine.endpoints = vec![proxy.url.clone()];
    let store = connect(mine).await.unwrap();
    for round in 0..5 {
        let key = format!("k/{round}");
        proxy.set(Mode::LoseAnswers);
        let before = proxy.lost();
        let create = Transaction {
            compares: vec![Compare::Absent(key.clone().into())],
            writes: vec![Write::put(key.clone(), "v")],
        };
        let (outcome, ()) = tokio::join!(store.transact(create), async {
            while proxy.lost() == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            proxy.set(Mode::Pass);
        });
        let entry = store.get(key.as_bytes()).await.unwrap().unwrap();
        assert_eq!(outcome.unwrap(), Outcome::Committed(entry.modified), "round {round}");
        assert_eq!(entry.created, entry.modified);
    }
    assert!(proxy.lost() >= 5);
}

#[tokio::test]
async fn a_request_that_arrives_after_its_sender_was_told_of_a_conflict_does_nothing() {
    let etcd = TestEtcd::shared();
    let proxy = Proxy::start(&etcd.urls()[0]).await;
    let direct = etcd.options();
    let (mut mine, mut others) = (direct.clone(), direct);
    mine.endpoints.insert(0, proxy.url.clone());
    others.process = "hub-1".to_owned();
    let (mine, others) = (connect(mine).await.unwrap(), connect(others).await.unwrap());
    commit(&others, vec![Write::put("k", "others")]).await;
    // So that what is held is the transaction itself, and not a look at the process's own key before it.
    commit(&mine, vec![Write::put("l", "mine")]).await;

    proxy.set(Mode::Hold);
    let create = Transaction { compares: vec![Compare::Absent("k".into())], writes: vec![Write::put("k", "mine")] };
    assert_eq!(mine.transact(create).await.unwrap(), Outcome::Conflict);
    commit(&others, vec![Write::delete("k")]).await;
    // Now it would hold.
    proxy.set(Mode::Pass);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(others.get(b"k").await.unwrap(), None);
}

#[tokio::test]
async fn what_was_in_doubt_is_settled_by_the_next_transaction() {
    let etcd = TestEtcd::start(&Setup::default());
    let store = etcd.store().await;
    commit(&store, vec![Write::put("k", "1")]).await;
    etcd.kill(0);
    let started = Instant::now();
    let write = Transaction { compares: vec![], writes: vec![Write::put("k", "2")] };
    let refused = store.transact(write).await.unwrap_err();
    assert!(refused.retry_helps() && refused.to_string().contains(&etcd.urls()[0]), "{refused}");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    etcd.restart(0);
    commit(&store, vec![Write::put("l", "3")]).await;
    let at = store.get(b"k").await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(store.get(b"k").await.unwrap().unwrap(), at, "nothing comes later");
}

#[tokio::test]
async fn members_die_and_pause_and_the_store_goes_on() {
    let etcd = TestEtcd::start(&Setup { members: 3, ..Setup::default() });
    let store = etcd.store().await;
    let start = commit(&store, vec![Write::put("k", "0")]).await;
    let mut watch = store.watch(b"", start).await.unwrap();
    let lease = store.grant(Duration::from_secs(30)).await.unwrap();
    let mut expected = Vec::new();
    for round in 0..3 {
        let used = store.inner.endpoints.index();
        if round == 2 {
            etcd.pause(used);
        } else {
            etcd.kill(used);
        }
        let started = Instant::now();
        expected.push(commit(&store, vec![Write::put("k", format!("{round}"))]).await);
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
        store.keep_alive(lease).await.unwrap();
        let Watched::Events { revision, .. } = next(&mut *watch).await else { panic!("events") };
        assert_eq!(revision, expected[round]);
        if round < 2 {
            etcd.restart(used);
        }
    }
}

#[tokio::test]
async fn a_watch_outlives_etcd_and_hears_everything_once() {
    let etcd = TestEtcd::start(&Setup::default());
    let store = etcd.store().await;
    let mut watch = store.watch(b"", Revision(0)).await.unwrap();
    for round in 0..3 {
        let first = commit(&store, vec![Write::put("k", format!("{round}"))]).await;
        assert!(matches!(next(&mut *watch).await, Watched::Events { revision, .. } if revision == first));
        etcd.kill(0);
        etcd.restart(0);
        let second = commit(&store, vec![Write::put("k", format!("{round} again"))]).await;
        assert!(matches!(next(&mut *watch).await, Watched::Events { revision, .. } if revision == second));
    }
    etcd.kill(0);
    let gone = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap();
    assert!(gone.is_err_and(|error| error.retry_helps()));
    etcd.restart(0);
    let last = commit(&store, vec![Write::put("k", "last")]).await;
    assert!(matches!(next(&mut *watch).await, Watched::Events { revision, .. } if revision == last), "asked again");
}

#[tokio::test]
async fn a_watch_that_is_ahead_of_a_restored_etcd_does_not_wait_for_ever() {
    let etcd = TestEtcd::start(&Setup::default());
    let store = etcd.store().await;
    let mut at = Revision(0);
    for n in 0..20 {
        at = commit(&store, vec![Write::put("k", format!("{n}"))]).await;
    }
    let mut watch = store.watch(b"", at).await.unwrap();
    let waiting = tokio::spawn(async move { next(&mut *watch).await });
    etcd.wipe(0);
    assert_eq!(waiting.await.unwrap(), Watched::Compacted);
    let mut watch = store.watch(b"", at).await.unwrap();
    assert_eq!(next(&mut *watch).await, Watched::Compacted);
    // What this process knows of its own key is of the old one.
    commit(&store, vec![Write::put("k", "new")]).await;
}

#[tokio::test]
async fn a_watch_of_a_restored_etcd_that_wrote_more_since_than_it_lost_does_not_go_on() {
    let etcd = TestEtcd::start(&Setup::default());
    let store = etcd.store().await;
    let mut watch = store.watch(b"", Revision(0)).await.unwrap();
    let at = commit(&store, vec![Write::put("k", "lost")]).await;
    assert!(matches!(next(&mut *watch).await, Watched::Events { revision, .. } if revision == at));
    etcd.wipe(0);
    // The other history has a cluster of the same identity, and comes past what was heard before the watch is there again.
    let other = etcd.store().await;
    while commit(&other, vec![Write::put("k", "other")]).await <= at {}
    assert_eq!(next(&mut *watch).await, Watched::Compacted);
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_writing_goes_on_when_there_is_space() {
    let etcd = TestEtcd::start(&Setup { arguments: &["--quota-backend-bytes", "16777216"], ..Setup::default() });
    let store = etcd.store().await;
    let value = bytes::Bytes::from(vec![b'x'; 300_000]);
    let put = |key: String| Transaction { compares: vec![], writes: vec![Write::put(key, value.clone())] };
    let mut acknowledged = 0;
    let refused = loop {
        // etcd learns how much it stores when it writes to its disk, ten times a second and later on a busy one.
        assert!(acknowledged < 2000, "the disk is full before");
        match store.transact(put(format!("k/{acknowledged:03}"))).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(refused.retry_helps() && refused.to_string().contains("alarm disarm"), "{refused}");
    assert!(acknowledged > 3);
    assert!(store.transact(put("k/again".to_owned())).await.is_err());
    assert_eq!(count(&store, "k/").await, acknowledged);

    etcd.make_space("/").await;
    let Outcome::Committed(_) = store.transact(put("after".to_owned())).await.unwrap() else { panic!("committed") };
    assert_eq!(count(&store, "").await, 1);
}
