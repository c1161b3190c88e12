//! What the steward may write while the fleet holds, and by whose claim.

use starling_hub_core::hold::HoldReason;
use starling_hub_core::ring::{RingMember, RingRecord};
use starling_hub_core::steward::{RevokeJoinToken, UpdateRing};
use starling_model::Uid;

use super::*;
use crate::member::Term;
use crate::ports::{OsEntropy, SystemClock};
use crate::shard::{Routing, Shard, ShardParts, WholeHub};
use crate::steward::StewardHandle;
use crate::store::memory::MemoryStore;
use crate::tls::testing::TestFleet;
use crate::view::FleetView;

/// A steward over a store; its fleet's keyring has a mark of its own.
struct Bed {
    steward: StewardHandle,
    keyring: Arc<Keyring>,
    hold: Hold,
    fleet: watch::Receiver<Arc<Fleet>>,
    _stop: tokio_util::sync::DropGuard,
}

async fn steward(store: &Arc<dyn Store>) -> Bed {
    by(store, Authority::Whole).await
}

/// A steward that writes by some right.
async fn by(store: &Arc<dyn Store>, authority: Authority) -> Bed {
    keys::ensure_format(store.as_ref(), "demo").await.unwrap();
    let keyring = TestFleet::new().keyring;
    let view = FleetView::load(Arc::clone(store), keyring.fleet()).await.unwrap();
    let (fleet, hold, stop) = (view.subscribe(), Hold::new(None), CancellationToken::new());
    let (task, steward) = Steward::new(StewardParts {
        store: Arc::clone(store),
        fleet: fleet.clone(),
        keyring: Arc::clone(&keyring),
        gather: Gather::new(silent(&fleet, &hold), None, None, crate::load::Load::default()),
        authority,
        elsewhere: None,
        hold: hold.clone(),
        audit: Audit::to_log(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        process: "hub".into(),
        metrics: StewardMetrics::default(),
        traces: Traces::default(),
    });
    tokio::spawn(view.run(stop.clone(), hold.clone()));
    tokio::spawn(task.run(stop.clone()));
    Bed { steward, keyring, hold, fleet, _stop: stop.drop_guard() }
}

/// A shard that no cluster has said anything to.
fn silent(fleet: &watch::Receiver<Arc<Fleet>>, hold: &Hold) -> Arc<Shard> {
    Shard::new(ShardParts {
        fleet: fleet.clone(),
        fleet_key: starling_model::FleetKey::new([7; 32]),
        hold: hold.clone(),
        lease: Arc::new(WholeHub),
        clock: Arc::new(SystemClock),
        limits: starling_model::Limits::DEFAULT,
        hub: "hub".into(),
        is_one_of_many: false,
        routing: Routing::default(),
        forwarder: None,
        traces: Traces::default(),
    })
}

fn ring(epoch: u64) -> Request {
    let member =
        RingMember { name: "hub-0".into(), incarnation: Uid([1; 16]), address: "hub-0:8443".into(), weight: 100 };
    Request::UpdateRing(UpdateRing { next: RingRecord { epoch, members: vec![member] }, changes: Vec::new() })
}

#[tokio::test]
async fn while_the_fleet_holds_the_ring_changes_and_the_mark_does_not() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::empty(Arc::new(SystemClock)));
    let first = steward(&store).await;
    assert_eq!(first.steward.submit("hub", ring(1)).await.unwrap_err().code, ErrorCode::Conflict, "it has not begun");
    first.steward.submit("hub", Request::Begin).await.unwrap();
    let mark = first.keyring.mark().mark().unwrap();
    let behind = HoldReason::BehindMark { store: Position(1), mark: mark.reserved };
    first.hold.engage(behind);

    assert_eq!(first.steward.submit("hub", ring(1)).await, Ok(Answer::RingUpdated));
    assert_eq!(first.fleet.borrow().ring().map(|ring| ring.epoch), Some(1));
    let revoke = Request::RevokeJoinToken(RevokeJoinToken { id: Uid([7; 16]) });
    assert_eq!(first.steward.submit("admin", revoke).await.unwrap_err().code, ErrorCode::FleetHolds);
    assert_eq!((first.keyring.mark().mark(), first.hold.reason()), (Some(mark), Some(behind)));

    // Another process over the same store, whose mark is gone: writing one would end the hold at the next start.
    let second = steward(&store).await;
    second.hold.engage(HoldReason::MarkMissing);
    let refused = second.steward.submit("hub", ring(2)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::FleetHolds, "{refused}");
    assert_eq!(second.keyring.mark().mark(), None);
    second.hold.release();
    assert_eq!(second.steward.submit("hub", ring(2)).await, Ok(Answer::RingUpdated));
    assert!(second.keyring.mark().mark().is_some());
}

/// Puts the claim of a process that was elected, and returns its term.
async fn elect(store: &Arc<dyn Store>, claim: &'static str) -> watch::Sender<Option<Term>> {
    let writes = vec![Write::put(keys::STEWARD, claim)];
    let _ = store.transact(Transaction { compares: vec![], writes }).await.unwrap();
    watch::Sender::new(Some(Term { claim: claim.into(), number: 1 }))
}

#[tokio::test]
async fn a_steward_whose_claim_is_another_s_writes_nothing() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::empty(Arc::new(SystemClock)));
    keys::ensure_format(store.as_ref(), "demo").await.unwrap();
    let first_term = elect(&store, "first").await;
    let first = by(&store, Authority::Elected(first_term.subscribe())).await;
    first.steward.submit("hub", Request::Begin).await.unwrap();

    // The first one does not notice that another was elected meanwhile.
    let second_term = elect(&store, "second").await;
    let second = by(&store, Authority::Elected(second_term.subscribe())).await;
    let refused = first.steward.submit("ring", ring(1)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable, "{refused}");
    assert!(second.fleet.borrow().ring().is_none());
    assert_eq!(second.steward.submit("ring", ring(1)).await, Ok(Answer::RingUpdated));

    second_term.send_replace(None);
    let refused = second.steward.submit("ring", ring(2)).await.unwrap_err();
    assert_eq!(refused, not_here(), "its term is over");
}
