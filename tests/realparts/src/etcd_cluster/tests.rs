use serde_json::json;

use super::*;

fn start(folder: &Path, options: &EtcdClusterOptions) -> EtcdCluster {
    let programs = Programs::ensure(&[Program::Etcd]).unwrap();
    EtcdCluster::start(&programs, folder, options).unwrap()
}

#[test]
fn serves_with_a_majority_and_not_without_and_a_restore_brings_the_past_back() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = start(folder.path(), &EtcdClusterOptions::default());
    assert_eq!(etcd.endpoints().len(), 3);
    administration::put(&etcd, "a", "1").unwrap();
    let backup = etcd.backup("yesterday").unwrap();
    let before = etcd.revision().unwrap();
    administration::put(&etcd, "a", "2").unwrap();
    assert_eq!(etcd.revision().unwrap(), before + 1);

    let leader = etcd.leader().unwrap();
    let follower = (leader + 1) % 3;
    etcd.kill9(leader).unwrap();
    etcd.wait_majority().unwrap();
    etcd.pause(follower).unwrap();
    assert!(etcd.members[(leader + 2) % 3].ask_health().is_err(), "one of three is no majority");
    etcd.resume(follower).unwrap();
    etcd.restart(leader).unwrap();
    etcd.wait_all().unwrap();
    assert_eq!(administration::get(&etcd, "a").unwrap().as_deref(), Some("2"));

    assert_eq!(etcd.compact().unwrap(), before + 1);
    etcd.restore(&backup).unwrap();
    assert_eq!(administration::get(&etcd, "a").unwrap().as_deref(), Some("1"));
    assert_eq!(etcd.revision().unwrap(), before);
}

#[test]
fn asks_for_certificates_and_passwords_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let password = Some("of the root".to_owned());
    let options = EtcdClusterOptions { members: 1, tls: true, password, ..EtcdClusterOptions::default() };
    let etcd = start(folder.path(), &options);
    assert!(etcd.endpoints()[0].starts_with("https://"));
    assert!(etcd.client_files().unwrap().certificate.is_file());
    let (user, file) = etcd.user().unwrap();
    assert_eq!((user, std::fs::read_to_string(file).unwrap().as_str()), ("root", "of the root"));
    administration::put(&etcd, "a", "1").unwrap();
    let refused = administration::post(&etcd, None, "kv/range", &json!({ "key": "YQ==" })).unwrap_err();
    assert!(refused.to_string().contains("user name is empty"), "{refused}");
    etcd.restart(0).unwrap();
    assert_eq!(administration::get(&etcd, "a").unwrap().as_deref(), Some("1"));
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let options = EtcdClusterOptions { members: 1, quota_bytes: Some(2 << 20), ..EtcdClusterOptions::default() };
    let etcd = start(folder.path(), &options);
    let big = "x".repeat(256 << 10);
    let refused = (0..64).find_map(|_| administration::put(&etcd, "a", &big).err()).expect("the quota is reached");
    assert!(refused.to_string().contains("space exceeded"), "{refused}");
    etcd.make_room().unwrap();
    administration::put(&etcd, "b", "1").unwrap();
}
