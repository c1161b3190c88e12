use proptest::prelude::*;
use starling_model::ObjectKey;
use starling_model::session::{Command, CommandResult, CommandVerb};

use super::tests::{Rig, dial, end, welcome};
use super::*;
use crate::testing::uid;

impl Rig {
    fn second(&mut self, input: SecondInput) -> Vec<Effect> {
        self.give(Input::Second(input))
    }

    fn hear_second(&mut self, message: HubMessage) -> Vec<Effect> {
        self.second(SecondInput::Received(message))
    }

    /// Lets time pass until an effect other than a heartbeat, answering each heartbeat with a lease of this length.
    fn live(&mut self, lease: u64) -> (Duration, Vec<Effect>) {
        let from = self.now;
        for _ in 0..2000 {
            let (_, mut effects) = self.next();
            if let Some(Effect::Send(AgentMessage::Heartbeat(heartbeat))) = effects.last() {
                let sequence = heartbeat.sequence;
                effects.pop();
                self.lend(sequence, lease);
            }
            if !effects.is_empty() {
                return (self.now.since(from), effects);
            }
        }
        panic!("nothing happens");
    }

    /// Lets this much time pass with leases; nothing else may happen meanwhile.
    fn live_for(&mut self, lease: u64, how_long: Duration) {
        let until = self.now.plus(how_long);
        while self.session.next_deadline().is_some_and(|deadline| deadline <= until) {
            let (_, effects) = self.next();
            match effects.as_slice() {
                [Effect::Send(AgentMessage::Heartbeat(heartbeat))] => {
                    let sequence = heartbeat.sequence;
                    self.lend(sequence, lease);
                }
                other => assert_eq!(other, []),
            }
        }
        self.now = until;
    }
}

fn redirect(address: &str, epoch: u64) -> HubMessage {
    HubMessage::Redirect { address: address.to_owned(), epoch }
}

fn dial_second(address: &str) -> Effect {
    Effect::Second(SecondEffect::Dial { address: address.to_owned() })
}

fn hello_second(forward: bool) -> Vec<Effect> {
    vec![Effect::Second(SecondEffect::SendHello { forward })]
}

fn welcome_of(hub: &str, epoch: u64) -> HubMessage {
    HubMessage::Welcome(Welcome { hub: hub.to_owned(), epoch, ..welcome() })
}

fn closes_second(effects: &[Effect]) -> bool {
    matches!(effects.first(), Some(Effect::Second(SecondEffect::Close(_))))
}

/// A session that was redirected while open, and whose second link said Hello.
fn greeting_another() -> Rig {
    let mut rig = Rig::open();
    assert_eq!(rig.hear(redirect("other:8443", 4)), vec![dial_second("other:8443")]);
    assert_eq!(rig.second(SecondInput::Connected), hello_second(false));
    rig
}

#[test]
fn the_old_session_goes_on_until_the_new_owner_welcomes() {
    let mut rig = greeting_another();
    assert_eq!(rig.session.standing().hub.as_deref(), Some("hub-0"));
    let (_, effects) = rig.next();
    assert!(matches!(effects.as_slice(), [Effect::Send(AgentMessage::Heartbeat(_))]));
    rig.lend(1, 15);
    assert_eq!(rig.hear(HubMessage::Resync("gap".into())), vec![Effect::BeginSnapshot("gap".into())]);
    let effects = rig.hear_second(welcome_of("hub-1", 4));
    assert!(matches!(effects.as_slice(), [Effect::Switch, Effect::LeaseChanged(Some(_)), Effect::Opened(_)]));
    assert_eq!(rig.session.standing().hub.as_deref(), Some("hub-1"));
    // What the old owner still says is read and dropped, until the snapshot has left.
    assert_eq!(rig.hear_second(HubMessage::Resync("late".into())), vec![]);
    assert_eq!(rig.second(SecondInput::HandedOver), vec![Effect::Second(SecondEffect::Finish)]);
    assert_eq!(rig.second(SecondInput::Closed(end(None))), vec![]);
    rig.live_for(15, Duration::from_secs(300));
    assert!(rig.session.is_open());
    // The new address is where it dials again.
    rig.give(Input::Closed(end(None)));
    assert_eq!(rig.next().1, vec![dial("other:8443")]);
}

