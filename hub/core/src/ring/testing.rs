//! Rings and clusters for the tests.

use starling_model::{ClusterId, Uid};

use super::{RingMember, RingRecord};

/// A ring of `hub-0`, `hub-1` and so on, all of the usual weight.
pub(super) fn hubs(count: usize) -> RingRecord {
    let names: Vec<String> = (0..count).map(|index| format!("hub-{index}")).collect();
    ring(names.iter().map(|name| (name.as_str(), 100)))
}

pub(super) fn ring<'a>(members: impl IntoIterator<Item = (&'a str, u32)>) -> RingRecord {
    let mut members: Vec<RingMember> = members
        .into_iter()
        .map(|(name, weight)| RingMember {
            name: name.to_owned(),
            incarnation: Uid([1; 16]),
            address: format!("{name}.example:7443"),
            weight,
        })
        .collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    RingRecord { epoch: 1, members }
}

pub(super) fn clusters(count: usize) -> Vec<ClusterId> {
    (0..count).map(|index| ClusterId::derive("demo", "dev", &format!("edge-{index}"))).collect()
}
