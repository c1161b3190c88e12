use starling_model::labels::JOINED_WITH;
use starling_model::{Digest, ErrorCode, Millis, Uid};

use crate::change::Change;
use crate::enrolment::{CredentialRefusal, JoinToken};
use crate::records::{DeletedRecord, InputRecord, JoinTokenRecord, ObjectOrigin};
use crate::resources::Kind;
use crate::steward::{Answer, CreateJoinToken, Detach, Join, Recover, Refusal, Request, RevokeJoinToken};
use crate::testing::{FLEET, Hub, TO_PROD, assignment, cluster, cluster_in, key, workspace};

fn create(hub: &mut Hub, uses: u32) -> (JoinToken, JoinTokenRecord) {
    let request = CreateJoinToken {
        workspace: "dev".to_owned(),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        uses,
        expires: Millis(hub.now.0 + 60_000_000),
        description: "for templates".to_owned(),
    };
    match hub.ask(&Request::CreateJoinToken(request)) {
        Ok(Answer::TokenCreated { token, record }) => (token, record),
        other => panic!("a token's making answers otherwise: {other:?}"),
    }
}

/// Joins as the cluster with that number, whose key and kube-system are its own.
fn join(hub: &mut Hub, token: &JoinToken, name: &str, number: u8) -> Result<bool, CredentialRefusal> {
    join_as(hub, token, name, number, number)
}

/// Joins with one number's key in another's cluster; tells whether there is a document to write.
fn join_as(hub: &mut Hub, token: &JoinToken, name: &str, key: u8, number: u8) -> Result<bool, CredentialRefusal> {
    let fingerprint = format!("kube-system-{number}");
    let (token, cluster_name) = (token.clone(), name.to_owned());
    let request = Request::Join(Join { token, key: Digest([key; 32]), fingerprint, cluster_name });
    match hub.ask(&request) {
        Ok(Answer::Admitted { put, name: Some(named), .. }) => {
            assert_eq!(named.to_string(), format!("dev/{name}"));
            Ok(put.is_some())
        }
        Err(refusal) => Err(refusal.credential.expect("a refused credential has a reason")),
        Ok(other) => panic!("a join answers otherwise: {other:?}"),
    }
}

fn used(hub: &Hub) -> u32 {
    hub.fleet.join_tokens().map(|token| token.used).sum()
}

#[test]
fn a_cluster_registers_under_its_name_and_the_token_s_labels() {
    let mut hub = Hub::new();
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    let (token, record) = create(&mut hub, 2);
    assert!(!format!("{:?}", hub.fleet).contains(&token.reveal()), "it is stored nowhere");
    assert_eq!(join(&mut hub, &token, "edge-1", 1), Ok(true));
    let made = hub.fleet.cluster_named("dev", "edge-1").expect("a cluster");
    let document = made.document();
    assert_eq!(document.metadata.labels, record.labels);
    assert_eq!(document.metadata.annotations[JOINED_WITH], record.id.to_string());
    assert_eq!((document.spec.id, made.record.file.as_str()), (Some(made.id), "cluster/dev/edge-1.yaml"));
    assert_eq!(hub.plan("edge-1").entries.len(), 1, "its labels select it");
    let position = hub.fleet.position();
    assert_eq!(join(&mut hub, &token, "edge-1", 1), Ok(true), "the answer may have been lost, and the document");
    assert_eq!((hub.fleet.position(), used(&hub)), (position, 1), "which spends nothing");
    let moved = (*made.record).clone();
    hub.fleet.apply(&Change::PutInput(InputRecord { file: "clusters.yaml".into(), ..moved }));
    assert_eq!(join(&mut hub, &token, "edge-1", 1), Ok(false), "somebody moved its document, which is there");
    assert_eq!(join(&mut hub, &token, "edge-2", 2), Ok(true));
    assert_eq!(join(&mut hub, &token, "edge-3", 3), Err(CredentialRefusal::TokenExhausted));
    assert_eq!(join(&mut hub, &token, "edge-2", 2), Ok(true), "a repetition is none too many");
}

