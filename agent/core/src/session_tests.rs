use starling_model::session::{Command, CommandResult, CommandVerb, Desired, DesiredAction, Receipt};
use starling_model::{Facts, Limits, ObjectKey};

use super::*;
use crate::hello::{Speaker, compose_hello};
use crate::intent::intend;
use crate::status_book::StatusBook;
use crate::testing::{desired, entry, fence, fence_of, install, render, uid};

/// A session with a clock and fixed entropy.
pub(super) struct Rig {
    pub(super) session: Session,
    pub(super) now: Millis,
    pub(super) entropy: u64,
}

impl Rig {
    pub(super) fn new() -> Self {
        let session = Session::new("hub:8443".to_owned(), Facts::default().digest(), &Inventory::default());
        Self { session, now: Millis(1_000_000), entropy: u64::MAX - 1 }
    }

    pub(super) fn open() -> Self {
        Self::open_at(welcome().epoch)
    }

    /// Opens a session with a hub whose ring has this epoch; zero is no ring.
    pub(super) fn open_at(epoch: u64) -> Self {
        let mut rig = Self::new();
        rig.give(Input::Start);
        rig.give(Input::Connected);
        rig.hear(HubMessage::Welcome(Welcome { epoch, ..welcome() }));
        assert!(rig.session.is_open());
        rig
    }

    pub(super) fn give(&mut self, input: Input) -> Vec<Effect> {
        let drawn = self.entropy;
        self.session.handle(input, self.now, &mut || drawn)
    }

    pub(super) fn hear(&mut self, message: HubMessage) -> Vec<Effect> {
        self.give(Input::Received(message))
    }

    pub(super) fn plan(&mut self, desired: Desired) -> Vec<Effect> {
        self.hear(HubMessage::Desired(Box::new(desired)))
    }

    pub(super) fn wait(&mut self, millis: u64) -> Vec<Effect> {
        self.now = self.now.plus(Duration::from_millis(millis));
        self.give(Input::Tick)
    }

    /// Waits for the next deadline; returns how long that took.
    pub(super) fn next(&mut self) -> (u64, Vec<Effect>) {
        let deadline = self.session.next_deadline().unwrap();
        let millis = deadline.0.saturating_sub(self.now.0);
        (millis, self.wait(millis))
    }

    pub(super) fn lend(&mut self, heartbeat: u64, seconds: u64) -> Vec<Effect> {
        let hold_reason = (seconds == 0).then(|| "the fleet holds".to_owned());
        self.hear(HubMessage::Lease(Lease { heartbeat, lease: Duration::from_secs(seconds), hold_reason }))
    }
}

pub(super) fn welcome() -> Welcome {
    Welcome {
        protocol: 1,
        hub: "hub-0".to_owned(),
        lease: Duration::from_secs(15),
        heartbeat: Duration::from_secs(10),
        reconnect_window: Duration::from_secs(5),
        limits: Limits::DEFAULT,
        status_known: false,
        epoch: 3,
        hold_reason: None,
    }
}

pub(super) fn end(code: Option<ErrorCode>) -> End {
    End { code, ..End::because("gone") }
}

pub(super) fn dial(address: &str) -> Effect {
    Effect::Dial { address: address.to_owned() }
}

fn refused(effects: &[Effect]) -> Option<&str> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send(AgentMessage::Receipt(receipt)) => receipt.refused.as_deref(),
        _ => None,
    })
}

fn rendered(version: &str) -> DesiredAction {
    DesiredAction::Render(render("podinfo", uid(1), "HelmRepository", version, Vec::new()))
}

#[test]
fn it_dials_greets_and_is_welcomed() {
    let mut rig = Rig::new();
    assert_eq!(rig.session.next_deadline(), None);
    assert_eq!(rig.give(Input::Start), vec![dial("hub:8443")]);
    assert_eq!(rig.give(Input::Connected), vec![Effect::SendHello { forward: false }]);
    let asked = rig.now;
    rig.now = rig.now.plus(Duration::from_secs(2));
    let effects = rig.hear(HubMessage::Welcome(welcome()));
    let until = asked.plus(Duration::from_secs(15));
    assert_eq!(effects, vec![Effect::LeaseChanged(Some(until)), Effect::Opened(welcome())]);
    assert_eq!(rig.session.newest_epoch(), 3);
    assert_eq!(rig.session.standing().phase, "open");
}

