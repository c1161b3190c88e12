//! Watching: the events of whole transactions, in order, over whatever becomes of the connection.
//!
//! One watch of etcd over the whole prefix, of which the watched keys are picked here: a large transaction shows only in the store's
//! own keys, and only in one stream are they in order with the others. Its steps are left out; its marker becomes all of its events.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use etcd_client::proto::{PbEvent, PbKeyValue, PbResponseHeader, PbWatchResponse};
use etcd_client::{GetOptions, WatchOptions, WatchStream};
use sha2::{Digest as _, Sha256};
use starling_model::Guard;
use tokio::time::{Instant, sleep, timeout};

use super::Inner;
use super::endpoints::{ATTEMPT, CALL, Failure};
use super::failure::{Refusal, Verdict};
use super::names::end_of;
use super::read::{MAX_ANSWER, Pending};
use super::wire::{self, Seen};
use crate::store::{Event, KeyValue, Revision, StoreError, Watch, Watched};

/// The event type of a deletion.
const DELETED: i32 = 1;

/// The pause between attempts to watch again.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// A watch over etcd.
pub(super) struct EtcdWatch {
    inner: Arc<Inner>,
    prefix: Vec<u8>,
    /// Everything up to this revision was delivered or does not matter.
    after: i64,
    transactions: VecDeque<Heard>,
    stream: Option<Open>,
    failing_since: Option<Instant>,
    /// The cluster that was first watched.
    cluster: Option<u64>,
    /// The key that was written last, and how: what tells this history from another one.
    last: Option<Written>,
    /// What a watch began with, until it is checked.
    unchecked: Option<PbResponseHeader>,
    compacted: bool,
}

struct Open {
    stream: WatchStream,
    endpoint: usize,
    created: bool,
    since: Instant,
}

/// How a key was written.
struct Written {
    key: Vec<u8>,
    modified: i64,
    value: [u8; 32],
}

/// The events of one revision, as far as they are known.
struct Heard {
    revision: i64,
    events: Vec<PbEvent>,
    whole: bool,
}

impl EtcdWatch {
    pub(super) fn new(inner: Arc<Inner>, prefix: &[u8], after: Revision) -> Self {
        Self {
            inner,
            prefix: prefix.to_vec(),
            after: wire::signed(after),
            transactions: VecDeque::new(),
            stream: None,
            failing_since: None,
            cluster: None,
            last: None,
            unchecked: None,
            compacted: false,
        }
    }

    /// Watches on the chosen endpoint.
    pub(super) async fn open(&mut self) -> Result<(), StoreError> {
        let endpoints = &self.inner.endpoints;
        let opened = timeout(ATTEMPT, async {
            let mut chosen = endpoints.chosen().await?;
            let options = WatchOptions::new()
                .with_range(end_of(&self.inner.names.outer(b"")))
                .with_start_revision(self.after + 1)
                .with_fragment()
                .with_progress_notify();
            let index = chosen.index();
            let client = &mut chosen.client;
            let watch = client
                .watch_client()
                .max_decoding_message_size(MAX_ANSWER)
                .watch(self.inner.names.outer(b""), Some(options))
                .await;
            watch.map(|stream| (index, stream)).map_err(|error| (index, error))
        });
        match opened.await {
            Ok(Ok((endpoint, stream))) => {
                self.stream = Some(Open { stream, endpoint, created: false, since: Instant::now() });
                Ok(())
            }
            Ok(Err((endpoint, error))) => self.failed(endpoint, Verdict::of("watch", &error)).await,
            Err(_) => {
                let endpoint = endpoints.index();
                self.failed(endpoint, Verdict::Elsewhere("no answer to a watch".to_owned())).await
            }
        }
    }