#[test]
fn a_cluster_whose_object_was_deleted_before_gets_another() {
    let mut hub = Hub::new();
    let (token, _) = create(&mut hub, 1);
    hub.fleet.apply(&Change::PutDeleted(DeletedRecord {
        key: key(Kind::ManagedCluster, "dev", "edge"),
        uid: Uid([1; 16]),
        digest: Digest([1; 32]),
        file: String::new(),
        deleted: Millis(1),
        origin: Some(ObjectOrigin { uid: "an-object".into(), generation: 1, absence: None }),
    }));
    assert_eq!(join(&mut hub, &token, "edge", 1), Ok(true));
}

#[test]
fn each_wrong_join_has_a_reason_of_its_own() {
    let mut hub = Hub::new();
    let (token, _) = create(&mut hub, 9);
    assert_eq!(join(&mut hub, &token, "edge", 1), Ok(true));
    for name in ["", "Edge", "two.labels", &"x".repeat(64)] {
        assert_eq!(join(&mut hub, &token, name, 2), Err(CredentialRefusal::NameInvalid), "{name:?}");
    }
    assert_eq!(join(&mut hub, &token, "edge", 2), Err(CredentialRefusal::NameTaken), "by another cluster");
    assert_eq!(join(&mut hub, &token, "other", 1), Err(CredentialRefusal::ClusterKnown), "under two names");
    assert_eq!(join_as(&mut hub, &token, "edge", 7, 1), Ok(true), "installed anew, with what it was made with");
    assert_eq!(join(&mut hub, &token, "edge", 1), Err(CredentialRefusal::KeyUnknown), "which ends the old key");
    let (second, _) = create(&mut hub, 9);
    assert_eq!(join_as(&mut hub, &second, "edge", 8, 1), Err(CredentialRefusal::KeyUnknown), "not with another token");
    let foreign = JoinToken::new("other", [1; 32]);
    assert_eq!(join(&mut hub, &foreign, "edge-9", 9), Err(CredentialRefusal::TokenForeign));
    assert_eq!(join(&mut hub, &JoinToken::new(FLEET, [1; 32]), "edge-9", 9), Err(CredentialRefusal::TokenUnknown));
    hub.write("a.yaml", &cluster_in("dev", "revoked", "env: prod", "{revoked: true}"));
    hub.sync();
    assert_eq!(join(&mut hub, &token, "revoked", 5), Err(CredentialRefusal::ClusterRevoked));
    assert_eq!(used(&hub), 1);
    hub.now = Millis(hub.now.0 + 60_000_000);
    assert_eq!(join(&mut hub, &token, "edge-9", 9), Err(CredentialRefusal::TokenExpired));
}

#[test]
fn a_document_that_waits_for_its_cluster_keeps_its_labels() {
    let mut hub = Hub::new();
    hub.write("a.yaml", &cluster("edge", "env: test"));
    hub.sync();
    let (token, _) = create(&mut hub, 1);
    assert_eq!(join(&mut hub, &token, "edge", 1), Ok(false), "it is written already");
    let labels = &hub.fleet.cluster_named("dev", "edge").expect("a cluster").document().metadata.labels.clone();
    assert_eq!((labels["env"].as_str(), used(&hub)), ("test", 1));
}

#[test]
fn a_revoked_token_lets_nobody_in_and_puts_nobody_out() {
    let mut hub = Hub::new();
    let (token, record) = create(&mut hub, 9);
    join(&mut hub, &token, "edge", 1).expect("joined");
    let revoke = |id| Request::RevokeJoinToken(RevokeJoinToken { id });
    assert_eq!(hub.ask(&revoke(record.id)), Ok(Answer::TokenRevoked));
    let position = hub.fleet.position();
    assert_eq!(hub.ask(&revoke(record.id)), Ok(Answer::TokenRevoked));
    assert_eq!(hub.fleet.position(), position);
    assert_eq!(hub.ask(&revoke(Uid([9; 16]))).expect_err("unknown").code, ErrorCode::NotFound);
    assert_eq!(join(&mut hub, &token, "edge-2", 2), Err(CredentialRefusal::TokenRevoked));
    assert!(hub.fleet.is_attached(hub.id("edge")));
    assert_eq!(hub.fleet.identity(hub.id("edge")).expect("an identity").keys, [Digest([1; 32])]);
}

