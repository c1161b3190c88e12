use proptest::prelude::*;
use starling_model::{Health, InstallState, Position};

use super::*;
use crate::testing::{install, uid};

const KINDS: [(&str, &str); 2] =
    [("helm.toolkit.fluxcd.io", "HelmRelease"), ("source.toolkit.fluxcd.io", "GitRepository")];

fn key(number: usize) -> ObjectKey {
    let (group, kind) = KINDS[number % 2];
    ObjectKey::new(group, kind, "apps", &format!("o{number}"))
}

fn status(number: usize, message: &str) -> ObjectStatus {
    ObjectStatus {
        key: key(number),
        health: Health::Ready,
        reason: "Succeeded".into(),
        message: message.into(),
        revision: String::new(),
        generation: 1,
        assignment: Some(uid(1)),
    }
}

fn report(name: &str, repairs: u64) -> InstallReport {
    InstallReport {
        install: install(name),
        assignment: uid(1),
        assignment_name: "platform/x".into(),
        render: Digest([1; 32]),
        revision: Digest([2; 32]),
        recorded: (1, Position(3)),
        state: InstallState::Applied,
        message: String::new(),
        drift_repairs: repairs,
        last_drift: String::new(),
    }
}

fn book(objects: u32) -> StatusBook {
    StatusBook::new(Limits { objects, ..Limits::DEFAULT }, Facts::default())
}

fn open(book: &mut StatusBook) {
    book.begin_session();
    book.welcomed(true);
}

/// What a hub makes of the batches, as simply as it can be said.
#[derive(Clone, Debug, Default)]
struct Hub {
    statuses: BTreeMap<ObjectKey, ObjectStatus>,
    installs: BTreeMap<InstallKey, InstallReport>,
    staged: Option<(BTreeMap<ObjectKey, ObjectStatus>, BTreeMap<InstallKey, InstallReport>)>,
    untracked: u64,
    facts: Facts,
    sequence: u64,
}

impl Hub {
    /// Takes Hello; returns whether the status is known.
    fn greet(&mut self, digests: &BookDigests) -> bool {
        self.sequence = 0;
        self.staged = None;
        self.facts = digests.facts.clone();
        let mut picture = book(u32::MAX);
        self.statuses.values().for_each(|status| _ = picture.upsert(status.clone()));
        picture.set_installs(self.installs.values().cloned());
        let own = picture.begin_session();
        (&own.kinds, own.installs) == (&digests.kinds, digests.installs)
    }

    fn apply(&mut self, batch: StatusBatch) {
        self.sequence += 1;
        assert_eq!(batch.sequence, self.sequence, "no gap");
        if let Some(facts) = batch.facts {
            self.facts = facts;
        }
        self.untracked = batch.untracked;
        let starts = matches!(batch.kind, BatchKind::SnapshotStart | BatchKind::SnapshotWhole);
        if starts {
            self.staged = Some(Default::default());
        }
        let is_delta = batch.kind == BatchKind::Delta;
        assert_eq!(is_delta, self.staged.is_none(), "deltas follow a snapshot, they do not run into it");
        let (statuses, installs) = match &mut self.staged {
            Some((statuses, installs)) => (statuses, installs),
            None => (&mut self.statuses, &mut self.installs),
        };
        statuses.extend(batch.objects.into_iter().map(|status| (status.key.clone(), status)));
        installs.extend(batch.installs.into_iter().map(|report| (report.install.clone(), report)));
        batch.removed.iter().for_each(|key| _ = statuses.remove(key));
        batch.removed_installs.iter().for_each(|install| _ = installs.remove(install));
        if matches!(batch.kind, BatchKind::SnapshotEnd | BatchKind::SnapshotWhole) {
            (self.statuses, self.installs) = self.staged.take().unwrap();
        }
    }
}

