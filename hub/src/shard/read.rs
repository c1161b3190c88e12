//! What the process answers about its clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use starling_hub_core::index::{Cursor, Filter, Found, HealthCounts, Page};
use starling_hub_core::planner;
use starling_hub_core::session::standing::{ClusterStanding, InstallStanding, judge_install, sum_up};
use starling_hub_core::steward::Heard;
use starling_model::{Action, ClusterId, Entry, Facts, InstallKey, InstallReport, Millis, ObjectKey, Plan, Uid};

use super::cluster::{Cluster, Judged, State};
use super::{Division, ProcessFigures, Shard, Told};
use crate::load::Load;

/// A cluster that opened a session since the process started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The cluster's identity.
    pub id: ClusterId,
    /// A session is open.
    pub connected: bool,
    /// Wall time when the agent was last heard; zero when it was only refused so far.
    pub last_seen: Millis,
    /// For people; empty when it was only refused so far.
    pub agent_version: String,
    /// What the agent observed about its cluster.
    pub facts: Arc<Facts>,
    /// How much of a quarantine remains.
    pub quarantine: Option<Duration>,
    /// What is wrong with the session, for people.
    pub problem: Option<String>,
    /// Whether it is live and ready, and how far its installs are.
    pub standing: ClusterStanding,
    /// Its objects by health.
    pub health: HealthCounts,
    /// Objects that the agent does not report because they are beyond the limit.
    pub untracked: u64,
    /// Statuses that the agent dropped since it started.
    pub dropped: u64,
    /// Objects and installs that were refused since the last snapshot began.
    pub refused: u64,
    /// It is what was last known, from the store: the agent has not been heard by the process that tells of it.
    #[serde(default)]
    pub inherited: bool,
}

/// An install that a plan names or an agent reports.
#[derive(Clone, Debug)]
pub struct InstallView {
    /// Which install.
    pub install: InstallKey,
    /// What the plan says; `None` if it does not name the install.
    pub planned: Option<Entry>,
    /// A tombstone of the plan names the install that is held.
    pub removal: bool,
    /// How far it came; `None` if the plan does not name it.
    pub standing: Option<InstallStanding>,
    /// The agent's report; `None` if it has not reported it.
    pub report: Option<InstallReport>,
    /// Its objects by health.
    pub health: HealthCounts,
    /// The message of its worst object; may be empty.
    pub message: String,
}

/// The process's clusters in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// Clusters with an open session.
    pub connected: u64,
    /// Of these, live.
    pub live: u64,
    /// Of these, ready.
    pub ready: u64,
    /// Objects of all clusters by health.
    pub health: HealthCounts,
}

/// Questions.
impl Shard {
    /// Answers a filter with at most `size` objects behind `after`.
    #[must_use]
    pub fn query(&self, filter: &Filter, after: Option<&Cursor>, size: usize) -> Page {
        self.index.query(filter, after, size)
    }

    /// Returns one object.
    #[must_use]
    pub fn object(&self, id: &ClusterId, key: &ObjectKey) -> Option<Found> {
        self.index.read(id).object(id, key)
    }

    /// Returns the objects of one assignment by health, over all clusters.
    #[must_use]
    pub fn assignment_health(&self, assignment: &Uid) -> HealthCounts {
        self.index.assignment_counts(assignment)
    }

    /// Returns how many different texts the index keeps, and their bytes.
    #[must_use]
    pub fn texts(&self) -> (usize, usize) {
        self.index.texts()
    }

    /// Returns the clusters that this process tells of in numbers.
    #[must_use]
    pub fn overview(&self) -> Overview {
        self.overview_of(&self.told(&Division::default()))
    }

    /// Returns the clusters that are told of in numbers.
    pub(crate) fn overview_of(&self, told: &Told) -> Overview {
        let mut overview = Overview::default();
        if told.clusters.is_none() {
            overview.health = self.index.counts();
        }
        for cluster in self.clusters() {
            if let Some(clusters) = &told.clusters {
                if !clusters.contains(&cluster.id) {
                    continue;
                }
                overview.health.add_all(&self.index.read(&cluster.id).cluster_counts(&cluster.id));
            }
            let mut state = cluster.state();
            overview.connected += u64::from(state.session.is_some());
            let standing = self.standing(&cluster, &mut state);
            overview.live += u64::from(standing.live);
            overview.ready += u64::from(standing.ready);
        }
        overview
    }