    /// Goes to another endpoint, or gives up.
    async fn failed(&mut self, endpoint: usize, verdict: Verdict) -> Result<(), StoreError> {
        self.stream = None;
        // What was heard in part is heard again.
        self.transactions.retain(|heard| heard.whole);
        let problem = match self.inner.endpoints.judge(verdict) {
            Verdict::Final(Refusal::Compacted) => {
                self.compacted = true;
                return Ok(());
            }
            Verdict::Final(refusal) => return Err(refusal.into()),
            Verdict::LogInAgain(problem) => {
                self.inner.endpoints.forget_login(endpoint).await;
                problem
            }
            Verdict::Elsewhere(problem) => {
                self.inner.endpoints.rotate(endpoint, self.failing_since.is_none().then_some(&problem));
                problem
            }
        };
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() < CALL {
            sleep(PAUSE).await;
            return Ok(());
        }
        self.failing_since = None;
        Err(StoreError::Unavailable { doing: "watch", problem: format!("no endpoint of etcd answers: {problem}") })
    }

    /// Returns what is next of what was heard already.
    async fn ready(&mut self) -> Result<Option<Watched>, StoreError> {
        while let Some(heard) = self.transactions.front().filter(|heard| heard.whole) {
            let (revision, events) = match self.events(heard).await {
                Ok(events) => (heard.revision, events),
                Err(Failure { refusal: Refusal::Compacted, .. }) => {
                    self.compacted = true;
                    return Ok(None);
                }
                Err(failure) => return Err(failure.into()),
            };
            // From here on nothing waits, so that a caller who stops waiting loses nothing.
            if let Some(heard) = self.transactions.pop_front() {
                self.remember(&heard);
            }
            self.after = self.after.max(revision);
            if !events.is_empty() {
                return Ok(Some(Watched::Events { revision: wire::revision(revision), events }));
            }
        }
        Ok(None)
    }

