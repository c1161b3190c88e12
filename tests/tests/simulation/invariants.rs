//! What must hold after each step, and what must hold when everything is quiet again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use starling_agent_core::judge::assignment_of;
use starling_agent_core::reconcile::drift;
use starling_hub::shard::Shard;
use starling_hub_core::fleet::Fleet;
use starling_hub_core::index::Filter;
use starling_model::{Action, Entry, InstallReport, InstallState, ObjectKey, ObjectStatus};

use crate::cluster::Managed;
use crate::world::{LiveHub, World};

/// How long an undisturbed, connected cluster that does not change may differ from what the hub shows.
const CATCH_UP: Duration = Duration::from_secs(5);

/// How often what the hub shows is compared with the truth.
const COMPARE: Duration = Duration::from_millis(100);

/// What was checked, so that a scenario that checks nothing is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Steps after which everything was checked.
    pub(crate) steps: u64,
    /// Removals whose evidence was found.
    pub(crate) removals: u64,
    /// Rows of the hub's index that were found to have been true.
    pub(crate) rows: u64,
    /// Comparisons of a whole cluster with what the hub shows of it.
    pub(crate) equalities: u64,
}

/// The invariants, and what they remember.
pub(crate) struct Invariants {
    counts: Counts,
    clusters: Vec<Watched>,
    looked_at: Option<(usize, u64)>,
    compared: Duration,
}

/// What is remembered of a cluster.
#[derive(Clone, Default)]
struct Watched {
    removals: usize,
    version: (u64, u64),
    truth: BTreeMap<ObjectKey, ObjectStatus>,
    changed: Duration,
    disturbed: Duration,
    partitioned: Option<Duration>,
}

impl Invariants {
    /// Begins with clusters of which nothing is known.
    pub(crate) fn new(clusters: usize) -> Self {
        Self {
            counts: Counts::default(),
            clusters: vec![Watched::default(); clusters],
            looked_at: None,
            compared: Duration::ZERO,
        }
    }

    /// Returns what was checked.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Notes that a cluster, or its way to the hub, is being disturbed.
    pub(crate) fn disturb(&mut self, cluster: usize, now: Duration) {
        self.clusters[cluster].disturbed = now;
    }

    /// Notes that whatever is on its way between a cluster and the hub is lost, which breaks the connections that are open.
    pub(crate) fn partition(&mut self, cluster: usize, now: Duration) {
        self.clusters[cluster].partitioned = Some(now);
    }

    /// Checks whatever must hold at any time.
    pub(crate) fn check(&mut self, world: &World, now: Duration) -> Result<(), String> {
        self.counts.steps += 1;
        if let Some(violation) = world.evidence().violation() {
            return Err(violation.clone());
        }
        self.check_removals(world)?;
        let live = world.live();
        if let Some(live) = &live {
            self.check_rows(world, live)?;
        }
        if now >= self.compared + COMPARE {
            self.compared = now;
            self.compare(world, live.as_ref(), now)?;
        }
        Ok(())
    }

    /// I1: what an agent removed was named by a tombstone or a retirement of a plan that was committed.
    fn check_removals(&mut self, world: &World) -> Result<(), String> {
        for (managed, watched) in world.clusters.iter().zip(&mut self.clusters) {
            for removal in managed.removals_from(watched.removals) {
                world.evidence().judge(managed.id, &removal).map_err(|error| format!("{}: {error}", managed.name))?;
                watched.removals += 1;
                self.counts.removals += 1;
            }
        }
        Ok(())
    }

    /// I4, at any time: what the hub shows was true once.
    fn check_rows(&mut self, world: &World, live: &LiveHub) -> Result<(), String> {
        let state = (Arc::as_ptr(&live.shard) as usize, *live.shard.changes().borrow());
        if self.looked_at == Some(state) {
            return Ok(());
        }
        self.looked_at = Some(state);
        for managed in &world.clusters {
            for status in shown(&live.shard, managed).into_values() {
                if !managed.was_shown(&status) {
                    return Err(format!("I4: the hub shows of {} what never was: {status:?}", managed.name));
                }
                self.counts.rows += 1;
            }
        }
        Ok(())
    }

    /// I4: a connected cluster that nobody disturbs and that does not change is shown as it is.
    fn compare(&mut self, world: &World, live: Option<&LiveHub>, now: Duration) -> Result<(), String> {
        for (managed, watched) in world.clusters.iter().zip(&mut self.clusters) {
            let asked = managed.cluster.removals().len();
            if asked != watched.removals {
                return Err(format!("I1: {} lost {asked} objects, and {} were seen", managed.name, watched.removals));
            }
            let version = managed.version();
            if version != watched.version {
                watched.version = version;
                let truth = managed.truth();
                if truth != watched.truth {
                    (watched.truth, watched.changed) = (truth, now);
                }
            }
            let (Some(live), Some(open)) = (live, managed.machine.link.open_since()) else { continue };
            let connected = live.shard.view(&managed.id).is_some_and(|view| view.connected);
            let broken = watched.partitioned.is_some_and(|at| open <= at);
            let quiet_since = open.max(watched.changed).max(watched.disturbed);
            if !connected || broken || now <= quiet_since + CATCH_UP {
                continue;
            }
            equal(&watched.truth, &shown(&live.shard, managed))
                .map_err(|difference| format!("I4: {} is not what the hub shows: {difference}", managed.name))?;
            self.counts.equalities += 1;
        }
        Ok(())
    }
}

