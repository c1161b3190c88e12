use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_hub_core::records::{
    AssignmentRecord, ClusterRecord, ClusterStage, DeletedRecord, EraRecord, InputRecord, JoinTokenRecord,
    ProposalKind, ProposalRecord, RevisionRecord, SpentRecord, TokenRecord, TombstoneRecord, TombstoneScope,
};
use starling_hub_core::resources::Resource;
use starling_hub_core::ring::{RingMember, RingRecord};
use starling_model::plan::Render;
use starling_model::{ClusterId, Digest, Era, InstallKey, Millis, ResourceName, Uid, Value};

use super::*;
use crate::ports::SystemClock;
use crate::store::Revision;
use crate::store::memory::MemoryStore;

const UID: Uid = Uid([7; 16]);
const DIGEST: Digest = Digest([9; 32]);

fn workspace() -> Resource {
    let json = r#"{"apiVersion":"starling.dev/v1alpha1","kind":"Workspace","metadata":{"name":"edge"},"spec":{}}"#;
    Resource::from_value(&Value::from_json(json.as_bytes()).unwrap()).unwrap()
}

fn puts() -> Vec<Change> {
    let (name, at) = (ResourceName::new("edge", "app"), Millis(5));
    let (install, resource) = (InstallKey::new("starling-addons", "app"), workspace());
    let cluster = ClusterId([3; 16]);
    let clusters = || [cluster].into_iter().collect();
    vec![
        Change::PutInput(InputRecord {
            uid: UID,
            digest: resource.digest(),
            file: "a.yaml".into(),
            missing: None,
            since: at,
            judged: false,
            origin: None,
            resource,
        }),
        Change::PutDeleted(DeletedRecord {
            key: InputKey::new(Kind::Addon, "edge", "app"),
            uid: UID,
            digest: DIGEST,
            file: "a.yaml".into(),
            deleted: at,
            origin: None,
        }),
        Change::PutAssignment(AssignmentRecord {
            uid: UID,
            name: name.clone(),
            created: at,
            addon: name.clone(),
            install: install.clone(),
            revision: Some(DIGEST),
            blocked: None,
        }),
        Change::PutRevision(RevisionRecord {
            digest: DIGEST,
            assignment: UID,
            addon: name.clone(),
            version: "1.0.0".into(),
            kubernetes: None,
            install: install.clone(),
            renderer: 1,
            render: Arc::new(Render::new(Vec::new(), Vec::new())),
        }),
        Change::PutTombstone(TombstoneRecord {
            id: UID,
            assignment: UID,
            name: name.clone(),
            install: install.clone(),
            scope: TombstoneScope::Clusters(clusters()),
            minted: (1, Position(8)),
            reason: "deleted".into(),
            approved_by: None,
        }),
        Change::PutProposal(ProposalRecord {
            id: UID,
            assignment: UID,
            name: name.clone(),
            addon: name.clone(),
            install,
            kind: ProposalKind::Delete,
            clusters: clusters(),
            since: at,
            reason: "beyond the budget".into(),
        }),
        Change::PutSpent(SpentRecord { id: UID, addon: name.clone(), installs: 3, at }),
        Change::PutCluster(ClusterRecord {
            id: cluster,
            name: Some(name),
            keys: vec![DIGEST],
            revoked_keys: BTreeSet::new(),
            fingerprint: "f".into(),
            joined: at,
            era: 2,
            joined_with: None,
            stage: ClusterStage::Attached,
        }),
        Change::PutToken(TokenRecord {
            hash: DIGEST,
            cluster,
            workspace: "edge".into(),
            created: at,
            expires: at,
            used_by: None,
        }),
        Change::PutEra(EraRecord { era: Era { number: 1, id: UID }, began: at }),
        Change::PutJoinToken(JoinTokenRecord {
            hash: DIGEST,
            id: UID,
            workspace: "edge".into(),
            labels: BTreeMap::new(),
            uses: 3,
            used: 1,
            created: at,
            expires: at,
            created_by: "admin".into(),
            description: String::new(),
            revoked: None,
        }),
        Change::PutRing(RingRecord {
            epoch: 4,
            members: vec![RingMember {
                name: "hub-0".into(),
                incarnation: UID,
                address: "hub-0.hub:7443".into(),
                weight: 100,
            }],
        }),
    ]
}

fn deletes() -> Vec<Change> {
    let key = InputKey::new(Kind::AddonAssignment, "edge", "app");
    vec![
        Change::DeleteInput(key.clone()),
        Change::DeleteDeleted(key),
        Change::DeleteAssignment(UID),
        Change::DeleteRevision(DIGEST),
        Change::DeleteTombstone(UID),
        Change::DeleteProposal(UID),
        Change::DeleteSpent(UID),
        Change::DeleteCluster(ClusterId([3; 16])),
        Change::DeleteToken(DIGEST),
        Change::DeleteJoinToken(DIGEST),
    ]
}

fn as_event(write: Write) -> Event {
    match write {
        Write::Put { key, value, lease } => {
            Event::Put(KeyValue { key, value, created: Revision(1), modified: Revision(1), lease })
        }
        Write::Delete { key } => Event::Delete { key },
    }
}

#[test]
fn every_change_round_trips() {
    for change in puts().into_iter().chain(deletes()) {
        let event = as_event(encode(&change).unwrap());
        assert_eq!(decode(&event).unwrap(), Record::Change(Box::new(change)));
    }
    let event = as_event(Write::put(POSITION, encode_position(Position(77))));
    assert_eq!(decode(&event).unwrap(), Record::Position(Position(77)));
}

