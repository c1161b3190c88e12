//! Opening and closing sessions: who is let in, and what the session begins with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use starling_hub_core::enrolment::{Admission, admit};
use starling_hub_core::session::hello::{check_limits, choose_protocol, is_status_known};
use starling_hub_core::session::incumbency::Arrival;
use starling_hub_core::session::sequence::Sequence;
use starling_model::session::Hello;
use starling_model::{ClusterId, Digest, Guard};

use super::cluster::{Cluster, State};
use super::mailbox::Mailbox;
use super::{Route, Shard, lock};
use crate::session::End;

/// Numbers the sessions of the process, so that a late end of one is not taken for the end of the next.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// A session that was let in.
pub(crate) struct Opened {
    pub(crate) session: OpenSession,
    /// The protocol that both sides speak.
    pub(crate) protocol: u32,
    pub(crate) sequence: Sequence,
    /// The index shows what the agent's digests stand for.
    pub(crate) status_known: bool,
    /// The store is to be told of the identity.
    pub(crate) to_record: bool,
}

/// An open session's place in the registry; dropping it closes the session.
pub(crate) struct OpenSession {
    pub(crate) shard: Arc<Shard>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) number: u64,
}

impl Shard {
    /// Lets a session in whose certificate is valid and names `id` and the public key with the digest `key`.
    ///
    /// # Errors
    /// Why it is not let in.
    pub(crate) fn open(
        self: &Arc<Self>,
        id: ClusterId,
        key: Digest,
        hello: &Hello,
        forwarded: bool,
    ) -> Result<Opened, End> {
        let protocol = choose_protocol(hello.protocols).map_err(|error| End::Hello(error.to_string()))?;
        check_limits(hello, &self.parts.limits).map_err(|error| End::Limit(error.to_string()))?;
        let admit = || match admit(&self.fleet(), id, &key, &hello.fingerprint) {
            Admission::Known => Ok(false),
            Admission::ToRecord => Ok(true),
            Admission::Refused(reason) => Err(End::Refused(reason)),
        };
        // Also of whoever is refused: a store from before its renewal does not know its key, and must hold.
        if let Some(fence) = &hello.newest_fence {
            self.see_fence(fence);
        }
        // Whoever is refused gets no place in the registry, nor does whoever belongs elsewhere.
        admit()?;
        match self.route(id, hello, forwarded) {
            Route::Here => {}
            Route::Redirect { address, epoch } => {
                self.counters.redirected.add(1);
                return Err(End::Elsewhere { address, epoch });
            }
            Route::Forward { address } => return Err(End::PassOn { address }),
            Route::Behind => return Err(End::Behind),
        }
        let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let cluster = self.cluster_or_new(id);
        let mailbox = Arc::new(Mailbox::default());
        let mut state = cluster.state();
        // Again under the lock: of a fleet that is newer still, the planner finds the session and ends it.
        let to_record =
            match admit().and_then(|to_record| self.arrive(&mut state, id, number, hello).map(|()| to_record)) {
                Ok(to_record) => to_record,
                Err(end) => {
                    if let Some(problem) = end.problem() {
                        state.problem = Some(problem);
                    }
                    drop(state);
                    self.changed();
                    self.forget_unmanaged(&id);
                    return Err(end);
                }
            };
        state.key = key;
        state.agent_version.clone_from(&hello.agent_version);
        state.confirmed = hello.plan_digest;
        state.session = Some(Arc::clone(&mailbox));
        state.problem = None;
        state.standing = None;
        if *state.facts != hello.facts {
            state.facts = Arc::new(hello.facts.clone());
        }
        let status_known = Guard::Digests.is_broken()
            || is_status_known(&self.index.read(&id), id, &hello.kinds, &hello.installs_digest);
        state.complete = status_known;
        self.replan(&cluster, &mut state);
        drop(state);
        self.register(&cluster)?;
        cluster.seen(self.parts.clock.now());
        let session = OpenSession { shard: Arc::clone(self), cluster, mailbox, number };
        if status_known {
            session.note_complete();
            self.counters.status_known.add(1);
        }
        self.counters.opened.add(1);
        self.changed();
        Ok(Opened { session, protocol, sequence: Sequence::new(status_known), status_known, to_record })
    }