#[test]
fn a_token_does_not_bring_back_what_was_detached_after_it_was_made() {
    let mut hub = Hub::new();
    let (token, _) = create(&mut hub, 9);
    join(&mut hub, &token, "edge", 1).expect("joined");
    let detach = Detach { workspace: "dev".into(), name: "edge".into(), forget: true, ..Detach::default() };
    hub.ask(&Request::Detach(detach)).expect("forgotten");
    assert_eq!(join_as(&mut hub, &token, "edge", 2, 1), Err(CredentialRefusal::ClusterDetached), "its agent lives on");
    assert_eq!(join_as(&mut hub, &token, "renamed", 2, 1), Err(CredentialRefusal::ClusterDetached));
    assert_eq!(join(&mut hub, &token, "edge", 3), Ok(true), "another cluster may have the name");
    let (fresh, _) = create(&mut hub, 9);
    assert_eq!(join_as(&mut hub, &fresh, "renamed", 2, 1), Ok(true), "who makes a token after wants it back");
}

#[test]
fn a_recovery_and_the_end_of_the_workspace_void_open_tokens() {
    let mut hub = Hub::new();
    let (token, _) = create(&mut hub, 9);
    let recover = Recover { fleet: FLEET.to_owned(), mark: None, shown: None };
    hub.ask(&Request::Recover(recover)).expect("recovered");
    assert_eq!(join(&mut hub, &token, "edge", 1), Err(CredentialRefusal::TokenUnknown));
    let (token, _) = create(&mut hub, 9);
    let delete = crate::steward::Delete { key: key(Kind::Workspace, "", "dev"), approved_count: Some(0) };
    hub.ask(&Request::Delete(delete)).expect("deleted");
    assert_eq!(join(&mut hub, &token, "edge", 1), Err(CredentialRefusal::TokenForeign));
}

#[test]
fn a_token_is_checked_when_it_is_made() {
    let mut hub = Hub::new();
    let good = CreateJoinToken {
        workspace: "dev".to_owned(),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        uses: 1,
        expires: Millis(u64::MAX),
        description: "x".repeat(1000),
    };
    let mut code =
        |request: CreateJoinToken| -> Result<Answer, Refusal> { hub.ask(&Request::CreateJoinToken(request)) };
    let refused = |answer: Result<Answer, Refusal>| answer.expect_err("refused").code;
    let label = [("env".to_owned(), "-".to_owned())].into();
    assert_eq!(refused(code(CreateJoinToken { workspace: "none".into(), ..good.clone() })), ErrorCode::NotFound);
    assert_eq!(refused(code(CreateJoinToken { uses: 0, ..good.clone() })), ErrorCode::InvalidRequest);
    assert_eq!(refused(code(CreateJoinToken { uses: u32::MAX, ..good.clone() })), ErrorCode::InvalidRequest);
    assert_eq!(refused(code(CreateJoinToken { labels: label, ..good.clone() })), ErrorCode::InvalidRequest);
    assert_eq!(refused(code(CreateJoinToken { expires: Millis(1), ..good.clone() })), ErrorCode::InvalidRequest);
    for _ in 0..200 {
        code(good.clone()).expect("made");
    }
    assert_eq!(refused(code(good)), ErrorCode::LimitExceeded);
    assert!(hub.fleet.join_tokens().all(|token| token.description.len() <= 256));
    hub.write("base.yaml", &workspace("dev"));
}