    /// Returns the events of a transaction under the prefix.
    async fn events(&self, heard: &Heard) -> Result<Vec<Event>, Failure> {
        let names = &self.inner.names;
        let put = |name: &[u8]| {
            let puts =
                heard.events.iter().filter(|event| event.r#type != DELETED).filter_map(|event| event.kv.as_ref());
            puts.into_iter().find(|entry| entry.key == name)
        };
        if let Some(marker) = put(&names.marker) {
            let pending = Pending::of(&Seen { modified: heard.revision, value: marker.value.clone() });
            let pending = pending.map_err(|error| Failure { refusal: Refusal::Error(error), in_doubt: false })?;
            return match pending {
                Some(pending) => self.inner.events(&pending, &self.prefix).await,
                None => Ok(Vec::new()),
            };
        }
        if put(&names.applied).is_some() {
            return Ok(Vec::new());
        }
        let entries = heard.events.iter().filter_map(|event| Some((event.r#type, event.kv.clone()?)));
        let events = entries.filter_map(|(kind, entry)| {
            let entry: KeyValue = wire::entry(names, entry)?;
            let is_watched = entry.key.starts_with(&self.prefix);
            is_watched.then(|| if kind == DELETED { Event::Delete { key: entry.key } } else { Event::Put(entry) })
        });
        Ok(events.collect())
    }

    /// Takes in what etcd sent.
    async fn take(&mut self, response: PbWatchResponse) -> Result<(), StoreError> {
        let Some(open) = &mut self.stream else { return Ok(()) };
        let endpoint = open.endpoint;
        if response.compact_revision > 0 {
            self.compacted = true;
            return Ok(());
        }
        if response.canceled {
            let status = tonic::Status::unavailable(response.cancel_reason);
            return self.failed(endpoint, Verdict::of("watch", &status.into())).await;
        }
        if response.created {
            open.created = true;
            self.unchecked = response.header;
            return Ok(());
        }
        self.failing_since = None;
        let is_progress = response.events.is_empty() && !response.fragment;
        for event in response.events {
            let revision = event.kv.as_ref().map_or(0, |entry| entry.mod_revision);
            if revision <= self.after {
                continue;
            }
            match self.transactions.back_mut() {
                Some(last) if last.revision == revision => last.events.push(event),
                last => {
                    if let Some(last) = last {
                        last.whole = true;
                    }
                    self.transactions.push_back(Heard { revision, events: vec![event], whole: false });
                }
            }
        }
        if !response.fragment
            && let Some(last) = self.transactions.back_mut()
        {
            last.whole = true;
        }
        // Where nothing happened, watching again goes on from there, so that it is not told of a compaction for nothing.
        if is_progress && self.transactions.is_empty() {
            self.after = self.after.max(wire::at(response.header.as_ref()));
        }
        Ok(())
    }

    fn remember(&mut self, heard: &Heard) {
        let put = heard.events.iter().rev().find(|event| event.r#type != DELETED).and_then(|event| event.kv.as_ref());
        if let Some(entry) = put {
            self.last = Some(Written::of(entry));
            return;
        }
        let mut deleted = heard.events.iter().filter_map(|event| event.kv.as_ref());
        if deleted.any(|entry| self.last.as_ref().is_some_and(|last| last.key == entry.key)) {
            self.last = None;
        }
    }

    /// Notices an etcd that has another history than the one that was heard: it was restored, and what was heard is of no use. It may
    /// have written more since than it had lost.
    async fn check_history(&mut self) -> Result<(), StoreError> {
        let Some(header) = &self.unchecked else { return Ok(()) };
        if Guard::History.is_broken() {
            return Ok(());
        }
        let cluster = *self.cluster.get_or_insert(header.cluster_id);
        let mut is_other = cluster != header.cluster_id;
        if !is_other && header.revision < self.after {
            // A member may lag behind the others; all of them together do not.
            let read = self.inner.get_outer(&self.inner.names.marker, GetOptions::new()).await?;
            is_other = wire::at(read.header.as_ref()) < self.after;
        }
        if !is_other && let Some(last) = &self.last {
            let then = GetOptions::new().with_revision(self.after);
            match self.inner.get_outer(&last.key, then).await {
                Ok(read) => is_other = !read.kvs.first().is_some_and(|entry| last.is(entry)),
                Err(Failure { refusal: Refusal::Compacted, .. }) => self.compacted = true,
                Err(failure) => return Err(failure.into()),
            }
        }
        if is_other {
            tracing::warn!(
                revision = header.revision,
                after = self.after,
                "etcd is another one than before, or was restored"
            );
            self.compacted = true;
        }
        self.unchecked = None;
        Ok(())
    }

    async fn hear(&mut self) -> Result<(), StoreError> {
        let Some(open) = &mut self.stream else { return self.open().await };
        let endpoint = open.endpoint;
        let message = async {
            // A watch that is not even created is one that etcd does not hear.
            let left = ATTEMPT.saturating_sub(open.since.elapsed());
            if open.created { Ok(open.stream.message().await) } else { timeout(left, open.stream.message()).await }
        };
        match message.await {
            Ok(Ok(Some(response))) => self.take(response.0).await,
            Ok(Ok(None)) => self.failed(endpoint, Verdict::Elsewhere("the watch was ended".to_owned())).await,
            Ok(Err(error)) => {
                let verdict = Verdict::of("watch", &error);
                self.failed(endpoint, verdict).await
            }
            Err(_) => self.failed(endpoint, Verdict::Elsewhere("no answer to a watch".to_owned())).await,
        }
    }
}

impl Written {
    fn of(entry: &PbKeyValue) -> Self {
        Self { key: entry.key.clone(), modified: entry.mod_revision, value: Sha256::digest(&entry.value).into() }
    }

    fn is(&self, entry: &PbKeyValue) -> bool {
        entry.mod_revision == self.modified && <[u8; 32]>::from(Sha256::digest(&entry.value)) == self.value
    }
}

#[async_trait]
impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Watched, StoreError> {
        loop {
            if let Some(watched) = self.ready().await? {
                return Ok(watched);
            }
            self.check_history().await?;
            if self.compacted {
                return Ok(Watched::Compacted);
            }
            self.hear().await?;
        }
    }
}
