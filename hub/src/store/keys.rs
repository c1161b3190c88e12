//! What is stored where: the one table of keys, and the bytes of what is under them.
//!
//! | key (after `starling/v1/`) | value | changed by |
//! |---|---|---|
//! | `format` | [`FORMAT`] | the first start |
//! | `fleet` | the fleet's name | the first start |
//! | `position` | decimal number | every transaction of the steward |
//! | `era` | [`EraRecord`](starling_hub_core::records::EraRecord) | the first start, `store recover` |
//! | `steward` | the `Claim` of the process that may write, under its lease; of a process that is the whole hub its name | the process that becomes steward |
//! | `member/<name>` | `MemberRecord` of a process that lives, under its lease | that process |
//! | `summary/<name>/<number>` | what a process last knew of its clusters, as a list of `Summary` | that process, every few minutes and when it leaves |
//! | `hold` | `ToldHold`: why every process holds | the process that notices; deleted by `store recover` |
//! | `ring` | [`RingRecord`](starling_hub_core::ring::RingRecord) | the steward |
//! | `input/<kind>/<namespace>/<name>` | `InputRecord` (namespace empty for a Workspace) | the steward |
//! | `deleted/<kind>/<namespace>/<name>` | `DeletedRecord` | the steward |
//! | `assignment/<uid>` | `AssignmentRecord` | the steward |
//! | `revision/<digest>` | `RevisionRecord` | the steward |
//! | `tombstone/<id>` | `TombstoneRecord` | the steward |
//! | `proposal/<id>` | `ProposalRecord` | the steward |
//! | `spent/<id>` | `SpentRecord` | the steward |
//! | `cluster/<id>` | `ClusterRecord` | the steward |
//! | `token/<hash>` | `TokenRecord` | the steward |
//! | `join-token/<hash>` | `JoinTokenRecord` | the steward |
//! | `writer/<name>` | the number of a process's last transaction; [`etcd`](super::etcd) alone, shown to nobody | each transaction over etcd |
//! | `redo`, `redo-applied`, `redo/<id>/<n>` | a transaction that is larger than etcd's; [`etcd`](super::etcd) alone, shown to nobody | such a transaction |
//!
//! Over etcd, the configured prefix comes before each key; [`MAX_KEY_BYTES`](super::MAX_KEY_BYTES) does not count it.
//! Records are JSON. No secret is ever under any of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use starling_hub_core::change::Change;
use starling_hub_core::resources::{InputKey, Kind};
use starling_model::Position;

use super::{Compare, Event, KeyValue, Outcome, Store, StoreError, Transaction, Write};
use crate::gather::Summary;
use crate::member::{Claim, MemberRecord, ToldHold};

/// What every key begins with.
pub const PREFIX: &[u8] = PREFIX_TEXT.as_bytes();

const PREFIX_TEXT: &str = "starling/v1/";

/// The key of the format.
pub const FORMAT_KEY: &str = "starling/v1/format";

/// The format that this build reads and writes.
pub const FORMAT: &str = "1";

/// The key of the position.
pub const POSITION: &str = "starling/v1/position";

/// The key of the era.
pub const ERA: &str = "starling/v1/era";

/// The key of the process that is the steward.
pub const STEWARD: &str = "starling/v1/steward";

/// The key of the ring record.
pub const RING: &str = "starling/v1/ring";

/// The key of the fleet's name.
pub const FLEET: &str = "starling/v1/fleet";

/// What comes before the names of processes that write; the etcd store's own.
pub const WRITERS: &str = "starling/v1/writer/";

/// The key of a large transaction that is being carried out; the etcd store's own, as everything that begins with it.
pub const REDO: &str = "starling/v1/redo";

/// The key that each step of carrying it out writes.
pub const REDO_APPLIED: &str = "starling/v1/redo-applied";

/// What comes before the parts of large transactions.
pub const REDO_CHUNKS: &str = "starling/v1/redo/";
/// The key of the reason for which every process holds.
pub const HOLD: &str = "starling/v1/hold";

/// Returns the key of a process that lives.
#[must_use]
pub fn member(name: &str) -> String {
    key("member", name)
}

/// Returns the key of a process's record of summaries.
#[must_use]
pub fn summary(name: &str, number: u32) -> String {
    key("summary", format_args!("{name}/{number}"))
}

/// What an entry or an event of the store means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A record was put or deleted.
    Change(Box<Change>),
    /// The position is this.
    Position(Position),
    /// A process came, changed or went.
    Member(String, Option<MemberRecord>),
    /// This process decides, or none.
    Steward(Option<Claim>),
    /// The fleet holds for this reason, or for none.
    Hold(Option<ToldHold>),
    /// What was last known of clusters changed: the record of this process and number, or it went.
    Summaries((String, u32), Option<Vec<Summary>>),
    /// The store's own business: format, fleet.
    Other,
}

