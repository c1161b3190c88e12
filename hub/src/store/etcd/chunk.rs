//! The parts of a transaction that is too large for one of etcd's: how it is cut, and the bytes of a part.
//!
//! Pure. A part is at most as large as one request of etcd may be, and has at most as many writes as one transaction of etcd may
//! carry out.

use bytes::{Buf as _, BufMut as _, Bytes};
use serde::{Deserialize, Serialize};

use crate::store::{LeaseId, StoreError, Write};

/// The most writes of one of etcd's transactions, which allows 128 operations unless told otherwise.
pub(super) const MAX_WRITES: usize = 100;

/// The most bytes of one of etcd's transactions, which allows 1.5 MiB unless told otherwise.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// What the first byte of a part says.
const FORMAT: u8 = 1;

const PUT: u8 = 1;
const DIRECT: u8 = 2;

/// What is under the marker of a committed transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// The name of its parts.
    pub(super) id: String,
    /// How many parts there are.
    pub(super) chunks: usize,
}

/// A write of a large transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staged {
    /// The write.
    pub(super) write: Write,
    /// Whether it was done by the commit itself.
    pub(super) direct: bool,
}

/// Tells whether writes fit one of etcd's transactions.
pub(super) fn fits<'a>(writes: impl IntoIterator<Item = &'a Write>) -> bool {
    let (count, bytes) = writes.into_iter().fold((0, 0), |(count, bytes), write| (count + 1, bytes + size(write)));
    count <= MAX_WRITES && bytes <= MAX_BYTES
}

/// Cuts a large transaction into parts, in its order.
pub(super) fn cut(staged: Vec<Staged>) -> Vec<Vec<Staged>> {
    let mut parts: Vec<Vec<Staged>> = Vec::new();
    let mut bytes = 0;
    for write in staged {
        let size = size(&write.write);
        match parts.last_mut() {
            Some(part) if part.len() < MAX_WRITES && bytes + size <= MAX_BYTES => {
                bytes += size;
                part.push(write);
            }
            Some(_) | None => {
                bytes = size;
                parts.push(vec![write]);
            }
        }
    }
    parts
}

/// Returns the bytes of a part.
pub(super) fn encode(part: &[Staged]) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    let length = |length: usize| u32::try_from(length).expect("keys and values are below their limits");
    for Staged { write, direct } in part {
        let direct = if *direct { DIRECT } else { 0 };
        match write {
            Write::Put { key, value, lease } => {
                bytes.put_u8(PUT | direct);
                bytes.put_u32_le(length(key.len()));
                bytes.put_slice(key);
                bytes.put_u64_le(lease.map_or(0, |lease| lease.0));
                bytes.put_u32_le(length(value.len()));
                bytes.put_slice(value);
            }
            Write::Delete { key } => {
                bytes.put_u8(direct);
                bytes.put_u32_le(length(key.len()));
                bytes.put_slice(key);
            }
        }
    }
    bytes
}

/// Reads the bytes of a part.
pub(super) fn decode(bytes: Bytes) -> Result<Vec<Staged>, StoreError> {
    let cut_short = || StoreError::Damaged("a part of a large transaction is cut short".to_owned());
    let mut bytes = bytes;
    if bytes.try_get_u8().map_err(|_| cut_short())? != FORMAT {
        return Err(StoreError::Damaged(
            "a part of a large transaction has a format that this build does not know".to_owned(),
        ));
    }
    let mut part = Vec::new();
    while bytes.has_remaining() {
        let flags = bytes.get_u8();
        let take = |bytes: &mut Bytes| {
            let length = bytes.try_get_u32_le().map_err(|_| cut_short())? as usize;
            if bytes.len() < length { Err(cut_short()) } else { Ok(bytes.split_to(length)) }
        };
        let key = take(&mut bytes)?.to_vec();
        let write = if flags & PUT == 0 {
            Write::Delete { key }
        } else {
            let lease = bytes.try_get_u64_le().map_err(|_| cut_short())?;
            let value = take(&mut bytes)?;
            Write::Put { key, value, lease: (lease != 0).then_some(LeaseId(lease)) }
        };
        part.push(Staged { write, direct: flags & DIRECT != 0 });
    }
    Ok(part)
}

fn size(write: &Write) -> usize {
    // What surrounds a key and a value on the wire is well below this.
    let around = 64;
    match write {
        Write::Put { key, value, .. } => key.len() + value.len() + around,
        Write::Delete { key } => key.len() + around,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(write: Write, direct: bool) -> Staged {
        Staged { write, direct }
    }

    #[test]
    fn parts_round_trip_and_damage_is_noticed() {
        let leased = Write::Put { key: "l".into(), value: "v".into(), lease: Some(LeaseId(u64::MAX)) };
        let part = [
            staged(Write::put("a", "1"), false),
            staged(leased, true),
            staged(Write::delete("b"), false),
            staged(Write::put("", ""), false),
        ];
        let bytes = encode(&part);
        assert_eq!(decode(bytes.clone().into()).unwrap(), part);
        for end in 0..bytes.len() {
            // A cut between two writes cannot be seen here: the marker counts parts, and etcd keeps each whole.
            if let Ok(read) = decode(bytes[..end].to_vec().into()) {
                assert!(part.starts_with(&read));
            }
        }
        assert!(decode(vec![9].into()).is_err() && decode(Bytes::new()).is_err());
    }

    #[test]
    fn parts_are_as_small_as_a_request_may_be() {
        let small = (0..1001).map(|number| staged(Write::put(format!("{number}"), "v"), false)).collect();
        let parts = cut(small);
        assert_eq!((parts.len(), parts[10].len()), (11, 1));
        let large = Bytes::from(vec![0; crate::store::MAX_VALUE_BYTES]);
        let large: Vec<Staged> = (0..5).map(|n| staged(Write::put(format!("{n}"), large.clone()), false)).collect();
        assert!(!fits(large.iter().map(|staged| &staged.write)));
        let parts = cut(large);
        assert!(parts.len() >= 3 && parts.iter().all(|part| encode(part).len() <= 1_100_000));
    }
}