#[test]
fn a_snapshot_that_does_not_leave_holds_the_old_owner_for_a_while_only() {
    let mut rig = greeting_another();
    rig.hear_second(welcome_of("hub-1", 4));
    let (waited, effects) = rig.live(15);
    assert_eq!(waited, HANDOVER);
    assert!(closes_second(&effects) && effects.len() == 1);
}

#[test]
fn a_move_does_not_cut_a_lease_and_the_new_owner_may_take_it_back() {
    let mut rig = greeting_another();
    let until = rig.session.lease_until();
    assert!(until.is_some());
    let none = Welcome { lease: Duration::ZERO, hub: "hub-1".into(), epoch: 4, ..welcome() };
    rig.hear_second(HubMessage::Welcome(none));
    assert_eq!(rig.session.lease_until(), until);
    rig.next();
    while rig.session.standing().hold_reason.is_none() {
        let (_, effects) = rig.next();
        if let [Effect::Send(AgentMessage::Heartbeat(heartbeat))] = effects.as_slice() {
            rig.lend(heartbeat.sequence, 0);
        }
    }
    assert_eq!(rig.session.lease_until(), None);
}

#[test]
fn an_old_stream_that_dies_leaves_the_dial_under_way_as_the_only_one() {
    let mut rig = Rig::open();
    rig.hear(redirect("other:8443", 4));
    assert_eq!(rig.give(Input::Closed(end(None))), vec![Effect::Promote]);
    assert_eq!(rig.session.standing().phase, "dialling");
    assert!(rig.session.lease_is_live(rig.now));
    assert_eq!(rig.give(Input::Connected), vec![Effect::SendHello { forward: false }]);
    let mut rig = greeting_another();
    assert_eq!(rig.give(Input::Closed(end(None))), vec![Effect::Promote]);
    let effects = rig.hear(welcome_of("hub-1", 4));
    assert!(matches!(effects.as_slice(), [Effect::LeaseChanged(_), Effect::Opened(_)]));
}

#[test]
fn an_older_epoch_is_ignored_and_where_the_agent_is_dialled_no_second_time() {
    let mut rig = Rig::open();
    assert_eq!(rig.hear(redirect("other:8443", 2)), vec![]);
    assert_eq!(rig.hear(redirect("hub:8443", 5)), vec![]);
    assert_eq!(rig.session.newest_epoch(), 5);
    assert_eq!(rig.hear(redirect("other:8443", 5)), vec![dial_second("other:8443")]);
    assert_eq!(rig.hear(redirect("other:8443", 5)), vec![], "it is under way");
    // Another process that is behind is left; one that knows better is followed, not for ever.
    rig.second(SecondInput::Connected);
    assert!(closes_second(&rig.hear_second(redirect("third:8443", 4))));
    assert_eq!(rig.live(15).1, vec![dial_second("other:8443")]);
    let followed = (0..20).take_while(|hop| {
        rig.second(SecondInput::Connected);
        rig.hear_second(redirect(&format!("hop-{hop}:8443"), 5)).len() == 2
    });
    assert_eq!(followed.count(), 4);
    assert!(rig.session.is_open());
}