#[test]
fn nothing_is_sent_before_welcome() {
    let mut book = book(10);
    book.upsert(status(1, "a"));
    assert_eq!(book.next_batch(1000), None);
    book.begin_session();
    assert_eq!(book.next_batch(1000), None);
    book.welcomed(false);
    let batch = book.next_batch(1000).unwrap();
    assert_eq!((batch.kind, batch.sequence, batch.objects.len()), (BatchKind::SnapshotWhole, 1, 1));
    assert_eq!(book.next_batch(1000), None);
}

#[test]
fn a_key_that_changed_ten_times_is_sent_once() {
    let mut book = book(10);
    open(&mut book);
    for round in 0..10 {
        assert!(book.upsert(status(1, &format!("m{round}"))));
    }
    assert!(!book.upsert(status(1, "m9")), "the same again is no news");
    let batch = book.next_batch(1000).unwrap();
    assert_eq!(batch.objects, vec![status(1, "m9")]);
    assert!(!book.has_batch());
}

#[test]
fn what_comes_and_goes_is_sent_as_gone() {
    let mut book = book(10);
    open(&mut book);
    book.upsert(status(1, "a"));
    book.remove(&key(1));
    book.upsert_install(report("x", 0));
    book.remove_install(&install("x"));
    let batch = book.next_batch(1000).unwrap();
    assert_eq!((batch.removed, batch.removed_installs), (vec![key(1)], vec![install("x")]));
    assert!(batch.objects.is_empty() && batch.installs.is_empty());
}

#[test]
fn a_key_that_changes_all_the_time_does_not_hold_up_others() {
    let mut book = book(10);
    open(&mut book);
    (0..3).for_each(|number| _ = book.upsert(status(number, "a")));
    let mut sent = BTreeSet::new();
    for round in 0..3 {
        book.upsert(status(0, &format!("m{round}")));
        let batch = book.next_batch(1).unwrap();
        sent.extend(batch.objects.into_iter().map(|status| status.key));
    }
    assert_eq!(sent.len(), 3);
}

#[test]
fn objects_beyond_the_limit_are_counted_and_healed_when_there_is_room() {
    let mut book = book(2);
    open(&mut book);
    for number in 0..7 {
        book.upsert(status(number, "a"));
    }
    book.upsert(status(2, "again"));
    assert_eq!((book.statuses().len(), book.untracked(), book.dropped()), (2, 5, 6));
    assert_eq!(book.next_batch(10_000).unwrap().untracked, 5);
    assert_eq!(book.refill(), Refill::default());
    book.remove(&key(0));
    assert_eq!(book.refill(), Refill { read: vec![key(2)], relist: false });
    book.upsert(status(2, "again"));
    assert_eq!(book.untracked(), 4);
    // Two are known by name; for the other three everything is listed again once there is room for more.
    book.remove(&key(1));
    book.remove(&key(2));
    assert_eq!(book.refill(), Refill { read: vec![key(3)], relist: true });
    (3..7).for_each(|number| _ = book.upsert(status(number, "listed")));
    assert_eq!((book.statuses().len(), book.untracked()), (2, 2));
    assert_eq!(book.next_batch(10_000).unwrap().untracked, 2);
}

#[test]
fn a_lower_limit_drops_the_last_and_says_so() {
    let mut book = book(5);
    (0..5).for_each(|number| _ = book.upsert(status(number, "a")));
    book.begin_session();
    book.set_limits(Limits { objects: 2, ..Limits::DEFAULT });
    book.welcomed(true);
    let batch = book.next_batch(10_000).unwrap();
    assert_eq!((batch.removed.len(), batch.untracked), (3, 3));
}

#[test]
fn a_listing_removes_what_it_does_not_show_of_its_kind_alone() {
    let mut book = book(3);
    (0..5).for_each(|number| _ = book.upsert(status(number, "a")));
    let (group, kind) = KINDS[0];
    book.retain_kind(group, kind, &BTreeSet::from([key(0)]));
    assert_eq!(book.statuses().keys().cloned().collect::<Vec<_>>(), vec![key(0), key(1)]);
    assert_eq!(book.untracked(), 1, "of the other kind");
}

