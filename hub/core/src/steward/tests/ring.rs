use std::sync::Arc;
use std::time::Duration;

use starling_model::{ErrorCode, Uid};

use crate::fleet::Fleet;
use crate::ring::{Cause, MemberChange, RingMember, RingRecord};
use crate::steward::{Answer, Request, UpdateRing};
use crate::testing::{FLEET, Hub};

fn ring(epoch: u64, names: &[&str]) -> RingRecord {
    let member = |name: &&str| RingMember {
        name: (*name).to_owned(),
        incarnation: Uid([1; 16]),
        address: format!("{name}:7443"),
        weight: 100,
    };
    RingRecord { epoch, members: names.iter().map(member).collect() }
}

fn update(next: RingRecord) -> Request {
    let cause = Cause::Stable(Duration::from_secs(3));
    Request::UpdateRing(UpdateRing { next, changes: vec![MemberChange { name: "hub-1".to_owned(), cause }] })
}

#[test]
fn each_record_follows_the_one_before() {
    let mut hub = Hub::new();
    hub.add_clusters(3);
    let id = hub.id("edge-001");
    assert_eq!((hub.fleet.ring(), hub.fleet.owner(&id)), (None, None));
    assert_eq!(hub.ask(&update(ring(1, &["hub-0"]))), Ok(Answer::RingUpdated));
    assert_eq!(hub.fleet.owner(&id).map(|owner| owner.name.as_str()), Some("hub-0"));
    for epoch in [0, 1, 3, u64::MAX] {
        let refusal = hub.ask(&update(ring(epoch, &["hub-0", "hub-1"]))).expect_err("it does not follow");
        assert_eq!(refusal.code, ErrorCode::Conflict, "{refusal}");
    }
    let next = ring(2, &["hub-0", "hub-1"]);
    let decision = hub.decide(&update(next.clone())).expect("decided");
    let audit = &decision.audit[0];
    assert_eq!((audit.action, audit.subject.as_str()), ("ring-changed", "hub process hub-1"));
    assert_eq!(audit.detail, "joined: it has been there for 3 s; epoch 2");
    let before = hub.fleet.clone();
    hub.ask(&update(next.clone())).expect("updated");
    assert_eq!(hub.fleet.ring(), Some(&Arc::new(next)));
    assert_ne!(hub.fleet, before);
    assert_eq!(before.ring().map(|ring| ring.epoch), Some(1), "a reader keeps the fleet that it began with");
}

#[test]
fn a_bad_record_is_refused() {
    let mut hub = Hub::new();
    for (next, problem) in [
        (ring(1, &[]), "would serve nobody"),
        (ring(1, &["hub-1", "hub-0"]), "not sorted by name"),
        (ring(1, &["Hub"]), "not a valid name"),
    ] {
        let refusal = hub.ask(&update(next)).expect_err(problem);
        assert!(refusal.code == ErrorCode::InvalidRequest && refusal.message.contains(problem), "{refusal}");
    }
    hub.fleet = Fleet::new(FLEET);
    assert_eq!(hub.ask(&update(ring(1, &["hub-0"]))).expect_err("no era").code, ErrorCode::Conflict);
}
