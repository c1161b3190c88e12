//! The ring's record: its fields, their JSON and their bounds.

use serde::{Deserialize, Serialize};
use starling_model::Uid;
use starling_model::ids::{NameError, check_label};

/// The most members of a ring, so that the record stays below 512 KiB and a lookup table fits every process.
pub const MEMBERS_LIMIT: usize = 256;

/// The greatest weight of a member.
pub const WEIGHT_LIMIT: u32 = 1000;

/// The weight of a process that was given none.
pub const DEFAULT_WEIGHT: u32 = 100;

/// The longest address of a member, in bytes.
pub const ADDRESS_BYTES: usize = 300;

/// Who serves the fleet's clusters, at `ring`; reading one checks it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Fields")]
pub struct RingRecord {
    /// Which record this is; each is one greater than the one before, and a ring that was never written has 0.
    pub epoch: u64,
    /// The members, sorted by name.
    pub members: Vec<RingMember>,
}

/// One hub process of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RingMember {
    /// The process's name, which outlives its restarts; placement hashes it.
    pub name: String,
    /// Which start of the process this is.
    pub incarnation: Uid,
    /// Where agents and other hub processes reach it, `host:port`.
    pub address: String,
    /// How much it takes in proportion to the others.
    pub weight: u32,
}

/// What is wrong with a ring's record or with a process that wants to be in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The name is no DNS label.
    #[error("the name of a hub process: {0}")]
    Name(#[from] NameError),
    /// The weight is out of bounds.
    #[error("hub process {name} has weight {weight}: use 1 to {WEIGHT_LIMIT}")]
    Weight {
        /// Whose.
        name: String,
        /// The weight.
        weight: u32,
    },
    /// The address is empty or too long.
    #[error("the address of hub process {name} has {bytes} bytes: use host:port of 1 to {ADDRESS_BYTES} bytes")]
    Address {
        /// Whose.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// Two members are not in the order of their names, or have one name.
    #[error("members {first} and {second} of the ring are not sorted by name, each name once")]
    Order {
        /// The first of them.
        first: String,
        /// The one after it.
        second: String,
    },
    /// There are too many members.
    #[error("the ring has {0} members: at most {MEMBERS_LIMIT} are supported")]
    TooMany(usize),
}

/// The record's fields before they are checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    epoch: u64,
    members: Vec<RingMember>,
}

impl RingRecord {
    /// Returns the member of a name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&RingMember> {
        let place = self.members.binary_search_by(|member| member.name.as_str().cmp(name)).ok()?;
        self.members.get(place)
    }

    /// Checks the bounds and the order of the members.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), RingError> {
        if self.members.len() > MEMBERS_LIMIT {
            return Err(RingError::TooMany(self.members.len()));
        }
        self.members.iter().try_for_each(RingMember::check)?;
        let unsorted = self.members.windows(2).find(|pair| pair[0].name >= pair[1].name);
        unsorted
            .map_or(Ok(()), |pair| Err(RingError::Order { first: pair[0].name.clone(), second: pair[1].name.clone() }))
    }
}

impl RingMember {
    /// Checks the bounds of one member.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), RingError> {
        check_label(&self.name)?;
        let name = || self.name.clone();
        if self.address.is_empty() || self.address.len() > ADDRESS_BYTES {
            return Err(RingError::Address { name: name(), bytes: self.address.len() });
        }
        if !(1..=WEIGHT_LIMIT).contains(&self.weight) {
            return Err(RingError::Weight { name: name(), weight: self.weight });
        }
        Ok(())
    }
}

impl TryFrom<Fields> for RingRecord {
    type Error = RingError;

    fn try_from(fields: Fields) -> Result<Self, RingError> {
        let record = Self { epoch: fields.epoch, members: fields.members };
        record.check()?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> RingMember {
        RingMember { name: name.into(), incarnation: Uid([1; 16]), address: "10.0.0.1:7443".into(), weight: 100 }
    }

    fn ring(members: Vec<RingMember>) -> RingRecord {
        RingRecord { epoch: 3, members }
    }

    #[test]
    fn its_json_is_stored_format() {
        let json = r#"{"epoch":3,"members":[{"name":"hub-0","incarnation":"01010101-0101-0101-0101-010101010101","address":"10.0.0.1:7443","weight":100}]}"#;
        let record = ring(vec![member("hub-0")]);
        assert_eq!(serde_json::to_string(&record).unwrap(), json);
        assert_eq!(serde_json::from_str::<RingRecord>(json).unwrap(), record);
    }

    #[test]
    fn what_is_out_of_bounds_is_neither_read_nor_called_good() {
        let all = (0..=MEMBERS_LIMIT).map(|index| member(&format!("hub-{index:03}"))).collect();
        let cases = [
            (vec![member("Hub_0")], "not a valid name"),
            (vec![RingMember { weight: 0, ..member("a") }], "hub process a has weight 0: use 1 to 1000"),
            (vec![RingMember { weight: 1001, ..member("a") }], "use 1 to 1000"),
            (vec![RingMember { address: String::new(), ..member("a") }], "address of hub process a has 0 bytes"),
            (vec![RingMember { address: "x".repeat(301), ..member("a") }], "has 301 bytes"),
            (vec![member("b"), member("a")], "not sorted by name"),
            (vec![member("a"), member("a")], "each name once"),
            (all, "the ring has 257 members: at most 256"),
        ];
        for (members, problem) in cases {
            let record = ring(members);
            assert!(record.check().unwrap_err().to_string().contains(problem), "{problem}");
            let read = serde_json::from_slice::<RingRecord>(&serde_json::to_vec(&record).unwrap());
            assert!(read.unwrap_err().to_string().contains(problem), "{problem}");
        }
        assert!(serde_json::from_str::<RingRecord>(r#"{"epoch":3,"members":[],"more":1}"#).is_err());
    }

    #[test]
    fn the_largest_ring_stays_below_the_store_s_limit() {
        let largest = |index: usize| RingMember {
            name: format!("{index:063}"),
            address: "a".repeat(ADDRESS_BYTES),
            weight: WEIGHT_LIMIT,
            ..member("")
        };
        let record = RingRecord { epoch: u64::MAX, members: (0..MEMBERS_LIMIT).map(largest).collect() };
        assert_eq!(record.check(), Ok(()));
        assert!(serde_json::to_vec(&record).unwrap().len() < 500 * 1024);
        assert_eq!(record.member(&format!("{:063}", 77)), record.members.get(77));
        assert_eq!(record.member("nobody"), None);
    }
}