/// Whose a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is empty.
    Nobody,
    /// It is a fleet's, from before fleets had a name in their stores.
    Unnamed,
    /// It is this fleet's.
    Fleet(String),
}

/// A key or a value that this build does not understand.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct CodecError {
    /// The key.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Checks whose store it is and its format, and writes both into an empty one.
///
/// # Errors
/// [`StoreError::OtherFleet`] if it is another fleet's; as [`owner`].
pub async fn ensure_format(store: &dyn Store, fleet: &str) -> Result<(), StoreError> {
    loop {
        let (mut compares, mut writes) =
            (vec![Compare::Absent(FLEET.into())], vec![Write::put(FLEET, fleet.to_owned())]);
        match owner(store).await? {
            Owner::Fleet(owner) if owner == fleet => return Ok(()),
            Owner::Fleet(found) => return Err(StoreError::OtherFleet { found, wanted: fleet.to_owned() }),
            Owner::Unnamed => compares.push(Compare::ValueEquals(FORMAT_KEY.into(), FORMAT.into())),
            Owner::Nobody => {
                compares.push(Compare::Absent(FORMAT_KEY.into()));
                writes.push(Write::put(FORMAT_KEY, FORMAT));
            }
        }
        if matches!(store.transact(Transaction { compares, writes }).await?, Outcome::Committed(_)) {
            return Ok(());
        }
    }
}

/// Returns whose store it is.
///
/// # Errors
/// [`StoreError::Format`] if another build wrote it, [`StoreError::Foreign`] if something else is there; whatever the store says.
pub async fn owner(store: &dyn Store) -> Result<Owner, StoreError> {
    let mut key: Option<Vec<u8>> = None;
    // Looked at again after a key was found: another process may have begun between the looks.
    loop {
        if let Some(format) = store.get(FORMAT_KEY.as_bytes()).await? {
            if format.value != FORMAT {
                return Err(other_format(&format.value));
            }
            let fleet = store.get(FLEET.as_bytes()).await?;
            return Ok(
                fleet.map_or(Owner::Unnamed, |fleet| Owner::Fleet(String::from_utf8_lossy(&fleet.value).into_owned()))
            );
        }
        if let Some(key) = &key {
            return Err(not_ours(key));
        }
        key = store.any(b"").await?;
        if key.is_none() {
            return Ok(Owner::Nobody);
        }
    }
}

fn other_format(found: &[u8]) -> StoreError {
    StoreError::Format { found: String::from_utf8_lossy(found).into_owned(), understood: FORMAT }
}

/// Says what a key in a store without our format means: another format's, or something else's altogether.
fn not_ours(key: &[u8]) -> StoreError {
    let key = String::from_utf8_lossy(key).into_owned();
    let version = key.strip_prefix("starling/v").and_then(|rest| rest.split_once('/'));
    match version {
        Some((version, _)) => other_format(if key.starts_with(PREFIX_TEXT) { b"" } else { version.as_bytes() }),
        None => StoreError::Foreign(key),
    }
}

/// Returns the writes of changes that are applied in order: the last one of each key.
///
/// # Errors
/// A record that cannot be written as JSON.
pub fn writes(changes: &[Change]) -> Result<Vec<Write>, CodecError> {
    let mut writes: Vec<Write> = Vec::with_capacity(changes.len());
    let mut places = BTreeMap::new();
    for change in changes {
        let write = encode(change)?;
        match places.get(write.key()) {
            Some(place) => writes[*place] = write,
            None => {
                places.insert(write.key().to_vec(), writes.len());
                writes.push(write);
            }
        }
    }
    Ok(writes)
}

/// Returns the write of one change.
///
/// # Errors
/// A record that cannot be written as JSON.
pub fn encode(change: &Change) -> Result<Write, CodecError> {
    let key = key_of(change);
    match change {
        Change::PutInput(record) => put(key, record),
        Change::PutDeleted(record) => put(key, record),
        Change::PutAssignment(record) => put(key, record),
        Change::PutRevision(record) => put(key, record),
        Change::PutTombstone(record) => put(key, record),
        Change::PutProposal(record) => put(key, record),
        Change::PutSpent(record) => put(key, record),
        Change::PutCluster(record) => put(key, record),
        Change::PutToken(record) => put(key, record),
        Change::PutJoinToken(record) => put(key, record),
        Change::PutEra(record) => put(key, record),
        Change::PutRing(record) => put(key, record),
        Change::DeleteInput(_)
        | Change::DeleteDeleted(_)
        | Change::DeleteAssignment(_)
        | Change::DeleteRevision(_)
        | Change::DeleteTombstone(_)
        | Change::DeleteProposal(_)
        | Change::DeleteSpent(_)
        | Change::DeleteCluster(_)
        | Change::DeleteToken(_)
        | Change::DeleteJoinToken(_) => Ok(Write::delete(key)),
    }
}