#[test]
fn a_lease_counts_from_when_it_was_asked_for() {
    let mut rig = Rig::open();
    let (_, effects) = rig.next();
    assert_eq!(effects, vec![Effect::Send(AgentMessage::Heartbeat(Heartbeat { sequence: 1, dropped: 0 }))]);
    let asked = rig.now;
    rig.wait(6000);
    // Longer than any lease may be.
    assert_eq!(rig.lend(1, 60), vec![Effect::LeaseChanged(Some(asked.plus(COMMAND_LEASE)))]);
    assert!(rig.session.lease_is_live(asked.plus(Duration::from_millis(14_999))));
    assert!(!rig.session.lease_is_live(asked.plus(COMMAND_LEASE)));
    assert_eq!(rig.lend(1, 15), vec![], "an answer counts once");
    assert_eq!(rig.lend(9, 15), vec![], "to a heartbeat that was never sent");
}

#[test]
fn a_hub_that_holds_takes_the_lease_back_and_says_why() {
    let mut rig = Rig::open();
    rig.next();
    assert!(rig.session.lease_is_live(rig.now));
    assert_eq!(rig.lend(1, 0), vec![Effect::LeaseChanged(None)]);
    assert_eq!(rig.session.standing().hold_reason.as_deref(), Some("the fleet holds"));
    assert!(!rig.session.lease_is_live(rig.now));
    rig.next();
    rig.lend(2, 15);
    assert_eq!(rig.session.standing().hold_reason, None);
}

#[test]
fn heartbeats_keep_their_interval_and_silence_ends_the_session() {
    let mut rig = Rig::open();
    let mut beats = Vec::new();
    let closed = loop {
        let (millis, effects) = rig.next();
        match effects.as_slice() {
            [Effect::Send(AgentMessage::Heartbeat(heartbeat))] => beats.push((millis, heartbeat.sequence)),
            other => break other.to_vec(),
        }
    };
    assert_eq!(beats.len(), 3);
    assert!(beats[0].0 >= 5000 && beats[0].0 <= 10_000);
    assert_eq!(beats[1..], [(10_000, 2), (10_000, 3)]);
    assert!(matches!(closed.as_slice(), [Effect::Close(_)]));
    assert_eq!(rig.session.standing().phase, "waiting");
    assert_eq!(rig.give(Input::Closed(end(None))), vec![], "the stream that was given up");
}

#[test]
fn a_machine_that_slept_gives_the_session_up() {
    let mut rig = Rig::open();
    let effects = rig.wait(3_600_000);
    assert!(matches!(effects.as_slice(), [Effect::Close(_)]));
    assert!(!rig.session.lease_is_live(rig.now));
}

#[test]
fn waiting_grows_with_full_jitter_and_a_session_that_lived_resets_it() {
    let mut rig = Rig::new();
    rig.give(Input::Start);
    let mut waits = Vec::new();
    for span in [5000, 5000, 10_000, 20_000, 40_000, 80_000, 120_000, 120_000] {
        rig.entropy = span;
        rig.give(Input::DialFailed(end(Some(ErrorCode::Unavailable))));
        let (millis, effects) = rig.next();
        assert_eq!(effects, vec![dial("hub:8443")]);
        waits.push(millis == span);
        rig.entropy = span + 1;
        let mut other = rig.session.clone();
        other.failures = rig.session.failures - 1;
        other.handle(Input::DialFailed(end(None)), rig.now, &mut || span + 1);
        assert_eq!(other.next_deadline(), Some(rig.now), "it wraps behind the span");
    }
    assert!(waits.iter().all(|reached| *reached));
    rig.give(Input::Connected);
    rig.hear(HubMessage::Welcome(welcome()));
    rig.now = rig.now.plus(LIVED);
    rig.give(Input::Closed(end(None)));
    assert_eq!(rig.session.standing().failures, 1);
}

#[test]
fn dials_and_greetings_are_timed() {
    let mut rig = Rig::new();
    rig.give(Input::Start);
    let (millis, effects) = rig.next();
    assert_eq!(u128::from(millis), DIAL_TIMEOUT.as_millis());
    assert!(matches!(effects.as_slice(), [Effect::Close(_)]));
    rig.next();
    rig.give(Input::Connected);
    let (millis, effects) = rig.next();
    assert_eq!(u128::from(millis), SESSION_TIMEOUT.as_millis());
    assert!(matches!(effects.as_slice(), [Effect::Close(_)]));
}

#[test]
fn an_identity_in_use_backs_off_for_long_and_loses_its_lease() {
    for code in [ErrorCode::Conflict, ErrorCode::PermissionDenied] {
        let mut rig = Rig::open();
        rig.entropy = 0;
        assert!(rig.session.lease_is_live(rig.now));
        rig.give(Input::Closed(end(Some(code))));
        assert!(!rig.session.lease_is_live(rig.now));
        let until = rig.session.next_deadline().unwrap();
        assert!(until.since(rig.now) >= SESSION_TIMEOUT);
    }
}