#[test]
fn a_dead_target_leaves_the_session_as_it_is_and_asks_for_forwarding() {
    let fails: [fn(&mut Rig); 3] = [
        |rig| assert_eq!(rig.second(SecondInput::DialFailed(end(None))), vec![]),
        |rig| {
            let (waited, effects) = rig.live(15);
            assert!(waited == DIAL_TIMEOUT && closes_second(&effects));
        },
        |rig| {
            rig.second(SecondInput::Connected);
            let (waited, effects) = rig.live(15);
            assert!(waited == SESSION_TIMEOUT && closes_second(&effects));
        },
    ];
    for fail in fails {
        let mut rig = Rig::open();
        rig.hear(redirect("dead:8443", 4));
        fail(&mut rig);
        assert!(rig.session.is_open());
        assert_eq!(rig.hear(redirect("dead:8443", 4)), vec![], "it waits");
        let (waited, effects) = rig.live(15);
        assert!(waited <= Duration::from_secs(5));
        assert_eq!(effects, vec![dial_second("hub:8443")]);
        assert_eq!(rig.second(SecondInput::Connected), hello_second(true));
        rig.hear_second(welcome_of("hub-1", 4));
        rig.second(SecondInput::Closed(end(None)));
        // A new stream asks the same.
        rig.give(Input::Closed(end(None)));
        assert_eq!(rig.next().1, vec![dial("hub:8443")]);
        assert_eq!(rig.give(Input::Connected), vec![Effect::SendHello { forward: true }]);
        rig.hear(welcome_of("hub-1", 4));
        assert_eq!(rig.hear(redirect("dead:8443", 5)), vec![dial_second("hub:8443")], "soon, it is still dead");
        rig.second(SecondInput::DialFailed(end(None)));
        let (_, effects) = rig.live(15);
        assert_eq!(effects, vec![dial_second("hub:8443")]);
        rig.second(SecondInput::Connected);
        rig.hear_second(welcome_of("hub-2", 5));
        rig.second(SecondInput::Closed(end(None)));
        // Whether it can be reached by now is found out beside the session that is forwarded.
        let (waited, effects) = rig.live(15);
        assert!(waited >= FORWARD_MEMORY && waited <= FORWARD_MEMORY * 2, "{waited:?}");
        assert_eq!(effects, vec![dial_second("dead:8443")]);
        rig.second(SecondInput::DialFailed(end(None)));
        rig.live_for(15, FORWARD_MEMORY - Duration::from_secs(1));
        rig.entropy = 0;
    }
}

#[test]
fn a_higher_epoch_after_a_while_is_tried_directly_and_success_ends_forwarding() {
    let mut rig = Rig::open();
    rig.entropy = 600_000;
    rig.hear(redirect("dead:8443", 4));
    rig.second(SecondInput::DialFailed(end(None)));
    rig.live(15);
    rig.second(SecondInput::Connected);
    rig.hear_second(welcome_of("hub-1", 4));
    rig.second(SecondInput::Closed(end(None)));
    rig.live_for(15, FORWARD_MEMORY);
    assert_eq!(rig.hear(redirect("dead:8443", 5)), vec![dial_second("dead:8443")]);
    assert_eq!(rig.second(SecondInput::Connected), hello_second(false));
    rig.hear_second(welcome_of("hub-2", 5));
    rig.second(SecondInput::Closed(end(None)));
    rig.give(Input::Closed(end(None)));
    rig.next();
    rig.give(Input::DialFailed(end(None)));
    assert_eq!(rig.next().1, vec![dial("hub:8443")]);
    let hello = rig.give(Input::Connected);
    assert_eq!(hello, vec![Effect::SendHello { forward: false }], "an owner that died is no reason to ask");
}