#[test]
fn keys_are_wire_format() {
    let keys: Vec<String> = puts().iter().map(key_of).collect();
    let (uid, digest) = (UID.to_string(), DIGEST.to_string());
    assert_eq!(keys[0], "starling/v1/input/Workspace//edge");
    assert_eq!(keys[1], "starling/v1/deleted/Addon/edge/app");
    assert_eq!(keys[2], format!("starling/v1/assignment/{uid}"));
    assert_eq!(keys[3], format!("starling/v1/revision/{digest}"));
    assert_eq!(keys[9], "starling/v1/era");
    assert_eq!(keys[11], "starling/v1/ring");
}

#[test]
fn the_last_change_of_a_key_is_written() {
    let changes = [Change::DeleteAssignment(UID), puts().remove(2), Change::DeleteTombstone(UID)];
    let writes = writes(&changes).unwrap();
    assert_eq!(writes, [encode(&changes[1]).unwrap(), encode(&changes[2]).unwrap()]);
}

#[test]
fn what_is_not_understood_is_an_error() {
    let entry = |key: &str, value: &'static str| KeyValue {
        key: key.into(),
        value: value.into(),
        created: Revision(1),
        modified: Revision(1),
        lease: None,
    };
    let uid = UID.to_string();
    for (key, value) in [
        ("starling/v1/other", "1"),
        ("elsewhere", "1"),
        ("starling/v1/position", "x"),
        ("starling/v1/spent/not-a-uid", "{}"),
        ("starling/v1/ring", r#"{"epoch":1,"members":[{"name":"A","incarnation":"x","address":"a:1","weight":1}]}"#),
        (&format!("starling/v1/spent/{uid}"), r#"{"unknown":1}"#),
    ] {
        assert!(decode_entry(&entry(key, value)).is_err(), "{key}");
    }
    let Write::Put { value, .. } = encode(&puts()[6]).unwrap() else { panic!("a put") };
    let misplaced = KeyValue { value, ..entry(&format!("starling/v1/spent/{}", Uid([1; 16])), "") };
    assert!(decode_entry(&misplaced).unwrap_err().problem.contains("holds the record of"));
}

async fn store_with(writes: &[(&str, &str)]) -> MemoryStore {
    let store = MemoryStore::empty(Arc::new(SystemClock));
    let writes = writes.iter().map(|(key, value)| Write::put(*key, value.to_string())).collect();
    assert!(matches!(store.transact(Transaction { compares: vec![], writes }).await.unwrap(), Outcome::Committed(_)));
    store
}

#[tokio::test]
async fn format_and_fleet_are_written_once_and_checked() {
    let store = store_with(&[]).await;
    ensure_format(&store, "lab").await.unwrap();
    ensure_format(&store, "lab").await.unwrap();
    assert_eq!(store.get(FLEET.as_bytes()).await.unwrap().unwrap().value, "lab");
    let refused = ensure_format(&store, "prod").await.unwrap_err().to_string();
    assert!(refused.contains("\"lab\"") && refused.contains("\"prod\""), "{refused}");
}

#[tokio::test]
async fn a_store_from_before_fleets_had_a_name_in_it_gets_one() {
    let store = store_with(&[(FORMAT_KEY, FORMAT), (POSITION, "7")]).await;
    ensure_format(&store, "lab").await.unwrap();
    assert_eq!(store.get(FLEET.as_bytes()).await.unwrap().unwrap().value, "lab");
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    for (key, value, expected) in [
        (FORMAT_KEY, "2", r#"format "2""#),
        ("starling/v2/format", "2", r#"format "2""#),
        (POSITION, "7", r#"format """#),
        ("registry/pods/a", "x", r#"the key "registry/pods/a""#),
    ] {
        let store = store_with(&[(key, value)]).await;
        let refused = ensure_format(&store, "lab").await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert_eq!(store.range(b"").await.unwrap().entries.len(), 1);
    }
}

#[test]
fn what_processes_tell_each_other_is_no_change_of_the_fleet() {
    for key in ["fleet", "writer/hub-0", "redo", "redo/ab/1"] {
        let event = as_event(Write::put(format!("{PREFIX_TEXT}{key}"), "whatever"));
        assert_eq!(decode(&event).unwrap(), Record::Other, "{key}");
    }
    let told = |key: &str, value: &'static str| decode(&as_event(Write::put(format!("{PREFIX_TEXT}{key}"), value)));
    assert_eq!(told("steward", "hub").unwrap(), Record::Steward(None), "a process that is the whole hub");
    let claim = r#"{"name":"hub-0","incarnation":"01010101-0101-0101-0101-010101010101"}"#;
    let expected = Claim { name: "hub-0".into(), incarnation: Uid([1; 16]) };
    assert_eq!(told("steward", claim).unwrap(), Record::Steward(Some(expected)));
    let member = r#"{"incarnation":"01010101-0101-0101-0101-010101010101","address":"hub-0:8443","weight":100}"#;
    assert!(matches!(told("member/hub-0", member), Ok(Record::Member(name, Some(_))) if name == "hub-0"));
    assert_eq!(told("summary/hub-0/3", "[]").unwrap(), Record::Summaries(("hub-0".into(), 3), Some(Vec::new())));
    for garbled in ["member/hub-0", "hold", "summary/hub-0/3", "summary/3"] {
        assert!(told(garbled, "whatever").is_err(), "{garbled}");
    }
}