#[test]
fn a_hub_that_says_when_to_come_again_is_heeded() {
    let seconds = Duration::from_secs;
    for (code, after, least) in [
        (ErrorCode::LimitExceeded, seconds(60), seconds(60)),
        // It is behind the ring that the agent has seen.
        (ErrorCode::Unavailable, Duration::from_millis(200), Duration::from_millis(200)),
        // Sooner than without that word, and never for ever.
        (ErrorCode::Conflict, seconds(3), seconds(3)),
        (ErrorCode::Conflict, seconds(86_400), seconds(900)),
    ] {
        let mut rig = Rig::open();
        for drawn in [0, u64::MAX] {
            rig.entropy = drawn;
            rig.give(Input::Start);
            rig.give(Input::Closed(End { retry_after: Some(after), ..end(Some(code)) }));
            let wait = rig.session.next_deadline().unwrap().since(rig.now);
            let spread = if after < seconds(1) { seconds(1) } else { RECONNECT_MAXIMUM };
            assert!(wait >= least && wait <= least + spread, "{code:?} {after:?}: {wait:?}");
        }
    }
}

#[test]
fn another_certificate_ends_the_wait_after_a_refusal_and_no_other_wait() {
    for (code, dials) in [(Some(ErrorCode::CredentialRefused), true), (Some(ErrorCode::Conflict), false), (None, false)]
    {
        let mut rig = Rig::open();
        rig.give(Input::Closed(end(code)));
        let expected = if dials { vec![dial("hub:8443")] } else { Vec::new() };
        assert_eq!(rig.give(Input::IdentityChanged), expected, "{code:?}");
        assert_eq!(rig.give(Input::IdentityChanged), Vec::new(), "{code:?}: one dial a refusal");
    }
}

#[test]
fn a_lease_outlives_a_lost_stream() {
    let mut rig = Rig::open();
    rig.give(Input::Closed(end(None)));
    assert!(rig.session.lease_is_live(rig.now));
}

#[test]
fn a_plan_is_parked_and_the_newest_wins() {
    let mut rig = Rig::open();
    let effects = rig.plan(desired(fence(5), 1, vec![entry("podinfo", uid(1), rendered("1"))], Vec::new()));
    let receipt = Receipt { fence: fence(5), plan_digest: Digest([1; 32]), refused: None };
    let parked = Arc::clone(rig.session.parked().unwrap());
    assert_eq!(effects, vec![Effect::Send(AgentMessage::Receipt(receipt)), Effect::Park(parked)]);
    // A render of the plan that is parked is at hand, though nothing of it was committed.
    let digest = render("podinfo", uid(1), "HelmRepository", "1", Vec::new()).digest;
    let held = entry("podinfo", uid(1), DesiredAction::HeldRender(digest));
    let effects = rig.plan(desired(fence(6), 2, vec![held], Vec::new()));
    assert_eq!(refused(&effects), None);
    assert_eq!(rig.session.plan_digest(), Some(Digest([2; 32])));
    assert_eq!(rig.session.parked().unwrap().fence, fence(6));
}

#[test]
fn older_and_foreign_fences_are_refused() {
    let mut rig = Rig::open();
    rig.plan(desired(fence(5), 1, Vec::new(), Vec::new()));
    for stale in [fence(4), fence_of((1, 9), 50), fence_of((0, 1), 99)] {
        let effects = rig.plan(desired(stale, 7, Vec::new(), Vec::new()));
        assert!(refused(&effects).is_some() && effects.len() == 1, "{stale:?}");
    }
    assert_eq!(rig.session.plan_digest(), Some(Digest([1; 32])));
    assert_eq!(refused(&rig.plan(desired(fence_of((2, 2), 1), 8, Vec::new(), Vec::new()))), None);
}

#[test]
fn a_plan_for_other_facts_is_refused() {
    let mut rig = Rig::open();
    rig.session.observe_facts(Digest([4; 32]));
    let effects = rig.plan(desired(fence(5), 1, Vec::new(), Vec::new()));
    assert!(refused(&effects).is_some_and(|reason| reason.contains("facts")));
    assert!(rig.session.parked().is_none());
    assert_eq!(rig.session.newest_fence(), Some(fence(5)));
}