/// Returns the key that a change writes.
#[must_use]
pub fn key_of(change: &Change) -> String {
    match change {
        Change::PutInput(record) => input_key("input", &record.resource.key()),
        Change::DeleteInput(key) => input_key("input", key),
        Change::PutDeleted(record) => input_key("deleted", &record.key),
        Change::DeleteDeleted(key) => input_key("deleted", key),
        Change::PutAssignment(record) => key("assignment", record.uid),
        Change::DeleteAssignment(uid) => key("assignment", uid),
        Change::PutRevision(record) => key("revision", record.digest),
        Change::DeleteRevision(digest) => key("revision", digest),
        Change::PutTombstone(record) => key("tombstone", record.id),
        Change::DeleteTombstone(id) => key("tombstone", id),
        Change::PutProposal(record) => key("proposal", record.id),
        Change::DeleteProposal(id) => key("proposal", id),
        Change::PutSpent(record) => key("spent", record.id),
        Change::DeleteSpent(id) => key("spent", id),
        Change::PutCluster(record) => key("cluster", record.id),
        Change::DeleteCluster(id) => key("cluster", id),
        Change::PutToken(record) => key("token", record.hash),
        Change::DeleteToken(hash) => key("token", hash),
        Change::PutJoinToken(record) => key("join-token", record.hash),
        Change::DeleteJoinToken(hash) => key("join-token", hash),
        Change::PutEra(_) => ERA.to_owned(),
        Change::PutRing(_) => RING.to_owned(),
    }
}

/// Reads the record of a process that lives.
///
/// # Errors
/// It is not one.
pub fn decode_member(value: &[u8]) -> Result<MemberRecord, CodecError> {
    serde_json::from_slice(value).map_err(|error| problem("member", error))
}

/// Reads the position of a store at once; `None` if it has none.
///
/// # Errors
/// Whatever the store says.
pub async fn read_position(store: &dyn Store) -> Result<Option<Position>, StoreError> {
    let Some(entry) = store.get(POSITION.as_bytes()).await? else { return Ok(None) };
    match decode_entry(&entry)? {
        Record::Position(position) => Ok(Some(position)),
        _ => Err(problem(POSITION, "not a number").into()),
    }
}

/// Returns the value under [`POSITION`].
#[must_use]
pub fn encode_position(position: Position) -> Bytes {
    position.0.to_string().into()
}

/// Reads an entry of a range.
///
/// # Errors
/// A key or value that this build does not understand.
pub fn decode_entry(entry: &KeyValue) -> Result<Record, CodecError> {
    decode_record(&entry.key, &entry.value)
}

/// Reads a key with its value.
///
/// # Errors
/// A key or value that this build does not understand.
pub fn decode_record(key: &[u8], value: &[u8]) -> Result<Record, CodecError> {
    read(key, Some(value))
}

/// Reads an event of a watch.
///
/// # Errors
/// A key or value that this build does not understand.
pub fn decode(event: &Event) -> Result<Record, CodecError> {
    match event {
        Event::Put(entry) => decode_entry(entry),
        Event::Delete { key } => read(key, None),
    }
}

