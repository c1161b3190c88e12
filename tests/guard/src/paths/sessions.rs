//! The small messages of a session, which come all the time.

use prost::Message as _;
use starling_hub_core::session::lease::lend;
use starling_hub_core::session::sequence::Sequence;
use starling_model::limits::COMMAND_LEASE;
use starling_model::session::{AgentMessage, Heartbeat, HubMessage, Lease, Receipt};
use starling_model::{Digest, Era, FleetKey, Millis, Position, Uid};
use starling_proto::v1;

use crate::counted;
use crate::statuses::{decoded, encoded};

/// How many of each.
const MESSAGES: u64 = 100;

pub(super) fn receipt() {
    let (key, era) = (FleetKey::new([7; 32]), Era { number: 1, id: Uid([9; 16]) });
    let receipt = |number| {
        let (fence, plan_digest) = (key.fence(era, Position(number)), Digest([3; 32]));
        encoded(AgentMessage::Receipt(Receipt { fence, plan_digest, refused: None }))
    };
    let messages: Vec<_> = (0..MESSAGES).map(receipt).collect();
    let taken = counted(|| {
        let is_taken = |message: &&Vec<u8>| match decoded(message) {
            AgentMessage::Receipt(receipt) => receipt.refused.is_none(),
            other => unreachable!("a receipt was encoded, not {other:?}"),
        };
        messages.iter().filter(is_taken).count()
    });
    assert_eq!(taken as u64, MESSAGES);
}

pub(super) fn heartbeat() {
    let beat = |sequence| encoded(AgentMessage::Heartbeat(Heartbeat { sequence, dropped: 0 }));
    let messages: Vec<_> = (0..MESSAGES).map(beat).collect();
    let mut sequence = Sequence::new(true);
    let answers: Vec<Vec<u8>> = counted(|| {
        let answer = |message: &Vec<u8>| {
            let AgentMessage::Heartbeat(beat) = decoded(message) else { unreachable!("a heartbeat was encoded") };
            assert!(sequence.remind(Millis(5_000)).is_none());
            let lent = lend(COMMAND_LEASE, None);
            let lease = Lease { heartbeat: beat.sequence, lease: lent.lease, hold_reason: lent.reason };
            v1::ConnectResponse::from(HubMessage::Lease(lease)).encode_to_vec()
        };
        messages.iter().map(answer).collect()
    });
    assert_eq!(answers.len() as u64, MESSAGES);
}