#[test]
fn an_unchanged_plan_advances_the_fence() {
    let mut rig = Rig::open();
    rig.plan(desired(fence(5), 1, Vec::new(), Vec::new()));
    let unchanged =
        |position, digest| Desired { unchanged: true, ..desired(fence(position), digest, Vec::new(), Vec::new()) };
    let effects = rig.plan(unchanged(6, 1));
    assert!(matches!(effects.as_slice(), [Effect::Send(_), Effect::Advance(advanced)] if *advanced == fence(6)));
    assert_eq!(rig.session.newest_fence(), Some(fence(6)));
    assert_eq!(rig.session.parked().unwrap().fence, fence(6));
    // Another plan than the agent holds: a new Hello tells the hub what is held.
    let effects = rig.plan(unchanged(7, 2));
    assert!(matches!(effects.as_slice(), [Effect::Send(_), Effect::Close(_)]));
}

#[test]
fn a_render_that_is_not_held_is_refused_and_hello_says_what_is() {
    let mut rig = Rig::open();
    let held = entry("podinfo", uid(1), DesiredAction::HeldRender(Digest([5; 32])));
    let effects = rig.plan(desired(fence(5), 1, vec![held], Vec::new()));
    assert!(refused(&effects).is_some_and(|reason| reason.contains("not held")));
    assert!(matches!(effects.last(), Some(Effect::Close(_))));
    assert_eq!(rig.session.plan_digest(), None);
}