#[test]
fn a_captive_looks_for_a_newer_ring_now_and_then() {
    let mut rig = Rig::open();
    for entropy in [0, 120_000] {
        rig = Rig::open();
        rig.entropy = entropy;
        let (waited, effects) = rig.live(0);
        let longest = CAPTIVE_AFTER + Duration::from_secs(140);
        assert!(waited >= CAPTIVE_AFTER && waited <= longest, "{waited:?}");
        assert_eq!(effects, vec![dial_second("hub:8443")]);
    }
    assert_eq!(rig.second(SecondInput::Connected), hello_second(false));
    assert!(closes_second(&rig.hear_second(redirect("other:8443", 3))), "no newer ring");
    for answer in [welcome_of("hub-1", 3), redirect("hub:8443", 3)] {
        let (waited, effects) = rig.live(0);
        assert!(waited >= Duration::from_secs(180) && waited <= Duration::from_secs(360));
        assert_eq!(effects, vec![dial_second("hub:8443")]);
        rig.second(SecondInput::Connected);
        assert!(closes_second(&rig.hear_second(answer)));
        assert_eq!(rig.session.standing().hub.as_deref(), Some("hub-0"));
    }
    rig.live(0);
    rig.second(SecondInput::Connected);
    let effects = rig.hear_second(redirect("other:8443", 4));
    assert_eq!(effects[1..], [dial_second("other:8443")]);
    rig.second(SecondInput::Connected);
    let effects = rig.hear_second(welcome_of("hub-1", 4));
    assert_eq!(effects[0], Effect::Switch);
    assert!(rig.session.is_open());
}

#[test]
fn who_is_lent_a_lease_or_knows_no_ring_does_not_look_elsewhere() {
    let mut rig = Rig::open();
    rig.live_for(0, CAPTIVE_AFTER - Duration::from_secs(1));
    rig.live_for(15, Duration::from_secs(3600));
    let mut rig = Rig::open_at(0);
    rig.live_for(0, Duration::from_secs(3600));
}

#[test]
fn a_draining_process_is_left_for_another_that_welcomes_first() {
    let mut rig = Rig::open();
    rig.entropy = 1500;
    rig.hear(HubMessage::Drain { window: Duration::from_secs(4) });
    assert_eq!(rig.next(), (1500, vec![dial_second("hub:8443")]));
    // Home led to the process itself, which refuses; the ring still leads to it.
    rig.second(SecondInput::Connected);
    rig.second(SecondInput::Closed(end(Some(ErrorCode::Unavailable))));
    assert_eq!(rig.next(), (2000, vec![dial_second("hub:8443")]));
    assert!(rig.session.is_open());
    rig.second(SecondInput::Connected);
    let mut stubborn = Rig { session: rig.session.clone(), now: rig.now, entropy: rig.entropy };
    assert_eq!(rig.hear_second(welcome_of("hub-1", 4))[0], Effect::Switch);
    assert!(rig.session.is_open());
    assert!(closes_second(&stubborn.hear_second(redirect("hub:8443", 4))));
    assert_eq!(stubborn.next(), (500, vec![dial_second("hub:8443")]), "a last time as the window ends");
    let effects = stubborn.second(SecondInput::DialFailed(end(None)));
    assert!(matches!(effects.as_slice(), [Effect::Close(_), Effect::Dial { .. }]));
}

#[test]
fn a_command_is_answered_on_the_link_that_it_came_from() {
    let key = ObjectKey::new("helm.toolkit.fluxcd.io", "HelmRelease", "apps", "podinfo");
    let command =
        |id| Command { id: uid(id), verb: CommandVerb::Reconcile, objects: vec![key.clone()], token: "t".to_owned() };
    let done = |id| CommandResult { id: uid(id), outcomes: vec![(key.clone(), None)] };
    let mut rig = greeting_another();
    for id in 0..3 {
        rig.hear(HubMessage::Command(command(id)));
    }
    rig.hear_second(welcome_of("hub-1", 4));
    let answer = AgentMessage::CommandResult(done(0));
    assert_eq!(rig.give(Input::CommandDone(done(0))), vec![Effect::Second(SecondEffect::Send(answer))]);
    assert_eq!(rig.hear(HubMessage::Command(command(1))), vec![], "it runs already");
    let answer = AgentMessage::CommandResult(done(1));
    assert_eq!(rig.give(Input::CommandDone(done(1))), vec![Effect::Send(answer)], "who asked last is answered");
    rig.second(SecondInput::Closed(end(None)));
    assert_eq!(rig.give(Input::CommandDone(done(2))), vec![]);
}

