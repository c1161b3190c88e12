//! From a ring's record to the owner of each cluster.
//!
//! Placement is wire format: every process and every build of the fleet must agree on it, so each hash is SHA-256 over bytes
//! that are written out here, and golden vectors hold them. It depends on names and weights alone: an address, an
//! incarnation or an epoch moves nothing.
//!
//! | hashed | bytes |
//! |---|---|
//! | point number `n` of a member | `starling ring 1`, 0, `node`, 0, the name, `n` as 8 bytes little-endian |
//! | a cluster | `starling ring 1`, 0, `cluster`, 0, the 16 bytes of its id |
//!
//! A hash is the first 8 bytes of the digest as a little-endian number. The owner of a cluster is the member of the first
//! point at or after the cluster's hash, around the end; of two points with one hash the first by name counts.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use consistent_hash::{Node, RingHash, StaticHashRing};
use sha2::{Digest as _, Sha256};
use starling_model::ClusterId;

use super::{RingMember, RingRecord};

/// How many points a member has for each unit of its weight: about 1,000 at the usual weight, which keeps the largest of ten
/// shares within a tenth of the mean.
pub const POINTS_PER_WEIGHT: u32 = 10;

const NODE_DOMAIN: &[u8] = b"starling ring 1\0node\0";

const CLUSTER_DOMAIN: &[u8] = b"starling ring 1\0cluster\0";

/// Which member owns which cluster, by one record; a clone is cheap.
#[derive(Clone)]
pub struct Placement {
    record: Arc<RingRecord>,
    points: Arc<Points>,
}

/// The points of all members; each node's value is its place among the record's members.
type Points = StaticHashRing<'static, Key<Box<[u8]>>, usize, PinnedHash>;

/// Bytes that reach the hash as they are: the standard library's encodings of strings and lengths are not ours to pin.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<B>(B);

/// The hashes of the table above.
#[derive(Clone, Copy, Debug)]
struct PinnedHash;

/// SHA-256 as the standard library's trait wants it.
struct Sha(Sha256);

impl Placement {
    /// Computes the placement of a record, whose members are sorted by name.
    #[must_use]
    pub fn of(record: &RingRecord) -> Self {
        Self::of_shared(Arc::new(record.clone()))
    }

    /// Computes the placement of the record after this one's; where no name and no weight changed, nothing is hashed.
    #[must_use]
    pub fn followed_by(&self, record: Arc<RingRecord>) -> Self {
        let shape = |record: &RingRecord| -> Vec<(String, u32)> {
            record.members.iter().map(|member| (member.name.clone(), member.weight)).collect()
        };
        if shape(&self.record) == shape(&record) {
            return Self { record, points: Arc::clone(&self.points) };
        }
        Self::of_shared(record)
    }

    pub(crate) fn of_shared(record: Arc<RingRecord>) -> Self {
        let nodes = record.members.iter().enumerate().map(|(place, member)| Node {
            key: Key(member.name.as_bytes().into()),
            value: place,
            quantity: (member.weight * POINTS_PER_WEIGHT) as usize,
        });
        let points = Arc::new(StaticHashRing::new(PinnedHash, nodes));
        Self { record, points }
    }

    /// Returns the record.
    #[must_use]
    pub fn record(&self) -> &Arc<RingRecord> {
        &self.record
    }

    /// Returns the member that owns a cluster; `None` if the ring is empty.
    #[must_use]
    pub fn owner(&self, cluster: &ClusterId) -> Option<&RingMember> {
        let node = self.points.calc_candidates(&Key(cluster.0)).next()?;
        self.record.members.get(node.value)
    }
}

impl PartialEq for Placement {
    fn eq(&self, other: &Self) -> bool {
        self.record == other.record
    }
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Placement").field(&self.record).finish()
    }
}

impl<B: AsRef<[u8]>> Hash for Key<B> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write(self.0.as_ref());
    }
}

impl RingHash for PinnedHash {
    fn hash_item<T: Hash>(&self, item: &T) -> u64 {
        let mut hasher = Sha(Sha256::new_with_prefix(CLUSTER_DOMAIN));
        item.hash(&mut hasher);
        hasher.finish()
    }

    fn hash_vnode<K: Hash>(&self, key: &K, sequence: usize) -> u64 {
        let mut hasher = Sha(Sha256::new_with_prefix(NODE_DOMAIN));
        key.hash(&mut hasher);
        hasher.write(&(sequence as u64).to_le_bytes());
        hasher.finish()
    }
}

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.clone().finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests;