fn read(key: &[u8], value: Option<&[u8]>) -> Result<Record, CodecError> {
    let key = std::str::from_utf8(key).map_err(|error| problem(&String::from_utf8_lossy(key), error))?;
    let rest = key.strip_prefix(PREFIX_TEXT).ok_or_else(|| problem(key, "not a key of Starling"))?;
    let (table, name) = rest.split_once('/').unwrap_or((rest, ""));
    let row = Row { key, name, value };
    let change = match table {
        "input" => row.change(Change::PutInput, Change::DeleteInput, Row::input_key)?,
        "deleted" => row.change(Change::PutDeleted, Change::DeleteDeleted, Row::input_key)?,
        "assignment" => row.change(Change::PutAssignment, Change::DeleteAssignment, Row::parsed)?,
        "revision" => row.change(Change::PutRevision, Change::DeleteRevision, Row::parsed)?,
        "tombstone" => row.change(Change::PutTombstone, Change::DeleteTombstone, Row::parsed)?,
        "proposal" => row.change(Change::PutProposal, Change::DeleteProposal, Row::parsed)?,
        "spent" => row.change(Change::PutSpent, Change::DeleteSpent, Row::parsed)?,
        "cluster" => row.change(Change::PutCluster, Change::DeleteCluster, Row::parsed)?,
        "token" => row.change(Change::PutToken, Change::DeleteToken, Row::parsed)?,
        "join-token" => row.change(Change::PutJoinToken, Change::DeleteJoinToken, Row::parsed)?,
        "era" => Change::PutEra(row.record()?),
        "ring" => Change::PutRing(row.record()?),
        "position" => return row.position(),
        "member" => return Ok(Record::Member(name.to_owned(), row.optional()?)),
        "summary" => return Ok(Record::Summaries(row.summary_place()?, row.optional()?)),
        "steward" => return Ok(Record::Steward(row.claim())),
        "hold" => return Ok(Record::Hold(row.optional()?)),
        "format" | "fleet" | "writer" | "redo" | "redo-applied" => return Ok(Record::Other),
        _ => return Err(problem(key, "this build knows no such key")),
    };
    // A record under another key than its own would be two truths.
    let owner = key_of(&change);
    if owner != key {
        return Err(problem(key, format!("holds the record of {owner}")));
    }
    Ok(Record::Change(Box::new(change)))
}

/// A key, the part of it that names the record, and its value unless it was deleted.
struct Row<'a> {
    key: &'a str,
    name: &'a str,
    value: Option<&'a [u8]>,
}

impl Row<'_> {
    fn change<R: DeserializeOwned, K>(
        &self,
        put: impl FnOnce(R) -> Change,
        delete: impl FnOnce(K) -> Change,
        name: impl FnOnce(&Self) -> Result<K, CodecError>,
    ) -> Result<Change, CodecError> {
        if self.value.is_some() { Ok(put(self.record()?)) } else { Ok(delete(name(self)?)) }
    }

    fn record<R: DeserializeOwned>(&self) -> Result<R, CodecError> {
        let value = self.value.ok_or_else(|| problem(self.key, "was deleted, which it never is"))?;
        serde_json::from_slice(value).map_err(|error| problem(self.key, error))
    }

    /// Returns the record; `None` if it was deleted.
    fn optional<R: DeserializeOwned>(&self) -> Result<Option<R>, CodecError> {
        if self.value.is_some() { self.record().map(Some) } else { Ok(None) }
    }

    fn summary_place(&self) -> Result<(String, u32), CodecError> {
        let place = self.name.rsplit_once('/').and_then(|(name, number)| Some((name.to_owned(), number.parse().ok()?)));
        place.ok_or_else(|| problem(self.key, "not of the form <process>/<number>"))
    }

    /// Returns which process decides; a process that is the whole hub writes its name alone.
    fn claim(&self) -> Option<Claim> {
        serde_json::from_slice(self.value?).ok()
    }

    fn parsed<K: std::str::FromStr<Err: std::fmt::Display>>(&self) -> Result<K, CodecError> {
        self.name.parse().map_err(|error| problem(self.key, error))
    }

    fn input_key(&self) -> Result<InputKey, CodecError> {
        let parts: Vec<&str> = self.name.split('/').collect();
        let [kind, namespace, name] = parts[..] else {
            return Err(problem(self.key, "not of the form <kind>/<namespace>/<name>"));
        };
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
        let kind = kind.ok_or_else(|| problem(self.key, "this build knows no such kind"))?;
        Ok(InputKey::new(kind, namespace, name))
    }

    fn position(&self) -> Result<Record, CodecError> {
        let text = self.value.and_then(|value| std::str::from_utf8(value).ok());
        let number = text.and_then(|text| text.parse().ok()).ok_or_else(|| problem(self.key, "not a number"))?;
        Ok(Record::Position(Position(number)))
    }
}

fn put<R: Serialize>(key: String, record: &R) -> Result<Write, CodecError> {
    let json = serde_json::to_vec(record).map_err(|error| problem(&key, error))?;
    Ok(Write::put(key, json))
}

fn key(table: &str, name: impl std::fmt::Display) -> String {
    format!("{PREFIX_TEXT}{table}/{name}")
}

fn input_key(table: &str, input: &InputKey) -> String {
    key(table, format_args!("{}/{}/{}", input.kind.as_str(), input.namespace, input.name))
}

fn problem(key: &str, problem: impl std::fmt::Display) -> CodecError {
    CodecError { key: key.to_owned(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests;
