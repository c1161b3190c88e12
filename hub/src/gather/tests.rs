//! Who is asked, and that each cluster is told of once.

use std::sync::Mutex;

use starling_hub_core::change::Change;
use starling_hub_core::index::HealthCounts;
use starling_hub_core::ring::{RingMember, RingRecord};
use starling_hub_core::session::standing::ClusterStanding;
use starling_model::{FleetKey, Limits};

use super::*;
use crate::ports::SystemClock;
use crate::shard::{Routing, ShardParts, WholeHub};
use crate::steward::Hold;
use crate::traces::Traces;

/// The newest ring.
const EPOCH: u64 = 2;

/// A cluster that moves from `hub-1` to `hub-2`, which owns it; the asking process is `hub-3`.
struct Moving {
    cluster: ClusterId,
    /// The old owner does not know the newest ring yet, by which it owns the cluster no longer.
    behind: bool,
    /// Whether the new owner has the whole picture.
    arrived: bool,
    /// The old owner does not answer.
    silent: bool,
    asked: Mutex<Vec<(String, Asked)>>,
}

#[async_trait]
impl Others for Moving {
    fn names(&self) -> BTreeSet<String> {
        ["hub-1".to_owned(), "hub-2".to_owned()].into()
    }

    async fn ask(&self, name: &str, asked: &Asked) -> Option<Part> {
        self.asked.lock().unwrap().push((name.to_owned(), asked.clone()));
        let is_old = name == "hub-1";
        if is_old && self.silent {
            return None;
        }
        let division = &asked.division;
        let epoch = division.epoch.unwrap_or(EPOCH).min(if self.behind && is_old { EPOCH - 1 } else { EPOCH });
        let is_owner = is_old == (epoch < EPOCH);
        let is_told = if is_owner {
            !division.without.contains(&self.cluster)
        } else {
            division.keeps.as_ref().is_none_or(|it| it.contains(&self.cluster))
        };
        let knows = (is_old || self.arrived) && is_told;
        let answer = match &asked.question {
            Question::Views(_) => Answer::Views(if knows { vec![self.view(is_old)] } else { Vec::new() }),
            Question::Complete(_) if !is_old && self.arrived => Answer::Complete([self.cluster].into()),
            Question::Complete(_) => Answer::Complete(BTreeSet::new()),
            Question::Overview => Answer::Overview(Overview { live: u64::from(knows), ..Overview::default() }),
            other => panic!("nobody asks {other:?}"),
        };
        let extra = if knows && !is_owner { [(self.cluster, Millis(5))].into() } else { BTreeMap::new() };
        Some(Part { answer, epoch, extra })
    }

    async fn order(&self, _: &str, _: &Ordered) -> Option<Obeyed> {
        None
    }

    fn changes(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}

impl Moving {
    /// Makes a view whose agent's version tells who told it.
    fn view(&self, is_old: bool) -> ClusterView {
        let agent = if is_old { "of hub-1" } else { "of hub-2" };
        let summary = Summary {
            id: self.cluster,
            seen: Millis(5),
            agent: agent.to_owned(),
            kubernetes: String::new(),
            health: HealthCounts::default(),
            standing: ClusterStanding::default(),
        };
        ClusterView { connected: true, inherited: false, ..summary.into_view() }
    }

    fn gather(self) -> (Gather, Arc<Self>) {
        let others = Arc::new(self);
        let (follow, followed) = watch::channel(Arc::new(fleet(EPOCH - 1)));
        let shard = Shard::new(ShardParts {
            fleet: followed,
            fleet_key: FleetKey::new([7; 32]),
            hold: Hold::new(None),
            lease: Arc::new(WholeHub),
            clock: Arc::new(SystemClock),
            limits: Limits::DEFAULT,
            hub: "hub-3".into(),
            is_one_of_many: true,
            routing: Routing::default(),
            forwarder: None,
            traces: Traces::default(),
        });
        shard.newest_epoch();
        follow.send_replace(Arc::new(fleet(EPOCH)));
        (Gather::new(shard, Some(Arc::clone(&others) as _), None, Load::default()), others)
    }
}

fn fleet(epoch: u64) -> Fleet {
    let member = |name: &str| RingMember {
        name: name.to_owned(),
        incarnation: Uid([1; 16]),
        address: format!("{name}:8443"),
        weight: 100,
    };
    let mut fleet = Fleet::new("demo");
    // The second process is new in the newest ring.
    let members =
        ["hub-1", "hub-2", "hub-3"].iter().filter(|name| epoch == EPOCH || **name != "hub-2").map(|name| member(name));
    fleet.apply(&Change::PutRing(RingRecord { epoch, members: members.collect() }));
    fleet
}

fn moving(arrived: bool, silent: bool) -> Moving {
    let (before, now) = (fleet(EPOCH - 1), fleet(EPOCH));
    let owns = |fleet: &Fleet, id: &ClusterId, name: &str| fleet.owner(id).is_some_and(|owner| owner.name == name);
    let mut ids = (0..=u8::MAX).map(|number| ClusterId([number; 16]));
    let cluster = ids.find(|id| owns(&before, id, "hub-1") && owns(&now, id, "hub-2"));
    let cluster = cluster.expect("one of 256 clusters moves from the first process to the second");
    Moving { cluster, behind: false, arrived, silent, asked: Mutex::default() }
}

#[tokio::test]
async fn the_old_owner_tells_of_a_cluster_until_the_new_one_has_it_whole() {
    for (arrived, teller) in [(false, "of hub-1"), (true, "of hub-2")] {
        let (gather, _) = moving(arrived, false).gather();
        let views = gather.views(None).await;
        let tellers: Vec<&str> = views.value.values().map(|view| view.agent_version.as_str()).collect();
        assert_eq!(tellers, [teller]);
        assert_eq!(gather.overview().await.value.live, 1, "it counts once");
    }
}

#[tokio::test]
async fn a_process_that_does_not_know_the_newest_ring_does_not_tell_of_a_cluster_beside_its_owner() {
    for arrived in [false, true] {
        let (gather, _) = Moving { behind: true, ..moving(arrived, false) }.gather();
        assert_eq!(
            gather.overview().await,
            Gathered { value: Overview { live: 1, ..Overview::default() }, unanswered: BTreeSet::new() }
        );
    }
}

#[tokio::test]
async fn what_does_not_move_takes_one_round() {
    let (gather, others) = moving(true, true).gather();
    let views = gather.views(None).await;
    assert_eq!(views.unanswered, ["hub-1".to_owned()].into());
    assert_eq!(views.value.len(), 1);
    assert_eq!(others.asked.lock().unwrap().len(), 2);
}