#[test]
fn texts_are_cut_to_the_announced_limit() {
    let mut book = book(3);
    book.set_limits(Limits { text_bytes: 10, ..Limits::DEFAULT });
    book.upsert(status(0, &"x".repeat(50)));
    assert!(book.statuses()[&key(0)].message.len() <= 10);
}

#[test]
fn facts_go_with_hello_or_with_the_next_batch() {
    let mut book = book(3);
    let facts = Facts { nodes: 3, ..Facts::default() };
    assert!(book.set_facts(facts.clone()) && !book.set_facts(facts.clone()));
    assert_eq!(book.begin_session().facts, facts);
    book.welcomed(true);
    assert!(!book.has_batch());
    let facts = Facts { nodes: 4, ..facts };
    book.set_facts(facts.clone());
    assert_eq!(book.next_batch(1000).unwrap().facts, Some(facts));
}

#[test]
fn a_second_hello_leaves_the_session_as_it_is_and_misses_nothing() {
    let mut book = book(9);
    open(&mut book);
    book.upsert(status(1, "a"));
    book.next_batch(9000).unwrap();
    book.upsert(status(2, "b"));
    book.begin_second();
    book.abandon_second();
    let delta = book.next_batch(9000).unwrap();
    assert_eq!((delta.sequence, delta.kind, delta.objects.len()), (2, BatchKind::Delta, 1));
    // Nothing went to the first meanwhile: what changed follows as a delta.
    book.begin_second();
    book.upsert(status(3, "c"));
    book.welcomed(true);
    let delta = book.next_batch(9000).unwrap();
    assert_eq!((delta.sequence, delta.kind, delta.objects.len()), (1, BatchKind::Delta, 1));
    // Something did: only the whole tells it all, facts included.
    book.begin_second();
    book.upsert(status(4, "d"));
    book.set_facts(Facts { nodes: 9, ..Facts::default() });
    book.next_batch(9000).unwrap();
    book.welcomed(true);
    let whole = book.next_batch(9000).unwrap();
    assert_eq!((whole.sequence, whole.kind, whole.objects.len()), (1, BatchKind::SnapshotWhole, 4));
    assert_eq!(whole.facts.map(|facts| facts.nodes), Some(9));
}

#[derive(Clone, Debug)]
enum Step {
    Upsert(usize, u8),
    Remove(usize),
    Install(usize, u64),
    RemoveInstall(usize),
    Facts(u32),
    Limit(u32),
    Send(usize),
    Resync,
    /// The session ends and another begins; what was sent is lost from the given batch on.
    Reconnect,
    HubForgets,
    Refill,
    /// Another hub process hears Hello beside the session; it knows what the first was told, or nothing.
    SecondHello(bool),
    /// It welcomes the agent, which moves there.
    Switch,
    /// It does not, and the session goes on.
    Abandon,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12_usize, any::<u8>()).prop_map(|(number, content)| Step::Upsert(number, content % 4)),
        3 => (0..12_usize).prop_map(Step::Remove),
        2 => (0..4_usize, 0..3_u64).prop_map(|(number, repairs)| Step::Install(number, repairs)),
        1 => (0..4_usize).prop_map(Step::RemoveInstall),
        1 => (0..3_u32).prop_map(Step::Facts),
        1 => (4..12_u32).prop_map(Step::Limit),
        6 => (0..900_usize).prop_map(Step::Send),
        1 => Just(Step::Resync),
        1 => Just(Step::Reconnect),
        1 => Just(Step::HubForgets),
        1 => Just(Step::Refill),
        2 => any::<bool>().prop_map(Step::SecondHello),
        2 => Just(Step::Switch),
        1 => Just(Step::Abandon),
    ]
}

fn greet(book: &mut StatusBook, hub: &mut Hub) {
    let known = hub.greet(&book.begin_session());
    book.welcomed(known);
}

