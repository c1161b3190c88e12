//! What etcd keeps: keys with their history, leases, and the rules of a transaction. Pure; time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_client::proto::{
    PbCompare, PbDeleteRequest, PbDeleteResponse, PbEvent, PbKeyValue, PbPutRequest, PbPutResponse, PbRangeRequest,
    PbRangeResponse, PbResponseHeader, PbResponseOp, PbTargetUnion, PbTxnOpRequest, PbTxnOpResponse, PbTxnRequest,
    PbTxnRequestOp, PbTxnResponse,
};
use tonic::Status;

/// The type of an event that deletes.
pub(super) const DELETED: i32 = 1;

/// Everything that is on etcd's disk.
#[derive(Clone, Debug)]
pub(crate) struct State {
    cluster: u64,
    pub(super) revision: i64,
    pub(super) compacted: i64,
    /// Each key's versions, oldest first.
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
    /// What each revision changed, oldest first.
    pub(super) commits: Vec<Commit>,
    leases: BTreeMap<i64, Lease>,
}

#[derive(Clone, Debug)]
struct Version {
    at: i64,
    /// `None` if it was deleted.
    entry: Option<PbKeyValue>,
}

/// One revision.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    /// Which.
    pub(crate) revision: i64,
    /// Simulated time.
    pub(crate) at: Duration,
    /// What changed, in the order of the writes.
    pub(crate) events: Vec<PbEvent>,
}

#[derive(Clone, Debug)]
struct Lease {
    seconds: i64,
    expires: Duration,
    keys: BTreeSet<Vec<u8>>,
}

impl State {
    /// Makes an empty etcd.
    pub(super) fn new(cluster: u64) -> Self {
        Self { cluster, revision: 1, compacted: 0, keys: BTreeMap::new(), commits: Vec::new(), leases: BTreeMap::new() }
    }

    pub(super) fn set_cluster(&mut self, cluster: u64) {
        self.cluster = cluster;
    }

    pub(super) fn header(&self) -> PbResponseHeader {
        PbResponseHeader { cluster_id: self.cluster, member_id: 1, revision: self.revision, raft_term: 2 }
    }