/// Tells why the world is not yet what people want, once nothing is disturbed any more: every cluster live and ready, what is
/// planned held, what is held planned, and what the hub shows true.
pub(crate) fn settled(world: &World, evidence_lost: bool) -> Result<(), String> {
    let live = world.live().ok_or("the hub is down")?;
    if let Some(reason) = live.hold.reason() {
        return Err(format!("the fleet holds: {reason}"));
    }
    if !world.people().wishes.is_empty() {
        return Err("people wait".into());
    }
    let fleet = Arc::clone(&live.fleet.borrow());
    if let Some(proposal) = fleet.proposals().next() {
        return Err(format!("a removal waits for approval: {proposal:?}"));
    }
    for managed in &world.clusters {
        is_settled(world, &live, managed, evidence_lost).map_err(|why| format!("{}: {why}", managed.name))?;
    }
    Ok(())
}

/// The same of one cluster, at the process that has its session.
pub(crate) fn is_settled(world: &World, live: &LiveHub, managed: &Managed, evidence_lost: bool) -> Result<(), String> {
    let fleet = Arc::clone(&live.fleet.borrow());
    is_live(live, managed)?;
    is_planned_as_wanted(world, live, &fleet, managed)?;
    is_held_as_planned(live, managed, evidence_lost)?;
    is_shown_as_it_is(live, managed)
}

fn is_live(live: &LiveHub, managed: &Managed) -> Result<(), String> {
    let view = live.shard.view(&managed.id).ok_or("not heard")?;
    if view.standing.live && view.standing.ready { Ok(()) } else { Err(format!("not live and ready: {view:?}")) }
}

fn is_planned_as_wanted(world: &World, live: &LiveHub, fleet: &Fleet, managed: &Managed) -> Result<(), String> {
    let plan = live.shard.plan(&managed.id);
    let planned: BTreeMap<&str, &str> = plan
        .entries
        .iter()
        .map(|entry| {
            let version = fleet.revision(&entry.revision).map_or("", |revision| revision.version.as_str());
            (entry.install.name.as_str(), version)
        })
        .collect();
    let documents = world.documents();
    let wanted = documents.wanted_on(&managed.name);
    if planned == wanted { Ok(()) } else { Err(format!("planned {planned:?}, wanted {wanted:?}")) }
}

fn is_held_as_planned(live: &LiveHub, managed: &Managed, evidence_lost: bool) -> Result<(), String> {
    let plan = live.shard.plan(&managed.id);
    let inventory = managed.inventory();
    let objects = managed.cluster.objects();
    if let Some(open) = inventory.open_intent() {
        return Err(format!("an intent is open: {open:?}"));
    }
    for Entry { install, assignment, action, .. } in &plan.entries {
        let Action::Render(render) = action else { return Err(format!("{install} is not rendered: {action:?}")) };
        let held = inventory.installs().get(install).ok_or_else(|| format!("{install} is not held"))?;
        if held.assignment != *assignment || held.render.digest != render.digest || held.state != InstallState::Applied
        {
            return Err(format!("{install} is held otherwise: {:?}", held.report(install)));
        }
        if held.removing.is_some() || !held.retiring.is_empty() {
            return Err(format!("{install} still removes {:?}", held.retiring));
        }
        for object in &render.objects {
            let there = objects.get(object.key()).ok_or_else(|| format!("{} is not there", object.key()))?;
            if let Some(field) = drift(object, there) {
                return Err(format!("{field} of {} differs", object.key()));
            }
        }
    }
    let is_planned = |install: &_| plan.entries.iter().any(|entry| entry.install == *install);
    // Whatever was meant to go before the store was lost stays until somebody says so again.
    let surplus = inventory.installs().keys().find(|install| !is_planned(install)).filter(|_| !evidence_lost);
    if let Some(surplus) = surplus {
        return Err(format!("{surplus} is held, and nobody wants it"));
    }
    let is_held = |key: &ObjectKey| inventory.installs().values().any(|held| held.objects.contains_key(key));
    let orphan = objects.iter().find(|(key, object)| assignment_of(object).is_some() && !is_held(key));
    orphan.map_or(Ok(()), |(key, _)| Err(format!("{key} is there, and the inventory does not know it")))
}

fn is_shown_as_it_is(live: &LiveHub, managed: &Managed) -> Result<(), String> {
    equal(&managed.truth(), &shown(&live.shard, managed))
        .map_err(|difference| format!("not shown as it is: {difference}"))?;
    let reports: Vec<InstallReport> = managed.inventory().reports().collect();
    let shown: Vec<InstallReport> =
        live.shard.installs(&managed.id).into_iter().filter_map(|view| view.report).collect();
    if reports == shown { Ok(()) } else { Err(format!("holds {reports:?}, and the hub shows {shown:?}")) }
}

/// Returns what the hub shows of a cluster.
fn shown(shard: &Shard, managed: &Managed) -> BTreeMap<ObjectKey, ObjectStatus> {
    let filter = Filter { clusters: Some([managed.id].into()), ..Filter::default() };
    let page = shard.query(&filter, None, usize::MAX);
    page.objects.into_iter().map(|found| (found.status.key.clone(), found.status)).collect()
}

/// Tells where what is shown differs from the truth.
pub(crate) fn equal(
    truth: &BTreeMap<ObjectKey, ObjectStatus>,
    shown: &BTreeMap<ObjectKey, ObjectStatus>,
) -> Result<(), String> {
    let keys = truth.keys().chain(shown.keys());
    match keys.into_iter().find(|key| truth.get(key) != shown.get(key)) {
        None => Ok(()),
        Some(key) => Err(format!("{key}: is {:?}, shown {:?}", truth.get(key), shown.get(key))),
    }
}
