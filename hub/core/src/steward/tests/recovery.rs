use starling_model::{Action, Era, ErrorCode, Fence, FleetKey, Position, Uid};

use crate::records::ProposalKind;
use crate::resources::Kind;
use crate::steward::{Adopt, Answer, Approve, Delete, Recover, Request};
use crate::testing::{FLEET, Hub, TO_PROD, assignment, key};

fn shown(number: u64, position: u64) -> Fence {
    FleetKey::new([7; 32]).fence(Era { number, id: Uid([9; 16]) }, Position(position))
}

fn recover(hub: &mut Hub, fence: Option<Fence>) -> (Era, Position) {
    let mark = Some((hub.fleet.era().expect("an era").era, Position(2048)));
    match hub.ask(&Request::Recover(Recover { fleet: FLEET.to_owned(), mark, shown: fence })) {
        Ok(Answer::Recovered { era, position }) => (era, position),
        other => panic!("a recovery answers otherwise: {other:?}"),
    }
}

fn deleted() -> Hub {
    let mut hub = Hub::new();
    hub.add_clusters(4);
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    hub.hear_all();
    let delete = Delete { key: key(Kind::AddonAssignment, "dev", "web"), approved_count: Some(4) };
    hub.ask(&Request::Delete(delete)).expect("deleted");
    hub.files.remove("web.yaml");
    hub.sync();
    hub
}

#[test]
fn a_recovery_begins_a_greater_era_beyond_all_that_was_seen() {
    let mut hub = Hub::new();
    let before = hub.fleet.era().expect("an era").era;
    let (era, position) = recover(&mut hub, Some(shown(3, 5000)));
    assert_eq!((era.number, position), (4, Position(5001)));
    assert_ne!(era.id, before.id);
    assert_eq!((hub.fleet.position(), hub.fleet.era().map(|record| record.era)), (position, Some(era)));
    let (era, position) = recover(&mut hub, None);
    assert_eq!((era.number, position), (5, Position(5002)));
}

#[test]
fn a_recovery_is_confirmed_by_name_and_a_fleet_begins_once() {
    let mut hub = Hub::new();
    let request = Recover { fleet: "other".to_owned(), mark: None, shown: None };
    let refusal = hub.ask(&Request::Recover(request)).expect_err("another fleet");
    assert_eq!(refusal.code, ErrorCode::InvalidRequest);
    assert_eq!(hub.ask(&Request::Begin).expect_err("it has begun").code, ErrorCode::Conflict);
}

#[test]
fn older_tombstones_wait_for_approval_again() {
    let mut hub = deleted();
    let old = hub.plan("edge-000").tombstones.remove(0);
    let (era, _) = recover(&mut hub, None);
    hub.heard.0.clear();
    for plan in hub.plans().values() {
        assert!(plan.tombstones.is_empty());
        assert!(matches!(plan.entries[0].action, Action::Keep(_)), "{plan:?}");
    }
    let proposal = hub.fleet.proposals().next().cloned().expect("a proposal");
    assert_eq!(proposal.kind, ProposalKind::Renew(old.id));
    let approve = |count| Request::Approve(Approve { proposal: proposal.id, count });
    assert_eq!(hub.ask(&approve(3)).expect_err("nobody was heard").code, ErrorCode::ApprovalRequired);
    assert_eq!(hub.ask(&approve(4)), Ok(Answer::Approved { installs: 4 }));
    let plan = hub.plan("edge-000");
    assert_eq!((plan.tombstones.len(), plan.tombstones[0].minted), (1, (era.number, hub.fleet.position())));
    assert_eq!(plan.tombstones[0].assignment, old.assignment);
    assert_eq!((hub.fleet.tombstones().count(), hub.fleet.proposals().count()), (1, 0));
}

#[test]
fn recovering_twice_asks_once() {
    let mut hub = deleted();
    recover(&mut hub, None);
    recover(&mut hub, None);
    assert_eq!(hub.fleet.proposals().count(), 1);
}

#[test]
fn open_tokens_are_void() {
    let mut hub = Hub::new();
    let adopt = Adopt {
        workspace: "dev".to_owned(),
        name: "edge".to_owned(),
        labels: std::collections::BTreeMap::new(),
        expires: hub.now.plus(std::time::Duration::from_secs(60)),
        file: "edge.yaml".to_owned(),
    };
    hub.ask(&Request::Adopt(adopt)).expect("adopted");
    assert_eq!(hub.fleet.tokens().count(), 1);
    recover(&mut hub, None);
    assert_eq!(hub.fleet.tokens().count(), 0);
}

#[test]
fn an_empty_store_gives_other_identities_to_the_same_installs() {
    let mut hub = Hub::new();
    hub.add_clusters(2);
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    let (before, uid) = (hub.plans(), hub.assignment("web").record.uid);
    hub.fleet = crate::fleet::Fleet::new(FLEET);
    let request = Recover { fleet: FLEET.to_owned(), mark: None, shown: Some(shown(1, 12)) };
    hub.ask(&Request::Recover(request)).expect("recovered");
    hub.sync();
    assert_ne!(hub.assignment("web").record.uid, uid);
    for (id, plan) in hub.plans() {
        assert_eq!(plan.entries[0].install, before[&id].entries[0].install);
        assert!(plan.tombstones.is_empty());
    }
}