    /// Ends every open session.
    pub(crate) fn end_all(&self, end: &End) {
        for cluster in self.clusters() {
            if let Some(session) = &cluster.state().session {
                session.end(end.clone());
            }
        }
    }

    /// Decides between the session and those that there are: of the same cluster, of the same identity, before it.
    fn arrive(&self, state: &mut State, id: ClusterId, number: u64, hello: &Hello) -> Result<(), End> {
        let uptime = self.parts.clock.uptime();
        state.openings.try_take(uptime).map_err(End::TooOften)?;
        let mut claims = lock(&self.fingerprints);
        if let Some(holder) = claims.get(&hello.fingerprint).filter(|holder| **holder != id) {
            let fleet = self.fleet();
            return Err(End::SecondName(
                fleet.cluster(*holder).map_or(holder.to_string(), |input| input.name().to_string()),
            ));
        }
        match state.incumbency.arrive(hello.instance, number, uptime) {
            Arrival::Admitted { replaces: _ } => {
                if let Some(replaced) = state.session.take() {
                    replaced.end(End::Replaced);
                }
                if claims.get(&state.fingerprint) == Some(&id) {
                    claims.remove(&state.fingerprint);
                }
                if !hello.fingerprint.is_empty() {
                    claims.insert(hello.fingerprint.clone(), id);
                }
                state.fingerprint.clone_from(&hello.fingerprint);
                Ok(())
            }
            Arrival::BackOff { after } => {
                tracing::warn!(cluster = %id, "a second agent shows the identity of a connected one and is refused");
                Err(End::SecondAgent(after))
            }
            Arrival::Quarantined { remaining, close: _, begins } => {
                if begins {
                    tracing::error!(cluster = %id, "two agents alternate under one identity, both are refused");
                }
                if let Some(closed) = state.session.take() {
                    closed.end(End::Quarantined(remaining));
                }
                Err(End::Quarantined(remaining))
            }
        }
    }

    /// Makes sure that the registry has the cluster: its last session may have ended, and it was forgotten, meanwhile.
    fn register(&self, cluster: &Arc<Cluster>) -> Result<(), End> {
        if self.cluster(&cluster.id).is_some_and(|registered| Arc::ptr_eq(&registered, cluster)) {
            return Ok(());
        }
        let mut clusters = self.clusters.write().unwrap_or_else(PoisonError::into_inner);
        if clusters.contains_key(&cluster.id) {
            return Err(End::Replaced);
        }
        clusters.insert(cluster.id, Arc::clone(cluster));
        drop(clusters);
        // A pass that did not find it in the registry did not plan it.
        self.replan(cluster, &mut cluster.state());
        Ok(())
    }

    fn close(&self, session: &OpenSession) {
        let mut state = session.cluster.state();
        session.mailbox.abandon();
        let is_newest = state.incumbency.leave(session.number);
        let is_registered = state.session.as_ref().is_some_and(|mailbox| Arc::ptr_eq(mailbox, &session.mailbox));
        if is_registered {
            state.session = None;
        }
        if is_newest || state.session.is_none() {
            state.standing = None;
            let mut claims = lock(&self.fingerprints);
            if claims.get(&state.fingerprint) == Some(&session.cluster.id) {
                claims.remove(&state.fingerprint);
            }
        }
        drop(state);
        self.forget_unmanaged(&session.cluster.id);
        self.changed();
    }

    /// Forgets a cluster without a ManagedCluster once its session is over.
    fn forget_unmanaged(&self, id: &ClusterId) {
        if self.fleet().cluster(*id).is_none() {
            self.forget(id);
        }
    }
}

impl OpenSession {
    /// Notes that the agent was heard.
    pub(crate) fn heard(&self) {
        let clock = &self.shard.parts.clock;
        self.cluster.seen(clock.now());
        self.cluster.state().incumbency.heard(self.number, clock.uptime());
    }

    /// Notes that the index shows the agent's whole picture, in the present era.
    pub(crate) fn note_complete(&self) {
        let era = self.shard.era();
        let mut state = self.cluster.state();
        if !state.complete || state.heard_in != era {
            state.complete = true;
            state.heard_in = era;
            state.standing = None;
        }
    }

    /// Notes that something changed that the cluster's standing depends on.
    pub(crate) fn touch(&self) {
        self.cluster.state().standing = None;
        self.shard.changed();
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.shard.close(self);
    }
}
