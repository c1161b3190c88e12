//! Planning: after each position, every cluster whose plan can have changed is planned again.
//!
//! Owns when a plan is computed and to whom a new one is told. Does not own what it says (the planner does).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use starling_hub_core::enrolment::{Admission, admit};
use starling_hub_core::fleet::Fleet;
use starling_hub_core::planner;
use starling_model::{ClusterId, Fence, Millis};
use starling_telemetry::{TRACE, context};
use tracing::Span;

use super::Shard;
use super::affected::{Affected, affected};
use super::cluster::{Assigned, Cluster, State};
use super::plans::is_same;
use crate::session::End;

/// How often a planner that has nothing to do says that it is not stuck.
const REFRESH: Duration = Duration::from_secs(3);

/// Clusters that are planned before other tasks get their turn.
const CHUNK: usize = 32;

/// How far planning has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The fence of the newest position at which every plan is known to be right.
    verified: RwLock<Option<Fence>>,
    /// Uptime when the planner last had applied all that it knew of.
    refreshed: AtomicU64,
    /// Clusters that were planned from a newer fleet than that. What passes compare need not tell of what was only in between, and
    /// so these are planned in the next pass in any case.
    ahead: Mutex<BTreeSet<ClusterId>>,
}

impl Progress {
    pub(crate) fn verified(&self) -> Option<Fence> {
        *self.verified.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refreshed(&self) -> Millis {
        Millis(self.refreshed.load(Ordering::Relaxed))
    }

    fn verify(&self, fence: Option<Fence>, uptime: Millis) {
        *self.verified.write().unwrap_or_else(PoisonError::into_inner) = fence;
        self.refresh(uptime);
    }

    fn note_ahead(&self, cluster: ClusterId) {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).insert(cluster);
    }

    fn take_ahead(&self) -> BTreeSet<ClusterId> {
        std::mem::take(&mut self.ahead.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn refresh(&self, uptime: Millis) {
        self.refreshed.store(uptime.0, Ordering::Relaxed);
    }
}

impl Shard {
    /// Plans whatever each position can have changed, until it is dropped.
    pub async fn run_planner(self: Arc<Self>) {
        let mut fleets = self.parts.fleet.clone();
        let mut holds = self.parts.hold.subscribe();
        let mut planned: Option<Arc<Fleet>> = None;
        loop {
            let fleet = Arc::clone(&fleets.borrow_and_update());
            self.pass(planned.as_deref(), &fleet).await;
            planned = Some(fleet);
            loop {
                tokio::select! {
                    biased;
                    changed = fleets.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        break;
                    }
                    changed = holds.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        self.wake_all();
                    }
                    () = tokio::time::sleep(REFRESH) => self.progress.refresh(self.parts.clock.uptime()),
                }
            }
        }
    }

    /// Brings every cluster from one fleet to the next, then lets the position advance for all.
    async fn pass(&self, old: Option<&Fleet>, fleet: &Fleet) {
        let ahead = self.progress.take_ahead();
        let clusters = match old.map_or(Affected::All, |old| affected(old, fleet)) {
            Affected::All => self.clusters(),
            Affected::Some(ids) => ids.union(&ahead).filter_map(|id| self.cluster(id)).collect(),
        };
        let span = self.trace_pass(old, fleet, clusters.len());
        let trace: Arc<str> = context::of(&span).into();
        for chunk in clusters.chunks(CHUNK) {
            for cluster in chunk {
                self.replan_at(cluster, fleet, &trace);
            }
            tokio::task::yield_now().await;
        }
        drop(span);
        self.progress.verify(self.fence(fleet), self.parts.clock.uptime());
        self.changed();
        tracing::debug!(position = %fleet.position(), clusters = clusters.len(), "plans are up to date");
    }

