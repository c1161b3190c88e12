//! Plans: made, and said to agents. And who owns a cluster.

use prost::Message as _;
use starling_hub_core::planner;
use starling_hub_core::ring::{Placement, RingMember, RingRecord};
use starling_model::session::{Desired, DesiredAction, DesiredEntry, HubMessage};
use starling_model::{Action, ClusterId, Digest, Entry, Era, FleetKey, Limits, Plan, Position, Uid};
use starling_proto::{fragment, v1};

use crate::counted;
use crate::fleet::{Hub, facts};

/// Clusters that share renders.
const CLUSTERS: usize = 1000;

pub(super) fn one() {
    assert_eq!(plans_of(&[0]), 30);
}

pub(super) fn thousand() {
    assert_eq!(plans_of(&(0..CLUSTERS).collect::<Vec<_>>()), 30 * CLUSTERS);
}

fn plans_of(clusters: &[usize]) -> usize {
    let hub = Hub::of_objects(CLUSTERS);
    let ids: Vec<ClusterId> = clusters.iter().map(|number| hub.id(*number)).collect();
    let facts = facts();
    let plans: Vec<(Plan, Digest)> = counted(|| {
        let plan = |id: &ClusterId| {
            let plan = planner::plan(&hub.fleet, *id, &facts);
            let digest = plan.digest();
            (plan, digest)
        };
        ids.iter().map(plan).collect()
    });
    let rendered = |plan: &Plan| plan.entries.iter().filter(|entry| matches!(entry.action, Action::Render(_))).count();
    plans.iter().map(|(plan, _)| rendered(plan)).sum()
}

pub(super) fn full() {
    encode(|_| false, false);
}

pub(super) fn change() {
    encode(|place| place != 17, false);
}

pub(super) fn position() {
    encode(|_| true, true);
}

/// Says a plan as a session does whose agent holds what `holds` says, by place in the plan; the hub keeps the wire form of renders,
/// so that saying it to the first agent is what is counted.
fn encode(holds: impl Fn(usize) -> bool, unchanged: bool) {
    let hub = Hub::of_objects(1);
    let plan = planner::plan(&hub.fleet, hub.id(0), &facts());
    let plan_digest = plan.digest();
    let key = FleetKey::new([7; 32]);
    let era = Era { number: 1, id: Uid([9; 16]) };
    let pieces = counted(|| {
        let fence = key.fence(era, Position(42));
        let said = |(place, entry): (usize, &Entry)| {
            let action = match &entry.action {
                Action::Render(render) if holds(place) => DesiredAction::HeldRender(render.digest),
                Action::Render(render) => DesiredAction::Render(render.clone()),
                Action::Keep(reason) => DesiredAction::Keep(reason.to_string()),
                Action::Blocked(reason) => DesiredAction::Blocked(reason.to_string()),
            };
            let (install, assignment) = (entry.install.clone(), entry.assignment);
            DesiredEntry {
                install,
                assignment,
                assignment_name: entry.assignment_name.clone(),
                revision: entry.revision,
                action,
            }
        };
        let entries = if unchanged { Vec::new() } else { plan.entries.iter().enumerate().map(said).collect() };
        let (tombstones, detach, facts) = (Vec::new(), None, plan.facts);
        let desired = Desired { fence, plan_digest, facts, unchanged, entries, tombstones, detach };
        let message = v1::ConnectResponse::from(HubMessage::Desired(Box::new(desired)));
        let pieces = fragment::split(message, 1, Limits::DEFAULT.batch_bytes as usize);
        pieces.iter().map(v1::ConnectResponse::encode_to_vec).collect::<Vec<_>>()
    });
    assert!(!pieces.is_empty());
}

pub(super) fn ring() {
    let record = record();
    let placement = counted(|| Placement::of(&record));
    assert_eq!(placement.record().members.len(), 10);
}

pub(super) fn owners() {
    let placement = Placement::of(&record());
    let ids: Vec<ClusterId> = (0..CLUSTERS).map(crate::statuses::id).collect();
    let owned = counted(|| ids.iter().filter(|id| placement.owner(id).is_some()).count());
    assert_eq!(owned, CLUSTERS);
}

fn record() -> RingRecord {
    let member = |number: usize| RingMember {
        name: format!("hub-{number:02}"),
        incarnation: Uid([1; 16]),
        address: format!("hub-{number:02}.hub:7443"),
        weight: 100,
    };
    RingRecord { epoch: 1, members: (0..10).map(member).collect() }
}
