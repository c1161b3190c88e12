//! What the store says of the processes: which live, which of them is the steward, and whether any has told the fleet to hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use starling_hub_core::hold::HoldReason;
use starling_model::{Fence, Millis, Uid};

/// A process that lives, at `member/<name>` under its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberRecord {
    /// Random, drawn when the process started.
    pub incarnation: Uid,
    /// Where agents are sent and other processes dial, `host:port`.
    pub address: String,
    /// Its share of the clusters, relative to the others'.
    pub weight: u32,
    /// It leaves: it is to own nothing any more.
    #[serde(default)]
    pub draining: bool,
    /// The program's version, for people.
    #[serde(default)]
    pub version: String,
    /// When the process started, wall time.
    #[serde(default)]
    pub started: Millis,
}

/// The process that decides for the fleet, at `steward` under its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The process's name.
    pub name: String,
    /// Its incarnation: a successor of the same name has another.
    pub incarnation: Uid,
}

/// Why the fleet holds, at `hold`, so that every process does; gone once the store is recovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToldHold {
    /// Why.
    pub reason: HoldReason,
    /// The number of the era that was known then: a greater one ends the hold.
    pub era: u64,
    /// The process that noticed.
    pub by: String,
    /// When, wall time.
    pub since: Millis,
    /// The newest genuine fence that an agent had shown it, which a recovery goes beyond.
    #[serde(default)]
    pub shown: Option<Fence>,
}

/// What is seen of the processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Those that live, by name.
    pub members: BTreeMap<String, MemberRecord>,
    /// The one that decides.
    pub steward: Option<Claim>,
    /// Why the fleet holds.
    pub hold: Option<ToldHold>,
}

impl Topology {
    /// Returns the address of the process that decides; `None` while nobody does.
    #[must_use]
    pub fn steward_address(&self) -> Option<(&str, &str)> {
        let claim = self.steward.as_ref()?;
        let record = self.members.get(&claim.name).filter(|record| record.incarnation == claim.incarnation)?;
        Some((&claim.name, &record.address))
    }
}

impl Claim {
    /// Returns the value under the key.
    #[must_use]
    pub fn to_bytes(&self) -> bytes::Bytes {
        serde_json::to_vec(self).expect("a name and a number are JSON").into()
    }
}