fn refill(book: &mut StatusBook, truth: &BTreeMap<ObjectKey, ObjectStatus>) {
    let Refill { read, relist } = book.refill();
    let listed: Vec<ObjectKey> = if relist { truth.keys().cloned().collect() } else { read };
    for key in listed {
        match truth.get(&key) {
            Some(status) => _ = book.upsert(status.clone()),
            None => _ = book.remove(&key),
        }
    }
}

proptest! {
    /// Invariant I4: when it is quiet again, the hub's picture is the truth, whatever was interleaved.
    #[test]
    fn nothing_is_lost(steps in prop::collection::vec(any_step(), 0..80), limit in 2..14_u32) {
        let (mut book, mut hub, mut truth) = (book(limit), Hub::default(), BTreeMap::new());
        let mut second: Option<(Hub, bool)> = None;
        greet(&mut book, &mut hub);
        for step in steps {
            match step {
                Step::Upsert(number, content) => {
                    let status = status(number, &"m".repeat(usize::from(content) * 40));
                    truth.insert(status.key.clone(), status.clone());
                    book.upsert(status);
                }
                Step::Remove(number) => {
                    truth.remove(&key(number));
                    book.remove(&key(number));
                }
                Step::Install(number, repairs) => book.upsert_install(report(&format!("i{number}"), repairs)),
                Step::RemoveInstall(number) => book.remove_install(&install(&format!("i{number}"))),
                Step::Facts(nodes) => _ = book.set_facts(Facts { nodes, ..Facts::default() }),
                Step::Limit(objects) => book.set_limits(Limits { objects, ..Limits::DEFAULT }),
                Step::Send(bytes) => book.next_batch(bytes).into_iter().for_each(|batch| hub.apply(batch)),
                Step::Resync => book.begin_snapshot(),
                Step::Reconnect => {
                    // What was on its way never arrived.
                    book.next_batch(300);
                    book.end_session();
                    second = None;
                    greet(&mut book, &mut hub);
                }
                Step::HubForgets => {
                    hub = Hub::default();
                    second = None;
                    greet(&mut book, &mut hub);
                }
                Step::Refill => refill(&mut book, &truth),
                Step::SecondHello(knows) => {
                    let mut other = if knows { hub.clone() } else { Hub::default() };
                    let known = other.greet(&book.begin_second());
                    second = Some((other, known));
                }
                Step::Switch => {
                    if let Some((other, known)) = second.take() {
                        hub = other;
                        book.welcomed(known);
                    }
                }
                Step::Abandon => {
                    second = None;
                    book.abandon_second();
                }
            }
        }
        for _ in 0..4 {
            refill(&mut book, &truth);
        }
        while let Some(batch) = book.next_batch(400) {
            hub.apply(batch);
        }
        prop_assert!(hub.staged.is_none());
        prop_assert_eq!(&hub.statuses, book.statuses());
        prop_assert_eq!(&hub.installs, book.installs());
        prop_assert_eq!(&hub.facts, book.facts());
        prop_assert_eq!(hub.untracked, book.untracked());
        // What is tracked is the truth, and nothing is left out while there is room.
        let bound = book.limits().objects as usize;
        prop_assert_eq!(book.statuses().len(), truth.len().min(bound));
        prop_assert!(book.statuses().iter().all(|(key, status)| truth.get(key) == Some(status)));
        let left_out = (truth.len() - book.statuses().len()) as u64;
        prop_assert!(book.untracked() >= left_out);
        prop_assert!(book.uncounted > 0 || book.untracked() == left_out, "exact while each is known by name");
    }

    #[test]
    fn batches_stay_within_their_size(count in 0..60_usize, max_bytes in 600..4000_usize) {
        let mut book = book(100);
        (0..count).for_each(|number| _ = book.upsert(status(number, "some message")));
        book.begin_session();
        book.welcomed(false);
        let mut sent = 0;
        while let Some(batch) = book.next_batch(max_bytes) {
            sent += batch.objects.len();
            let bytes: usize = batch.objects.iter().map(status_bytes).sum();
            prop_assert!(bytes + BATCH_OVERHEAD <= max_bytes);
        }
        prop_assert_eq!(sent, count);
    }
}