#[test]
fn stopping_closes_both_links() {
    let mut rig = greeting_another();
    assert!(matches!(rig.give(Input::Stop).as_slice(), [Effect::Second(SecondEffect::Close(_)), Effect::Close(_)]));
}

/// Which links the shell has, as the effects want it.
#[derive(Default)]
struct Links {
    first: bool,
    second: bool,
    /// The second was dialled and its stream came up.
    second_is_up: bool,
}

impl Links {
    fn perform(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Dial { .. } => assert!(!std::mem::replace(&mut self.first, true), "a third link"),
                Effect::Close(_) => assert!(std::mem::take(&mut self.first), "there is none"),
                Effect::Second(SecondEffect::Dial { .. }) => {
                    assert!(!std::mem::replace(&mut self.second, true), "a third link");
                    self.second_is_up = false;
                }
                Effect::Second(SecondEffect::Close(_)) => assert!(std::mem::take(&mut self.second), "there is none"),
                Effect::Second(SecondEffect::SendHello { .. } | SecondEffect::Send(_) | SecondEffect::Finish) => {
                    assert!(self.second);
                }
                Effect::Switch => assert!(self.first && self.second),
                Effect::Promote => {
                    assert!(!self.first && std::mem::take(&mut self.second));
                    self.first = true;
                }
                Effect::SendHello { .. } | Effect::Send(_) | Effect::Opened(_) | Effect::BeginSnapshot(_) => {
                    assert!(self.first);
                }
                Effect::Park(_)
                | Effect::Advance(_)
                | Effect::LeaseChanged(_)
                | Effect::RunCommand(_)
                | Effect::Trust(_) => {}
            }
        }
    }
}

proptest! {
    /// There are never more than two links, and as long as the first hub answers and does not stop, a session is open.
    #[test]
    fn links_are_two_at_most_and_a_session_is_always_open(
        steps in proptest::collection::vec((0_u8..14, 0_u64..6, any::<u64>()), 1..120),
        drains in any::<bool>(),
    ) {
        let mut rig = Rig::open();
        let mut links = Links { first: true, ..Links::default() };
        let mut may_be_closed = false;
        for (what, number, entropy) in steps {
            rig.entropy = entropy;
            let address = format!("hub-{}:8443", number % 3);
            let effects = match what {
                0 | 1 => rig.hear(redirect(&address, 2 + number)),
                2 | 3 if links.second => {
                    links.second_is_up = true;
                    rig.second(SecondInput::Connected)
                }
                4 if links.second && !links.second_is_up => {
                    links.second = false;
                    rig.second(SecondInput::DialFailed(end(None)))
                }
                5 if links.second => {
                    links.second = false;
                    rig.second(SecondInput::Closed(end(None)))
                }
                6 | 7 if links.second && links.second_is_up => rig.hear_second(welcome_of(&format!("hub-{}", number % 3), 2 + number)),
                8 if links.second && links.second_is_up => rig.hear_second(redirect(&address, 2 + number)),
                9 if links.second && links.second_is_up => rig.second(SecondInput::HandedOver),
                10 if drains && rig.session.is_open() => {
                    may_be_closed = true;
                    rig.hear(HubMessage::Drain { window: Duration::from_secs(number) })
                }
                11 if may_be_closed && links.first => {
                    links.first = false;
                    rig.give(Input::Closed(end(None)))
                }
                12 if !rig.session.is_open() && links.first => rig.give(Input::Connected),
                _ => {
                    let (_, effects) = rig.next();
                    if let Some(Effect::Send(AgentMessage::Heartbeat(heartbeat))) = effects.last() {
                        let sequence = heartbeat.sequence;
                        links.perform(&effects);
                        rig.lend(sequence, if number == 0 { 0 } else { 15 })
                    } else {
                        effects
                    }
                }
            };
            links.perform(&effects);
            prop_assert!(may_be_closed || rig.session.is_open());
            prop_assert!(!links.second || links.first);
        }
    }
}