    /// Returns all entries as they are now.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &PbKeyValue> {
        self.keys.values().filter_map(|versions| versions.last()?.entry.as_ref())
    }

    pub(super) fn range(&self, request: &PbRangeRequest) -> Result<PbRangeResponse, Status> {
        let at = if request.revision > 0 { request.revision } else { self.revision };
        if at > self.revision {
            return Err(Status::out_of_range("etcdserver: mvcc: required revision is a future revision"));
        }
        if at < self.compacted {
            return Err(Status::out_of_range("etcdserver: mvcc: required revision has been compacted"));
        }
        let mut found = Vec::new();
        for versions in self.under(&request.key, &request.range_end) {
            let version = versions.iter().rev().find(|version| version.at <= at);
            found.extend(version.and_then(|version| version.entry.clone()));
        }
        let (count, limit) = (found.len(), usize::try_from(request.limit).unwrap_or(0));
        let more = limit > 0 && count > limit;
        if more {
            found.truncate(limit);
        }
        if request.keys_only {
            found.iter_mut().for_each(|entry| entry.value.clear());
        }
        if request.count_only {
            found.clear();
        }
        let count = i64::try_from(count).expect("few keys");
        Ok(PbRangeResponse { header: Some(self.header()), kvs: found, more, count })
    }

    /// Carries out a transaction, at one revision.
    pub(super) fn txn(&mut self, request: &PbTxnRequest, now: Duration) -> Result<PbTxnResponse, Status> {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let operations = if succeeded { &request.success } else { &request.failure };
        self.check(operations)?;
        let at = self.revision + 1;
        let (mut events, mut responses) = (Vec::new(), Vec::new());
        for operation in operations {
            let response = match operation.request.as_ref().ok_or_else(|| Status::invalid_argument("no operation"))? {
                PbTxnOpRequest::RequestRange(range) => PbTxnOpResponse::ResponseRange(self.range_in(range, at)?),
                PbTxnOpRequest::RequestPut(put) => {
                    events.push(self.put(put, at));
                    PbTxnOpResponse::ResponsePut(PbPutResponse::default())
                }
                PbTxnOpRequest::RequestDeleteRange(delete) => {
                    let deleted = self.delete(delete, at);
                    let count = i64::try_from(deleted.len()).expect("few keys");
                    events.extend(deleted);
                    PbTxnOpResponse::ResponseDeleteRange(PbDeleteResponse { deleted: count, ..Default::default() })
                }
                PbTxnOpRequest::RequestTxn(_) => return Err(Status::unimplemented("nested transactions")),
            };
            responses.push(PbResponseOp { response: Some(response) });
        }
        self.commit(events, now);
        Ok(PbTxnResponse { header: Some(self.header()), succeeded, responses })
    }

    /// Forgets what was before a revision.
    pub(super) fn compact(&mut self, at: i64) {
        self.compacted = self.compacted.max(at.min(self.revision));
        self.commits.retain(|commit| commit.revision > self.compacted);
    }

    pub(super) fn grant(&mut self, id: i64, seconds: i64, now: Duration) {
        let lease = Lease { seconds, expires: now + time(seconds), keys: BTreeSet::new() };
        self.leases.insert(id, lease);
    }

    /// Renews a lease; false if it has ended.
    pub(super) fn keep_alive(&mut self, id: i64, now: Duration) -> Option<i64> {
        let lease = self.leases.get_mut(&id)?;
        lease.expires = now + time(lease.seconds);
        Some(lease.seconds)
    }

    /// Returns how long a lease lasts yet, and what it was granted.
    pub(super) fn time_to_live(&self, id: i64, now: Duration) -> Option<(i64, i64)> {
        let lease = self.leases.get(&id)?;
        let left = lease.expires.saturating_sub(now).as_secs();
        Some((i64::try_from(left).unwrap_or(i64::MAX), lease.seconds))
    }

    /// Returns until when the lease of a key lasts as etcd sees it.
    pub(crate) fn lease_of(&self, key: &[u8]) -> Option<(i64, Duration)> {
        let id = self.present(key)?.lease;
        Some((id, self.leases.get(&id)?.expires))
    }

    /// Ends a lease and its keys; false if there is none.
    pub(super) fn revoke(&mut self, id: i64, now: Duration) -> bool {
        let Some(lease) = self.leases.remove(&id) else { return false };
        let at = self.revision + 1;
        let events: Vec<PbEvent> = lease.keys.iter().filter_map(|key| self.delete_one(key, at)).collect();
        self.commit(events, now);
        true
    }

    /// Ends the leases whose time is over.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        let over: Vec<i64> = self.leases.iter().filter(|(_, lease)| lease.expires <= now).map(|(id, _)| *id).collect();
        for id in &over {
            self.revoke(*id, now);
        }
        !over.is_empty()
    }

    /// Begins every lease anew, as a new leader does.
    pub(super) fn renew_all(&mut self, now: Duration) {
        for lease in self.leases.values_mut() {
            lease.expires = now + time(lease.seconds);
        }
    }

    fn present(&self, key: &[u8]) -> Option<&PbKeyValue> {
        self.keys.get(key)?.last()?.entry.as_ref()
    }

    fn under(&self, key: &[u8], end: &[u8]) -> impl Iterator<Item = &Vec<Version>> {
        let is_one = end.is_empty();
        let end = match end {
            [] => Some(key.to_vec()),
            [0] => None,
            end => Some(end.to_vec()),
        };
        let from = self.keys.range(key.to_vec()..);
        from.take_while(move |(key, _)| match &end {
            None => true,
            Some(end) => {
                if is_one {
                    *key == end
                } else {
                    *key < end
                }
            }
        })
        .map(|(_, versions)| versions)
    }

    fn holds(&self, compare: &PbCompare) -> bool {
        let present = self.present(&compare.key);
        let number = |of: fn(&PbKeyValue) -> i64| present.map_or(0, of);
        let order = match &compare.target_union {
            Some(PbTargetUnion::Version(version)) => number(|entry| entry.version).cmp(version),
            Some(PbTargetUnion::CreateRevision(revision)) => number(|entry| entry.create_revision).cmp(revision),
            Some(PbTargetUnion::ModRevision(revision)) => number(|entry| entry.mod_revision).cmp(revision),
            Some(PbTargetUnion::Lease(lease)) => number(|entry| entry.lease).cmp(lease),
            Some(PbTargetUnion::Value(value)) => match present {
                // To etcd, a key that is not there has no value that could compare.
                None => return false,
                Some(entry) => entry.value.cmp(value),
            },
            None => return false,
        };
        match compare.result {
            0 => order.is_eq(),
            1 => order.is_gt(),
            2 => order.is_lt(),
            _ => order.is_ne(),
        }
    }

    /// Refuses what etcd refuses before anything is done.
    fn check(&self, operations: &[PbTxnRequestOp]) -> Result<(), Status> {
        let mut written = BTreeSet::new();
        for operation in operations {
            let Some(PbTxnOpRequest::RequestPut(put)) = &operation.request else { continue };
            if !written.insert(&put.key) {
                return Err(Status::invalid_argument("etcdserver: duplicate key given in txn request"));
            }
            if put.lease != 0 && !self.leases.contains_key(&put.lease) {
                return Err(Status::not_found("etcdserver: requested lease not found"));
            }
        }
        Ok(())
    }

    /// Reads inside a transaction, which sees its own writes.
    fn range_in(&self, request: &PbRangeRequest, at: i64) -> Result<PbRangeResponse, Status> {
        let mut ahead = self.range(&PbRangeRequest { revision: 0, ..request.clone() })?;
        if request.revision > 0 {
            return self.range(request);
        }
        ahead.kvs.clear();
        for versions in self.under(&request.key, &request.range_end) {
            let version = versions.iter().rev().find(|version| version.at <= at);
            ahead.kvs.extend(version.and_then(|version| version.entry.clone()));
        }
        if request.keys_only {
            ahead.kvs.iter_mut().for_each(|entry| entry.value.clear());
        }
        Ok(ahead)
    }

    fn put(&mut self, put: &PbPutRequest, at: i64) -> PbEvent {
        let before = self.present(&put.key);
        let (create_revision, version) = before.map_or((at, 1), |entry| (entry.create_revision, entry.version + 1));
        let old_lease = before.map_or(0, |entry| entry.lease);
        let entry = PbKeyValue {
            key: put.key.clone(),
            create_revision,
            mod_revision: at,
            version,
            value: put.value.clone(),
            lease: put.lease,
        };
        if let Some(lease) = self.leases.get_mut(&old_lease) {
            lease.keys.remove(&put.key);
        }
        if let Some(lease) = self.leases.get_mut(&put.lease) {
            lease.keys.insert(put.key.clone());
        }
        self.keys.entry(put.key.clone()).or_default().push(Version { at, entry: Some(entry.clone()) });
        PbEvent { r#type: 0, kv: Some(entry), prev_kv: None }
    }

    fn delete(&mut self, delete: &PbDeleteRequest, at: i64) -> Vec<PbEvent> {
        let under = self.under(&delete.key, &delete.range_end);
        let keys: Vec<Vec<u8>> =
            under.filter_map(|versions| Some(versions.last()?.entry.as_ref()?.key.clone())).collect();
        keys.iter().filter_map(|key| self.delete_one(key, at)).collect()
    }

    fn delete_one(&mut self, key: &[u8], at: i64) -> Option<PbEvent> {
        let lease = self.present(key)?.lease;
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.remove(key);
        }
        self.keys.get_mut(key)?.push(Version { at, entry: None });
        let kv = PbKeyValue { key: key.to_vec(), mod_revision: at, ..PbKeyValue::default() };
        Some(PbEvent { r#type: DELETED, kv: Some(kv), prev_kv: None })
    }

    fn commit(&mut self, events: Vec<PbEvent>, now: Duration) {
        if events.is_empty() {
            return;
        }
        self.revision += 1;
        self.commits.push(Commit { revision: self.revision, at: now, events });
    }
}

fn time(seconds: i64) -> Duration {
    Duration::from_secs(seconds.try_into().unwrap_or(0))
}
