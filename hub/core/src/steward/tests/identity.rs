use std::collections::BTreeMap;

use starling_model::{ClusterId, Digest, ErrorCode, Millis};

use crate::enrolment::{Admission, CredentialRefusal, JoinToken, admit};
use crate::records::ClusterStage;
use crate::resources::Kind;
use crate::steward::{Adopt, Adopted, Answer, Detach, DetachStage, Join, Recover, Refusal, Renew, Request, SeeCluster};
use crate::testing::{FLEET, Hub, TO_PROD, assignment, cluster_in, key, workspace};

const KUBE_SYSTEM: &str = "8f1ae3a5";

fn adopt(hub: &mut Hub) -> Result<Adopted, Refusal> {
    let request = Adopt {
        workspace: "dev".to_owned(),
        name: "edge".to_owned(),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        expires: Millis(hub.now.0 + 60_000),
        file: "clusters/edge.yaml".to_owned(),
    };
    match hub.ask(&Request::Adopt(request))? {
        Answer::Adopted(adopted) => Ok(adopted),
        other => panic!("an adoption answers otherwise: {other:?}"),
    }
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn join(hub: &mut Hub, token: &JoinToken, byte: u8) -> Result<ClusterId, CredentialRefusal> {
    let request = Join {
        token: token.clone(),
        key: digest(byte),
        fingerprint: KUBE_SYSTEM.to_owned(),
        cluster_name: String::new(),
    };
    match hub.ask(&Request::Join(request)) {
        Ok(Answer::Admitted { cluster, .. }) => Ok(cluster),
        Err(refusal) => {
            assert_eq!(refusal.code, ErrorCode::CredentialRefused);
            Err(refusal.credential.expect("a refused credential has a reason"))
        }
        Ok(other) => panic!("a join answers otherwise: {other:?}"),
    }
}

fn renew(hub: &mut Hub, cluster: ClusterId, proven: u8, new: u8, expired: bool) -> Option<CredentialRefusal> {
    let request = Renew { cluster, proven_key: digest(proven), new_key: digest(new), expired };
    hub.ask(&Request::Renew(request)).err().map(|refusal| refusal.credential.expect("a reason"))
}

fn admission(hub: &Hub, cluster: ClusterId, byte: u8) -> Admission {
    admit(&hub.fleet, cluster, &digest(byte), KUBE_SYSTEM)
}

fn detach(hub: &mut Hub, forget: bool) -> DetachStage {
    let request = Detach { workspace: "dev".to_owned(), name: "edge".to_owned(), forget, ..Detach::default() };
    match hub.ask(&Request::Detach(request)) {
        Ok(Answer::Detached { stage, .. }) => stage,
        other => panic!("a detachment answers otherwise: {other:?}"),
    }
}

#[test]
fn adopting_is_harmless_when_repeated() {
    let mut hub = Hub::new();
    let first = adopt(&mut hub).expect("adopted");
    let second = adopt(&mut hub).expect("adopted again");
    assert_eq!((first.created, second.created), (true, false));
    assert_eq!((first.cluster, &first.document, &first.file), (second.cluster, &second.document, &second.file));
    assert_ne!(first.token, second.token);
    let record = hub.fleet.cluster_named("dev", "edge").expect("a cluster").record;
    assert!(record.resource.to_value().to_json().contains(&first.cluster.to_string()), "the id is written");
    assert_eq!(join(&mut hub, &first.token, 1), Ok(first.cluster), "both tokens are good");
    let sync = hub.sync();
    assert_eq!((sync.problems, hub.fleet.problems().len()), (Vec::new(), 1), "unwritten, its source is missing");
}

#[test]
fn adoption_needs_a_workspace_and_the_same_labels() {
    let mut hub = Hub::new();
    let request = |workspace: &str, name: &str, label: &str| {
        Request::Adopt(Adopt {
            workspace: workspace.to_owned(),
            name: name.to_owned(),
            labels: [("env".to_owned(), label.to_owned())].into(),
            expires: Millis(u64::MAX),
            file: "x.yaml".to_owned(),
        })
    };
    let code = |answer: Result<Answer, Refusal>| answer.expect_err("refused").code;
    assert_eq!(code(hub.ask(&request("other", "edge", "a"))), ErrorCode::NotFound);
    assert_eq!(code(hub.ask(&request("dev", "Edge", "a"))), ErrorCode::InvalidRequest);
    assert_eq!(code(hub.ask(&request("dev", "edge", "-"))), ErrorCode::InvalidRequest);
    hub.ask(&request("dev", "edge", "a")).expect("adopted");
    assert_eq!(code(hub.ask(&request("dev", "edge", "b"))), ErrorCode::Conflict);
}

#[test]
fn open_tokens_are_bounded_and_old_ones_forgotten() {
    let mut hub = Hub::new();
    let tokens: Vec<_> = (0..8).map(|_| adopt(&mut hub).expect("adopted").token).collect();
    assert_eq!(hub.fleet.tokens().count(), 5);
    assert_eq!(join(&mut hub, &tokens[0], 1), Err(CredentialRefusal::TokenUnknown));
    assert!(join(&mut hub, &tokens[7], 1).is_ok());
    hub.now = hub.now.plus(std::time::Duration::from_secs(8 * 24 * 60 * 60));
    adopt(&mut hub).expect("adopted");
    assert_eq!(hub.fleet.tokens().count(), 1);
}

#[test]
fn each_bad_token_has_a_reason_of_its_own() {
    let mut hub = Hub::new();
    let adopted = adopt(&mut hub).expect("adopted");
    assert_eq!(join(&mut hub, &JoinToken::new("demo", [9; 32]), 1), Err(CredentialRefusal::TokenUnknown));
    assert_eq!(join(&mut hub, &JoinToken::new("other", [9; 32]), 1), Err(CredentialRefusal::TokenForeign));
    assert_eq!(join(&mut hub, &adopted.token, 1), Ok(adopted.cluster));
    let position = hub.fleet.position();
    assert_eq!(join(&mut hub, &adopted.token, 1), Ok(adopted.cluster), "the same key may repeat it");
    assert_eq!(hub.fleet.position(), position, "and nothing is written");
    assert_eq!(join(&mut hub, &adopted.token, 2), Err(CredentialRefusal::TokenUsed));
    let late = adopt(&mut hub).expect("adopted");
    hub.now = late.expires;
    assert_eq!(join(&mut hub, &late.token, 2), Err(CredentialRefusal::TokenExpired));
}

#[test]
fn a_token_of_a_cluster_that_moved_or_was_revoked_is_refused() {
    let mut hub = Hub::new();
    let adopted = adopt(&mut hub).expect("adopted");
    hub.write("ops.yaml", &workspace("ops"));
    let id = format!("id: {}", adopted.cluster);
    hub.write("clusters/edge.yaml", &cluster_in("dev", "edge", "env: prod", &format!("{{{id}, revoked: true}}")));
    hub.sync();
    assert_eq!(join(&mut hub, &adopted.token, 1), Err(CredentialRefusal::ClusterRevoked));
    hub.write("clusters/edge.yaml", &cluster_in("ops", "edge", "env: prod", &format!("{{{id}}}")));
    hub.sync();
    assert_eq!(join(&mut hub, &adopted.token, 1), Err(CredentialRefusal::TokenForeign));
}

#[test]
fn joining_anew_ends_the_old_key() {
    let mut hub = Hub::new();
    let adopted = adopt(&mut hub).expect("adopted");
    let cluster = join(&mut hub, &adopted.token, 1).expect("joined");
    assert_eq!(admission(&hub, cluster, 1), Admission::Known);
    let again = adopt(&mut hub).expect("adopted");
    join(&mut hub, &again.token, 2).expect("joined anew");
    assert_eq!(admission(&hub, cluster, 2), Admission::Known);
    assert_eq!(admission(&hub, cluster, 1), Admission::Refused(CredentialRefusal::KeyUnknown));
    assert_eq!(
        admit(&hub.fleet, cluster, &digest(2), "another"),
        Admission::Refused(CredentialRefusal::FingerprintChanged)
    );
}

#[test]
fn a_renewed_key_replaces_the_old_one_when_it_was_seen() {
    let mut hub = Hub::new();
    let token = adopt(&mut hub).expect("adopted").token;
    let cluster = join(&mut hub, &token, 1).expect("joined");
    assert_eq!(renew(&mut hub, cluster, 1, 2, true), None, "an expired certificate proves the recorded key");
    assert_eq!(admission(&hub, cluster, 1), Admission::Known, "the answer may have been lost");
    assert_eq!(renew(&mut hub, cluster, 1, 3, false), None);
    assert_eq!(renew(&mut hub, cluster, 2, 4, false), Some(CredentialRefusal::KeyUnknown));
    assert_eq!(admission(&hub, cluster, 3), Admission::ToRecord);
    let see = SeeCluster { cluster, key: digest(3), fingerprint: KUBE_SYSTEM.to_owned() };
    hub.ask(&Request::SeeCluster(see)).expect("seen");
    assert_eq!(admission(&hub, cluster, 3), Admission::Known);
    assert_eq!(admission(&hub, cluster, 1), Admission::Refused(CredentialRefusal::KeyUnknown));
}

#[test]
fn a_valid_certificate_outlives_the_store_and_an_expired_one_does_not() {
    let mut hub = Hub::new();
    let cluster = ClusterId([5; 16]);
    assert_eq!(admission(&hub, cluster, 1), Admission::ToRecord);
    assert_eq!(renew(&mut hub, cluster, 1, 2, true), Some(CredentialRefusal::KeyUnknown));
    let see = SeeCluster { cluster, key: digest(1), fingerprint: KUBE_SYSTEM.to_owned() };
    hub.ask(&Request::SeeCluster(see)).expect("seen");
    assert_eq!(admission(&hub, cluster, 1), Admission::Known);
    assert_eq!(admission(&hub, cluster, 2), Admission::Refused(CredentialRefusal::KeyUnknown));
    let record = hub.fleet.identity(cluster).expect("an identity");
    let json = serde_json::to_vec(&**record).expect("a record is written");
    assert_eq!(serde_json::from_slice::<crate::records::ClusterRecord>(&json).expect("and read"), **record);
}

#[test]
fn a_renewal_after_the_store_was_lost_leaves_the_fingerprint_open() {
    let mut hub = Hub::new();
    let cluster = ClusterId([5; 16]);
    assert_eq!(renew(&mut hub, cluster, 1, 2, false), None);
    assert_eq!(admission(&hub, cluster, 1), Admission::ToRecord);
    for key in [1, 2] {
        // The session of the key before may be heard first; the new key is no less good for it.
        assert_eq!(admission(&hub, cluster, 2), Admission::ToRecord);
        let see = SeeCluster { cluster, key: digest(key), fingerprint: KUBE_SYSTEM.to_owned() };
        hub.ask(&Request::SeeCluster(see)).expect("seen");
    }
    assert_eq!(admission(&hub, cluster, 2), Admission::Known);
    let other = admit(&hub.fleet, cluster, &digest(2), "another");
    assert_eq!(other, Admission::Refused(CredentialRefusal::FingerprintChanged));
}

#[test]
fn a_valid_certificate_knows_better_than_a_store_from_before_its_renewal() {
    let mut hub = Hub::new();
    let token = adopt(&mut hub).expect("adopted").token;
    let cluster = join(&mut hub, &token, 1).expect("joined");
    let again = adopt(&mut hub).expect("adopted").token;
    join(&mut hub, &again, 2).expect("joined anew");
    // Keys 3 and 4 were recorded in what was lost.
    assert_eq!(admission(&hub, cluster, 4), Admission::Refused(CredentialRefusal::KeyUnknown));
    let recover = Recover { fleet: FLEET.to_owned(), mark: None, shown: None };
    hub.ask(&Request::Recover(recover)).expect("recovered");
    assert_eq!(admission(&hub, cluster, 1), Admission::Refused(CredentialRefusal::KeyUnknown), "revoked for ever");
    assert_eq!(renew(&mut hub, cluster, 4, 5, true), Some(CredentialRefusal::KeyUnknown), "expired, it proves nothing");
    assert_eq!(admission(&hub, cluster, 4), Admission::ToRecord);
    let see = SeeCluster { cluster, key: digest(4), fingerprint: KUBE_SYSTEM.to_owned() };
    hub.ask(&Request::SeeCluster(see)).expect("seen");
    assert_eq!(admission(&hub, cluster, 4), Admission::Known);
    assert_eq!(admission(&hub, cluster, 3), Admission::Refused(CredentialRefusal::KeyUnknown), "recorded in this era");
}

#[test]
fn a_renewal_may_be_the_first_that_is_heard_after_a_recovery() {
    let mut hub = Hub::new();
    let token = adopt(&mut hub).expect("adopted").token;
    let cluster = join(&mut hub, &token, 1).expect("joined");
    let recover = Recover { fleet: FLEET.to_owned(), mark: None, shown: None };
    hub.ask(&Request::Recover(recover)).expect("recovered");
    assert_eq!(renew(&mut hub, cluster, 4, 5, false), None);
    assert_eq!(admission(&hub, cluster, 5), Admission::ToRecord);
    assert_eq!(admission(&hub, cluster, 3), Admission::Refused(CredentialRefusal::KeyUnknown));
}

#[test]
fn detaching_waits_for_the_agent_and_drops_the_identity() {
    let mut hub = Hub::new();
    hub.write("web.yaml", &assignment("web", TO_PROD));
    let adopted = adopt(&mut hub).expect("adopted");
    hub.write("clusters/edge.yaml", &cluster_in("dev", "edge", "env: prod", &format!("{{id: {}}}", adopted.cluster)));
    hub.sync();
    let cluster = join(&mut hub, &adopted.token, 1).expect("joined");
    let spare = adopt(&mut hub).expect("adopted").token;
    assert_eq!(hub.plan("edge").entries.len(), 1);
    assert_eq!(detach(&mut hub, false), DetachStage::Requested);
    assert_eq!(detach(&mut hub, false), DetachStage::Requested);
    let plan = hub.plan("edge");
    assert!(plan.detach.is_some() && plan.entries.is_empty() && plan.tombstones.is_empty(), "{plan:?}");
    assert_eq!(admission(&hub, cluster, 1), Admission::Known, "the agent is to hear of it");
    assert_eq!(join(&mut hub, &spare, 2), Err(CredentialRefusal::TokenUnknown));
    assert_eq!(adopt(&mut hub).expect_err("not meanwhile").code, ErrorCode::Conflict);
    let answer = hub.ask(&Request::DetachAcknowledged(cluster)).expect("acknowledged");
    let edge = key(Kind::ManagedCluster, "dev", "edge");
    let remove = Some(("clusters/edge.yaml".to_owned(), edge.clone()));
    assert_eq!(answer, Answer::Detached { stage: DetachStage::Acknowledged, remove });
    assert_eq!(admission(&hub, cluster, 1), Admission::Refused(CredentialRefusal::ClusterDetached));
    hub.sync();
    assert!(hub.fleet.input(&edge).is_none(), "its document is still there and counts as deleted");
    assert!(hub.ask(&Request::DetachAcknowledged(cluster)).is_ok(), "an answer may have been lost");
    let again = adopt(&mut hub).expect("adopted again");
    assert_eq!((again.created, again.cluster), (true, cluster));
    assert_eq!(again.file, "clusters/edge.yaml", "where its document still is");
    assert_eq!(join(&mut hub, &again.token, 1), Err(CredentialRefusal::KeyUnknown));
    assert_eq!(join(&mut hub, &again.token, 2), Ok(cluster));
    assert_eq!(hub.plan("edge").entries.len(), 1);
}

#[test]
fn a_cluster_without_an_agent_is_forgotten() {
    let mut hub = Hub::new();
    adopt(&mut hub).expect("adopted");
    assert_eq!(detach(&mut hub, false), DetachStage::Forgotten, "it never joined");
    let token = adopt(&mut hub).expect("adopted").token;
    let cluster = join(&mut hub, &token, 1).expect("joined");
    assert_eq!(detach(&mut hub, true), DetachStage::Forgotten);
    let stage = hub.fleet.identity(cluster).expect("never pruned").stage;
    assert!(matches!(stage, ClusterStage::Detached { .. }));
}

#[test]
fn a_cluster_that_another_identity_stands_for_is_refused() {
    let mut hub = Hub::new();
    let first = adopt(&mut hub).expect("adopted");
    assert_eq!(join(&mut hub, &first.token, 1), Ok(first.cluster));
    let second = Adopt {
        workspace: "dev".to_owned(),
        name: "other".to_owned(),
        labels: BTreeMap::new(),
        expires: Millis(u64::MAX),
        file: "clusters/other.yaml".to_owned(),
    };
    let Ok(Answer::Adopted(second)) = hub.ask(&Request::Adopt(second)) else { panic!("not adopted") };
    assert_eq!(join(&mut hub, &second.token, 2), Err(CredentialRefusal::ClusterKnown));
    let see = SeeCluster { cluster: ClusterId([9; 16]), key: digest(3), fingerprint: KUBE_SYSTEM.to_owned() };
    let seen = hub.ask(&Request::SeeCluster(see)).expect_err("refused");
    assert_eq!(seen.credential, Some(CredentialRefusal::ClusterKnown));
    assert!(seen.message.contains("starling detach cluster"), "{seen}");
    detach(&mut hub, true);
    assert_eq!(join(&mut hub, &second.token, 2), Ok(second.cluster), "who was detached makes room");
}