    /// Returns the identities of the clusters with an open session.
    #[must_use]
    pub fn connected(&self) -> Vec<ClusterId> {
        let is_open = |cluster: &&Arc<Cluster>| cluster.state().session.is_some();
        self.clusters().iter().filter(is_open).map(|cluster| cluster.id).collect()
    }

    /// Returns the number of objects of all clusters.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.index.counts().total()
    }

    /// Returns a cluster; `None` when it has not been heard since the process started.
    #[must_use]
    pub fn view(&self, id: &ClusterId) -> Option<ClusterView> {
        Some(self.view_of(self.cluster(id)?.as_ref()))
    }

    /// Returns every cluster that has been heard since the process started, by identity.
    #[must_use]
    pub fn views(&self) -> Vec<ClusterView> {
        self.clusters().iter().map(|cluster| self.view_of(cluster)).collect()
    }

    /// Returns the clusters that are told of, all or those of the given ones.
    pub(crate) fn views_of(&self, told: &Told, ids: Option<&BTreeSet<ClusterId>>) -> Vec<ClusterView> {
        let is_told = |id: &ClusterId| told.clusters.as_ref().is_none_or(|clusters| clusters.contains(id));
        match ids {
            None => self.clusters().iter().filter(|it| is_told(&it.id)).map(|it| self.view_of(it)).collect(),
            Some(ids) => ids.iter().filter(|id| is_told(id)).filter_map(|id| self.view(id)).collect(),
        }
    }

    /// Returns what the process is and does.
    pub(crate) fn process_figures(&self, load: &Load) -> ProcessFigures {
        let fleet = self.fleet();
        let process = starling_telemetry::process::ProcessFigures::read();
        let mut figures = ProcessFigures {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            objects: self.index.counts().total(),
            redirected: self.counters.redirected.get(),
            memory_bytes: process.map_or(0, |process| u64::try_from(process.resident_bytes).unwrap_or(0)),
            load_millis: load.cpu_millis(),
            started: self.started,
            lease_millis: millis(self.parts.lease.remaining(self.parts.clock.uptime())),
            ..ProcessFigures::default()
        };
        for id in self.connected() {
            figures.connected += 1;
            let owner = fleet.owner(&id).filter(|_| !self.owns(&fleet, &id));
            if let Some(owner) = owner {
                *figures.moving.entry(owner.name.clone()).or_default() += 1;
            }
        }
        figures
    }

    /// Returns the identity of every cluster that has been heard since the process started.
    #[must_use]
    pub fn identities(&self) -> Vec<ClusterId> {
        self.clusters().iter().map(|cluster| cluster.id).collect()
    }

    /// Returns when a cluster was last heard if it has no open session: its statuses are *old* since then.
    #[must_use]
    pub fn old_since(&self, id: &ClusterId) -> Option<Millis> {
        let cluster = self.cluster(id)?;
        let is_open = cluster.state().session.is_some();
        (!is_open).then(|| cluster.last_seen())
    }

    /// Returns a cluster's plan; that of a cluster that was not heard is computed without facts.
    #[must_use]
    pub fn plan(&self, id: &ClusterId) -> Arc<Plan> {
        let known = self.cluster(id).and_then(|cluster| {
            let state = cluster.state();
            state.assigned.as_ref().map(|assigned| Arc::clone(&assigned.plan))
        });
        known.unwrap_or_else(|| Arc::new(planner::plan(&self.fleet(), *id, &Facts::default())))
    }

    /// Returns a cluster's installs: what its plan names and what its agent reports, by install.
    #[must_use]
    pub fn installs(&self, id: &ClusterId) -> Vec<InstallView> {
        let plan = self.plan(id);
        let index = self.index.read(id);
        let mut reports: BTreeMap<InstallKey, InstallReport> =
            index.installs(id).map(|report| (report.install.clone(), report)).collect();
        let health = index.counts_by_assignment(id);
        let messages = index.worst_messages(id);
        let view = |install: &InstallKey, planned: Option<&Entry>, report: Option<InstallReport>| {
            let assignment = planned.map(|entry| entry.assignment).or(report.as_ref().map(|report| report.assignment));
            let health = assignment.and_then(|uid| health.get(&uid)).copied().unwrap_or_default();
            let progress = report.as_ref().map(|report| (report.state, report.render, report.assignment));
            let removal = report.as_ref().is_some_and(|report| {
                let held = |uid: Uid, key: &InstallKey| uid == report.assignment && *key == report.install;
                plan.tombstones.iter().any(|tombstone| held(tombstone.assignment, &tombstone.install))
            });
            let message = assignment.and_then(|uid| messages.get(&uid).copied()).unwrap_or_default();
            InstallView {
                install: install.clone(),
                standing: planned.map(|entry| judge_install(entry, progress, &health)),
                planned: planned.cloned(),
                removal,
                report,
                health,
                message: message.to_owned(),
            }
        };
        let planned = plan.entries.iter().map(|entry| {
            let report = reports.remove(&entry.install);
            view(&entry.install, Some(entry), report)
        });
        let mut installs: Vec<InstallView> = planned.collect();
        installs.extend(reports.into_iter().map(|(install, report)| view(&install, None, Some(report))));
        // An assignment that an older one keeps out has no place in the plan, and is shown all the same.
        let kept_out = planner::collisions(&self.fleet(), *id);
        installs.extend(kept_out.iter().map(|entry| view(&entry.install, Some(entry), None)));
        installs.sort_by(|one, other| one.install.cmp(&other.install));
        installs
    }

    /// Shows how far each install of a cluster's plan came, by assignment; nothing of one that was not heard.
    pub(crate) fn install_standings(&self, cluster: &Cluster, mut show: impl FnMut(Uid, InstallStanding)) {
        let mut state = cluster.state();
        for (assignment, standing) in &self.judged(cluster, &mut state).installs {
            show(*assignment, *standing);
        }
    }

    /// Returns the installs that a cluster holds, each with its assignment; `None` if it was not heard in this era.
    ///
    /// What its plan renders counts as held: the agent may be applying it just now. So does what the newest position's plan renders,
    /// which may not be out yet.
    #[must_use]
    pub fn heard(&self, id: &ClusterId) -> Option<BTreeSet<(InstallKey, Uid)>> {
        let fleet = self.fleet();
        let era = fleet.era()?.era;
        let cluster = self.cluster(id)?;
        let state = cluster.state();
        if state.heard_in != Some(era) {
            return None;
        }
        let is_planned = state.planned_at >= fleet.position() || self.has_planned(fleet.position());
        let next = (!is_planned).then(|| planner::plan(&fleet, *id, &state.facts));
        let out = state.assigned.iter().map(|assigned| assigned.plan.as_ref());
        let entries = out.chain(next.as_ref()).flat_map(|plan| &plan.entries);
        let rendered = entries.filter(|entry| matches!(entry.action, Action::Render(_)));
        let mut held: BTreeSet<_> = rendered.map(|entry| (entry.install.clone(), entry.assignment)).collect();
        held.extend(self.index.read(id).installs(id).map(|report| (report.install, report.assignment)));
        Some(held)
    }

    fn view_of(&self, cluster: &Cluster) -> ClusterView {
        let mut state = cluster.state();
        let standing = self.standing(cluster, &mut state);
        let index = self.index.read(&cluster.id);
        ClusterView {
            id: cluster.id,
            connected: state.session.is_some(),
            last_seen: cluster.last_seen(),
            agent_version: state.agent_version.clone(),
            facts: Arc::clone(&state.facts),
            quarantine: state.incumbency.quarantine(self.parts.clock.uptime()),
            problem: state.problem.clone(),
            standing,
            health: index.cluster_counts(&cluster.id),
            untracked: state.untracked,
            dropped: state.dropped,
            refused: index.refused(&cluster.id),
            inherited: false,
        }
    }

    fn standing(&self, cluster: &Cluster, state: &mut State) -> ClusterStanding {
        self.judged(cluster, state).sum
    }

    fn judged<'a>(&self, cluster: &Cluster, state: &'a mut State) -> &'a Judged {
        if state.standing.is_none() {
            let installs = self.judge(cluster, state);
            let sum = sum_up(state.is_live(), installs.iter().map(|(_, standing)| *standing));
            state.standing = Some(Judged { sum, installs: installs.into() });
        }
        state.standing.as_ref().expect("it was just judged")
    }

    fn judge(&self, cluster: &Cluster, state: &State) -> Vec<(Uid, InstallStanding)> {
        let Some(assigned) = &state.assigned else { return Vec::new() };
        let index = self.index.read(&cluster.id);
        let health = index.counts_by_assignment(&cluster.id);
        let judge = |entry: &Entry| {
            let progress = index.install_progress(&cluster.id, &entry.install);
            let counts = health.get(&entry.assignment).copied().unwrap_or_default();
            (entry.assignment, judge_install(entry, progress, &counts))
        };
        assigned.plan.entries.iter().map(judge).collect()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Heard for Shard {
    fn installs(&self, cluster: &ClusterId) -> Option<BTreeSet<(InstallKey, Uid)>> {
        self.heard(cluster)
    }
}
