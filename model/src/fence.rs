//! Fences: the proof that an order is not older than one already seen.
//!
//! A fence is (era, position), compared in that order, with a MAC under the fleet key, so that an agent can
//! show one it was given but cannot invent one.

use std::cmp::Ordering;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::ids::Uid;

/// The steward's commit number: grows by one with each of its transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// The life of one store. A recovered store is a new era with a greater number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Era {
    /// Counts the recoveries of the fleet, from 1.
    pub number: u64,
    /// Random, so that two recoveries of the same store cannot be taken for one another.
    pub id: Uid,
}

/// An authenticated (era, position).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The era of the store.
    pub era: Era,
    /// The position inside the era.
    pub position: Position,
    /// HMAC-SHA-256 under the fleet key.
    #[serde(with = "mac_text")]
    pub mac: [u8; 32],
}

/// The secret of a fleet (32 bytes) that lives outside the store; never printed.
#[derive(Clone)]
pub struct FleetKey([u8; 32]);

impl Fence {
    /// Compares two fences: by era number, then by position.
    ///
    /// `None` when two eras have one number but different ids: two stores were recovered side by side, and
    /// neither may act on the other's word.
    #[must_use]
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match self.era.number.cmp(&other.era.number) {
            Ordering::Equal if self.era.id != other.era.id => None,
            Ordering::Equal => Some(self.position.cmp(&other.position)),
            unequal @ (Ordering::Less | Ordering::Greater) => Some(unequal),
        }
    }

    /// Tells whether an agent that has seen `newest` may still act under this fence.
    #[must_use]
    pub fn is_at_least(&self, newest: &Self) -> bool {
        matches!(self.order(newest), Some(Ordering::Equal | Ordering::Greater))
    }

    /// Returns the form in which objects are stamped: `<era number>.<position>`.
    #[must_use]
    pub fn stamp(&self) -> String {
        format!("{}.{}", self.era.number, self.position.0)
    }
}

/// Reads a stamp as (era number, position), in the order in which stamps compare.
#[must_use]
pub fn parse_stamp(stamp: &str) -> Option<(u64, u64)> {
    let (era, position) = stamp.split_once('.')?;
    Some((era.parse().ok()?, position.parse().ok()?))
}

impl FleetKey {
    /// Wraps 32 secret bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Issues the fence of a position.
    #[must_use]
    pub fn fence(&self, era: Era, position: Position) -> Fence {
        let mac = self.mac(&era, position).finalize().into_bytes().into();
        Fence { era, position, mac }
    }

    /// Tells, in constant time, whether a fence was issued under this key.
    #[must_use]
    pub fn is_genuine(&self, fence: &Fence) -> bool {
        self.mac(&fence.era, fence.position).verify_slice(&fence.mac).is_ok()
    }

    fn mac(&self, era: &Era, position: Position) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("an HMAC takes a key of any length");
        mac.update(b"starling fence 1\0");
        mac.update(&era.number.to_le_bytes());
        mac.update(&era.id.0);
        mac.update(&position.0.to_le_bytes());
        mac
    }
}

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetKey(redacted)")
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

mod mac_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(mac: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(mac))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let mut mac = [0; 32];
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut mac).map_err(serde::de::Error::custom)?;
        Ok(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn era(number: u64, id: u8) -> Era {
        Era { number, id: Uid([id; 16]) }
    }

    #[test]
    fn order_is_era_then_position() {
        let key = FleetKey::new([7; 32]);
        let old = key.fence(era(1, 1), Position(900));
        let recovered = key.fence(era(2, 2), Position(1));
        assert_eq!(old.order(&recovered), Some(Ordering::Less));
        assert!(recovered.is_at_least(&old) && !old.is_at_least(&recovered) && old.is_at_least(&old));
    }

    #[test]
    fn two_stores_recovered_side_by_side_are_not_comparable() {
        let key = FleetKey::new([7; 32]);
        let one = key.fence(era(2, 1), Position(5));
        let other = key.fence(era(2, 9), Position(9));
        assert_eq!(one.order(&other), None);
        assert!(!one.is_at_least(&other) && !other.is_at_least(&one));
    }

    #[test]
    fn a_fence_cannot_be_invented() {
        let key = FleetKey::new([7; 32]);
        let fence = key.fence(era(1, 1), Position(5));
        assert!(key.is_genuine(&fence));
        assert!(!key.is_genuine(&Fence { position: Position(6), ..fence }));
        assert!(!FleetKey::new([8; 32]).is_genuine(&fence));
    }

    #[test]
    fn stamps_round_trip() {
        let fence = FleetKey::new([7; 32]).fence(era(3, 1), Position(12));
        assert_eq!(parse_stamp(&fence.stamp()), Some((3, 12)));
        assert_eq!(parse_stamp("3"), None);
    }
}