    /// Opens the span of a pass over what a traced change can concern; otherwise one that is not recorded.
    fn trace_pass(&self, old: Option<&Fleet>, fleet: &Fleet, clusters: usize) -> Span {
        let newest = old.and_then(|old| self.parts.traces.newest(old.position(), fleet.position()));
        let Some(traceparent) = newest else { return Span::none() };
        let span = tracing::info_span!(target: TRACE, "plan", clusters, position = fleet.position().0);
        context::follow(&span, &traceparent);
        span
    }

    fn replan_at(&self, cluster: &Cluster, fleet: &Fleet, trace: &Arc<str>) {
        let mut state = cluster.state();
        if state.session.is_none() && fleet.cluster(cluster.id).is_none() {
            drop(state);
            self.forget(&cluster.id);
            return;
        }
        if let Some(session) = &state.session {
            match admit(fleet, cluster.id, &state.key, &state.fingerprint) {
                Admission::Known => {}
                Admission::ToRecord => session.record(),
                Admission::Refused(reason) => session.end(End::Refused(reason)),
            }
        }
        // A session that opened in the meantime was planned from this fleet or a newer one.
        if state.planned_at <= fleet.position() {
            self.plan_into(cluster, &mut state, fleet, trace);
        }
    }

    /// Plans one cluster from the newest fleet; its facts are new, or its session is.
    pub(crate) fn replan(&self, cluster: &Cluster, state: &mut State) {
        // Read under the cluster's lock, so that no older plan replaces a newer one.
        let fleet = self.fleet();
        self.plan_into(cluster, state, &fleet, &Arc::default());
        if !self.has_planned(fleet.position()) {
            self.progress.note_ahead(cluster.id);
        }
        // The same plan is right at this position too, which no pass has said for a cluster that it did not see.
        if let Some(assigned) = &state.assigned {
            let (plan, digest, trace) = (Arc::clone(&assigned.plan), assigned.digest, Arc::clone(&assigned.trace));
            state.assigned = Some(Arc::new(Assigned { plan, digest, fence: self.fence(&fleet), trace }));
        }
    }

    /// Returns a cluster's newest plan, with the fence of the newest position at which it is known to be right; `None`
    /// before it was planned in the present era.
    pub(crate) fn current(&self, cluster: &Cluster) -> Option<(Fence, Arc<Assigned>)> {
        // Read first: a plan that is read later is at least as new as what was verified.
        let verified = self.progress.verified();
        let assigned = cluster.state().assigned.clone()?;
        let newer = |verified: &Fence| assigned.fence.is_none_or(|fence| verified.is_at_least(&fence));
        let fence = verified.filter(newer).or(assigned.fence)?;
        // A plan of an older era would carry tombstones and approvals that wait for approval again.
        (Some(fence.era) == self.era()).then_some((fence, assigned))
    }

    fn plan_into(&self, cluster: &Cluster, state: &mut State, fleet: &Fleet, trace: &Arc<str>) {
        let plan = planner::plan(fleet, cluster.id, &state.facts);
        self.counters.planned.add(1);
        state.planned_at = fleet.position();
        if state.assigned.as_ref().is_some_and(|assigned| is_same(&assigned.plan, &plan)) {
            return;
        }
        let (plan, digest) = self.plans.share(plan);
        let assigned = Arc::new(Assigned { plan, digest, fence: self.fence(fleet), trace: Arc::clone(trace) });
        let is_other = state.assigned.as_ref().is_none_or(|old| old.digest != assigned.digest);
        state.assigned = Some(assigned);
        state.standing = None;
        if let Some(session) = state.session.as_ref().filter(|_| is_other) {
            session.desired();
        }
    }

    fn fence(&self, fleet: &Fleet) -> Option<Fence> {
        fleet.era().map(|record| self.parts.fleet_key.fence(record.era, fleet.position()))
    }

    /// Lets every session look at what it has to say, after a hold began or ended.
    fn wake_all(&self) {
        for cluster in self.clusters() {
            if let Some(session) = &cluster.state().session {
                session.desired();
            }
        }
        self.changed();
    }
}