#[test]
fn commands_need_a_lease_and_are_bounded() {
    let mut rig = Rig::open();
    let key = ObjectKey::new("helm.toolkit.fluxcd.io", "HelmRelease", "apps", "podinfo");
    let command =
        |id| Command { id: uid(id), verb: CommandVerb::Reconcile, objects: vec![key.clone()], token: "t".to_owned() };
    for id in 0..COMMANDS_AT_ONCE as u8 {
        assert_eq!(rig.hear(HubMessage::Command(command(id))), vec![Effect::RunCommand(command(id))]);
    }
    assert_eq!(rig.hear(HubMessage::Command(command(0))), vec![], "it runs already");
    let error = |effects: Vec<Effect>| match effects.as_slice() {
        [Effect::Send(AgentMessage::CommandResult(result))] => result.outcomes[0].1.clone().unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(error(rig.hear(HubMessage::Command(command(99)))).contains("too many"));
    let done = CommandResult { id: uid(0), outcomes: vec![(key.clone(), None)] };
    let effects = rig.give(Input::CommandDone(done.clone()));
    assert_eq!(effects, vec![Effect::Send(AgentMessage::CommandResult(done.clone()))]);
    assert_eq!(rig.give(Input::CommandDone(done)), vec![], "once");
    rig.now = rig.now.plus(COMMAND_LEASE);
    assert!(error(rig.hear(HubMessage::Command(command(99)))).contains("lease"));
}

#[test]
fn a_draining_hub_is_left_within_the_window() {
    let mut rig = Rig::open_at(0);
    rig.entropy = 3000;
    rig.hear(HubMessage::Drain { window: Duration::from_secs(4) });
    let (millis, effects) = rig.next();
    assert_eq!(millis, 3000);
    assert_eq!(effects[1..], [dial("hub:8443")]);
    // A hub that closes first does not shorten the spread.
    let mut rig = Rig::open();
    rig.entropy = 3000;
    rig.hear(HubMessage::Drain { window: Duration::from_secs(4) });
    rig.wait(1000);
    rig.give(Input::Closed(end(Some(ErrorCode::Unavailable))));
    assert_eq!(rig.next(), (2000, vec![dial("hub:8443")]));
    assert_eq!(rig.session.standing().failures, 0);
}

#[test]
fn redirects_are_followed_forward_only_and_not_for_ever() {
    let redirect = |epoch| HubMessage::Redirect { address: "other:8443".to_owned(), epoch };
    let mut rig = Rig::new();
    rig.give(Input::Start);
    rig.give(Input::Connected);
    let effects = rig.hear(redirect(4));
    assert_eq!(effects[1..], [dial("other:8443")]);
    assert_eq!(rig.session.newest_epoch(), 4);
    rig.give(Input::Connected);
    assert!(matches!(rig.hear(redirect(3)).as_slice(), [Effect::Close(_)]), "a process behind what the agent has seen");
    assert!(rig.session.next_deadline().unwrap().since(rig.now) <= Duration::from_secs(5));
    assert_eq!(rig.next().1, vec![dial("hub:8443")]);
    rig.give(Input::Connected);
    rig.hear(redirect(4));
    rig.give(Input::DialFailed(end(None)));
    assert_eq!(rig.next().1, vec![dial("hub:8443")], "the configured address knows better");
    assert_eq!(rig.give(Input::Connected), vec![Effect::SendHello { forward: true }]);
    let followed = (0..20).take_while(|_| {
        rig.give(Input::Connected);
        rig.hear(redirect(4)).len() == 2
    });
    assert_eq!(followed.count(), 4);
    assert_eq!(rig.session.standing().phase, "waiting");
}

#[test]
fn messages_out_of_order_and_unknown_protocols_end_the_stream() {
    let mut rig = Rig::new();
    rig.give(Input::Start);
    rig.give(Input::Connected);
    assert!(matches!(rig.hear(HubMessage::Resync("x".into())).as_slice(), [Effect::Close(_)]));
    let mut rig = Rig::open();
    assert!(matches!(rig.hear(HubMessage::Welcome(welcome())).as_slice(), [Effect::Close(_)]));
    let mut rig = Rig::new();
    rig.give(Input::Start);
    rig.give(Input::Connected);
    let effects = rig.hear(HubMessage::Welcome(Welcome { protocol: 2, ..welcome() }));
    assert!(matches!(effects.as_slice(), [Effect::Close(_)]));
    assert!(rig.session.next_deadline().unwrap().since(rig.now) >= SESSION_TIMEOUT);
}

#[test]
fn the_rest_is_passed_on_and_stopping_ends_everything() {
    let mut rig = Rig::open();
    assert_eq!(rig.hear(HubMessage::Resync("gap".into())), vec![Effect::BeginSnapshot("gap".into())]);
    assert_eq!(rig.hear(HubMessage::TrustBundle(vec![1])), vec![Effect::Trust(vec![1])]);
    assert!(matches!(rig.give(Input::Stop).as_slice(), [Effect::Close(_)]));
    assert_eq!((rig.session.next_deadline(), rig.give(Input::Start)), (None, vec![]));
}

#[test]
fn a_detached_agent_says_so_until_it_is_adopted_again() {
    let mut rig = Rig::open();
    let mut plan = desired(fence(5), 1, Vec::new(), Vec::new());
    plan.detach = Some(starling_model::Detach::Orphan);
    rig.plan(plan);
    let mut inventory = Inventory::default();
    inventory.commit(&intend(&inventory, rig.session.parked().unwrap())).unwrap();
    rig.session.observe_inventory(&inventory);
    let detached = Effect::Send(AgentMessage::Detached(fence(5)));
    assert_eq!(rig.give(Input::InventoryChanged), vec![], "objects still carry the fleet's stamps");
    rig.session.observe_left(fence(5));
    rig.session.observe_inventory(&inventory);
    assert_eq!(rig.give(Input::InventoryChanged), vec![detached.clone()]);
    rig.give(Input::Closed(end(None)));
    rig.next();
    rig.give(Input::Connected);
    assert_eq!(rig.hear(HubMessage::Welcome(welcome())).last(), Some(&detached));
}

#[test]
fn hello_tells_what_is_committed_and_what_is_parked() {
    let inventory = crate::testing::holding("held", uid(1), 4);
    let mut session = Session::new("hub:8443".to_owned(), Facts::default().digest(), &inventory);
    let speaker = Speaker { fingerprint: "f".into(), instance: uid(8), agent_version: "0.1.0".into() };
    let mut book = StatusBook::new(Limits::DEFAULT, Facts::default());
    book.set_installs(inventory.reports());
    let hello = compose_hello(&session, &mut book, &inventory, &speaker, false);
    assert_eq!((hello.newest_fence, hello.plan_digest), (Some(fence(4)), Some(Digest([1; 32]))));
    assert_eq!(hello.held.iter().map(|held| &held.install).collect::<Vec<_>>(), vec![&install("held")]);
    let mut draw = || 0;
    for input in [Input::Start, Input::Connected, Input::Received(HubMessage::Welcome(welcome()))] {
        session.handle(input, Millis(0), &mut draw);
    }
    let plan = desired(fence(5), 2, vec![entry("podinfo", uid(1), rendered("1"))], Vec::new());
    session.handle(Input::Received(HubMessage::Desired(Box::new(plan))), Millis(0), &mut draw);
    let hello = compose_hello(&session, &mut book, &inventory, &speaker, false);
    assert_eq!((hello.newest_fence, hello.plan_digest), (Some(fence(5)), Some(Digest([2; 32]))));
    assert_eq!(hello.held.len(), 2);
    // Another agent committed something newer: what is parked is void.
    let newer = crate::testing::holding("held", uid(1), 6);
    session.observe_inventory(&newer);
    assert!(session.parked().is_none());
    assert_eq!(session.newest_fence(), Some(fence(6)));
}
